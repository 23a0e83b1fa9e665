"""The page without scripts: both languages, plain forms, and refusals in the reader's words."""

import json
import re
from dataclasses import fields

import httpx
import pytest

from telemetry.instant import Instant
from telemetry.sample import TimeQuality
from tests.support.books import book
from tests.support.plant import AT, History, Journal, burst, effects


def vars_of(effect) -> dict:
    return {f.name: getattr(effect, f.name) for f in fields(effect)}


async def start_shift(browser: httpx.AsyncClient, name: str) -> None:
    answer = await browser.post("/shift/start", data={"name": name})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


@pytest.mark.parametrize(
    ("language", "words"),
    [
        (
            "zh-CN",
            ["报警", "爆管", "北区", "未确认", "0.2812", "MPa", "派单", "文化路12号压力", "超时"],
        ),
        (
            "en",
            ["Alarms", "Burst", "North", "281.2", "kPa", "Dispatch", "Wenhua Road 12", "timeout"],
        ),
    ],
)
def test_the_page_tells_everything_in_the_language_that_was_chosen(browse, language, words):
    async def act(browser, desk):
        await browser.get(f"/language/{language}")
        return (await browser.get("/")).text

    page = browse(act)

    assert f'<html lang="{language}">' in page
    assert [w for w in [*words, "T-000001", "INC-000002", "gw-01"] if w not in page] == []


@pytest.mark.parametrize(
    ("header", "language"), [("en-GB,en;q=0.9", "en"), ("zh", "zh-CN"), ("fr", "zh-CN")]
)
def test_without_a_choice_the_browser_is_asked(browse, header, language):
    async def act(browser, desk):
        return (await browser.get("/", headers={"accept-language": header})).text

    assert f'<html lang="{language}">' in browse(act)


def test_the_unit_of_pressure_can_be_chosen(browse):
    async def act(browser, desk):
        await browser.get("/language/zh-CN")
        await browser.get("/pressure/bar")
        return (await browser.get("/")).text

    assert "2.812" in browse(act)


def test_the_page_asks_for_nothing_from_elsewhere(browse):
    async def act(browser, desk):
        answer = await browser.get("/")
        return answer.headers, answer.text

    headers, page = browse(act)

    assert headers["content-security-policy"].startswith("default-src 'self';")
    assert re.findall(r'(?:href|src|action)="(?!/|#)[^"]*"', page) == []
    assert " style=" not in page  # which the policy would refuse


def test_a_ticket_goes_its_way_by_plain_forms(browse):
    async def act(browser, desk):
        await start_shift(browser, "李 强")
        said = []
        for step, text in (("accept", ""), ("arrive", ""), ("reply", "换管一段"), ("close", "")):
            version = (await desk.board()).tickets[0].version
            answer = await browser.post(
                f"/tickets/T-000001/{step}", data={"text": text, "version": version}
            )
            said.append((answer.status_code, answer.headers["location"]))
        return said, (await desk.board()).tickets[0], (await browser.get("/")).text

    said, ticket, page = browse(act)

    assert said == [(303, "/")] * 4
    assert (ticket.state, ticket.holder, ticket.result) == ("closed", "李 强", "换管一段")
    assert "换管一段" in page


def test_the_buttons_of_a_ticket_are_those_of_its_state(browse):
    async def act(browser, desk):
        await start_shift(browser, "Li")
        await browser.post("/tickets/T-000001/accept")
        return (await browser.get("/")).text

    steps = re.findall(r'action="/tickets/T-000001/(\w+)"', browse(act))

    assert steps == ["arrive", "depart", "reply", "return", "wait", "transfer", "cancel"]


def test_a_proposal_is_dispatched_and_an_alarm_acknowledged_by_plain_forms(browse):
    async def act(browser, desk):
        await start_shift(browser, "Li")
        await browser.post("/incidents/INC-000002/dispatch")
        await browser.post("/alarms/A-000001/acknowledge", data={"note": ""})
        board = await desk.board()
        page = await browser.get("/", headers={"accept-language": "en"})
        return [t.number for t in board.tickets], [c.subject for c in board.queued], page.text

    tickets, queued, page = browse(act)

    assert tickets == ["T-000001", "T-000002"]
    assert queued == ["A-000001"]
    assert "Li acknowledges, queued" in page


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", "T-000001 is in state issued; allowed now: Accept, Return, Transfer, Cancel"),
        ("zh-CN", "T-000001 当前为“派单”；现在可以：受理、退单、转派、作废"),
    ],
)
def test_a_refusal_has_the_same_words_on_the_page_and_in_the_api(browse, language, words):
    async def act(browser, desk):
        await start_shift(browser, "Li")
        await browser.get(f"/language/{language}")
        page = await browser.post("/tickets/T-000001/close")
        script = await browser.post(
            "/tickets/T-000001/close", headers={"accept": "application/json"}
        )
        api = await browser.post("/api/v1/tickets/T-000001/close", json={"actor": "Li"})
        return page, script, api

    page, script, api = browse(act)

    assert [page.status_code, script.status_code, api.status_code] == [409, 409, 409]
    assert words in page.text
    assert script.json() == api.json() == {"detail": words}


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("shelved by Li until 2", "out of service", "acknowledged by Wang")),
        ("zh-CN", ("Li 搁置至 2", "停用", "Wang 已确认")),
    ],
)
def test_the_list_shows_each_alarm_as_what_it_is(browse, plant, language, words):
    journal = Journal(plant / "journal.db")
    for n in (3, 4):
        journal.record(*burst(n, at=AT, zone=f"z{n}"))
    journal.record(effects.AlarmAcknowledged(at=AT, alarm="A-000003", actor="Wang", note=""))
    journal.close()

    async def act(browser, desk):
        await start_shift(browser, "Li")
        await browser.get(f"/language/{language}")
        until = Instant(AT + 3_600_000)
        await desk.cases.shelve("A-000001", actor="Li", until=until, reason="阀门检修")
        await desk.cases.set_service("A-000002", actor="Li", is_out=True, reason="broken")
        rows = (await browser.get("/api/v1/alarms")).json()
        return (await browser.get("/")).text, {r["id"]: r for r in rows}

    page, rows = browse(act)
    cards = re.findall(r'<li id="(A-\d+)" class="card alarm ([^"]*)" data-shown="(\w+)"', page)

    assert [(name, shown, "unseen" in look) for name, look, shown in cards] == [
        ("A-000004", "unacknowledged", True),
        ("A-000003", "acknowledged", False),
        ("A-000002", "out_of_service", False),
        ("A-000001", "shelved", False),
    ]
    assert [w for w in (*words, "阀门检修") if w not in page] == []
    assert re.findall(r'action="/alarms/(A-\d+)/acknowledge"', page) == ["A-000004"]
    assert (rows["A-000001"]["shown"], rows["A-000001"]["until"]) == ("shelved", AT + 3_600_000)
    assert (rows["A-000004"]["is_heard"], rows["A-000001"]["is_heard"]) == (True, False)


def test_an_alarm_that_was_seen_and_not_decided_says_that_it_sounds_again(browse, plant):
    journal = Journal(plant / "journal.db")
    journal.record(effects.AlarmAcknowledged(at=AT, alarm="A-000002", actor="Wang", note=""))
    journal.close()

    async def act(browser, desk):
        await browser.get("/language/en")
        calm = (await browser.get("/")).text
        desk.ground.clock.at = Instant(AT + 30 * 60_000)
        return calm, (await browser.get("/")).text, await desk.cases.heard()

    calm, again, heard = browse(act, book=book("demo-water"))
    words = "acknowledged by Wang, still undecided: sounds again"

    assert (words in calm, words in again) == (False, True)
    assert [name for name in heard if name.startswith("A-000002")] == [f"A-000002+{AT}"]


def test_in_a_flood_the_unseen_alarms_of_one_incident_are_one_card(browse, plant):
    async def act(browser, desk):
        calm = (await browser.get("/", headers={"accept-language": "en"})).text
        journal = Journal(plant / "journal.db")
        told = [burst(n, at=AT - 1_000)[0] for n in range(11, 19)]
        names = tuple(a.alarm for a in told)
        known = {f.name for f in fields(effects.IncidentUpdated)}
        facts = {k: v for k, v in vars_of(burst(1, at=AT)[1]).items() if k in known}
        updated = effects.IncidentUpdated(**{**facts, "alarms": ("A-000001", *names)})
        journal.record(*told, updated)
        journal.close()
        await desk.catch_up()
        flood = (await browser.get("/", headers={"accept-language": "en"})).text
        return calm, flood, await desk.cases.heard()

    calm, flood, heard = browse(act)
    shown = [re.findall(r'<li id="(A-\d+)" class="card alarm', page) for page in (calm, flood)]

    assert shown[0] == ["A-000001", "A-000002"]
    assert len(shown[1]) == 2
    assert set(re.findall(r'data-unseen="(A-\d+)"', flood)) == set(heard)  # none is lost
    assert ("Flood of alarms" in calm, "Flood of alarms" in flood) == (False, True)
    assert "8 more of the same incident" in flood
    assert len(set(heard.values())) == 2


def test_nobody_acts_before_the_start_of_the_shift(browse):
    async def act(browser, desk):
        answer = await browser.post(
            "/alarms/A-000001/acknowledge", headers={"accept-language": "en"}
        )
        return answer.status_code, answer.text

    status, page = browse(act)

    assert status == 409
    assert "start your shift with your name first" in page


@pytest.mark.parametrize("name", ["", "  ", "x" * 41])
def test_a_shift_needs_a_proper_name(browse, name):
    async def act(browser, desk):
        return (await browser.post("/shift/start", data={"name": name})).status_code

    assert browse(act) == 409


def test_the_end_of_the_shift_forgets_the_name(browse):
    async def act(browser, desk):
        await start_shift(browser, "Li")
        await browser.post("/shift/end")
        return (await browser.post("/alarms/A-000001/acknowledge")).status_code

    assert browse(act) == 409


def test_what_people_type_is_shown_and_never_obeyed(browse):
    async def act(browser, desk):
        await start_shift(browser, "<script>alert(1)</script>")
        await browser.post(
            "/tickets/T-000001/return", data={"text": "<img src=x onerror=alert(2)>"}
        )
        return (await browser.get("/")).text

    page = browse(act)

    assert "<script>alert" not in page
    assert "<img" not in page
    assert "&lt;img src=x" in page


@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/api/v1/nowhere", 404)])
def test_what_is_not_there_is_said_in_words(browse, path, status):
    async def act(browser, desk):
        return await browser.get(path, headers={"accept-language": "en"})

    answer = browse(act)

    assert answer.status_code == status
    assert "there is no such page or thing" in answer.text


def test_a_step_that_does_not_exist_names_the_field(browse):
    async def act(browser, desk):
        await start_shift(browser, "Li")
        return await browser.post("/tickets/T-000001/jump", headers={"accept-language": "en"})

    answer = browse(act)

    assert answer.status_code == 422
    assert "check these fields: step" in answer.text


def test_a_silent_page_says_when_the_trend_is_missing(browse, monkeypatch, tmp_path):
    monkeypatch.setattr("server.web.render.TREND_LIBRARY", tmp_path / "none")

    async def act(browser, desk):
        return (await browser.get("/", headers={"accept-language": "en"})).text

    page = browse(act)

    assert "could not be fetched when this was installed" in page
    assert "281.2" in page


def test_an_effect_that_came_later_is_on_the_next_page(browse, tmp_path):
    async def act(browser, desk):
        journal = Journal(tmp_path / "journal.db")
        journal.record(
            effects.AlarmAcknowledged(at=Instant(AT), alarm="A-000001", actor="Wang", note="")
        )
        journal.close()
        await desk.catch_up()
        return (await browser.get("/", headers={"accept-language": "en"})).text

    assert "acknowledged by Wang" in browse(act)


def pill(page: str) -> str:
    """Return what the page says of the engine."""
    return page[page.index('id="engine"') :].partition("</span>")[0].rpartition(">")[2]


@pytest.mark.parametrize(
    ("state", "language", "words"),
    [
        ("disk_full", "en", "the disk is full; make room, nothing acknowledged is lost"),
        ("disk_full", "zh-CN", "磁盘已满"),
        ("failed", "en", "its files cannot be used"),
        ("serving", "en", "engine down, acts are queued"),
    ],
)
def test_the_page_says_what_the_intake_ended_with(browse, plant, state, language, words):
    said = json.dumps({"state": state, "at": 0, "because": "database or disk is full"})
    (plant / "intake.state").write_text(said.ljust(1023) + "\n")

    async def act(browser, desk):
        page = await browser.get("/", headers={"accept-language": language})
        status = await browser.get("/api/v1/status")
        desk.engine_is(reached=True)
        again = await browser.get("/", headers={"accept-language": language})
        return page.text, status.json()["intake_stopped"], again.text

    page, stopped, again = browse(act)

    assert words in pill(page)
    assert stopped == ("" if state == "serving" else state)
    assert (
        words not in again[again.index('id="engine"') :].partition("</span>")[0].rpartition(">")[2]
    )


@pytest.mark.parametrize(("language", "words"), [("zh-CN", "时标存疑"), ("en", "time doubtful")])
def test_an_instant_that_is_doubtful_is_said_to_be(plant, browse, language, words):
    history = History(plant / "historian.db")
    history.offset = 100
    doubtful = TimeQuality.DOUBTFUL
    history.say(AT - 500, {"north-12/pressure": 279.0}, time_quality=doubtful)
    history.close()

    async def act(browser, desk):
        return (await browser.get("/", headers={"Accept-Language": language})).text

    row = re.search(r'<tr id="point-north-12/pressure".*?</tr>', browse(act), re.DOTALL)[0]
    assert words in row
    assert 'class="doubtful"' in row
