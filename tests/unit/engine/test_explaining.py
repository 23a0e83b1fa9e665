"""Operations explain what they can cause, in their place and time, and nothing longer than that."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.engine import essentials
from server.engine.alarms import Alarms
from server.engine.commands import TELL_OPERATION
from server.engine.detectors.finding import Finding
from server.engine.effects import (
    AlarmKind,
    AlarmRaised,
    CommandDone,
    DispatchRequested,
    IncidentOpened,
)
from server.engine.engine import Engine
from server.engine.events import Commanded, RegistryChanged, Tick
from server.engine.explaining import Explaining, explain
from server.engine.incidents import Incidents
from server.engine.operations import (
    GRACE_MS,
    Operation,
    OperationKind,
    Operations,
    note_of,
    read,
)
from telemetry.instant import HOUR_MS, MINUTE_MS
from telemetry.point import ZoneId
from tests.scenarios.town_stream import registry

AT = 1_790_000_000_000
NORTH = ("north-00/pressure", "north-01/pressure")


def operation(kind="valve", **more):
    told = {"id": "PW-1", "zone": "north", "begin": AT, "end": AT + HOUR_MS}
    return Operation(**{**told, **more, "kind": OperationKind(kind)})


def finding(kind="supply", zone="north", **more):
    facts = {
        "kind": AlarmKind(kind),
        "zone": zone,
        "subject": "",
        "points": NORTH,
        "is_present": True,
        "severity": 2,
        "onset": AT + MINUTE_MS,
        "because": ("it fell",),
    }
    return Finding(**{**facts, **more})


def towns():
    """Return a registry in which `inner` lies in `north`, and `beside` hangs on north's inflow."""
    known = registry(("north", "inner", "beside", "away"))
    north = known.zones[ZoneId("north")]
    zones = known.zones | {
        ZoneId("inner"): replace(known.zones[ZoneId("inner")], parent=ZoneId("north")),
        ZoneId("beside"): replace(known.zones[ZoneId("beside")], inflow=north.inflow),
    }
    return replace(known, zones=zones)


def known(*told):
    operations = Operations()
    operations.registry_changed(towns())
    for one in told:
        operations.tell(one, at=AT)
    return operations


def is_explained(found, *told, at=AT + 2 * MINUTE_MS, before=0.0):
    return explain(found, known(*told), at=at, before_m3h=before).operation is not None


@pytest.mark.parametrize(
    ("kind", "explained"),
    [
        ("valve", {"supply", "pressure_low", "pressure_drop", "limit", "regime_change"}),
        ("works", {"supply", "pressure_low", "pressure_drop", "limit", "regime_change"}),
        ("pump", {"supply", "pressure_low", "limit", "regime_change"}),
        ("prv", {"supply", "pressure_low", "limit", "regime_change"}),
        ("hydrant", {"burst", "leak", "pressure_low", "pressure_drop"}),
        ("flushing", {"burst", "leak", "pressure_low", "pressure_drop"}),
    ],
)
def test_each_kind_explains_what_it_can_cause_and_nothing_else(kind, explained):
    found = {k for k in AlarmKind if is_explained(finding(k, estimate_m3h=30.0), operation(kind))}

    assert found == {AlarmKind(k) for k in explained}


def test_what_began_before_an_operation_or_stands_after_it_is_not_explained_by_it():
    early = finding(onset=AT - 6 * MINUTE_MS)
    end = AT + HOUR_MS

    assert not is_explained(early, operation())
    assert is_explained(finding(), operation(), at=end + GRACE_MS - 1)
    assert not is_explained(finding(), operation(), at=end + GRACE_MS)
    assert not is_explained(finding(), operation(is_withdrawn=True))
    assert is_explained(finding(), operation(end=None), at=end + 99 * HOUR_MS)


def test_a_hydrant_lets_out_no_more_than_it_can_or_than_was_declared():
    assert is_explained(finding("burst", estimate_m3h=79.0), operation("hydrant"))
    assert not is_explained(finding("burst", estimate_m3h=81.0), operation("hydrant"))
    assert is_explained(finding("burst", estimate_m3h=30.0), operation("hydrant", m3h=20.0))
    assert not is_explained(finding("burst", estimate_m3h=32.0), operation("hydrant", m3h=20.0))
    assert not is_explained(finding("burst", estimate_m3h=None), operation("hydrant"))


def test_a_second_rise_needs_to_have_been_declared():
    more = finding("burst", estimate_m3h=10.0)

    assert not is_explained(more, operation("hydrant"), before=20.0)
    assert is_explained(more, operation("hydrant", m3h=30.0), before=20.0)


def test_points_that_an_operation_names_bound_its_place():
    named = operation("works", points=(NORTH[0],))

    assert is_explained(finding("pressure_drop", points=NORTH[:1]), named)
    assert not is_explained(finding("pressure_drop", points=NORTH[1:]), named)
    assert is_explained(finding("silent", points=NORTH[:1]), named)
    assert not is_explained(finding("silent", points=NORTH[:1]), operation("works"))
    partly = explain(finding(points=NORTH), known(named), at=AT + MINUTE_MS)
    assert partly.operation is None
    assert NORTH[1] in partly.because
    assert NORTH[0] not in partly.because


@pytest.mark.parametrize(
    ("kind", "zones"),
    [("valve", {"north", "inner", "beside"}), ("hydrant", {"north"})],
)
def test_a_valve_is_felt_downstream_and_beside(kind, zones):
    what = "burst" if kind == "hydrant" else "supply"
    found = {
        z
        for z in ("north", "inner", "beside", "away")
        if is_explained(finding(what, zone=z, estimate_m3h=20.0), operation(kind))
    }

    assert found == zones


def test_a_hydrant_in_a_zone_is_seen_by_the_meter_around_it():
    burst = finding("burst", zone="north", estimate_m3h=20.0)

    assert is_explained(burst, operation("hydrant", zone="inner"))
    assert not is_explained(finding("supply"), operation("valve", zone="inner"))


def test_an_operation_of_nowhere_explains_what_a_whole_network_feels():
    assert is_explained(finding(), operation("pump", zone="trunk"))
    assert is_explained(finding(), operation("works", zone=""))
    assert not is_explained(finding("pressure_drop"), operation("valve", zone=""))
    assert not is_explained(finding("burst", estimate_m3h=9.0), operation("hydrant", zone=""))


def test_an_operation_disturbs_its_zone_while_it_goes_on():
    operations = known(operation())

    assert operations.disturbs("inner", AT + MINUTE_MS, AT + 2 * MINUTE_MS)
    assert not operations.disturbs("away", AT + MINUTE_MS, AT + 2 * MINUTE_MS)
    assert operations.disturbs("north", AT - HOUR_MS, AT)
    assert not operations.disturbs("north", AT - HOUR_MS, AT - 10 * MINUTE_MS)
    assert not operations.disturbs("north", AT + 2 * HOUR_MS, AT + 3 * HOUR_MS)


def test_an_operation_comes_back_from_its_note_and_nonsense_is_refused():
    told = operation("hydrant", points=NORTH, m3h=20.5, note="冲洗")

    assert read(note_of(told)) == told
    for note in ("", "[]", "{}", note_of(told).replace("hydrant", "comet")):
        with pytest.raises(ValueError, match="expected"):
            read(note)
    with pytest.raises(ValueError, match="an end after its begin"):
        read(note_of(replace(told, end=AT - 1)))


class Room:
    """The last three stages of the engine."""

    def __init__(self):
        self.explaining, self.alarms, self.incidents = Explaining(), Alarms(), Incidents()
        self.at, self.keys, self.said = AT, 0, []
        self.explaining.apply(RegistryChanged(at=AT, registry=towns()), [])

    def apply(self, event, findings=()):
        found = self.explaining.apply(event, list(findings))
        alarms = self.alarms.apply(event, found, self.incidents.members_of(event))
        effects = [*alarms, *self.incidents.apply(event, alarms)]
        self.said += effects
        return effects

    def tell(self, told, note=None):
        self.keys += 1
        return self.apply(
            Commanded(
                at=self.at,
                key=f"k{self.keys}",
                actor="wang",
                verb=TELL_OPERATION,
                subject=told.id,
                note=note_of(told) if note is None else note,
            )
        )

    def tick(self, at=None, *findings):
        self.at = self.at if at is None else at
        return self.apply(Tick(at=self.at), findings)

    def of(self, kind):
        return [e for e in self.said if isinstance(e, kind)]


def test_an_explained_fall_is_told_and_sends_nobody_until_its_operation_is_overdue():
    room = Room()
    room.tell(operation())
    room.tick(AT + 2 * MINUTE_MS, finding())

    (alarm,), (incident,) = room.of(AlarmRaised), room.of(IncidentOpened)
    assert (alarm.explained_by, alarm.severity, incident.explained_by) == ("PW-1", 4, "PW-1")
    assert alarm.because == ("explained by valve PW-1", "it fell")
    room.tick(AT + HOUR_MS + GRACE_MS - 1)
    assert not room.of(DispatchRequested)

    room.tick(AT + HOUR_MS + GRACE_MS)
    room.tick(AT + HOUR_MS + GRACE_MS + 1000)

    (sent,) = room.of(DispatchRequested)
    assert (sent.incident, sent.kind, sent.mode, sent.severity) == (
        incident.incident,
        "supply",
        "auto",
        2,
    )
    assert sent.because == ("valve PW-1 should have ended at 2026-09-21T15:13:20Z", "it fell")
    again = room.of(AlarmRaised)[1:]
    assert [(a.alarm, a.explained_by, a.severity) for a in again] == [(alarm.alarm, "", 2)]


def test_what_goes_in_time_sends_nobody_and_what_is_prolonged_waits():
    room = Room()
    room.tell(operation())
    room.tick(AT + 2 * MINUTE_MS, finding())
    room.at = AT + HOUR_MS
    room.tell(operation(end=AT + 3 * HOUR_MS))
    room.tick(AT + 2 * HOUR_MS)
    room.tick(AT + 3 * HOUR_MS, finding().gone("back"))
    room.tick(AT + 9 * HOUR_MS)

    assert not room.of(DispatchRequested)


def test_what_was_called_off_explains_nothing_any_more():
    room = Room()
    room.tell(operation())
    room.tick(AT + 2 * MINUTE_MS, finding())
    room.tell(operation(is_withdrawn=True))

    (sent,) = room.of(DispatchRequested)
    assert sent.because == ("valve PW-1 was called off", "it fell")


def test_an_unexplained_burst_does_not_hide_in_an_explained_incident():
    room = Room()
    room.tell(operation())
    room.tick(AT + 2 * MINUTE_MS, finding())
    room.tick(AT + 3 * MINUTE_MS, finding("burst", estimate_m3h=40.0))

    (sent,) = room.of(DispatchRequested)
    assert (sent.kind, sent.mode) == ("burst", "auto")
    assert [i.explained_by for i in room.of(IncidentOpened)] == ["PW-1", ""]


def test_a_hydrant_that_grows_beyond_its_size_is_a_burst_after_all():
    room = Room()
    room.tell(operation("hydrant", m3h=20.0))
    room.tick(AT + 2 * MINUTE_MS, finding("burst", estimate_m3h=20.0))
    room.tick(AT + 3 * MINUTE_MS, finding("burst", estimate_m3h=30.0, is_growth=True))
    assert not room.of(DispatchRequested)

    room.tick(AT + 4 * MINUTE_MS, finding("burst", estimate_m3h=60.0, is_growth=True))
    room.tick(AT + 5 * MINUTE_MS, finding("burst", estimate_m3h=90.0, is_growth=True))

    (sent,) = room.of(DispatchRequested)
    assert sent.estimate_m3h == 60.0


def test_another_operation_takes_over_what_it_explains_too():
    room = Room()
    room.tell(operation())
    room.tell(operation("pump", id="OP-2", begin=AT - HOUR_MS, end=AT + 5 * HOUR_MS))
    room.tick(AT + 2 * MINUTE_MS, finding())
    room.tick(AT + 2 * HOUR_MS)
    assert [a.explained_by for a in room.of(AlarmRaised)] == ["PW-1", "OP-2"]
    assert not room.of(DispatchRequested)

    room.tick(AT + 6 * HOUR_MS)

    assert len(room.of(DispatchRequested)) == 1


def test_a_note_of_no_sense_is_refused_with_its_reason():
    room = Room()
    (done,) = room.tell(operation(), note="{}")

    assert isinstance(done, CommandDone)
    assert "expected the fields of an operation" in done.refused


STEP = 7 * MINUTE_MS
ACTS = st.sampled_from(("tell", "change", "withdraw", "find", "wait", "wait", "gone"))
KINDS = st.sampled_from(("valve", "pump", "works", "hydrant"))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(ACTS, st.integers(0, 12), KINDS), max_size=25))
def test_in_every_order_a_fall_is_sent_for_once_and_only_while_nothing_explains_it(acts):
    room, fall = Room(), None
    for n, (act, steps, kind) in enumerate(acts, 1):
        room.at = AT + n * STEP
        span = {"begin": room.at - STEP, "end": room.at + steps * STEP}
        if act in ("tell", "change"):
            room.tell(operation(kind, id="PW-1" if act == "change" else f"PW-{n}", **span))
        elif act == "withdraw":
            room.tell(operation(kind, is_withdrawn=True, **span))
        elif act == "find" and fall is None:
            fall = finding(onset=room.at)
            room.tick(None, fall)
        elif act == "gone" and fall is not None:
            room.tick(None, fall.gone("back"))
            fall = None
            break
        sent = len(room.of(DispatchRequested))
        room.tick()
        if fall is None:
            assert not room.of(DispatchRequested)
            continue
        is_held = explain(fall, room.explaining.operations, at=room.at).operation is not None
        assert len(room.of(DispatchRequested)) == max(sent, 0 if is_held else 1)
    before = len(room.of(DispatchRequested))
    room.tick(AT + 400 * HOUR_MS)

    assert room.explaining.due is None
    assert len(room.of(DispatchRequested)) == (before if fall is None else 1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 200), max_size=6), st.integers(1, 60))
def test_a_block_says_what_its_ticks_say_one_by_one(told_at, minutes):
    ticks = AT + MINUTE_MS * np.arange(1, 220, dtype=np.int64)
    found = [
        (tick, finding("pressure_low", subject=f"p{n}", points=(f"p{n}",), onset=int(ticks[tick])))
        for n, tick in enumerate(sorted(told_at))
    ]
    one, whole = Explaining(), Explaining()
    for stage in (one, whole):
        stage.operations.registry_changed(towns())
        stage.operations.tell(operation(end=AT + minutes * MINUTE_MS), at=AT)

    said = [
        (n, one.apply(Tick(at=int(at)), [f for t, f in found if t == n]))
        for n, at in enumerate(ticks)
    ]

    assert [(n, f) for n, f in said if f] == [(n, f) for n, f in whole.over(ticks, found) if f]


def test_operations_outlive_a_change_of_code():
    engine, fresh = Engine("mainwatch"), Engine("mainwatch")
    engine.apply(RegistryChanged(at=AT, registry=towns()))
    told = operation("hydrant", points=NORTH, m3h=20.5)
    engine.apply(
        Commanded(
            at=AT, key="k", actor="w", verb=TELL_OPERATION, subject=told.id, note=note_of(told)
        )
    )
    essentials.read(essentials.write(engine), fresh, at=AT)

    assert list(fresh._explaining.operations) == list(fresh._detectors.operations) == [told]
    assert fresh._explaining.operations.is_placed(told)
