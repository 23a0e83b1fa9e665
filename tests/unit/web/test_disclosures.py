"""Who was shown personal data: an entry before it is shown, for the auditor; nobody undoes it."""

from dataclasses import replace

import pytest
from sqlalchemy import text as sql

from server.servicecore.rules.permissions import Actor, Role
from server.servicecore.rules.policy_form import Sourced
from telemetry.errors import StorageError
from telemetry.instant import DAY_MS
from tests.support.books import book
from tests.support.plant import AT
from tests.unit.web.test_auth import HERE, enter, join
from tests.unit.web.test_register_pages import CALLED, PAGE, post

pytestmark = pytest.mark.requirement("R41")
AUDITOR = Actor(name="Audit", roles=frozenset({Role.AUDITOR}))
PHONE = CALLED["phone"]


async def entries(desk):
    return [(e.by, e.subjects, e.place, e.reason) for e in (await log(desk)).entries]


async def log(desk):
    return await desk.disclosures.page(actor=AUDITOR)


def test_whoever_is_shown_personal_data_leaves_one_entry_and_who_sees_a_mask_none(browse):
    async def act(browser, desk):
        told = {}
        for role in (Role.CALL_TAKER, Role.LEADER):
            await join(desk, role, role)
            await enter(browser, role)
            if role is Role.CALL_TAKER:
                await browser.post("/contacts/new", data=CALLED, headers=HERE)
            paths = ("/contacts", "/contacts/K-000001", "/contacts/K-000001")
            told[role] = [PHONE in (await browser.get(p)).text for p in paths]
            api = (await browser.get("/api/v1/contacts/K-000001")).json()
            told[role].append(api["phone"] == PHONE)
        return told, await entries(desk)

    told, found = browse(act, PAGE)

    assert told == {Role.CALL_TAKER: [True] * 4, Role.LEADER: [False] * 4}
    assert [(subjects, place) for _, subjects, place, _ in found] == [
        (["K-000001"], "/api/v1/contacts/K-000001"),
        (["K-000001"], "/contacts/K-000001"),
        (["K-000001"], "/contacts"),
    ]
    assert len({by for by, *_ in found}) == 1


def test_the_ticket_of_a_contact_is_its_reason_and_a_rules_ticket_tells_of_nobody(browse):
    async def act(browser, desk):
        await post(browser, "/shift/start", name="Zhao")
        await post(browser, "/contacts/new", **CALLED)
        await post(browser, "/contacts/K-000001/ticket", severity="2")
        await browser.get("/orders/T-000001")  # the engine's own
        page = (await browser.get("/orders/T-000002")).text
        return PHONE in page, await entries(desk)

    shown, found = browse(act)

    assert shown
    assert [e for e in found if "orders" in e[2]] == [
        ("Zhao", ["T-000002"], "/orders/T-000002", "T-000002")
    ]


def test_where_the_policy_asks_why_nothing_is_shown_without_a_reason(browse):
    rules = book("demo-water")
    asks = {"privacy.ask_reason": Sourced(value=True, source="site: the data protection officer")}
    policy = replace(rules.policy, values={**rules.policy.values, **asks})

    async def act(browser, desk):
        await post(browser, "/shift/start", name="Zhao")
        await post(browser, "/contacts/new", **CALLED)
        masked = [PHONE in (await browser.get(p)).text for p in ("/contacts", "/contacts/K-000001")]
        blank = await post(browser, "/contacts/K-000001/look", text=" ")
        before = await entries(desk)
        shown = await post(browser, "/contacts/K-000001/look", text="calls about T-000009")
        return masked, blank, before, shown.text, await entries(desk)

    masked, blank, before, shown, after = browse(act, book=replace(rules, policy=policy))

    assert (masked, before) == ([False, False], [])
    assert (blank.status_code, PHONE in blank.text) == (409, False)
    assert PHONE in shown
    assert after == [
        ("Zhao", ["K-000001"], "/contacts/K-000001/look", "calls about T-000009"),
    ]


def test_the_log_is_the_auditors_and_is_kept_as_long_as_the_records(browse):
    async def act(browser, desk):
        await join(desk, "qian", Role.CALL_TAKER)
        await join(desk, "audit", Role.AUDITOR)
        await enter(browser, "qian")
        await browser.post("/contacts/new", data=CALLED, headers=HERE)
        await browser.get("/contacts/K-000001")
        refused = await browser.get("/access")
        await enter(browser, "audit")
        page = (await browser.get("/access")).text
        for change in ("DELETE FROM disclosure", "UPDATE disclosure SET by = 'nobody'"):
            with pytest.raises(StorageError, match="nothing is changed or deleted"):
                async with desk.ground.database.writing() as session:
                    await session.execute(sql(change))
        return refused.status_code, page, (await log(desk)).entries[0]

    refused, page, entry = browse(act, PAGE, book("demo-water"))

    assert refused == 409
    assert "K-000001" in page
    assert PHONE not in page
    assert entry.keep_until >= AT + 5 * 365 * DAY_MS


def test_reading_is_no_news_to_the_screens(browse):
    async def act(browser, desk):
        await post(browser, "/shift/start", name="Zhao")
        await post(browser, "/contacts/new", **CALLED)
        before = (await desk.board()).revision
        await browser.get("/contacts/K-000001")
        return before, (await desk.board()).revision, await entries(desk)

    before, after, found = browse(act)

    assert before == after
    assert len(found) == 1
