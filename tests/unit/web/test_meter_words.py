"""Every sentence of a meter's finding is known to the screens, in both languages."""

import pytest

from server.engine.detectors import meter_words as words
from server.web.because import reason
from server.web.screen import Screen, Viewer, pressure_unit
from telemetry.instant import Instant
from tests.support.plant import registry

POINT = next(p for name, p in registry().points.items() if name.endswith("/flow"))
FINDINGS = [
    words.never_zero(POINT, 0, hours=72, least=0.15, still_days=12, days=14),
    words.burst_behind(POINT, 0, flow=12.0, minutes=15, most=3.0, usual=1.0),
    words.stopped(POINT, 0, hours=24, pause=3, is_district=True),
    words.reversed_flow(POINT, 0, flow=12.0, minutes=15),
    words.implausible(POINT, 0, flow=120.0, minutes=15, most=12.0),
    words.too_little(POINT, 0, flow=1.0, hours=6, least=12.0),
    words.disagrees(POINT, 0, flow=11.0, told=10.0, hours=3, is_district=False),
    words.begun_anew(POINT, Instant(0), 1234.5, 0.4),
    words.restarted(POINT, Instant(0)),
    words.leapt(POINT, 0, volume=12_345.0, most=3.0),
    words.negative_net(POINT.zone, (POINT,), 0, net=-12.0),
    words.with_reason(
        words.stopped(POINT, 0, hours=24, pause=3, is_district=True),
        words.pressures_hold(281.0, 290.0),
    ),
]


@pytest.mark.parametrize("told", sorted({text for f in FINDINGS for text in f.because}))
def test_a_reason_of_a_meter_is_said_in_chinese_with_its_figures(told):
    unit = pressure_unit("", "zh-CN")
    screen = Screen(Viewer(language="zh-CN", pressure_unit=unit, operator=""), registry())

    said = reason(screen, told)

    assert said != told
    assert any("\u4e00" <= sign <= "\u9fff" for sign in said)
    figures = {"0.15", "12.00", "72", "24", "1234.50", "0.40", "12345.00"}
    assert {f for f in figures if f" {f} " in told} <= {f for f in figures if f in said}
