"""The engine's reasons are said in the reader's language, units and names, and never hidden."""

import re

import pytest

from server.web.because import reason, reasons
from server.web.screen import Screen, Viewer, pressure_unit
from server.web.words import LANGUAGES
from tests.support.plant import registry

TOLD = {
    "zone north inflow rose 38.4 m3/h, from 190.1 to 228.5 m3/h, 21 times its usual change": (
        "北区入口流量上升 38.4 m³/h（190.1 → 228.5 m³/h），为平常变化的 21 倍"
    ),
    "zone north inflow fell 3.0 m3/h, from 190.1 to 187.1 m3/h, 2 times its usual change": (
        "北区入口流量下降 3.0 m³/h（190.1 → 187.1 m³/h），为平常变化的 2 倍"
    ),
    "zone north inflow is not measured now": "北区入口流量当前无测量",
    "north-12/pressure fell 9.2 kPa, from 281.2 to 272.0 kPa, 11 times its usual change": (
        "文化路12号压力下降 0.0092 MPa（0.2812 → 0.2720 MPa），为平常变化的 11 倍"
    ),
    "5 of 6 points of zone east fell together": "东区 6 个测点中 5 个同时下降",
    "no other evidence of a leak": "无其他漏损证据",
    "north-12/pressure is 170.0 kPa, below its limit of 180.0 kPa": (
        "文化路12号压力为 0.1700 MPa，低于下限 0.1800 MPa"
    ),
    "north-12/pressure is 279.9 kPa, below the promise of 280.0 kPa": (
        "文化路12号压力为 0.2799 MPa，低于承诺的 0.2800 MPa"
    ),
    "promised by policy xinyang-water: pressure.central.min_mpa": (
        "此承诺依据规章 xinyang-water：pressure.central.min_mpa"
    ),
    "gateway gw-01 has sent nothing for 15 s": "网关 gw-01 已 15 秒无数据",
    "its connection to the broker is lost": "网关与消息代理的连接已断开",
    "4 points of zone south have sent nothing for 15 s or more": "南区 4 个测点已 15 秒以上无数据",
    "north-12/pressure has sent nothing for 20 s": "文化路12号压力已 20 秒无数据",
    "north-12/pressure has never been heard": "文化路12号压力从未上传数据",
    "the server's own link to the broker has been down for 15 s": (
        "服务器与消息代理的连接已断开 15 秒"
    ),
    "3 points of zone south give only bad readings": "南区 3 个测点读数均异常",
    "north-12/pressure gives only bad readings (timeout) for 60 s": (
        "文化路12号压力读数持续异常（超时）60 秒"
    ),
    "the samples of gateway gw-01 come 90 s late: its clock or its link is slow; they are kept,"
    " and not judged": "网关 gw-01 的数据晚到 90 秒：其时钟或链路偏慢；数据已保存，未参与判断",
    "the samples of gateway gw-01 are dated 75 s ahead: its clock is fast; they are kept, and not"
    " judged": "网关 gw-01 的数据时间超前 75 秒：其时钟偏快；数据已保存，未参与判断",
    "net inflow of north has stood 7.5 m³/h (15 %) above its habit for 12 h, at every hour alike": (
        "北区净流入量比自身历史同期高 7.5 m³/h（占日均的 15%），已持续 12 小时，各时段一致"
    ),
    "net inflow of north has stood 7.5 m³/h (15 %) above its habit for 52 h, on the mean of its"
    " last hours": (
        "北区净流入量比自身历史同期高 7.5 m³/h（占日均的 15%），已持续 52 小时，为最近各小时的均值"
    ),
    "last hour 57.5 m³/h, usual 50.0 m³/h": "最近一小时 57.5 m³/h，平常 50.0 m³/h",
    "the zone's own past would bring 1.4 such alarms a year": (
        "按此门限，该分区自身历史每年约报警 1.4 次"
    ),
    "it has grown to 9.0 m³/h": "已增至 9.0 m³/h",
    "a day's level of net inflow is 49.8 m³/h again; before the leak it was 50.1": (
        "日均净流入量已回到 49.8 m³/h；漏水前为 50.1 m³/h"
    ),
    "nothing more was seen of it for 60 days: it is habit now": ("60 天内未再发现变化：已视为常态"),
    "north-12/pressure has been 3.2 kPa below its habit for 17 h, its zone has not": (
        "文化路12号压力比常态低 0.0032 MPa，已持续 17 小时，所在分区无此变化"
    ),
    "north-12/pressure has been 3.2 kPa above its habit for 17 h, its zone has not": (
        "文化路12号压力比常态高 0.0032 MPa，已持续 17 小时，所在分区无此变化"
    ),
    "last hour 268.8 kPa, usual 272.0 kPa": "最近一小时 0.2688 MPa，通常为 0.2720 MPa",
    "its own noise would bring 0.05 such alarms a year": "按该测点自身波动，此类告警每年约 0.05 次",
    "north-12/pressure was 0.4 kPa off its habit over the last day": (
        "文化路12号压力最近一天与常态相差 0.0004 MPa"
    ),
    "north-12/pressure has kept its new level for 14 days": "文化路12号压力已保持新水平 14 天",
    "there is no open incident INC-000001": "没有未结事件 INC-000001",
    "INC-000001 cannot be closed while A-000001 is active": (
        "A-000001 仍在持续，INC-000001 不能结束"
    ),
}


def screen(language: str) -> Screen:
    unit = pressure_unit("", language)
    return Screen(Viewer(language=language, pressure_unit=unit, operator=""), registry())


@pytest.mark.parametrize("told", TOLD)
def test_a_reason_is_said_in_chinese_with_names_and_screen_units(told):
    assert reason(screen("zh-CN"), told) == TOLD[told]


@pytest.mark.parametrize("told", TOLD)
def test_a_reason_in_english_keeps_every_number(told):
    said = reason(screen("en"), told)

    numbers = re.compile(r"\d+(?:\.\d+)?")
    assert numbers.findall(re.sub(r"\S+/\S+", "", told)) == numbers.findall(
        re.sub(r"Wenhua Road 12|m³/h", "", said)
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_reason_that_is_not_known_is_shown_as_it_was_told(language):
    assert reason(screen(language), "the moon is full") == "the moon is full"


def test_several_reasons_keep_their_order():
    told = ["no other evidence of a leak", "the moon is full"]

    assert reasons(screen("zh-CN"), told) == ["无其他漏损证据", "the moon is full"]
