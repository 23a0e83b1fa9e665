"""Contacts: every channel, first-asked responsibility, one step to a ticket, and no further."""

import re

import pytest

from server.servicecore.contacts import CHANNELS, Asked
from server.servicecore.desk import Desk
from server.servicecore.rules.permissions import Actor, Role
from server.servicecore.rules.refusal import Refused
from telemetry.instant import HOUR_MS, MINUTE_MS
from tests.support.plant import AT

requirement = pytest.mark.requirement
T1, INC, ALARM = "T-000001", "INC-000001", "A-000001"
CALL = Asked(channel="phone", category="leak", text="water", zone="north", phone="0376-1")


def role(*roles: Role, name: str = "Li") -> Actor:
    return Actor(name=name, roles=frozenset(roles))


# --- contacts -------------------------------------------------------------------------------------


@requirement("R21")
@pytest.mark.parametrize("channel", [c for c in CHANNELS if c != "visit"])
def test_contacts_come_by_every_channel_at_any_hour(run, clock, channel):
    clock.at += 3 * HOUR_MS  # in the night

    async def act(desk: Desk):
        asked = Asked(channel=channel, category="leak", text="water", zone="north")
        return await desk.contacts.record(asked, actor="Qian")

    assert run(act) == "K-000001"
    assert {"phone", "letter", "visit", "telemetry", "12345", "web"} == set(CHANNELS)


@requirement("R36")
def test_a_visit_has_its_six_fields(run):
    visit = dict.fromkeys(("name", "organisation", "position", "contact", "purpose", "time"), "x")

    async def act(desk: Desk):
        asked = Asked(channel="visit", category="billing", text="bill", visit=visit)
        for field in visit:
            half = Asked(
                channel="visit", category="billing", text="bill", visit={**visit, field: ""}
            )
            with pytest.raises(Refused, match=f"visit.{field}"):
                await desk.contacts.record(half, actor="Qian")
        return await desk.contacts.record(asked, actor="Qian")

    assert run(act) == "K-000001"


@requirement("R34", "R80")
def test_a_contact_becomes_a_ticket_in_one_step_and_its_clocks_begin_with_the_call(run, clock):
    async def act(desk: Desk):
        contact = await desk.contacts.record(CALL, actor="Qian")
        clock.at += MINUTE_MS
        number = await desk.contacts.make_ticket(contact, actor="Qian")
        with pytest.raises(Refused, match="K-000001 is ticket; allowed: open"):
            await desk.contacts.make_ticket(contact, actor="Qian")
        return (await desk.board()).tickets[0], {
            r.clock: r.started_at for r in await desk.orders.clocks(number)
        }

    ticket, started = run(act, policy="hohhot-heating")

    assert (ticket.contact, ticket.category) == ("K-000001", "leak")
    assert ticket.fields["contact"] == "0376-1"
    assert started == {"repair": AT, "onsite": AT}


@requirement("R22", "R23")
def test_the_first_asked_answers_until_another_has_accepted(run, clock):
    async def act(desk: Desk):
        contact = await desk.contacts.record(CALL, actor="Qian")
        await desk.contacts.hand_over(contact, actor="Qian", to="Sun")
        offered = {r.clock: r.verdict for r in await desk.contacts.clocks(contact)}
        with pytest.raises(Refused, match="nothing is asked"):
            await desk.contacts.take_over(contact, actor="Zhou")
        await desk.contacts.take_over(contact, actor="Sun")
        taken = {r.clock: r.verdict for r in await desk.contacts.clocks(contact)}
        await desk.contacts.inform(contact, actor="Sun", text="mended")
        done = {r.clock: r.verdict for r in await desk.contacts.clocks(contact)}
        return offered, taken, done

    offered, taken, done = run(act, policy="shangzhi-gas")

    assert offered == {"handover": "running", "contact_back": "running"}
    assert taken == {"handover": "met", "contact_back": "running"}
    assert done == {"handover": "met", "contact_back": "met"}


@requirement("R27")
def test_an_enquiry_answered_at_once_needs_no_ticket(run):
    async def act(desk: Desk):
        asked = Asked(channel="phone", category="enquiry", nature="enquiry", text="price?")
        contact = await desk.contacts.record(asked, actor="Qian", answer="2.9 a cubic metre")
        with pytest.raises(Refused, match="is answered"):
            await desk.contacts.make_ticket(contact, actor="Qian")
        return (await desk.board()).tickets

    assert run(act) == ()


@requirement("R28")
def test_the_result_is_told_or_waived_for_a_reason_that_counts(run):
    async def act(desk: Desk):
        contact = await desk.contacts.record(CALL, actor="Qian")
        with pytest.raises(Refused, match="cannot be waived here; allowed: anonymous, vexatious"):
            await desk.contacts.inform(contact, actor="Qian", waiver="busy")
        with pytest.raises(Refused, match="say why"):
            await desk.contacts.inform(contact, actor="Qian")
        await desk.contacts.inform(contact, actor="Qian", waiver="anonymous")

    run(act)


@requirement("R29")
def test_whoever_asked_looks_the_state_up_by_ticket_and_telephone_together(run):
    async def act(desk: Desk):
        contact = await desk.contacts.record(CALL, actor="Qian")
        number = await desk.contacts.make_ticket(contact, actor="Qian")
        for ticket, phone in ((number, "0376-2"), ("T-000009", "0376-1"), (number, "")):
            with pytest.raises(Refused, match="there is no"):
                await desk.contacts.status(ticket, phone)
        return await desk.contacts.status(number, "0376-1")

    assert run(act).state == "issued"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"category": "weather"}, "there is no category weather"),
        ({"channel": "pigeon"}, "channel is pigeon; allowed: phone"),
        ({"text": " "}, "lacks mandatory fields: cause"),
        ({"source": "nobody"}, "source is nobody"),
        ({"nature": "odd"}, "nature is odd"),
    ],
)
def test_a_contact_that_is_none_is_refused_and_not_written_down(run, more, words):
    asked = Asked(**{"channel": "phone", "category": "leak", "text": "water", **more})

    async def act(desk: Desk):
        with pytest.raises(Refused, match=re.escape(words)):
            await desk.contacts.record(asked, actor="Qian")
        return await desk.contacts.of_incident("")

    assert run(act) == []


@requirement("R75")
def test_three_calls_of_a_zone_are_a_cluster(run):
    async def act(desk: Desk):
        for _ in range(2):
            await desk.contacts.record(CALL, actor="Qian")
        before = await desk.contacts.clusters()
        await desk.contacts.record(CALL, actor="Qian")
        return before, await desk.contacts.clusters()

    assert run(act) == ([], ["north"])
