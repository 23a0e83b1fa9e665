"""Every point live on the page: its newest value, how stale it is, its past and how it changes."""

import json
import re

import pytest

from telemetry.instant import MINUTE_MS, Instant
from tests.support.plant import AT, History, registry
from tests.unit.web.test_live import VIEWER, play, until

requirement = pytest.mark.requirement
FALLING, STEADY = "north-12/pressure", "north-27/pressure"


def cells(page: str) -> dict[str, tuple[str, str]]:
    """Return what the page shows of each point: its value and its change."""
    rows = re.findall(r'<tr id="point-([^"]+)".*?</tr>', page, re.DOTALL)
    found = {}
    for name in rows:
        row = page.split(f'<tr id="point-{name}"', 1)[1].split("</tr>", 1)[0]
        value = re.search(r"data-value>([^<]*)<", row)
        change = re.search(r"data-change>([^<]*)<", row)
        found[name] = (value[1], change[1]) if value and change else ("", "")
    return found


@requirement("R03")
def test_the_dispatcher_sees_every_pressure_point_with_its_newest_value(browse):
    async def act(browser, desk):
        await browser.get("/language/en")
        page = (await browser.get("/")).text
        api = (await browser.get("/api/v1/points")).json()
        return cells(page), {row["id"]: row["value"] for row in api}

    shown, told = browse(act)

    assert set(shown) == set(told) == set(registry().points)
    assert shown[FALLING] == ("281.2", "–")
    assert (shown[STEADY], told[STEADY]) == (("–", "–"), None)  # a bad reading is no value


@requirement("R03")
def test_an_open_page_is_told_each_new_value_by_itself(plant):
    async def act(desk, live, stop):
        stream = live.stream(VIEWER, -1)
        _, first, _ = await until(stream, "values")
        history = History(plant / "historian.db")
        history.say(AT + 1_000, {FALLING: 279.5})
        history.close()
        _, then, _ = await until(stream, "values")
        return first[FALLING]["value"], {p: v["value"] for p, v in then.items()}

    assert play(plant, act) == (281.25, {FALLING: 279.5})


@requirement("R04")
def test_a_fall_shows_in_the_change_of_its_point_and_in_no_other(browse, plant):
    history = History(plant / "historian.db")
    for minutes in range(12, 0, -1):
        fallen = 40.0 if minutes <= 5 else 0.0
        at = AT - minutes * MINUTE_MS - 1_000
        history.say(at, {FALLING: 330.0 - fallen, STEADY: 300.0})
    history.say(AT - 500, {FALLING: 290.0, STEADY: 300.0})
    history.close()

    async def act(browser, desk):
        pages = []
        for language, unit in (("en", "kPa"), ("zh-CN", "MPa")):
            await browser.get(f"/language/{language}")
            await browser.get(f"/pressure/{unit}")
            pages.append(cells((await browser.get("/")).text))
        api = (await browser.get("/api/v1/points")).json()
        series = (await browser.get(f"/api/v1/series?point={FALLING}&range=1h")).json()
        return pages, {r["id"]: r["change_10min"] for r in api}, series

    (kpa, mpa), changes, series = browse(act)

    assert changes[FALLING] == pytest.approx(-40.0, abs=0.1)
    assert changes[STEADY] == pytest.approx(0.0)
    assert {p for p, c in changes.items() if c is not None} == {FALLING, STEADY}
    assert (kpa[FALLING][1], kpa[STEADY][1]) == ("-40.0", "+0.0")
    assert mpa[FALLING][1] == "-0.0400"
    assert (max(series["high"]), min(series["low"])) == (330.0, 281.25)
    assert json.dumps(series["at"]) == json.dumps(sorted(series["at"]))


@requirement("R04")
def test_what_is_too_old_to_be_compared_is_no_change(browse, plant):
    history = History(plant / "historian.db")
    history.say(Instant(AT - 40 * MINUTE_MS), {FALLING: 330.0})
    history.close()

    async def act(browser, desk):
        return (await browser.get("/api/v1/points")).json()

    assert {row["change_10min"] for row in browse(act)} == {None}
