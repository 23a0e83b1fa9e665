"""Incidents and alarms as people treat them: verify, merge, split, explain, shelve."""

import pytest

from server.engine import effects
from server.servicecore.contacts import Asked
from server.servicecore.desk import Desk
from server.servicecore.rules.alarms import Shown
from server.servicecore.rules.incident import Act, State
from server.servicecore.rules.permissions import Actor, Role
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.workorder import Step
from server.servicecore.standing import Standing
from server.servicecore.store.trail import SYSTEM
from telemetry.instant import HOUR_MS, MINUTE_MS, Instant
from tests.support.plant import AT, burst

requirement = pytest.mark.requirement
T1, INC, ALARM = "T-000001", "INC-000001", "A-000001"
CALL = Asked(channel="phone", category="leak", text="water", zone="north", phone="0376-1")


def role(*roles: Role, name: str = "Li") -> Actor:
    return Actor(name=name, roles=frozenset(roles))


def stood(standing: dict[str, Standing], alarm: str = ALARM) -> tuple[Shown, bool]:
    """Return what a list shows of an alarm, and whether it is heard."""
    return standing[alarm].shown, standing[alarm].is_heard


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
        before = stood(await desk.cases.shown())
        with pytest.raises(Refused, match="within 8 hours"):
            await desk.cases.shelve(ALARM, actor=role(Role.DISPATCHER), until=until, reason="x")
        await desk.cases.shelve(ALARM, actor=role(Role.SHIFT_LEADER), until=until, reason="x")
        shelved = stood(await desk.cases.shown())
        with pytest.raises(Refused, match="is shelved until"):
            await desk.cases.shelve(ALARM, actor="Li", until=until, reason="again")
        clock.at = until
        return before, shelved, stood(await desk.cases.shown())

    assert run(act) == (
        (Shown.UNACKNOWLEDGED, True),
        (Shown.SHELVED, False),
        (Shown.UNACKNOWLEDGED, True),
    )


def test_a_shelf_that_has_ended_is_taken_back_once_and_the_trail_says_so(run, journal, clock):
    journal.record(*burst(1, at=AT))
    until = Instant(AT + HOUR_MS)

    async def act(desk: Desk):
        await desk.cases.shelve(ALARM, actor="Li", until=until, reason="valve work")
        standing = (await desk.cases.shown())[ALARM]
        early = await desk.cases.end_shelves()
        clock.at = until
        ended = [await desk.cases.end_shelves() for _ in range(2)]
        last = (await desk.looks.trail()).entries[0]
        return standing, early, ended, (last.actor, last.verb, last.entity, last.data)

    standing, early, ended, last = run(act)

    assert (standing.until, standing.by, standing.reason) == (until, "Li", "valve work")
    assert (early, ended) == ([], [[ALARM], []])
    assert last == (SYSTEM, "unshelve", ALARM, {"until": until})


def test_a_seen_alarm_that_nobody_decides_sounds_again(run, journal, clock):
    journal.record(*burst(1, at=AT, mode="confirm"))
    journal.record(effects.AlarmAcknowledged(at=Instant(AT), alarm=ALARM, actor="Li", note=""))

    async def act(desk: Desk):
        calm = stood(await desk.cases.shown())
        clock.at += 30 * MINUTE_MS
        again = stood(await desk.cases.shown())
        await desk.cases.act(INC, Act.WATCH, actor="Li", text="one point only")
        return calm[1], again[1], stood(await desk.cases.shown())[1]

    assert run(act) == (False, True, False)


def test_a_console_hears_each_alarm_once_and_once_more_when_nobody_decides(run, journal, clock):
    journal.record(*burst(1, at=AT, mode="confirm"))

    async def act(desk: Desk):
        new = await desk.cases.heard()
        until = Instant(AT + HOUR_MS)
        await desk.cases.shelve(ALARM, actor="Li", until=until, reason="works")
        shelved = await desk.cases.heard()
        await desk.cases.unshelve(ALARM, actor="Li")
        journal.record(effects.AlarmAcknowledged(at=Instant(AT), alarm=ALARM, actor="Li", note=""))
        await desk.catch_up()
        seen = await desk.cases.heard()
        clock.at += 30 * MINUTE_MS
        return new, shelved, seen, await desk.cases.heard()

    again = f"{ALARM}+{AT}"
    assert run(act) == ({ALARM: ALARM}, {}, {}, {again: again})


def test_in_a_flood_one_sound_stands_for_all_alarms_of_an_incident(run, journal):
    alarms = [f"A-{n:06}" for n in range(1, 11)]
    journal.record(*burst(1, at=AT))
    journal.record(*(burst(n, at=AT)[0] for n in range(2, 10)))

    async def act(desk: Desk):
        calm = await desk.cases.heard()
        journal.record(burst(10, at=AT)[0])
        await desk.catch_up()
        return calm, await desk.cases.heard()

    calm, flood = run(act)

    assert calm == {alarm: alarm for alarm in alarms[:9]}
    assert flood == {ALARM: INC} | {alarm: alarm for alarm in alarms[1:]}


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
        return stood(await desk.cases.shown())

    assert run(act) == (Shown.OUT_OF_SERVICE, False)
