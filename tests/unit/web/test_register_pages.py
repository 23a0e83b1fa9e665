"""Contacts, works, orders, shifts, points, figures and the trail on plain pages."""

import re
from dataclasses import replace

import pytest
from sqlalchemy import text as sql

from server.config import PageSection
from server.servicecore.contacts import VISIT
from server.servicecore.rules.permissions import Role
from server.servicecore.rules.policy_form import Sourced
from telemetry.instant import DAY_MS, HOUR_MS, Instant
from tests.support.books import book
from tests.support.plant import AT, History
from tests.unit.web.test_auth import enter, join
from tests.unit.web.test_order_pages import CALL, T1, on_shift, told

PAGE = PageSection(sign_in=True, names=("mainwatch.example",), behind_tls_proxy=True)
CALLED = {
    "channel": "phone",
    "category": "no_water",
    "text": "no water since noon",
    "zone": "north",
    "name": "王小明",
    "phone": "13800138000",
}


EDIT = {"zone": "north", "name_zh": "压力", "name_en": "Pressure", "text": "in the centre"}
PROMISED = {"place": "central"}


async def post(browser, path, **data):
    return await browser.post(path, data=data)


# --- contacts -------------------------------------------------------------------------------------


@pytest.mark.requirement("R22", "R34")
def test_a_contact_is_written_down_and_goes_its_way_to_a_ticket_by_forms(browse):
    async def act(browser, desk):
        await on_shift(browser)
        new = await post(browser, "/contacts/new", **CALLED)
        page = await browser.get(new.headers["location"])
        attached = await post(browser, "/contacts/K-000001/attach", incident="INC-000001")
        made = await post(browser, "/contacts/K-000001/ticket", severity="2")
        again = await post(browser, "/contacts/K-000001/ticket", severity="2")
        offer = await post(browser, "/contacts/K-000001/hand_over", to="Zhao")
        early = await post(browser, "/contacts/K-000001/take_over")
        await post(browser, "/shift/start", name="Zhao")
        taken = await post(browser, "/contacts/K-000001/take_over")
        told_him = await post(browser, "/contacts/K-000001/inform", text="it runs again")
        row, _ = await desk.looks.contact("K-000001")
        return (new, attached, made, offer, taken, told_him), page, again, early, row

    done, page, again, early, row = browse(act)

    assert [a.status_code for a in done] == [303] * 6
    assert done[0].headers["location"] == "/contacts/K-000001"
    assert done[2].headers["location"] == "/orders/T-000002"
    assert "first asked" in page.text
    assert (again.status_code, early.status_code) == (409, 409)
    assert "made a ticket" in told(again.text)
    assert (row.first_asked, row.holder, row.incident) == ("Li", "Zhao", "INC-000001")
    assert (row.state, row.answer) == ("settled", "it runs again")


@pytest.mark.requirement("R27", "R36")
def test_what_can_be_answered_at_once_needs_no_ticket_and_a_visit_needs_its_six_fields(browse):
    async def act(browser, desk):
        await on_shift(browser)
        asked = {**CALLED, "category": "enquiry", "nature": "enquiry", "answer": "until five"}
        answered = await post(browser, "/contacts/new", **asked)
        short = await post(browser, "/contacts/new", **{**CALLED, "channel": "visit"})
        visit = {**dict.fromkeys(VISIT, "x"), **CALLED, "channel": "visit"}
        visit.pop("contact")
        whole = await post(browser, "/contacts/new", **visit)
        rows = await desk.looks.contacts()
        return answered, short, whole, rows

    answered, short, whole, rows = browse(act)

    assert answered.status_code == whole.status_code == 303
    assert short.status_code == 409
    assert "no water since noon</textarea>" in short.text
    assert {r.state for r in rows} == {"answered", "open"}


@pytest.mark.requirement("R29")
def test_a_requester_is_told_how_it_stands_by_ticket_and_telephone_together(browse):
    async def act(browser, desk):
        await on_shift(browser)
        await post(browser, "/contacts/new", **CALLED)
        await post(browser, "/contacts/K-000001/ticket", severity="2")
        right = await post(browser, "/contacts/status", ticket="T-000002", phone="13800138000")
        wrong = await post(browser, "/contacts/status", ticket="T-000002", phone="1")
        return right, wrong

    right, wrong = browse(act)

    assert 'id="status"' in right.text
    assert wrong.status_code == 409
    assert 'id="status"' not in wrong.text


@pytest.mark.requirement("R81")
def test_the_months_messages_are_owed_on_the_page_until_somebody_says_they_were_sent(browse):
    rules = book("xinyang-water")
    day = {"arrears.day_of_month": Sourced(value=31.0, source="site: asked")}
    rules = replace(rules, policy=replace(rules.policy, values={**rules.policy.values, **day}))

    async def act(browser, desk):
        await on_shift(browser)
        before = (await browser.get("/contacts")).text
        done = await post(browser, "/arrears/sent", text="412 messages")
        again = await post(browser, "/arrears/sent", text="412 messages")
        return before, done, again, (await browser.get("/contacts")).text

    before, done, again, after = browse(act, book=rules)

    assert ("due before" in before, 'action="/arrears/sent"' in before) == (True, True)
    assert (done.status_code, again.status_code) == (303, 409)
    assert "were sent by Li" in told(again.text)
    assert ("sent by Li" in after, 'action="/arrears/sent"' in after) == (True, False)


# --- works and orders -----------------------------------------------------------------------------


@pytest.mark.requirement("R05")
def test_planned_work_needs_its_notice_before_it_begins_and_may_be_called_off(browse):
    async def act(browser, desk):
        await on_shift(browser)
        plan = {"zone": "north", "cause": "new valve", "plan": "feed from the east"}
        times = {"start": "2027-01-16T08:00", "end": "2027-01-16T18:00"}
        late = await post(browser, "/works/new", **plan, start=times["end"], end=times["start"])
        made = await post(browser, "/works/new", **plan, **times, stops_supply="true")
        await post(browser, "/works/new", **plan, **times)
        early = await post(browser, "/works/PW-000001/begin")
        noticed = await post(browser, "/works/PW-000001/notice", text="Wenhua Road, 8 to 18")
        begun = await post(browser, "/works/PW-000001/begin")
        page = (await browser.get("/works")).text
        ended = await post(browser, "/works/PW-000001/end", text="done")
        off = await post(browser, "/works/PW-000002/call_off", text="rain")
        again = await post(browser, "/works/PW-000001/begin")
        work = (await desk.plans.works(Instant(0), Instant(AT + 9 * DAY_MS)))[0]
        return (made, noticed, begun, ended, off), (late, early, again), page, work

    done, refused, page, work = browse(act, book=book("hotline-rules"))

    assert [a.status_code for a in done] == [303] * 5
    assert [a.status_code for a in refused] == [409] * 3
    assert "needs a notice" in told(refused[1].text)
    assert (work.end - work.start, work.state) == (10 * HOUR_MS, "ended")
    assert "Wenhua Road, 8 to 18" in page
    assert re.findall(r'action="/works/PW-000001/(\w+)"', page) == ["end", "prolong"]


@pytest.mark.requirement("R06")
def test_a_pump_order_is_given_carried_out_and_confirmed_by_another(browse):
    async def act(browser, desk):
        await on_shift(browser)
        order = {"act": "pump start", "station": "West", "unit": "2", "text": "low pressure"}
        given = await post(browser, "/operations/new", **order)
        done = await post(browser, "/operations/OP-000001/execute", by="Ma", at=str(AT))
        own = await post(browser, "/operations/OP-000001/confirm")
        await post(browser, "/shift/start", name="Zhao")
        confirmed = await post(browser, "/operations/OP-000001/confirm")
        wrong = await post(browser, "/operations/new", **{**order, "act": "pump open"})
        return given, done, own, confirmed, wrong, (await browser.get("/works")).text

    given, done, own, confirmed, wrong, page = browse(act)

    assert [a.status_code for a in (given, done, confirmed)] == [303] * 3
    assert own.status_code == wrong.status_code == 409
    assert "start the pump" in page
    assert page.count('action="/operations/OP-000001') == 0


# --- the shift ------------------------------------------------------------------------------------


def test_a_shift_is_handed_over_and_taken_by_another(browse):
    async def act(browser, desk):
        await on_shift(browser)
        given = await post(browser, "/shift/handover", text="watch the north")
        own = await post(browser, "/shift/H-000001/take")
        await post(browser, "/shift/start", name="Zhao")
        page = (await browser.get("/shift")).text
        taken = await post(browser, "/shift/H-000001/take")
        return given, own, page, taken, await desk.shifts.handover("H-000001")

    given, own, page, taken, row = browse(act)

    assert given.status_code == taken.status_code == 303
    assert own.status_code == 409
    assert "watch the north" in page
    assert "A-000001" in page
    assert "INC-000001" in page
    assert (row.outgoing, row.incoming) == ("Li", "Zhao")


@pytest.mark.requirement("R61")
def test_units_and_duty_are_entered_and_a_desk_without_a_liaison_is_told(browse):
    async def act(browser, desk):
        await on_shift(browser)
        unit = {"id": "north-branch", "kind": "branch", "name": "North branch", "zones": "north"}
        made = await post(browser, "/shift/unit", **unit, is_active="true")
        before = (await browser.get("/shift")).text
        duty = {"unit": "north-branch", "person": "Wu", "role": "liaison"}
        times = {"since": str(AT), "until": str(AT + DAY_MS)}
        put = await post(browser, "/shift/duty", **duty, **times)
        wrong = await post(browser, "/shift/duty", **duty, since=times["until"], until=str(AT))
        return made, before, put, wrong, (await browser.get("/shift")).text

    made, before, put, wrong, after = browse(act)

    assert made.status_code == put.status_code == 303
    assert wrong.status_code == 409
    assert "No liaison on duty" in before
    assert "No liaison on duty" not in after
    assert "Wu liaison" in after


def test_a_call_that_is_owed_is_listed_until_it_was_made(browse):
    async def act(browser, desk):
        await on_shift(browser)
        before = (await browser.get("/shift")).text
        call = (await desk.order_acts.calls())[0]
        done = await post(browser, f"/calls/{call.id}/called", text="he knows")
        return before, call, done, (await desk.order_acts.calls())

    before, call, done, left = browse(act, book=book("hotline-workflow"))

    assert f"/calls/{call.id}/called" in before
    assert done.status_code == 303
    assert call.id not in [c.id for c in left]


# --- what has been --------------------------------------------------------------------------------


def test_a_month_is_shown_with_targets_and_the_tickets_behind_each_figure(browse):
    async def act(browser, desk):
        await on_shift(browser)
        for step, words in (("accept", ""), ("arrive", ""), ("reply", "new pipe")):
            await post(browser, f"/orders/{T1}/steps/{step}", text=words)
        now = (await browser.get("/figures?month=2027-01")).text
        before = await browser.get("/figures?month=2026-12")
        nonsense = await browser.get("/figures?month=soon")
        return now, before, nonsense

    now, before, nonsense = browse(act, book=book("xinyang-water"))

    row = re.search(r'<tr id="repair_timeliness">.*?</tr>', now, re.DOTALL)[0]
    assert "100.0 %" in row
    assert f"/orders/{T1}" in row
    assert "n/a" in before.text
    assert T1 not in before.text
    assert nonsense.status_code == 200
    assert "2027-01" in nonsense.text


@pytest.mark.requirement("R02")
def test_a_month_shows_the_pressure_compliance_of_each_zone_and_of_the_network(browse, plant):
    history = History(plant / "historian.db")
    history.offset = 1_000
    for hour in range(4):
        kpa = 279.9 if hour == 3 else 280.0  # exactly the promise is kept
        history.say(AT + (hour + 1) * HOUR_MS, {"north-12/pressure": kpa})
    history.say(AT - HOUR_MS, {"north-12/pressure": 100.0})  # nothing was promised yet
    history.close()

    async def act(browser, desk):
        await on_shift(browser)
        unpromised = (await browser.get("/figures?month=2027-01")).text
        await post(browser, "/registry/points/north-12/pressure/edit", **EDIT, **PROMISED)
        desk.ground.clock.at += 5 * HOUR_MS
        return unpromised, (await browser.get("/figures?month=2027-01")).text

    unpromised, page = browse(act, book=book("xinyang-water"))

    assert "no pressure point with a promised pressure" in unpromised
    for row in ("compliance-north", "compliance-network"):
        found = re.search(rf'<tr id="{row}">.*?</tr>', page, re.DOTALL)[0]
        assert "75.0 %" in found
        assert "97.0 %" in found
        assert "✗" in found


@pytest.mark.requirement("R38")
def test_the_trail_is_paged_and_says_whether_its_chain_holds(browse):
    async def act(browser, desk):
        await on_shift(browser)
        for n in range(60):
            await post(browser, f"/orders/{T1}/urge", text=f"again {n}")
        first = (await browser.get("/trail")).text
        older = (await browser.get(re.search(r'href="(/trail\?before=\d+)"', first)[1])).text
        async with desk.ground.database.writing() as session:
            found = (
                "SELECT name FROM sqlite_master WHERE type='trigger' AND tbl_name='ticket_event'"
            )
            for name in list(await session.scalars(sql(found))):
                await session.execute(sql(f'DROP TRIGGER "{name}"'))
            await session.execute(sql("UPDATE ticket_event SET reason='x' WHERE seq=3"))
        return first, older, (await browser.get("/trail")).text

    first, older, broken = browse(act)

    assert "is whole" in first
    assert "again 59" in first
    assert "again 59" not in older
    assert "breaks at entry 3" in broken


def test_the_trail_is_the_auditors_alone(browse):
    async def act(browser, desk):
        answers = []
        for login, role in (("wang", Role.DISPATCHER), ("zhou", Role.AUDITOR)):
            await join(desk, login, role)
            await enter(browser, login)
            answers.append(await browser.get("/trail", headers={"accept-language": "en"}))
        return answers

    dispatcher, auditor = browse(act, PAGE)

    assert dispatcher.status_code == 409
    assert "auditor" in told(dispatcher.text)
    assert auditor.status_code == 200
    assert "is whole" in auditor.text


@pytest.mark.requirement("R01", "R08")
def test_pressure_points_are_registered_and_shown_with_the_promise_that_holds_there(browse):
    async def act(browser, desk):
        await on_shift(browser)
        await post(browser, "/registry/points/north-12/pressure/edit", **EDIT, **PROMISED)
        point = {"point": "north-12/pressure", "zone": "north"}
        more = {"health": "good", "covers_km2": "5", "calibrated_at": "2026-12-01T00:00"}
        made = await post(browser, "/points/new", **point, **more)
        wrong = await post(browser, "/points/new", **point, health="fine")
        return made, wrong, (await browser.get("/points")).text

    made, wrong, page = browse(act, book=book("xinyang-water"))

    assert made.status_code == 303
    assert wrong.status_code == 409
    row = re.search(r'<a href="/registry/points/north-12/pressure">.*?</tr>', page, re.DOTALL)[0]
    assert "280.0 kPa" in row
    assert "by policy xinyang-water" in row
    assert "<code>pressure.central.min_mpa</code>" in row
    assert "2.00" in page
    other = re.search(r'<a href="/registry/points/north-27/pressure">.*?</tr>', page, re.DOTALL)[0]
    assert "health and calibration not registered" in other  # the registry alone knows it


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_every_page_is_without_codes_in_both_languages_and_alone_on_the_network(browse, language):
    async def act(browser, desk):
        await on_shift(browser)
        await browser.get(f"/language/{language}")
        await desk.contacts.record(CALL, actor="Li")
        await desk.shifts.open_handover(actor="Li", remarks="")
        paths = ("/contacts", "/contacts/K-000001", "/works", "/shift", "/figures", "/trail")
        paths = (*paths, "/points", "/incidents", "/orders", "/registry", "/access")
        place = "/registry/points/north-12/pressure"
        edit = {"zone": "north", "name_zh": "压力", "name_en": "Pressure", "text": "2"}
        await post(browser, f"{place}/edit", **edit, **PROMISED, low="280")
        await post(browser, f"{place}/edit", **edit, low="270")  # which waits for another
        paths = (*paths, place, "/registry/zones/north")
        return [(p, await browser.get(p)) for p in paths]

    for path, answer in browse(act, book=book("demo-water")):
        assert answer.status_code == 200, path
        assert f'<html lang="{language}">' in answer.text
        named = re.sub(r"<code>pressure\.\w+\.min_mpa</code>", " ", answer.text)  # as in its file
        text = re.sub(r"<[^>]*>", " ", named)
        assert re.findall(r"\b[a-z]+_[a-z_]+\b", text) == [], path
        assert re.findall(r'(?:href|src|action)="(?!/|#)[^"]*"', answer.text) == []
        assert " style=" not in answer.text
        if language == "zh-CN":
            assert re.findall(r"\b(?:open|closed|Show|limit)\b", text) == [], path


def test_a_form_that_cannot_be_read_is_told_on_a_plain_page(browse):
    async def act(browser, desk):
        await on_shift(browser)
        return await post(browser, f"/orders/{T1}/waive", evidence="nonsense", reason="x")

    answer = browse(act)

    assert answer.status_code == 422
    assert "evidence" in told(answer.text)
    assert "<main" in answer.text


def test_a_language_and_a_name_that_are_chosen_lead_back_to_the_page(browse):
    async def act(browser, desk):
        chosen = await browser.get("/language/en?back=/orders")
        started = await post(browser, "/shift/start", name="Li", back="/crew")
        foreign = await browser.get("/language/en?back=//evil.example/")
        return [a.headers["location"] for a in (chosen, started, foreign)]

    assert browse(act) == ["/orders", "/crew", "/"]
