"""Contacts, incidents, alarms, planned works, orders to pumps, shifts, figures and the record."""

import asyncio
import json
import re
import sqlite3
from pathlib import Path

import pytest

from mainwatch.cli import main
from server.engine import effects
from server.servicecore.contacts import CHANNELS, Asked
from server.servicecore.desk import Desk
from server.servicecore.plans import Planned
from server.servicecore.rules.alarms import Shown
from server.servicecore.rules.incident import Act, State
from server.servicecore.rules.permissions import Actor, Role
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.workorder import Step
from server.servicecore.watch import Watch, read_heads
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS, Instant
from tests.support.books import book
from tests.support.plant import AT, Journal, ManualClock, burst

requirement = pytest.mark.requirement
T1, INC, ALARM = "T-000001", "INC-000001", "A-000001"
CALL = Asked(channel="phone", category="leak", text="water", zone="north", phone="0376-1")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def run(tmp_path: Path, clock: ManualClock, journal: Journal):
    """Run an act on a desk that has caught up with the journal, under the policy of a name."""

    def use(act, *, policy: str = "demo-water"):
        async def inside():
            desk = await Desk.open(
                tmp_path / "desk.db",
                journal=tmp_path / "journal.db",
                clock=clock,
                book=book(policy),
            )
            try:
                await desk.catch_up()
                return await act(desk)
            finally:
                await desk.close()

        return asyncio.run(inside())

    return use


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


# --- incidents and alarms -------------------------------------------------------------------------


def test_an_incident_is_restored_by_the_crew_and_verified_by_telemetry(run, journal, clock):
    journal.record(*burst(1, at=AT))

    async def act(desk: Desk):
        for step in (Step.ACCEPT, Step.ARRIVE):
            await desk.step(T1, step, actor="Zhao")
        await desk.step(T1, Step.REPLY, actor="Zhao", text="clamp")
        restored = (await desk.cases.evidence(INC)).case.state
        with pytest.raises(Refused, match="A-000001 is active"):
            await desk.cases.act(INC, Act.VERIFY, actor="Li")
        journal.record(effects.AlarmCleared(at=Instant(clock.at), alarm=ALARM, because=("back",)))
        await desk.catch_up()
        clock.at += 10 * MINUTE_MS - 1
        with pytest.raises(Refused, match="not calm for long enough"):
            await desk.cases.act(INC, Act.VERIFY, actor="Li")
        clock.at += 1
        await desk.cases.act(INC, Act.VERIFY, actor="Li")
        return restored, await desk.cases.act(INC, Act.CLOSE, actor="Li")

    assert run(act) == (State.RESTORED, State.CLOSED)


def test_a_verification_may_be_waived_by_a_person_who_says_why(run, journal):
    journal.record(*burst(1, at=AT))

    async def act(desk: Desk):
        await desk.cases.act(INC, Act.RESTORE, actor="Li")
        await desk.cases.act(INC, Act.VERIFY, actor="Li", waiver="the meter is drowned")
        return (await desk.cases.evidence(INC)).history[-1].data

    assert run(act) == {"waiver": "the meter is drowned"}


def test_incidents_are_merged_and_split_with_their_contacts_and_alarms(run, journal):
    journal.record(*burst(1, at=AT, mode="confirm"))
    journal.record(*burst(2, at=AT, mode="confirm"))

    async def act(desk: Desk):
        contact = await desk.contacts.record(CALL, actor="Qian")
        await desk.contacts.attach(contact, "INC-000002", actor="Qian")
        await desk.cases.merge("INC-000002", INC, actor="Li", text="the same pipe")
        with pytest.raises(Refused, match="is merged; allowed now: -"):
            await desk.cases.act("INC-000002", Act.CONFIRM, actor="Li", text="burst")
        evidence = await desk.cases.evidence(INC)
        made = await desk.cases.split(INC, ["A-000002"], actor="Li", text="not the same")
        return evidence, made, (await desk.cases.evidence(made)).alarms

    evidence, made, alarms = run(act)

    assert [a.id for a in evidence.alarms] == [ALARM, "A-000002"]
    assert [c.id for c in evidence.contacts] == ["K-000001"]
    assert (made, [a.id for a in alarms]) == ("INC-000001/2", ["A-000002"])


def test_an_explanation_and_a_false_alarm_say_why(run, journal):
    journal.record(*burst(1, at=AT, mode="confirm"))
    journal.record(*burst(2, at=AT, mode="confirm"))

    async def act(desk: Desk):
        with pytest.raises(Refused, match="weather; allowed: planned_work"):
            await desk.cases.act(INC, Act.EXPLAIN, actor="Li", text="rain", kind="weather")
        explained = await desk.cases.act(
            INC, Act.EXPLAIN, actor="Li", text="flushing", kind="hydrant_test"
        )
        false = await desk.cases.act("INC-000002", Act.FALSE_ALARM, actor="Li", text="sensor")
        return explained, false

    assert run(act) == (State.EXPLAINED, State.FALSE_ALARM)


def test_an_incident_that_ends_by_itself_is_closed(run, journal):
    journal.record(*burst(1, at=AT, mode="confirm"))
    journal.record(effects.IncidentClosed(at=Instant(AT + 9), incident=INC, because=("calm",)))

    async def act(desk: Desk):
        return (await desk.cases.evidence(INC)).case.state

    assert run(act) == State.CLOSED


def test_a_shelved_alarm_is_silent_until_its_end_and_longer_needs_a_leader(run, journal, clock):
    journal.record(*burst(1, at=AT))
    until = Instant(AT + 9 * HOUR_MS)

    async def act(desk: Desk):
        before = (await desk.cases.shown())[ALARM]
        with pytest.raises(Refused, match="within 8 hours"):
            await desk.cases.shelve(ALARM, actor=role(Role.DISPATCHER), until=until, reason="x")
        await desk.cases.shelve(ALARM, actor=role(Role.SHIFT_LEADER), until=until, reason="x")
        shelved = (await desk.cases.shown())[ALARM]
        with pytest.raises(Refused, match="is shelved until"):
            await desk.cases.shelve(ALARM, actor="Li", until=until, reason="again")
        clock.at = until
        return before, shelved, (await desk.cases.shown())[ALARM]

    assert run(act) == (
        (Shown.UNACKNOWLEDGED, True),
        (Shown.SHELVED, False),
        (Shown.UNACKNOWLEDGED, True),
    )


def test_a_seen_alarm_that_nobody_decides_sounds_again(run, journal, clock):
    journal.record(*burst(1, at=AT, mode="confirm"))
    journal.record(effects.AlarmAcknowledged(at=Instant(AT), alarm=ALARM, actor="Li", note=""))

    async def act(desk: Desk):
        calm = (await desk.cases.shown())[ALARM]
        clock.at += 30 * MINUTE_MS
        again = (await desk.cases.shown())[ALARM]
        await desk.cases.act(INC, Act.WATCH, actor="Li", text="one point only")
        return calm[1], again[1], (await desk.cases.shown())[ALARM][1]

    assert run(act) == (False, True, False)


def test_only_the_engineer_takes_an_alarm_out_of_service(run, journal):
    journal.record(*burst(1, at=AT))

    async def act(desk: Desk):
        with pytest.raises(Refused, match="allowed: engineer"):
            await desk.cases.set_service(
                ALARM, actor=role(Role.DISPATCHER), is_out=True, reason="x"
            )
        await desk.cases.set_service(ALARM, actor=role(Role.ENGINEER), is_out=True, reason="x")
        journal.record(burst(1, at=AT + 5)[0])  # the engine raises it once more
        await desk.catch_up()
        return (await desk.cases.shown())[ALARM]

    assert run(act) == (Shown.OUT_OF_SERVICE, False)


# --- plans, orders, points ------------------------------------------------------------------------


def planned(hours_ms: int, start: int = AT) -> Planned:
    return Planned(
        zone="north",
        start=Instant(start),
        end=Instant(start + hours_ms),
        cause="new valve",
        plan="feed from the east, start pump 3",
    )


@requirement("R05")
def test_planned_work_suppresses_its_alarms_while_it_lasts_and_carries_its_plan(
    run, journal, clock
):
    journal.record(*burst(1, at=AT + HOUR_MS))
    journal.record(*burst(2, at=AT + HOUR_MS, zone="east"))
    clock.at = AT + HOUR_MS

    async def act(desk: Desk):
        work = await desk.plans.plan(planned(4 * HOUR_MS), actor="Li")
        await desk.plans.order(
            actor="Li",
            kind="pump",
            station="east",
            unit="3",
            act="start",
            reason="plan",
            work=work,
        )
        await desk.plans.begin(work, actor="Li")
        during = await desk.cases.shown()
        await desk.plans.end(work, actor="Li")
        return during, await desk.cases.shown(), await desk.cases.evidence(INC)

    during, after, evidence = run(act, policy="hotline-rules")

    assert during[ALARM] == (Shown.SUPPRESSED, False)
    assert during["A-000002"] == (Shown.UNACKNOWLEDGED, True)
    assert after[ALARM] == (Shown.UNACKNOWLEDGED, True)
    assert [w.plan for w in evidence.works] == ["feed from the east, start pump 3"]


def test_a_long_outage_does_not_begin_without_its_notice(run):
    async def act(desk: Desk):
        long = await desk.plans.plan(planned(4 * HOUR_MS + 1), actor="Li")
        exact = await desk.plans.plan(planned(4 * HOUR_MS), actor="Li")
        await desk.plans.begin(exact, actor="Li")
        with pytest.raises(Refused, match="more than 4 h needs a notice"):
            await desk.plans.begin(long, actor="Li")
        with pytest.raises(Refused, match="allowed: shift_leader"):
            await desk.plans.begin(long, actor=role(Role.DISPATCHER), override="urgent")
        await desk.plans.give_notice(long, actor="Li", text="north, from 8 to 13")
        await desk.plans.begin(long, actor="Li")
        with pytest.raises(Refused, match="is begun; allowed: planned"):
            await desk.plans.begin(long, actor="Li")
        return [w.state for w in await desk.plans.works(AT, Instant(AT + DAY_MS))]

    assert run(act, policy="hotline-rules") == ["begun", "begun"]


@requirement("R06", "R07", "R60")
def test_a_pump_order_says_who_what_when_and_why_and_another_confirms_it(run, clock):
    async def act(desk: Desk):
        order = await desk.plans.order(
            actor="Li", kind="pump", station="east", unit="3", act="start", reason="low pressure"
        )
        clock.at += HOUR_MS
        with pytest.raises(Refused, match="end after the beginning"):
            await desk.plans.execute(order, actor="Li", by="Ma", at=Instant(AT - 1))
        await desk.plans.execute(order, actor="Li", by="Ma", at=Instant(AT + MINUTE_MS))
        with pytest.raises(Refused, match="another must decide"):
            await desk.plans.confirm(order, actor="Li")
        await desk.plans.confirm(order, actor="Wang")
        with pytest.raises(Refused, match="pump start, pump stop, valve open, valve close"):
            await desk.plans.order(
                actor="Li", kind="pump", station="east", unit="3", act="open", reason="x"
            )
        hours = await desk.plans.run_hours("east", "3", end=Instant(AT + MINUTE_MS + 2 * HOUR_MS))
        return (await desk.plans.operations(AT, Instant(AT + 1)))[0], hours

    row, hours = run(act)

    assert (row.ordered_by, row.ordered_at, row.reason) == ("Li", AT, "low pressure")
    assert (row.executed_by, row.executed_at) == ("Ma", AT + MINUTE_MS)
    assert (row.confirmed_by, row.confirmed_at) == ("Wang", AT + HOUR_MS)
    assert hours == (2.0, 1)


@requirement("R01", "R08")
def test_a_point_of_the_centre_is_promised_280_kilopascals_and_another_nothing(run):
    async def act(desk: Desk):
        for point, place, health in (("a", "central", "good"), ("b", "suburb", "broken")):
            await desk.plans.register_point(
                point, actor="Eng", zone="north", place=place, health=health, covers_km2=5.0
            )
        with pytest.raises(Refused, match="allowed: good, doubtful, broken"):
            await desk.plans.register_point(
                "c", actor="Eng", zone="north", place="x", health="odd", covers_km2=1.0
            )
        return (
            [await desk.plans.promised_kpa(p) for p in ("a", "b", "c")],
            await desk.plans.coverage("north"),
        )

    promised, coverage = run(act, policy="xinyang-water")

    assert promised == [280.0, None, None]
    assert (coverage.points, coverage.good, coverage.per_10_km2) == (2, 1, 2.0)


@requirement("R03", "R04")
def test_the_desk_has_every_pressure_point_with_its_alarms_on_its_trend(run, journal):
    journal.record(*burst(1, at=AT))

    async def act(desk: Desk):
        return await desk.alarms_between(Instant(AT - MINUTE_MS), Instant(AT + 1))

    marks = run(act)

    assert "north-12/pressure" in marks[0].points
    assert any("fell 9.2 kPa" in fact for fact in marks[0].because)


# --- shifts ---------------------------------------------------------------------------------------


def test_a_shift_ends_when_another_has_signed_lists_that_are_filled_in(run, journal, clock):
    journal.record(*burst(1, at=AT))

    async def act(desk: Desk):
        clock.at += HOUR_MS
        name = await desk.shifts.open_handover(actor="Li", remarks="quiet")
        with pytest.raises(Refused, match="cannot also take over"):
            await desk.shifts.take_shift(name, actor="Li")
        with pytest.raises(Refused, match="is open; allowed: taken"):
            await desk.shifts.open_handover(actor="Li", remarks="again")
        await desk.shifts.take_shift(name, actor="Wang")
        with pytest.raises(Refused, match="is taken"):
            await desk.shifts.take_shift(name, actor="Zhao")
        return await desk.shifts.handover(name)

    row = run(act)

    assert (row.outgoing, row.incoming, row.taken_at) == ("Li", "Wang", AT + HOUR_MS)
    assert row.lists == {
        "alarms": [ALARM],
        "shelved": [],
        "incidents": [INC],
        "operations": [],
        "works": [],
        "overdue": [f"{T1} accept"],
    }


def test_a_stale_form_is_refused(run):
    async def act(desk: Desk):
        work = await desk.plans.plan(planned(HOUR_MS), actor="Li")
        await desk.plans.give_notice(work, actor="Wang", text="north")
        with pytest.raises(Refused, match="changed meanwhile"):
            await desk.plans.begin(work, actor="Li", version=1)
        await desk.plans.begin(work, actor="Li", version=2)

    run(act)


# --- figures --------------------------------------------------------------------------------------


@requirement("R98")
def test_the_month_counts_its_tickets_by_what_the_trail_says(run, journal, clock):
    journal.record(*burst(1, at=AT))

    async def act(desk: Desk):
        contact = await desk.contacts.record(CALL, actor="Qian")
        await desk.contacts.attach(contact, INC, actor="Qian")
        late = await desk.contacts.make_ticket(contact, actor="Qian")
        for step in (Step.ACCEPT, Step.ARRIVE):
            await desk.step(T1, step, actor="Zhao")
        await desk.step(T1, Step.REPLY, actor="Zhao", text="clamp")
        clock.at += 2 * HOUR_MS
        await desk.orders.watch()
        end = Instant(clock.at + 1)
        return late, await desk.figures.month(AT, end), await desk.figures.loads(AT, end)

    late, month, loads = run(act)

    assert month["repair_timeliness"].good == (T1,)
    assert month["repair_timeliness"].of == (T1, late)
    assert (loads[""].open, loads[""].overdue, loads[""].settled) == (1, 1, 1)


# --- the record -----------------------------------------------------------------------------------


def audit(path: Path, capsys) -> tuple[int, dict[str, object]]:
    code = main(["verify-audit", str(path / "desk.db"), "--json"])
    return code, json.loads(capsys.readouterr().out)


@requirement("R38")
def test_the_head_is_exported_once_a_day_and_proves_that_nothing_was_cut(
    run, journal, clock, tmp_path, capsys
):
    journal.record(*burst(1, at=AT))
    heads = tmp_path / "audit-heads.jsonl"

    async def act(desk: Desk):
        watch = Watch(desk, heads, clock=clock)
        await watch.look()
        await watch.look()
        clock.at += DAY_MS
        await watch.look()

    run(act)
    assert len(read_heads(heads)) == 2
    code, whole = audit(tmp_path, capsys)
    assert (code, whole["first_break"], whole["missing_head"]) == (0, None, None)

    db = sqlite3.connect(tmp_path / "desk.db", isolation_level=None)
    db.execute("DROP TRIGGER ticket_event_no_DELETE")
    db.execute("DELETE FROM ticket_event WHERE seq = (SELECT MAX(seq) FROM ticket_event)")
    db.close()
    code, cut = audit(tmp_path, capsys)

    assert (code, cut["first_break"]) == (1, None)
    assert cut["missing_head"] == whole["entries"]


@requirement("R38")
def test_a_changed_entry_is_found_with_its_data(run, journal, tmp_path, capsys):
    journal.record(*burst(1, at=AT))

    async def act(desk: Desk):
        contact = await desk.contacts.record(CALL, actor="Qian")
        await desk.contacts.make_ticket(contact, actor="Qian")

    run(act)
    db = sqlite3.connect(tmp_path / "desk.db", isolation_level=None)
    seq = db.execute("SELECT MIN(seq) FROM ticket_event WHERE data != '{}'").fetchone()[0]
    db.execute("DROP TRIGGER ticket_event_no_UPDATE")
    db.execute("UPDATE ticket_event SET data = '{\"reported_at\": 1}' WHERE seq = ?", (seq,))
    db.close()

    code, found = audit(tmp_path, capsys)

    assert (code, found["first_break"]) == (1, seq)


def test_verify_audit_says_in_a_sentence_what_it_found(run, tmp_path, capsys):
    async def act(desk: Desk):
        return None

    run(act)

    assert main(["verify-audit", str(tmp_path / "desk.db")]) == 0
    assert "1 entries and 0 heads, nothing wrong" in capsys.readouterr().out
    assert main(["verify-audit", str(tmp_path / "none.db")]) == 2
