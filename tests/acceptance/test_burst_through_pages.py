"""A burst from telemetry to archive through the plain pages in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.engine import effects
from server.servicecore.rules.workorder import Step
from telemetry.instant import Instant
from tests.acceptance.test_page_in_browser import CLOCK, Plant
from tests.support.browser import Browser, chromium
from tests.support.plant import burst
from tests.support.waiting import until

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine"),
]
T1, I1 = "T-000001", "INC-000001"
LOADED = "document.readyState === 'complete'"
WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    made = Plant(tmp_path)
    made.start("demo-water")
    yield made
    made.close()


def send(browser: Browser, action: str, **texts: str) -> None:
    """Fill a form in and send it as a person does, and wait for the page after it."""
    form = f"form[action='{action}']"
    browser.wait_for(f'document.querySelector("{form}")')
    browser.evaluate(f"""
        document.documentElement.dataset.old = "1";
        const form = document.querySelector("{form}");
        for (const [name, text] of Object.entries({texts!r}))
            form.elements[name].value = text;
    """)
    browser.click(f"{form} button")
    browser.wait_for(
        f"document.documentElement && !document.documentElement.dataset.old && {LOADED}"
    )
    assert browser.evaluate("document.querySelector('[role=alert]')?.textContent ?? ''") == ""


def state(browser: Browser) -> str:
    return str(browser.evaluate("document.querySelector('h1 mark').dataset.state"))


def test_a_burst_goes_from_telemetry_to_the_archive_through_the_pages(plant, browser):
    plant.journal.record(*burst(1, at=CLOCK.now()))
    browser.open(f"{plant.address}language/zh-CN?back=/orders")
    browser.wait_for(f"document.querySelector('#start') && {LOADED}")
    send(browser, "/shift/start", name="李强")

    # the crew, on its telephone
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.command("Emulation.setDeviceMetricsOverride", **phone)

    def is_there() -> bool:  # the desk makes it meanwhile, and this page is looked at anew by hand
        browser.open(f"{plant.address}crew")
        browser.wait_for(LOADED)
        return bool(browser.evaluate(f"document.querySelector('#{T1}') !== null"))

    until(is_there, 60)
    assert not browser.evaluate(WIDE)
    said = {
        Step.DIAGNOSE: {"text": "接头脱开", "dn_mm": "300", "liability": "own", "place": "outdoor"},
        Step.REPLY: {"text": "换管一段，已恢复供水"},
    }
    way = (Step.ACCEPT, Step.DEPART, Step.ARRIVE, Step.DIAGNOSE, Step.ISOLATE, Step.RESTORE)
    for step in (*way, Step.REPLY):
        send(browser, f"/crew/{T1}/steps/{step}", **said.get(step, {}))
        assert not browser.evaluate(WIDE)

    # the desk: telemetry is calm since a moment, a person vouches for it, all is closed
    cleared = effects.AlarmCleared(at=Instant(CLOCK.now()), alarm="A-000001", because=("calm",))
    plant.journal.record(cleared)
    browser.open(f"{plant.address}incidents/{I1}")
    assert state(browser) == "restored"
    send(browser, f"/incidents/{I1}/acts/verify", waiver="压力已稳定，现场确认")
    send(browser, f"/incidents/{I1}/acts/close")
    assert state(browser) == "closed"
    browser.open(f"{plant.address}orders/{T1}")
    send(browser, f"/orders/{T1}/steps/close")
    assert state(browser) == "closed"

    # the archive, and the record of it all
    browser.open(f"{plant.address}orders")
    send(browser, "/orders/archive", before="2100-01-01T00:00")
    assert browser.evaluate("document.querySelector('#settled mark').dataset.state") == "archived"
    browser.open(f"{plant.address}orders/{T1}")
    assert state(browser) == "archived"
    history = browser.evaluate("document.querySelector('#history').textContent")
    for words in (
        "派单",
        "受理",
        "出发",
        "到场",
        "诊断",
        "止水",
        "恢复供水",
        "办结",
        "消单",
        "归档",
    ):
        assert words in history
    browser.open(f"{plant.address}trail")
    assert "完整" in browser.evaluate("document.querySelector('#verified').textContent")
    browser.open(f"{plant.address}figures")
    assert "100.0 %" in browser.evaluate("document.querySelector('#repair_timeliness').textContent")
    assert browser.errors == []
    assert [
        r for r in browser.requests if not r.startswith((plant.address, "data:", "about:"))
    ] == []
