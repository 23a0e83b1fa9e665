"""The laboratory's sample, analysis and report; the enforcement team's finding and its reward."""

import pytest

from server.servicecore.contacts import Asked
from server.servicecore.desk import Desk
from server.servicecore.rules.permissions import Actor, Role
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.workorder import Evidence, State, Step
from tests.unit.servicecore.test_order_acts import man

requirement = pytest.mark.requirement
UNITS = (("lab", "laboratory", ()), ("police", "enforcement", ()), ("north", "branch", ("north",)))


def told(category: str, **more: str) -> Asked:
    return Asked(
        channel="phone", category=category, text="said", zone="north", phone="0376-1", **more
    )


async def ticket_of(desk: Desk, asked: Asked) -> str:
    """Return the ticket of a contact, accepted by the unit that it was sent to."""
    await man(desk, *UNITS)
    contact = await desk.contacts.record(asked, actor="Qian")
    ticket = await desk.contacts.make_ticket(contact, actor="Qian")
    await desk.step(ticket, Step.ACCEPT, actor="Zhao")
    await desk.step(ticket, Step.ARRIVE, actor="Zhao")
    return ticket


async def facts(desk: Desk, ticket: str) -> tuple[str, dict]:
    look = await desk.looks.order(ticket)
    return look.ticket.unit, {k: v for k, v in look.ticket.facts.items() if k != "sample"}


@requirement("R55")
def test_a_sample_is_taken_analysed_and_only_then_reported(run):
    async def act(desk: Desk):
        ticket = await ticket_of(desk, told("quality"))
        with pytest.raises(Refused, match="no sample that waits"):
            await desk.inquiries.analyse(ticket, actor="Zhao", is_fit=True, text="clear")
        await desk.inquiries.sample(ticket, actor="Zhao", text="the kitchen tap")
        with pytest.raises(Refused, match="waits for its analysis"):
            await desk.step(ticket, Step.REPLY, actor="Zhao", text="all well")
        await desk.inquiries.analyse(ticket, actor="Zhao", is_fit=False, text="iron 0.6 mg/L")
        with pytest.raises(Refused, match="no sample that waits"):
            await desk.inquiries.analyse(ticket, actor="Zhao", is_fit=True, text="once more")
        await desk.inquiries.sample(ticket, actor="Zhao", text="after flushing")
        with pytest.raises(Refused, match="waits for its analysis"):
            await desk.step(ticket, Step.REPLY, actor="Zhao", text="all well")
        await desk.inquiries.analyse(ticket, actor="Zhao", is_fit=True, text="iron 0.1 mg/L")
        state = await desk.step(ticket, Step.REPLY, actor="Zhao", text="flushed, now fit")
        verbs = [e.verb for e in (await desk.looks.order(ticket)).history]
        return state, await facts(desk, ticket), verbs

    state, (unit, found), verbs = run(act, policy="hotline-workflow")

    assert (state, unit, found["analysis"]) == (State.REPLIED, "lab", "fit")
    assert [v for v in verbs if v in ("sample", "analyse")] == ["sample", "analyse"] * 2


@requirement("R55")
def test_a_general_question_of_quality_needs_no_sample_and_other_tickets_have_none(run):
    async def act(desk: Desk):
        ticket = await ticket_of(desk, told("quality"))
        state = await desk.step(ticket, Step.REPLY, actor="Zhao", text="air in the water")
        other = await ticket_of(desk, told("leak"))
        with pytest.raises(Refused, match="is leak; allowed: quality"):
            await desk.inquiries.sample(other, actor="Zhao", text="the kitchen tap")
        return state

    assert run(act, policy="hotline-workflow") == State.REPLIED


@requirement("R56")
def test_a_true_report_of_theft_is_not_closed_before_its_reward(run):
    async def act(desk: Desk):
        ticket = await ticket_of(desk, told("theft"))
        with pytest.raises(Refused, match="whether the report of theft is true"):
            await desk.step(ticket, Step.REPLY, actor="Zhao", text="dealt with")
        with pytest.raises(Refused, match="no reward is due"):
            await desk.inquiries.reward(ticket, actor="Sun", text="200")
        await desk.inquiries.find_out(ticket, actor="Zhao", is_true=True, text="a bypass")
        await desk.step(ticket, Step.REPLY, actor="Zhao", text="cut off, bill sent")
        await desk.step(ticket, Step.CALL_BACK, actor="Qian")
        with pytest.raises(Refused, match="reward is due before it is closed"):
            await desk.step(ticket, Step.CLOSE, actor="Qian")
        crew = Actor(name="Zhao", roles=frozenset({Role.CREW}))
        with pytest.raises(Refused, match="may not do this"):
            await desk.inquiries.reward(ticket, actor=crew, text="200")
        await desk.inquiries.reward(ticket, actor="Sun", text="200 yuan, receipt 17")
        with pytest.raises(Refused, match="no reward is due"):
            await desk.inquiries.reward(ticket, actor="Sun", text="200 yuan again")
        return await desk.step(ticket, Step.CLOSE, actor="Qian"), await facts(desk, ticket)

    state, (unit, found) = run(act, policy="hotline-workflow")

    assert (state, unit) == (State.CLOSED, "police")
    assert found == {"finding": "true", "reward": "given"}


@requirement("R56")
def test_an_untrue_report_has_no_reward(run):
    async def act(desk: Desk):
        ticket = await ticket_of(desk, told("theft"))
        await desk.inquiries.find_out(ticket, actor="Zhao", is_true=False, text="nothing there")
        await desk.step(ticket, Step.REPLY, actor="Zhao", text="nothing found")
        await desk.order_acts.waive(ticket, Evidence.CALL_BACK, actor="Qian", reason="unreachable")
        with pytest.raises(Refused, match="no reward is due"):
            await desk.inquiries.reward(ticket, actor="Sun", text="200")
        return await desk.step(ticket, Step.CLOSE, actor="Qian")

    assert run(act, policy="hotline-workflow") == State.CLOSED
