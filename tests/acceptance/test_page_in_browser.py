"""The page in a real browser: live, clickable, honest about old data, and alone on the network."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mainwatch.wall_clock import WallClock
from server.engine import effects
from server.web.render import TREND_LIBRARY
from telemetry.instant import Instant
from tests.support.browser import Browser, chromium
from tests.support.plant import History, Journal, born, burst, seen
from tests.support.ports import free_port
from tests.support.waiting import until

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine"),
]
CLOCK = WallClock()
STALE = "document.body.classList.contains('stale')"
FRESH = f"document.body && document.body.dataset.watched !== undefined && !{STALE}"


class Plant:
    """A journal, a historian, and the desk as a process that can be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.journal = Journal(folder / "journal.db")
        self.history = History(folder / "historian.db")
        self.process: subprocess.Popen | None = None
        now = CLOCK.now()
        self.journal.record(born(now), seen("north-12/pressure", now))
        self.say()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def say(self, *, ago_ms: int = 0) -> None:
        values = {"north-12/pressure": 281.25, "north-inlet/flow": 190.0}
        self.history.say(CLOCK.now() - ago_ms, values)

    def start(self, *policy: str) -> None:
        program = (sys.executable, "-m", "tests.support.desk_program")
        self.process = subprocess.Popen(
            [*program, str(self.folder), str(self.port), *policy],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "serving\n"

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def close(self) -> None:
        self.kill()
        self.journal.close()
        self.history.close()


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    made = Plant(tmp_path)
    made.start()
    yield made
    made.close()


def see_fresh(browser: Browser, plant: Plant, *, ago_ms: int = 0) -> None:
    """Let data of a while ago come until the page shows them as fresh, however slow all is."""

    def is_fresh() -> bool:
        plant.say(ago_ms=ago_ms)
        return bool(browser.evaluate(FRESH))

    until(is_fresh, 60)


def start_shift(browser: Browser, name: str) -> None:
    browser.type("#start input", name)
    browser.click("#start button")
    browser.wait_for("document.querySelector('#operator')")


def test_the_page_is_alone_on_the_network_and_without_complaints(plant, browser):
    browser.open(plant.address)
    browser.wait_for("document.querySelector('#alarms .calm')")
    browser.wait_for(
        "document.getElementById('point-north-12/pressure').innerText.includes('281.3')"
    )
    if TREND_LIBRARY.exists():
        browser.wait_for("document.querySelector('#chart canvas')")

    assert len(browser.requests) >= 5
    assert [
        r for r in browser.requests if not r.startswith((plant.address, "data:", "about:"))
    ] == []
    assert browser.errors == []
    assert browser.evaluate("document.documentElement.scrollHeight <= innerHeight")


def test_a_burst_appears_by_itself_and_its_ticket_is_closed_with_clicks(plant, browser):
    browser.open(plant.address)
    start_shift(browser, "李强")

    plant.journal.record(*burst(1, at=CLOCK.now()))
    browser.wait_for("document.querySelector('#A-000001.unseen')", within_s=5)
    assert browser.evaluate("document.title").startswith("(1) ")
    browser.press("a")
    browser.wait_for("document.querySelector('#A-000001 .asked')")

    for step, state in (("accept", "accepted"), ("arrive", "on_site")):
        browser.click(f"#T-000001 form[action$='/{step}'] button")
        browser.wait_for(f"document.querySelector('#T-000001').dataset.state === '{state}'")
    browser.type("#T-000001 textarea", "换管一段")
    for step, state in (("reply", "replied"), ("close", "closed")):
        browser.click(f"#T-000001 form[action$='/{step}'] button")
        browser.wait_for(f"document.querySelector('#T-000001').dataset.state === '{state}'")

    assert "换管一段" in browser.evaluate("document.querySelector('#T-000001').textContent")
    assert browser.evaluate("document.querySelector('#message').hidden")
    assert browser.errors == []


def test_a_refusal_is_told_without_losing_the_page(plant, browser):
    plant.journal.record(*burst(1, at=CLOCK.now()))
    browser.open(plant.address)

    browser.click("#A-000001 form button")

    browser.wait_for("!document.querySelector('#message').hidden")
    assert browser.evaluate("document.querySelector('#A-000001.unseen') !== null")


def test_typed_text_survives_a_restart_of_the_server(plant, browser):
    plant.journal.record(*burst(1, at=CLOCK.now()))
    browser.open(plant.address)
    start_shift(browser, "Li")
    for step in ("accept", "arrive"):
        browser.click(f"#T-000001 form[action$='/{step}'] button")
    browser.type("#T-000001 textarea", "half a sentence")

    plant.kill()
    browser.click("#T-000001 form[action$='/reply'] button")
    browser.wait_for("!document.querySelector('#message').hidden")
    plant.start()
    now = CLOCK.now()
    plant.journal.record(
        effects.AlarmAcknowledged(at=Instant(now), alarm="A-000001", actor="Wang", note="")
    )
    browser.wait_for("document.querySelector('#A-000001 .seen')")

    assert (
        browser.evaluate("document.querySelector('#T-000001 textarea').value") == "half a sentence"
    )
    browser.evaluate("location.reload()")
    browser.wait_for("document.querySelector('#T-000001 textarea')?.value === 'half a sentence'")


def test_old_data_greys_the_page_until_data_comes_again(plant, browser):
    browser.open(plant.address)
    see_fresh(browser, plant, ago_ms=9_000)  # of the 15 s that they stay fresh

    browser.wait_for(STALE, within_s=25)
    band = browser.evaluate("document.querySelector('#stale').textContent")
    assert any(mark in band for mark in ("自", "since"))
    assert any(c.isdigit() for c in band)

    see_fresh(browser, plant)


def test_a_dead_server_greys_the_page_too(plant, browser):
    browser.open(plant.address)
    see_fresh(browser, plant)

    plant.kill()
    browser.evaluate("const now = performance.now.bind(performance);"
                     "performance.now = () => now() + 10_000; null")  # fmt: skip

    browser.wait_for(STALE, within_s=15)


def test_the_start_of_the_shift_allows_sound_and_a_silent_page_says_so(plant, browser, new_window):
    silent = "!document.querySelector('#silent').hidden"
    browser.open(plant.address)
    start_shift(browser, "Li")
    browser.wait_for(f"!({silent})")

    other = new_window()  # nobody has clicked in this one
    other.command("Network.setCookie", name="mw_operator", value="Li", url=plant.address)
    other.open(plant.address)
    other.wait_for(silent)
    other.click("#unblock")
    other.wait_for(f"!({silent})")


def test_a_new_alarm_is_heard_once(plant, browser):
    browser.open(plant.address)
    see_fresh(browser, plant)
    start_shift(browser, "Li")
    browser.evaluate(
        "window.tones = 0; window.OscillatorNode = class extends OscillatorNode {"
        " constructor(...a) { super(...a); window.tones += 1; } }"
    )
    plant.journal.record(*burst(1, at=CLOCK.now()))
    browser.wait_for("window.tones === 6")
    plant.journal.record(*burst(1, at=CLOCK.now())[:1])  # the same alarm, told again
    plant.journal.record(*burst(2, at=CLOCK.now(), zone="east")[:1])
    browser.wait_for("window.tones === 12")
    browser.evaluate("location.reload()")
    browser.wait_for("document.querySelector('#A-000002')")
    see_fresh(browser, plant)

    assert browser.evaluate("window.tones === undefined")
    assert browser.errors == []


LINES = """new Set([...document.querySelectorAll('nav.places a')]
    .map(a => Math.round(a.getBoundingClientRect().top))).size"""
BESIDE = "document.documentElement.scrollWidth > innerWidth"


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_the_places_stand_on_one_line_on_a_small_desk_and_none_is_cut_off_on_a_phone(
    plant, browser, language
):
    browser.open(f"{plant.address}language/{language}")
    lines = {}
    for width in (1440, 1100, 390):
        browser.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=844,
            deviceScaleFactor=1,
            mobile=False,
        )
        for page in ("", "registry"):
            browser.open(plant.address + page)
            lines[width, page] = browser.evaluate(LINES), browser.evaluate(BESIDE)

    on_desks = {where: found for where, found in lines.items() if where[0] > 1000}
    assert on_desks == dict.fromkeys(on_desks, (1, False))
    assert [where for where, (count, beside) in lines.items() if beside or count > 4] == []


def test_a_zone_is_added_with_the_form_and_a_point_is_put_into_it(plant, browser):
    browser.open(f"{plant.address}language/en")
    start_shift(browser, "Eng")
    browser.open(f"{plant.address}registry")
    browser.click("#add summary")
    for name, text in (("id", "west"), ("name_zh", "西区"), ("name_en", "West"), ("text", "new")):
        browser.type(f"#add [name='{name}']", text)
    browser.click("#add button")
    browser.wait_for("document.querySelector('#zones a[href=\"/registry/zones/west\"]')")
    browser.open(f"{plant.address}registry/points/north-12/pressure")
    browser.evaluate("document.querySelector('[name=zone]').value = 'west'")
    browser.type("[data-name='edit'] [name='text']", "re-cut")
    browser.click("[data-name='edit'] button")
    browser.wait_for("document.querySelector('#changes') && document.readyState === 'complete'")

    assert browser.evaluate("document.querySelector('[name=zone]').value") == "west"
    assert "North → West" in browser.evaluate("document.querySelector('#changes').textContent")
    assert browser.errors == []
