"""Tickets on plain pages: what is offered can be done, and what is not is refused with words."""

import re

import pytest

from server.config import PageSection
from server.servicecore.contacts import Asked
from server.servicecore.rules.permissions import Role
from server.servicecore.rules.workorder import TRANSITIONS, State, Step, allowed
from telemetry.instant import DAY_MS, HOUR_MS, Instant
from tests.support.books import book
from tests.support.plant import AT
from tests.unit.web.test_auth import HERE, enter, join

T1 = "T-000001"
PAGE = PageSection(sign_in=True, names=("mainwatch.example",), behind_tls_proxy=True)
SITE = {"accept-language": "en"}
CALL = Asked(
    channel="phone",
    category="leak",
    text="water in the street",
    zone="north",
    name="王小明",
    phone="13800138000",
    account="A-77",
    address="Wenhua Road 9",
)


async def on_shift(browser, name="Li"):
    await browser.get("/language/en")
    await browser.post("/shift/start", data={"name": name})


def offered(page: str, number: str = T1, below: str = "orders") -> list[str]:
    return re.findall(rf'action="/{below}/{number}/steps/(\w+)"', page)


def told(page: str) -> str:
    found = re.search(r'role="alert"><span>(.*?)</span>', page, re.DOTALL)
    return found[1] if found else ""


async def give(browser, act: str, number: str = T1, **data):
    return await browser.post(f"/orders/{number}/{act}", data=data)


WAY = (
    ("accept", {}),
    ("depart", {}),
    ("arrive", {}),
    ("diagnose", {"text": "joint", "dn_mm": "300", "liability": "own", "place": "outdoor"}),
    ("isolate", {}),
    ("restore", {}),
    ("reply", {"text": "new pipe"}),
    ("close", {}),
)


@pytest.mark.requirement("R20")
def test_the_queue_shows_what_is_most_urgent_with_its_limit_in_local_time(browse):
    async def act(browser, desk):
        await on_shift(browser)
        return (await browser.get("/orders")).text

    page = browse(act, book=book("demo-water"))

    assert T1 in page
    assert "accept" in page
    assert "0 h 20 min left" in page
    assert re.search(r"<time>2027-01-15 1\d:\d\d</time>", page)


def test_what_is_late_is_marked_and_drills_too(browse):
    async def act(browser, desk):
        await on_shift(browser)
        desk.ground.clock.at += HOUR_MS
        await desk.cases.set_drill("INC-000001", actor="Li", text="practice")
        return (await browser.get("/orders")).text

    page = browse(act, book=book("demo-water"))

    assert 'class="late"' in page
    assert "late</b>" in page
    assert "DRILL" in page


def test_a_ticket_goes_its_whole_way_by_the_forms_of_its_page(browse):
    async def act(browser, desk):
        await on_shift(browser)
        for step, data in WAY:
            page = (await browser.get(f"/orders/{T1}")).text
            assert step in offered(page), (step, page)
            version = re.search(r'name="version" value="(\d+)"', page)[1]
            answer = await give(browser, f"steps/{step}", version=version, **data)
            assert (answer.status_code, answer.headers["location"]) == (303, f"/orders/{T1}")
        look = await desk.looks.order(T1)
        return look.ticket, (await browser.get(f"/orders/{T1}")).text

    ticket, page = browse(act, book=book("demo-water"))

    assert (ticket.state, ticket.result) == ("closed", "new pipe")
    assert ticket.facts["dn_mm"] == 300
    assert offered(page) == []
    assert "diagnosed" in page


@pytest.mark.parametrize("state", State)
def test_what_is_not_allowed_is_not_offered_and_refused_with_words_when_posted(browse, state):
    async def act(browser, desk):
        await on_shift(browser)
        async with desk.ground.database.writing() as session:
            row = await session.get(type((await desk.looks.order(T1)).ticket), T1)
            row.state = state
        page = (await browser.get(f"/orders/{T1}")).text
        answers = {}
        for step in Step:
            if step not in TRANSITIONS[state]:
                answer = await give(browser, f"steps/{step}", text="x")
                answers[step] = (answer.status_code, answer.text)
        return page, answers, (await desk.looks.order(T1)).ticket.state

    page, answers, now = browse(act)

    nobody_to_call = {Step.CALL_BACK} if state is State.REPLIED else set()
    assert set(offered(page)) == set(allowed(state)) - nobody_to_call
    assert now == state
    for step, (status, text) in answers.items():
        assert status == 409, step
        assert T1 in told(text)
        assert "<h1>" in text
        assert "en_route" not in told(text)


def test_a_stale_form_is_refused_and_what_was_typed_is_still_there(browse):
    async def act(browser, desk):
        await on_shift(browser)
        for step in ("accept", "arrive"):
            await give(browser, f"steps/{step}")
        return await give(browser, "steps/reply", version="1", text="half a sentence")

    answer = browse(act)

    assert answer.status_code == 409
    assert "changed meanwhile" in told(answer.text)
    assert "half a sentence</textarea>" in answer.text


@pytest.mark.requirement("R26", "R76", "R95", "R96")
@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_every_act_beside_the_steps_works_through_its_form(browse, language):
    async def act(browser, desk):
        await on_shift(browser)
        await browser.get(f"/language/{language}")
        await give(browser, "steps/accept")
        soon = "2027-01-18T08:00"
        done = [
            await give(browser, "progress", text="digging"),
            await give(browser, "feedback", text="done as told"),
            await give(browser, "urge", text="the school has no water"),
            await give(browser, "ask_instruction", text="close the road?", of="leader"),
            await give(browser, "instruct", text="yes"),
            await give(browser, "assign", crew="crew-1"),
            await give(browser, "ask_extension", clock="repair", text="rock", plan="x", until=soon),
            await give(browser, "ask_expedite", clock="repair", text="hospital"),
            await give(browser, "hand_over", to="Zhao"),
            await give(browser, "child", task="close valves", category="valve_well"),
            await give(browser, "waive", evidence="tracking", reason="settled_at_once"),
            await give(browser, "form_returned"),
        ]
        page = (await browser.get(f"/orders/{T1}")).text
        own = await give(browser, "extend", is_granted="true")
        await browser.post("/shift/start", data={"name": "Zhao"})
        done += [
            await give(browser, "extend", is_granted="true", text="go on"),
            await give(browser, "expedite", until="2027-01-15T20:00", text="at once"),
            await give(browser, "take_over"),
        ]
        return [a.status_code for a in done], page, own, (await desk.looks.order(T1))

    done, page, own, look = browse(act, book=book("demo-water"))

    assert done == [303] * 15
    assert own.status_code == 409
    assert "Li" in told(own.text)
    assert (look.ticket.holder, look.ticket.crew) == ("Zhao", "crew-1")
    assert len(look.children) == 1
    assert look.children[0].number in page
    assert {"urge", "extend", "expedite", "assign"} <= {e.verb for e in look.history}


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_pages_show_no_codes(browse, language):
    async def act(browser, desk):
        await on_shift(browser)
        await browser.get(f"/language/{language}")
        await desk.contacts.record(CALL, actor="Li")
        await desk.contacts.make_ticket("K-000001", actor="Li")
        pages = []
        for path in ("/orders", f"/orders/{T1}", "/orders/T-000002", "/crew", "/"):
            answer = await browser.get(path)
            assert answer.status_code == 200, path
            pages.append(re.sub(r"<script.*?</script>|<[^>]*>", " ", answer.text, flags=re.DOTALL))
        return pages

    for text in browse(act, book=book("demo-water")):
        assert re.findall(r"\b[a-z]+_[a-z_]+\b", text) == []
        assert "valve_well" not in text


def test_a_crew_is_offered_the_orders_of_its_own_unit_and_no_others(browse):
    async def act(browser, desk):
        for unit in ("north-branch", "east-branch"):
            await desk.shifts.set_unit(unit, actor="A", kind="branch", name=f"The {unit}")
            await desk.shifts.put_on_duty(
                unit, "Wu", actor="A", role="liaison", since=AT, until=Instant(AT + DAY_MS)
            )
        for unit in ("north-branch", "east-branch"):
            name = await desk.contacts.record(CALL, actor="A")
            await desk.contacts.make_ticket(name, actor="A", unit=unit)
        token = await desk.people.add(
            "zhao", name="Zhao", roles=[Role.CREW], unit="north-branch", actor="admin"
        )
        await desk.people.choose_password(token, "a long enough password")
        await enter(browser, "zhao")
        page = (await browser.get("/crew", headers=SITE)).text
        own, other = "T-000002", "T-000003"
        foreign = (await browser.get(f"/orders/{other}", headers=SITE)).text
        done = await browser.post(f"/crew/{own}/steps/accept", headers=HERE)
        refused = await browser.post(f"/orders/{other}/steps/accept", headers={**HERE, **SITE})
        later = (await browser.get("/crew", headers=SITE)).text
        return page, foreign, done, refused, later

    page, foreign, done, refused, later = browse(act, PAGE)

    assert "T-000003" not in page
    assert offered(page, "T-000002", "crew") == ["accept"]
    assert offered(foreign, "T-000003") == []
    assert (done.status_code, done.headers["location"]) == (303, "/crew")
    assert refused.status_code == 409
    assert "may not do this" in told(refused.text)
    assert "arrive" in offered(later, "T-000002", "crew")


@pytest.mark.parametrize(("role", "sees"), [(Role.DISPATCHER, True), (Role.AUDITOR, False)])
def test_personal_data_are_masked_for_who_may_not_see_them(browse, role, sees):
    async def act(browser, desk):
        name = await desk.contacts.record(CALL, actor="A")
        await desk.contacts.make_ticket(name, actor="A")
        await join(desk, "wang", role)
        await enter(browser, "wang")
        paths = ("/orders/T-000002", "/contacts", "/contacts/K-000001", "/crew")
        return [(await browser.get(p)).text for p in paths]

    for page in browse(act, PAGE):
        assert ("13800138000" in page) is sees or "T-000002" in page
        if not sees:
            assert "王小明" not in page
            assert "13800138000" not in page
            assert "Wenhua Road 9" not in page


def test_an_event_that_a_clock_waits_for_is_noted_and_only_where_one_does(browse):
    async def act(browser, desk):
        await on_shift(browser)
        page = (await browser.get(f"/orders/{T1}")).text
        noted = await give(browser, "event", event="reported_to_leader", text="by telephone")
        return page, noted, (await browser.get(f"/orders/{T1}")).text

    page, noted, after = browse(act, book=book("hotline-workflow"))
    without, _, _ = browse(act, book=book("demo-water"))

    assert f"/orders/{T1}/event" in page
    assert f"/orders/{T1}/event" not in without
    assert noted.status_code == 303
    assert "reported to the leader" in after


def test_a_ticket_that_is_not_there_is_said_on_a_plain_page(browse):
    async def act(browser, desk):
        return await browser.get("/orders/T-9", headers=SITE)

    answer = browse(act)

    assert answer.status_code == 404
    assert "there is no T-9" in answer.text
