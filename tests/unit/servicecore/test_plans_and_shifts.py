"""Planned works, orders to pumps, points, shifts, figures and the record."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from mainwatch.cli import main
from server.servicecore.contacts import Asked
from server.servicecore.desk import Desk
from server.servicecore.plans import Planned
from server.servicecore.rules.alarms import Shown
from server.servicecore.rules.calendar import civil
from server.servicecore.rules.kpi import Pressure
from server.servicecore.rules.permissions import Actor, Role
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.workorder import Step
from server.servicecore.watch import Watch, read_heads
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS, Instant
from telemetry.point import PointId, ZoneId
from tests.support.plant import AT, burst, registry

requirement = pytest.mark.requirement
T1, INC, ALARM = "T-000001", "INC-000001", "A-000001"
CALL = Asked(channel="phone", category="leak", text="water", zone="north", phone="0376-1")


def role(*roles: Role, name: str = "Li") -> Actor:
    return Actor(name=name, roles=frozenset(roles))


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
    alarm, opened, _ = burst(1, at=AT + HOUR_MS)
    alarm, opened = (replace(e, explained_by="PW-000001") for e in (alarm, opened))
    journal.record(alarm, opened)
    journal.record(*burst(2, at=AT + HOUR_MS))
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
        journal.record(
            replace(alarm, at=AT + 5 * HOUR_MS, explained_by="")
        )  # it stands longer than that
        await desk.catch_up()
        return during, await desk.cases.shown(), await desk.cases.evidence(INC)

    during, after, evidence = run(act, policy="hotline-rules")

    stands = during[ALARM]
    assert (stands.shown, stands.is_heard, stands.by) == (Shown.SUPPRESSED, False, "PW-000001")
    assert (stands.until, stands.reason) == (evidence.works[0].end, "new valve")
    assert (during["A-000002"].shown, during["A-000002"].is_heard) == (Shown.UNACKNOWLEDGED, True)
    assert (after[ALARM].shown, after[ALARM].is_heard) == (Shown.UNACKNOWLEDGED, True)
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


@requirement("R08")
def test_points_are_registered_with_their_health_and_a_zone_knows_its_coverage(run):
    async def act(desk: Desk):
        for point, health in (("a", "good"), ("b", "broken")):
            await desk.plans.register_point(
                point, actor="Eng", zone="north", health=health, covers_km2=5.0
            )
        with pytest.raises(Refused, match="allowed: good, doubtful, broken"):
            await desk.plans.register_point(
                "c", actor="Eng", zone="north", health="odd", covers_km2=1.0
            )
        return await desk.plans.coverage("north")

    coverage = run(act, policy="xinyang-water")

    assert (coverage.points, coverage.good, coverage.per_10_km2) == (2, 1, 2.0)


@requirement("R04")
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


@requirement("R02")
def test_compliance_is_of_the_points_that_are_promised_something_and_sums_to_the_network(run):
    values = {"a": (280.0, 279.9), "b": (300.0, 300.0), "c": (100.0, 100.0)}

    async def pressures(point: str, start: Instant, end: Instant):
        return [
            Pressure(at=Instant(start + n * HOUR_MS), value_kpa=v, lasts_ms=HOUR_MS)
            for n, v in enumerate(values[point])
        ], 2.0

    async def act(desk: Desk):
        known = registry().points["north-12/pressure"]
        points = {
            name: replace(known, id=PointId(name), zone=ZoneId(zone), place=place)
            for name, zone, place in (
                ("a", "north", "central"),
                ("b", "east", "central"),
                ("c", "east", "suburb"),
            )
        }
        await desk.registry_acts.seed(replace(registry(), points=points))
        return await desk.figures.compliance(pressures, AT, Instant(AT + DAY_MS))

    found = run(act, policy="xinyang-water")

    assert {zone: c.value for zone, c in found.items()} == {"": 0.75, "east": 1.0, "north": 0.5}
    assert found[""].meets(0.97) is False


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


def test_what_was_closed_is_archived_by_itself_once_its_month_is_over(
    run, journal, clock, tmp_path
):
    journal.record(*burst(1, at=AT))

    async def act(desk: Desk):
        watch = Watch(desk, tmp_path / "audit-heads.jsonl", clock=clock)
        calendar = desk.ground.book.calendar
        for step in (Step.ACCEPT, Step.ARRIVE, Step.REPLY, Step.CLOSE):
            await desk.step("T-000001", step, actor="Li", text="done")
        found = []
        day = calendar.day(AT)
        month = civil(day)[1]
        while civil(day)[1] == month:
            clock.at = max(AT, calendar.instant(day, DAY_MS - 1))
            await watch.look()
            found.append((await desk.board()).tickets[0].state)
            day += 1
        clock.at = calendar.instant(day, 0)
        await watch.look()
        await watch.look()
        history = await desk.orders.history("T-000001")
        return found, [(e.actor, e.verb) for e in history][-2:]

    found, last = run(act)

    assert set(found) == {"closed"}
    assert last == [("Li", "close"), ("mainwatch", "archive")]


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
