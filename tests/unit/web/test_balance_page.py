"""The page of night flow and balance in both languages, and the same for programs."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from server.config import BalanceSection, PageSection
from server.engine.registry import Storage
from server.servicecore.desk import Desk
from server.web.application import create_app
from telemetry.instant import HOUR_MS
from telemetry.point import PointId
from tests.support.plant import Journal, ManualClock
from tests.unit.balance.recorded import samples, write_historian
from tests.unit.balance.town import AREA_M2, registry, stretch, zone

Act = Callable[[httpx.AsyncClient], Awaitable[object]]

FACTS = (
    BalanceSection(
        zone="north",
        connections=2,
        apparent_share=0.1,
        unmetered_m3=20,
        r1_percent=4.0,
        r2_percent=0.5,
        r3_percent=0.5,
        r4_percent=0.0,
    ),
)
KNOWN = registry(
    zone(storage=(Storage(point=PointId("tower/level"), area_m2=AREA_M2),)),
    zone("dry", name_zh="旱区", name_en="Dry", inflow=()),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the town's history, its last nights 3 m³/h above the others."""
    made = tmp_path_factory.mktemp("balance")
    leak = np.full(40 * 24, 4.0)
    leak[-3 * 24 :] += 3.0
    hours = stretch(leak=leak)
    hours.points["inlet/flow"].mean[500:505] = np.nan
    write_historian(made / "historian.db", hours, samples(hours), KNOWN)
    Journal(made / "journal.db").close()
    return made


@pytest.fixture
def browse(folder: Path, tmp_path: Path) -> Callable[..., object]:
    """Return a function that lets a browser look, four hours before the month is over."""

    def use(act: Act, *, page: PageSection | None = None) -> object:
        async def run() -> object:
            clock = ManualClock(stretch().end - 4 * HOUR_MS)
            desk = await Desk.open(tmp_path / "desk.db", journal=folder / "journal.db", clock=clock)
            await desk.registry_acts.seed(KNOWN)
            app = create_app(
                desk,
                history=folder / "historian.db",
                clock=clock,
                stop=asyncio.Event(),
                page=page,
                balance=FACTS,
            )
            try:
                async with httpx.AsyncClient(
                    transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1:8420"
                ) as browser:
                    return await act(browser)
            finally:
                await desk.close()

        return asyncio.run(run())

    return use


def text_of(browse, path: str, language: str) -> str:
    async def act(browser: httpx.AsyncClient) -> str:
        browser.cookies.set("mw_language", language)
        return (await browser.get(path)).text

    return str(browse(act))


def test_the_page_says_the_night_against_its_past_in_both_languages(browse):
    english = text_of(browse, "/balance?zone=north", "en")
    chinese = text_of(browse, "/balance?zone=north", "zh-CN")

    assert "9.0 m³/h in the night of 2026-02-28: 3.0 above its 28-night median (± 0.1)" in english
    assert "2026-02-28 夜间最小流量 9.0 m³/h：比前 28 夜中位数高 3.0" in chinese
    assert english.count('<tr class="late">') == 3


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("System input volume", "Authorised consumption", "Water losses", "Real losses")),
        ("zh-CN", ("供水总量", "注册用户用水量", "漏损水量", "综合漏损率", "漏损率", "产销差率")),
    ],
)
def test_the_balance_is_told_in_the_terms_of_the_trade(browse, language, words):
    page = text_of(browse, "/balance?zone=north&month=2026-02", language)

    assert [w for w in words if w not in page] == []
    assert 'id="real-above"' in page
    assert 'id="real-below"' in page


def test_what_is_missing_is_named_with_its_meter(browse):
    page = text_of(browse, "/balance?zone=north&month=2026-02", "en")
    dry = text_of(browse, "/balance?zone=dry", "en")

    assert "inlet/flow is missing in 5 hours" in page
    assert "The month is not over" in page
    assert "The zone has no inflow meter" in dry
    assert "not known" in dry


def test_programs_get_the_same(browse):
    async def act(browser: httpx.AsyncClient) -> object:
        every = await browser.get("/api/v1/balance?month=2026-02")
        one = await browser.get("/api/v1/balance?zone=north&month=2026-02")
        return every.json(), one.json(), (await browser.get("/api/v1/openapi.json")).json()

    every, (one,), described = browse(act)  # type: ignore[misc]  # of what act returns

    assert sorted(b["zone"] for b in every) == ["dry", "north"]
    assert one["night"]["nights"][-1]["excess_m3h"] == pytest.approx(3.0, abs=0.1)
    assert one["input"]["known_hours"] == one["input"]["hours"] - 5
    assert one["supplied"]["m3"] == pytest.approx(
        one["authorised"]["m3"] + one["losses"]["m3"], abs=1e-6
    )
    assert one["rates"]["loss"] == pytest.approx(one["rates"]["gross"] - 5.0)
    assert {n["code"] for n in one["notes"]} >= {"month_runs", "meter_gaps", "hours_filled"}
    assert "BalanceAnswer" in described["components"]["schemas"]


def test_a_zone_or_month_that_is_none_is_refused_with_words(browse):
    async def act(browser: httpx.AsyncClient) -> object:
        return [
            await browser.get(path)
            for path in (
                "/balance?month=soon",
                "/balance?month=9999-12",
                "/api/v1/balance?zone=nowhere",
                "/api/v1/balance?month=2026-13",
                "/balance?zone=nowhere",
            )
        ]

    soon, late, nowhere, month, other = browse(act)  # type: ignore[misc]  # five answers

    assert [soon.status_code, late.status_code] == [404, 404]
    assert nowhere.status_code == 404
    assert "nowhere" in nowhere.json()["detail"]
    assert month.status_code == 422
    assert other.status_code == 200  # the first zone instead, as after a zone was renamed


def test_whoever_is_not_signed_in_sees_nothing(browse):
    page = PageSection(sign_in=True)

    async def act(browser: httpx.AsyncClient) -> object:
        return [
            await browser.get(path)
            for path in ("/balance", "/api/v1/balance?zone=north&month=2026-02")
        ]

    shown, told = browse(act, page=page)  # type: ignore[misc]  # two answers

    assert shown.status_code in (303, 401)
    assert told.status_code == 401
