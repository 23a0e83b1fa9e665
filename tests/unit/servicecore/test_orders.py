"""Tickets at work: each use case is whole, in the trail, and refused with what would be allowed."""

import sqlite3

import pytest

from server.servicecore.desk import Desk
from server.servicecore.dispatch import Order
from server.servicecore.orders import More
from server.servicecore.rules.clocks import Verdict
from server.servicecore.rules.permissions import Role
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.routing import Category
from server.servicecore.rules.workorder import FORM, TRANSITIONS, Evidence, State, Step, allowed
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS, Instant
from tests.support.books import book
from tests.support.plant import AT, burst
from tests.unit.servicecore.at_work import CALL, CREW_WAY, T1, man, role, walk

requirement = pytest.mark.requirement
PROFILES = (
    *("xinyang-water", "hohhot-heating", "shangzhi-gas", "changchun-water", "fushun-water"),
    *("guangzhou-water", "hotline-workflow", "hotline-intake", "hotline-rules", "demo-water"),
)


# --- the way of a ticket --------------------------------------------------------------------------


@requirement("R09", "R20", "R70")
def test_telemetry_opens_a_ticket_with_its_fields_its_policy_and_its_clocks(run_burst, clock):
    async def act(desk: Desk):
        clock.at += 5 * MINUTE_MS
        ticket = (await desk.board()).tickets[0]
        return ticket, {r.clock: r for r in await desk.orders.clocks(T1)}

    ticket, clocks = run_burst(act)

    assert ticket.fields["sender"] == "system:burst"
    assert ticket.fields["cause"].startswith("zone north inflow rose")
    assert (ticket.category, ticket.policy_rev) == (
        Category.BURST,
        book("demo-water").policy.revision,
    )
    assert set(clocks) == {"accept", "onsite", "repair"}
    assert clocks["accept"].due == AT + 20 * MINUTE_MS
    assert clocks["accept"].left_ms == 15 * MINUTE_MS


@requirement("R115")
def test_the_whole_way_of_the_trade_ends_in_the_archive(run_burst, clock):
    async def act(desk: Desk):
        await walk(desk)
        await desk.order_acts.report(T1, actor="Zhao", text="pipe is dry")
        await desk.step(T1, Step.REPLY, actor="Zhao", text="clamp fitted")
        await desk.step(T1, Step.CLOSE, actor="Sun")
        clock.at += DAY_MS
        archived = await desk.orders.archive(actor="Sun", before=Instant(clock.at))
        return archived, await desk.orders.history(T1), (await desk.board()).tickets[0]

    archived, history, ticket = run_burst(act)

    assert archived == [T1]
    assert ticket.state == State.ARCHIVED
    assert [e.verb for e in history] == [
        *("issue", "call", "accept", "depart", "arrive", "diagnose", "isolate", "restore"),
        *("progress", "reply", "close", "archive"),
    ]


def test_no_illegal_step_is_reachable_through_the_desk_from_any_state(run_burst, tmp_path):
    async def act(desk: Desk):
        db = sqlite3.connect(tmp_path / "desk.db", isolation_level=None)
        wrong = []
        for state in State:
            for step in Step:
                db.execute("UPDATE ticket SET state = ?, waited_from = ''", (state,))
                try:
                    found = await desk.step(T1, step, actor="Li", text="words")
                except Refused:
                    if db.execute("SELECT state FROM ticket").fetchone()[0] != state:
                        wrong.append((state, step, "changed although refused"))
                    if step in allowed(state) and step is not Step.CLOSE:  # which wants evidence
                        wrong.append((state, step, "refused"))
                else:
                    if step not in allowed(state) or found is not TRANSITIONS[state][step]:
                        wrong.append((state, step, found))
        db.close()
        return wrong, await desk.trail_break()

    assert run_burst(act) == ([], None)


@pytest.mark.parametrize("policy", PROFILES)
def test_a_burst_is_played_to_the_archive_under_every_profile(run_burst, clock, policy):
    async def act(desk: Desk):
        await walk(desk)
        await desk.step(T1, Step.REPLY, actor="Zhao", text="clamp fitted")
        await desk.step(T1, Step.CLOSE, actor="Sun")
        verdicts = {r.clock: r.verdict for r in await desk.orders.clocks(T1)}
        clock.at += DAY_MS
        await desk.orders.archive(actor="Sun", before=Instant(clock.at))
        return verdicts, (await desk.board()).tickets[0], await desk.trail_break()

    verdicts, ticket, broken = run_burst(act, policy=policy)

    assert (ticket.state, ticket.policy_rev) == (State.ARCHIVED, book(policy).policy.revision)
    assert set(verdicts.values()) <= {Verdict.MET, Verdict.RUNNING}
    assert broken is None


@requirement("R37", "R110")
def test_a_reply_keeps_result_time_handler_and_the_service_form(run_burst):
    form = dict.fromkeys(FORM, "x")

    async def act(desk: Desk):
        await walk(desk)
        half = More(form={**form, "signature": " "})
        with pytest.raises(Refused, match="lacks mandatory fields: signature"):
            await desk.step(T1, Step.REPLY, actor="Zhao", text="clamp", more=half)
        await desk.step(T1, Step.REPLY, actor="Zhao", text="clamp", more=More(form=form))
        return (await desk.orders.history(T1))[-1]

    entry = run_burst(act)

    assert (entry.actor, entry.reason, entry.at) == ("Zhao", "clamp", AT)
    assert entry.data == {"handler": "Zhao", "form": form}


@requirement("R35", "R95")
def test_a_ticket_is_closed_with_its_evidence_and_not_before(run_burst):
    async def act(desk: Desk):
        number = await desk.contacts.make_ticket(
            await desk.contacts.record(CALL, actor="Qian"), actor="Qian"
        )
        await desk.step(number, Step.ACCEPT, actor="Zhao")
        await desk.step(number, Step.REPLY, actor="Zhao", text="nothing found")
        with pytest.raises(Refused, match="cannot be closed without action, call_back"):
            await desk.step(number, Step.CLOSE, actor="Sun")
        with pytest.raises(Refused, match="cannot be waived"):
            await desk.order_acts.waive(number, Evidence.ACTION, actor="Sun", reason="busy")
        await desk.order_acts.waive(number, Evidence.ACTION, actor="Sun", reason="no_work_needed")
        await desk.step(number, Step.CALL_BACK, actor="Sun")
        return await desk.step(number, Step.CLOSE, actor="Sun")

    assert run_burst(act) is State.CLOSED


def test_who_is_not_satisfied_reopens_until_the_loop_is_ended_with_a_reason(run_burst):
    async def act(desk: Desk):
        number = await desk.contacts.make_ticket(
            await desk.contacts.record(CALL, actor="Qian"), actor="Qian"
        )
        await walk(desk, number)
        await desk.step(number, Step.REPLY, actor="Zhao", text="done")
        again = await desk.step(
            number, Step.CALL_BACK, actor="Sun", text="still wet", more=More(is_satisfied=False)
        )
        await desk.step(number, Step.REPLY, actor="Zhao", text="really done")
        with pytest.raises(Refused, match="without call_back"):
            await desk.step(number, Step.CLOSE, actor="Sun")
        with pytest.raises(Refused, match="may not do this"):
            await desk.order_acts.waive(
                number, Evidence.CALL_BACK, actor=role(Role.SHIFT_LEADER), reason="loop_ended"
            )
        await desk.order_acts.waive(number, Evidence.CALL_BACK, actor="Sun", reason="loop_ended")
        return again, await desk.step(number, Step.CLOSE, actor="Sun")

    assert run_burst(act) == (State.REOPENED, State.CLOSED)


def test_what_waits_goes_on_where_it_was(run_burst):
    async def act(desk: Desk):
        await walk(desk, way=CREW_WAY[:4])
        await desk.step(T1, Step.WAIT, actor="Zhao", text="no key", more=More(code="waiting_key"))
        return await desk.step(T1, Step.RESUME, actor="Zhao")

    assert run_burst(act) is State.DIAGNOSED


@requirement("R71", "R72")
def test_a_diagnosis_settles_which_clock_of_hohhot_runs(run_burst):
    async def act(desk: Desk):
        before = [r.clock for r in await desk.orders.clocks(T1)]
        await walk(desk, way=CREW_WAY[:3])
        more = More(facts={"liability": "own", "dn_mm": 300, "weather": "cold"})
        await desk.step(T1, Step.DIAGNOSE, actor="Zhao", text="weld", more=more)
        return before, [r.clock for r in await desk.orders.clocks(T1)]

    assert run_burst(act, policy="hohhot-heating") == (["repair", "onsite"], ["repair"])


def test_a_ticket_keeps_the_policy_it_was_opened_under(run_burst):
    async def look(desk: Desk):
        return [r.clock for r in await desk.orders.clocks(T1)]

    run_burst(look, policy="hohhot-heating")

    assert run_burst(look, policy="demo-water") == ["repair", "onsite"]


@requirement("R64")
def test_a_limit_that_passed_is_on_record_once_and_for_good(run_burst, clock):
    async def act(desk: Desk):
        clock.at += 20 * MINUTE_MS
        early = await desk.orders.watch()
        clock.at += 1
        late = await desk.orders.watch()
        again = await desk.orders.watch()
        await desk.step(T1, Step.ACCEPT, actor="Zhao")
        reading = (await desk.orders.clocks(T1))[0]
        return early, late, again, reading.verdict, (await desk.orders.history(T1))[2]

    early, late, again, verdict, entry = run_burst(act)

    assert (early, late, again) == ([], [(T1, "accept")], [])
    assert verdict is Verdict.MISSED
    assert (entry.verb, entry.data) == ("miss", {"code": "accept", "due": AT + 20 * MINUTE_MS})


@requirement("R97")
def test_the_queue_begins_with_what_is_most_urgent(run_burst, clock, journal):
    async def act(desk: Desk):
        call = await desk.contacts.record(CALL, actor="Qian")
        old = await desk.contacts.make_ticket(call, actor="Qian")
        clock.at += HOUR_MS
        journal.record(*burst(2, at=clock.at))
        await desk.catch_up()
        return old, [q.ticket.number for q in await desk.orders.queue()]

    old, queue = run_burst(act)

    assert queue == [T1, "T-000003", old]


# --- routing and children -------------------------------------------------------------------------


@requirement("R50", "R51", "R59", "R68")
def test_a_burst_goes_to_the_desk_of_its_area_and_at_once_to_its_crew(run, clock, journal):
    async def act(desk: Desk):
        await man(desk, ("north-desk", "branch", ("north",)), ("east-desk", "branch", ("east",)))
        await desk.shifts.set_unit(
            "north-crew", actor="A", kind="crew", name="Crew 1", parent="north-desk"
        )
        for unit, person, duty in (
            ("north-crew", "Zhao", "crew"),
            ("north-desk", "Sun", "representative"),
        ):
            await desk.shifts.put_on_duty(
                unit, person, actor="A", role=duty, since=AT, until=Instant(AT + DAY_MS)
            )
        journal.record(*burst(1, at=AT))
        await desk.catch_up()
        return (await desk.board()).tickets[0], await desk.orders.history(T1)

    ticket, history = run(act)

    assert (ticket.unit, ticket.crew) == ("north-desk", "north-crew")
    assert ticket.data["routing"]["representative"] == "Sun"
    assert ticket.fields["receiver"] == "north-desk"
    assert [(e.verb, e.after) for e in history] == [
        ("issue", "issued"),
        ("assign", "north-crew"),
        ("call", "branch_desk"),
    ]


@requirement("R61")
def test_a_burst_is_never_held_back_for_want_of_a_liaison_but_a_person_is_told(run, journal):
    async def act(desk: Desk):
        await desk.shifts.set_unit("north-desk", actor="A", kind="branch", name="North desk")
        unmanned = await desk.shifts.unmanned()
        journal.record(*burst(1, at=AT))
        journal.record(*burst(2, at=AT, mode="confirm"))
        await desk.catch_up()
        with pytest.raises(Refused, match="North desk has no liaison on duty"):
            await desk.dispatch("INC-000002", actor="Li")
        return unmanned, (await desk.board()).tickets

    unmanned, tickets = run(act)

    assert unmanned == ("north-desk",)
    assert [(t.number, t.unit) for t in tickets] == [(T1, "")]
    assert "no liaison on duty" in tickets[0].data["routing"]["because"]


@requirement("R62", "R64")
def test_one_incident_of_fushun_has_orders_of_several_units_and_closes_after_them(run_burst):
    async def act(desk: Desk):
        await man(desk, ("north-desk", "branch", ("north",)), ("division", "repair_division", ()))
        made = await desk.orders.give_children(T1, actor="Li", place="outdoor")
        again = await desk.orders.give_children(T1, actor="Li", place="outdoor")
        await walk(desk)
        await desk.step(T1, Step.REPLY, actor="Zhao", text="done")
        with pytest.raises(Refused, match="has open child orders: T-000002, T-000003, T-000004"):
            await desk.step(T1, Step.CLOSE, actor="Sun")
        for child in made:
            await desk.step(child, Step.CANCEL, actor="Li", text="not needed")
        state = await desk.step(T1, Step.CLOSE, actor="Sun")
        return again, state, {t.number: t for t in (await desk.board()).tickets if t.parent}

    again, state, children = run_burst(act, policy="fushun-water")

    assert (again, state) == ([], State.CLOSED)
    assert [c.unit for _, c in sorted(children.items())] == ["north-desk", "division", "north-desk"]
    assert {c.incident for c in children.values()} == {"INC-000001"}


@requirement("R53", "R63")
def test_what_a_branch_cannot_solve_goes_to_the_department_with_its_used_time(run_burst, clock):
    async def act(desk: Desk):
        await man(desk, ("north-desk", "branch", ("north",)), ("supply", "department", ()))
        await desk.step(T1, Step.ACCEPT, actor="Zhao")
        clock.at += HOUR_MS
        with pytest.raises(Refused, match="no nowhere unit serves north"):
            await desk.step(
                T1, Step.TRANSFER, actor="Zhao", text="too large", more=More(unit="nowhere")
            )
        await desk.step(
            T1, Step.TRANSFER, actor="Zhao", text="too large", more=More(unit="department")
        )
        ticket = (await desk.board()).tickets[0]
        return ticket, {r.clock: r for r in await desk.orders.clocks(T1)}

    ticket, clocks = run_burst(act)

    assert (ticket.state, ticket.unit, ticket.holder) == (State.ISSUED, "supply", "")
    assert clocks["repair"].due == AT + 24 * HOUR_MS


def test_an_order_without_its_fields_is_refused_and_nothing_is_changed(run):
    order = Order(
        incident="",
        zone="north",
        kind="leak",
        severity=3,
        category=Category.LEAK,
        data={"points": []},
        fields={"sender": "Li", "cause": "", "account": "1", "contact": "2"},
        identity=("hand", 0, 0),
        reason="x",
    )

    async def act(desk: Desk):
        with pytest.raises(Refused, match="lacks mandatory fields: cause"):
            await desk.orders.open(order, actor="Li")
        return await desk.board()

    board = run(act)

    assert (board.tickets, [e.verb for e in board.trail]) == ((), ["adopt"])
