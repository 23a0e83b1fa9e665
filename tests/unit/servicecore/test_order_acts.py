"""Beside a ticket's way: urges, extensions, hand-over, calls, rights, and that records are kept."""

import sqlite3

import pytest

from server.servicecore.desk import Desk
from server.servicecore.plans import Planned
from server.servicecore.rules import incident as cases
from server.servicecore.rules.permissions import Role
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.workorder import Evidence, State, Step
from telemetry.instant import DAY_MS, HOUR_MS, Instant
from tests.support.plant import AT
from tests.unit.servicecore.at_work import CALL, T1, man, role

requirement = pytest.mark.requirement


# --- beside the way -------------------------------------------------------------------------------


@requirement("R95", "R96")
def test_urges_are_counted_and_instructions_asked_and_given(run_burst):
    async def act(desk: Desk):
        first = await desk.order_acts.urge(T1, actor="Qian", text="the street is under water")
        second = await desk.order_acts.urge(T1, actor="Qian", text="still")
        await desk.order_acts.ask_instruction(T1, actor="Zhao", text="close the road?", of="leader")
        await desk.order_acts.instruct(T1, actor="Chief", text="close it")
        with pytest.raises(Refused, match="say why"):
            await desk.order_acts.urge(T1, actor="Qian", text=" ")
        return first, second, [e.verb for e in await desk.orders.history(T1)][-2:]

    assert run_burst(act) == (1, 2, ["ask_instruction", "instruct"])


@requirement("R73", "R76")
def test_an_extension_is_asked_before_the_limit_and_granted_by_another(run_burst, clock):
    async def act(desk: Desk):
        expected = Instant(AT + 40 * HOUR_MS)

        async def ask(actor: str = "Zhao") -> None:
            await desk.order_acts.ask_extension(
                T1, actor=actor, clock="repair", reason="rock", plan="drill", expected=expected
            )

        await ask()
        with pytest.raises(Refused, match="another must decide"):
            await desk.order_acts.decide_extension(T1, actor="Zhao", is_granted=True)
        await desk.order_acts.decide_extension(T1, actor="Chief", is_granted=True, text="yes")
        granted = {r.clock: r for r in await desk.orders.clocks(T1)}["repair"]
        clock.at += 40 * HOUR_MS
        with pytest.raises(Refused, match="asked for before the limit"):
            await ask()
        return granted

    granted = run_burst(act)

    assert (granted.due, granted.is_extended) == (AT + 40 * HOUR_MS, True)


def test_a_long_extension_is_not_the_shift_leaders(run_burst):
    async def act(desk: Desk):
        await desk.order_acts.ask_extension(
            T1,
            actor="Zhao",
            clock="repair",
            reason="rock",
            plan="drill",
            expected=Instant(AT + 3 * DAY_MS),
        )
        with pytest.raises(Refused, match="allowed: leader"):
            await desk.order_acts.decide_extension(
                T1, actor=role(Role.SHIFT_LEADER), is_granted=True
            )
        await desk.order_acts.decide_extension(T1, actor=role(Role.LEADER), is_granted=False)
        return (await desk.orders.history(T1))[-1].verb

    assert run_burst(act) == "refuse"


@requirement("R26")
def test_a_leader_expedites_and_chooses_the_shorter_limit(run_burst):
    async def act(desk: Desk):
        await desk.order_acts.ask_expedite(T1, actor="Qian", clock="repair", reason="hospital")
        with pytest.raises(Refused, match="allowed: leader"):
            await desk.order_acts.decide_expedite(T1, actor=role(Role.DISPATCHER), due=AT)
        await desk.order_acts.decide_expedite(
            T1, actor=role(Role.LEADER, name="Chief"), due=Instant(AT + 6 * HOUR_MS)
        )
        return {r.clock: r.due for r in await desk.orders.clocks(T1)}["repair"]

    assert run_burst(act) == AT + 6 * HOUR_MS


def test_whoever_holds_a_ticket_answers_until_another_has_taken_it(run_burst):
    async def act(desk: Desk):
        await desk.step(T1, Step.ACCEPT, actor="Zhao")
        await desk.order_acts.hand_over(T1, actor="Zhao", to="Wu")
        held = (await desk.board()).tickets[0].holder
        with pytest.raises(Refused, match="nothing is asked"):
            await desk.order_acts.take_over(T1, actor="Zheng")
        await desk.order_acts.take_over(T1, actor="Wu")
        return held, (await desk.board()).tickets[0].holder

    assert run_burst(act) == ("Zhao", "Wu")


@requirement("R35")
@pytest.mark.parametrize(("policy", "may"), [("shangzhi-gas", True), ("hohhot-heating", False)])
def test_only_where_a_sample_is_called_back_a_ticket_may_be_left_out_of_it(run_burst, policy, may):
    async def act(desk: Desk):
        await desk.order_acts.waive(T1, Evidence.CALL_BACK, actor="Sun", reason="not_sampled")

    if may:
        run_burst(act, policy=policy)
    else:
        with pytest.raises(Refused, match="cannot be waived here"):
            run_burst(act, policy=policy)


def test_a_burst_owes_a_telephone_call_until_somebody_made_it(run_burst):
    async def act(desk: Desk):
        owed = await desk.order_acts.calls()
        await desk.order_acts.called(owed[0].id, actor="Li", result="answered by Sun")
        return [(c.event, c.to) for c in owed], await desk.order_acts.calls()

    assert run_burst(act) == ([("burst", "branch_desk")], [])


def test_a_role_takes_only_its_own_steps_and_of_its_own_unit(run_burst):
    async def act(desk: Desk):
        await man(desk, ("north-desk", "branch", ("north",)))
        await desk.step(T1, Step.RETURN, actor="Li", text="route it")
        await desk.step(T1, Step.REISSUE, actor="Li")
        for who in (role(Role.CREW, unit="east-desk"), role(Role.AUDITOR), role(Role.LEADER)):
            with pytest.raises(Refused, match="may not do this"):
                await desk.step(T1, Step.ACCEPT, actor=who)
        return await desk.step(T1, Step.ACCEPT, actor=role(Role.CREW, unit="north-desk"))

    assert run_burst(act) is State.ACCEPTED


# --- record ---------------------------------------------------------------------------------------


@requirement("R30", "R38")
@pytest.mark.parametrize("table", ["ticket", "contact", "incident_case", "planned_work", "duty"])
def test_nothing_that_people_keep_can_be_deleted(run_burst, tmp_path, table):
    async def act(desk: Desk):
        await man(desk, ("north-desk", "branch", ("north",)))
        await desk.contacts.record(CALL, actor="Qian")
        await desk.plans.plan(
            Planned(zone="north", start=AT, end=Instant(AT + 9), cause="valve", plan="by the east"),
            actor="Li",
        )

    run_burst(act)
    db = sqlite3.connect(tmp_path / "desk.db", isolation_level=None)

    with pytest.raises(sqlite3.IntegrityError, match="nothing is deleted"):
        db.execute(f"DELETE FROM {table}")
    db.close()


@requirement("R30")
def test_a_closed_ticket_is_kept_for_five_years(run_burst):
    async def act(desk: Desk):
        await desk.step(T1, Step.CANCEL, actor="Li", text="double")
        return (await desk.board()).tickets[0].keep_until

    assert run_burst(act) - AT >= 5 * 365 * DAY_MS


def test_a_drill_is_marked_on_everything_and_counted_in_nothing(run_burst):
    async def act(desk: Desk):
        await desk.cases.set_drill("INC-000001", actor="Li", text="exercise")
        made = await desk.cases.play_drill(actor="Li", zone="north", kind="burst", text="paper")
        month = await desk.figures.month(AT, Instant(AT + DAY_MS))
        alarms = await desk.cases.figures(AT - 1, Instant(AT + DAY_MS), dispatchers=1)
        evidence = await desk.cases.evidence(made)
        return (await desk.board()).tickets[0], month, alarms, evidence

    ticket, month, alarms, evidence = run_burst(act)

    assert ticket.is_drill
    assert {r.of for r in month.values()} == {()}
    assert alarms.per_dispatcher_day == 0
    assert (evidence.case.state, evidence.case.is_drill) == (cases.State.OPEN, True)
