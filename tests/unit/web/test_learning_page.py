"""The page of what was learnt, in both languages, and the same for programs."""

from pathlib import Path

import pytest

from server.engine.effects import ModelApplied
from server.engine.training import note_of
from telemetry.instant import DAY_MS, Instant
from tests.support.plant import AT, Journal
from tests.unit.web.test_order_pages import on_shift, told
from tests.unit.web.test_register_pages import post

CLEAN = {"start": str(AT - 40 * DAY_MS), "end": str(AT - 20 * DAY_MS), "text": "before the leak"}


def model(zone: str, at: int, state: str, days: int, **more) -> ModelApplied:
    facts = {"threshold": None, "alarms_a_year": None, "past_days": 0, "is_chosen": False} | more
    window = (Instant(at - 42 * DAY_MS), Instant(at))
    return ModelApplied(
        at=Instant(at), zone=zone, window=window, hash="f00d" * 16, state=state, days=days, of=14,
        **facts,
    )  # fmt: skip


@pytest.fixture
def learnt(plant: Path) -> None:
    """Let one zone be ready since yesterday and one be learning."""
    journal = Journal(plant / "journal.db")
    ready = {"threshold": 21.5, "alarms_a_year": 1.2, "past_days": 60}
    journal.record(model("north", AT - 2 * DAY_MS, "learning", 13))
    journal.record(model("north", AT - DAY_MS, "ready", 14, **ready))
    journal.record(model("north", AT - 1000, "ready", 15, **ready))
    journal.record(model("east", AT - 1000, "learning", 9))
    journal.close()


@pytest.mark.usefixtures("learnt")
@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("learning, 9 of 14 days; limits only", ": 1.2 alarms a year by its own past (60")),
        ("zh-CN", ("学习中，已 9/14 天；仅限值报警", "（60 天）预计每年 1.2 次报警")),
    ],
)
def test_the_page_says_how_far_each_zone_is(browse, language, words):
    async def act(browser, _desk):
        browser.cookies.set("mw_language", language)
        return (await browser.get("/learning")).text

    page = browse(act)

    assert [w for w in words if w not in page] == []
    assert "<code" in page
    assert "f00df00df00d</code>" in page


@pytest.mark.usefixtures("learnt")
def test_a_chosen_period_is_asked_for_with_its_entry_in_the_trail(browse):
    async def act(browser, desk):
        await on_shift(browser)
        done = await post(browser, "/learning/north/train", **CLEAN)
        twice = await post(browser, "/learning/north/train", **CLEAN)
        short = await post(browser, "/learning/north/train", **{**CLEAN, "start": CLEAN["end"]})
        page = (await browser.get("/learning")).text
        api = await browser.get("/api/v1/learning?zone=north")
        entries = (await browser.get("/api/v1/trail?entity=north")).json()
        return done, twice, short, page, api.json(), entries, await desk.commands()

    done, twice, short, page, (zone,), entries, commands = browse(act)

    assert (done.status_code, done.headers["location"]) == (303, "/learning#north")
    assert (twice.status_code, "nothing would change" in told(twice.text)) == (409, True)
    assert (short.status_code, "an end after the beginning" in told(short.text)) == (409, True)
    assert "asked at" in page
    assert (zone["state"], zone["ready_since"]) == ("ready", AT - DAY_MS)
    assert [m["days"] for m in zone["models"]] == [15, 14, 13]
    assert (zone["asked"]["is_open"], zone["asked"]["begin"]) == (True, int(CLEAN["start"]))
    (command,) = [c for c in commands if c.verb == "train"]
    period = (Instant(int(CLEAN["start"])), Instant(int(CLEAN["end"])))
    assert (command.subject, command.note) == ("north", note_of(period))
    assert "before the leak" in str(entries)


def test_a_period_that_cannot_be_is_refused_in_words(browse):
    wrong = {
        "at least 14 days": ("north", -30, -20),
        "that is over": ("north", -30, 1),
        "the last 132 days": ("north", -140, -100),
        "there is no atlantis": ("atlantis", -40, -20),
    }

    async def act(browser, _desk):
        browser.cookies.set("mw_language", "en")
        answers = {}
        for words, (zone, first, last) in wrong.items():
            body = {"start": str(AT + first * DAY_MS), "end": str(AT + last * DAY_MS)}
            body |= {"text": "x", "actor": "Li"}
            answers[words] = await browser.post(f"/api/v1/learning/{zone}/train", json=body)
        missing = await browser.get("/api/v1/learning?zone=atlantis")
        return answers, missing

    answers, missing = browse(act)

    assert {w: a.status_code for w, a in answers.items()} == dict.fromkeys(wrong, 409)
    assert [w for w, a in answers.items() if w not in a.json()["detail"]] == []
    assert missing.status_code == 404
