"""Incidents on plain pages: evidence is seen, what may be said is offered, the rest is refused."""

import re

import pytest

from server.config import PageSection
from server.servicecore.rules.incident import State, allowed
from server.servicecore.rules.permissions import Role
from telemetry.instant import HOUR_MS, Instant
from tests.support.books import book
from tests.support.plant import AT
from tests.unit.web.test_auth import enter, join
from tests.unit.web.test_order_pages import CALL, on_shift, told

I1, I2 = "INC-000001", "INC-000002"
PAGE = PageSection(sign_in=True, names=("mainwatch.example",), behind_tls_proxy=True)


async def say(browser, act: str, incident: str = I1, **data):
    return await browser.post(f"/incidents/{incident}/acts/{act}", data=data)


def offered(page: str, incident: str = I1) -> list[str]:
    return re.findall(rf'action="/incidents/{incident}/acts/(\w+)"', page)


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_the_evidence_of_an_incident_is_on_its_page_without_codes(browse, language):
    async def act(browser, desk):
        await on_shift(browser)
        await browser.get(f"/language/{language}")
        contact = await desk.contacts.record(CALL, actor="Li")
        await desk.contacts.attach(contact, I1, actor="Li")
        await desk.plans.order(
            actor="Li", kind="valve", station="V-3", unit="1", act="close", reason="x", incident=I1
        )
        return [(await browser.get(path)).text for path in ("/incidents", f"/incidents/{I1}")]

    pages = browse(act, book=book("demo-water"))

    for part in ("A-000001", "T-000001", "K-000001", "OP-000001", "V-3", "water in the street"):
        assert part in pages[1]
    for page in pages:
        text = re.sub(r"<[^>]*>", " ", page)
        assert re.findall(r"\b[a-z]+_[a-z_]+\b", text) == []


@pytest.mark.parametrize("state", State)
def test_only_what_may_be_said_is_offered_and_the_rest_is_refused(browse, state):
    async def act(browser, desk):
        await on_shift(browser)
        async with desk.ground.database.writing() as session:
            row = await session.get(type((await desk.cases.evidence(I1)).case), I1)
            row.state = state
        page = (await browser.get(f"/incidents/{I1}")).text
        refused = {}
        for one in ("confirm", "watch", "restore", "verify", "close", "false_alarm", "end"):
            if one not in allowed(state):
                answer = await say(browser, one, text="x")
                refused[one] = (answer.status_code, told(answer.text))
        return page, refused, (await desk.cases.evidence(I1)).case.state

    page, refused, now = browse(act)

    saying = set(offered(page)) - {
        *("merge", "split", "drill", "shelve", "unshelve", "service", "acknowledge_alarms")
    }
    assert saying == set(allowed(state)) - {"merge"}
    assert now == state
    assert {status for status, _ in refused.values()} <= {409}
    assert all(I1 in text or "merge" in text for _, text in refused.values())


def test_an_incident_is_confirmed_worked_restored_verified_and_closed_by_forms(browse):
    async def act(browser, desk):
        await on_shift(browser)
        done = [await say(browser, "confirm", I2, kind="burst", text="seen by the crew")]
        done.append(await say(browser, "work", I2))
        done.append(await say(browser, "restore", I2))
        refused = await say(browser, "verify", I2)
        done.append(await say(browser, "verify", I2, waiver="looked at the gauge"))
        done.append(await say(browser, "close", I2))
        return done, refused, (await desk.cases.evidence(I2)).case

    done, refused, case = browse(act)

    assert [a.status_code for a in done] == [303] * 5
    assert refused.status_code == 409
    assert "not verified" in told(refused.text)
    assert (case.state, case.verified_by) == ("closed", "Li")


def test_a_stale_form_of_an_incident_is_refused(browse):
    async def act(browser, desk):
        await on_shift(browser)
        await say(browser, "watch", text="let us see")
        return await say(browser, "confirm", version="1", text="burst")

    answer = browse(act)

    assert answer.status_code == 409
    assert "changed meanwhile" in told(answer.text)


def test_incidents_are_merged_split_and_made_drills(browse):
    async def act(browser, desk):
        await on_shift(browser)
        merged = await say(browser, "merge", I2, into=I1, text="the same main")
        split = await say(browser, "split", alarms="A-000002", text="no, another one")
        part = split.headers["location"]
        page = await browser.get(part)
        drill = await browser.post(f"{part}/acts/drill", data={"text": "practice"})
        again = await browser.get(part)
        played = await browser.post(
            "/drills/play", data={"zone": "north", "kind": "burst", "text": "practice"}
        )
        own = await say(browser, "merge", I1, into=I1, text="x")
        return merged, part, page, drill, again, played, own

    merged, part, page, drill, again, played, own = browse(act)

    assert merged.headers["location"] == f"/incidents/{I2}"
    assert part == f"/incidents/{I1}/2"
    assert "A-000002" in page.text
    assert drill.headers["location"] == part
    assert "DRILL" in again.text
    assert played.headers["location"].startswith("/incidents/DRILL-")
    assert own.status_code == 409


def test_an_alarm_is_shelved_with_reason_and_end_and_taken_out_of_service(browse):
    async def act(browser, desk):
        await on_shift(browser)
        until = str(AT + 2 * HOUR_MS)
        shelved = await say(browser, "shelve", alarm="A-000001", until=until, text="works")
        page = (await browser.get(f"/incidents/{I1}")).text
        twice = await say(browser, "shelve", alarm="A-000001", until=until, text="works")
        back = await say(browser, "unshelve", alarm="A-000001")
        wrong = await say(browser, "shelve", alarm="A-000001", until="soon", text="works")
        out = await say(browser, "service", alarm="A-000001", is_out="true", text="broken")
        after = (await browser.get(f"/incidents/{I1}")).text
        return shelved, page, twice, back, wrong, out, after

    shelved, page, twice, back, wrong, out, after = browse(act)

    assert shelved.status_code == back.status_code == out.status_code == 303
    assert "shelved by Li until" in page
    assert offered(page).count("unshelve") == 1
    assert (twice.status_code, wrong.status_code) == (409, 422)
    assert not re.search(r"\d{13}", told(twice.text))
    assert "expected a time such as" in told(wrong.text)
    assert "out of service" in after


def test_a_proposal_is_dispatched_from_the_page_and_leads_to_its_ticket(browse):
    async def act(browser, desk):
        await on_shift(browser)
        page = (await browser.get(f"/incidents/{I2}")).text
        return offered(page, I2), await say(browser, "dispatch", I2)

    acts, answer = browse(act)

    assert "dispatch" in acts
    assert answer.headers["location"] == "/orders/T-000002"


def test_the_alarms_of_an_incident_are_acknowledged_from_its_page(browse):
    async def act(browser, desk):
        await on_shift(browser)
        before = (await browser.get(f"/incidents/{I1}")).text
        done = await say(browser, "acknowledge_alarms")
        again = await say(browser, "acknowledge_alarms")
        after = (await browser.get(f"/incidents/{I1}")).text
        return before, done, again, after, [c.subject for c in await desk.commands()]

    before, done, again, after, queued = browse(act)

    assert "acknowledge_alarms" in offered(before)
    assert "acknowledge_alarms" not in offered(after)
    assert (done.status_code, again.status_code) == (303, 409)
    assert queued == [I1]


def test_who_may_say_nothing_is_offered_nothing(browse):
    async def act(browser, desk):
        await join(desk, "zhao", Role.AUDITOR)
        await enter(browser, "zhao")
        return (await browser.get(f"/incidents/{I1}")).text

    assert offered(browse(act, PAGE)) == []


def test_telemetry_that_is_calm_for_long_enough_leaves_no_doubt(browse):
    async def act(browser, desk):
        await on_shift(browser)
        before = (await browser.get(f"/incidents/{I1}")).text
        async with desk.ground.database.writing() as session:
            row = await session.get(type((await desk.cases.evidence(I1)).alarms[0]), "A-000001")
            row.active, row.cleared_at = False, Instant(AT)
        desk.ground.clock.at += HOUR_MS
        return before, (await browser.get(f"/incidents/{I1}")).text

    before, after = browse(act)

    assert "A-000001 is active" in before
    assert "telemetry shows that it is over" in after
