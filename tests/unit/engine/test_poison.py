"""What breaks the contract inside a gateway's log neither stops the server nor that log."""

import pytest

from server.engine.cursor import EPOCHS_MAX
from server.engine.effects import Accepted, AckDue, MessageDropped, PointSeen, RebirthDue
from server.engine.engine import Engine
from server.engine.events import Arrived
from telemetry.instant import SECOND_MS
from telemetry.sample import Quality, Reason
from telemetry.sparkplug import DataType, MessageKind, Metric, Payload, Property, encode
from tests.scenarios.town_stream import START
from tests.unit.engine.wire import Wire, reading

U64, F64 = DataType.UINT64, DataType.DOUBLE
ROUND_MS = 12 * SECOND_MS
"""How long a gateway waits for an acknowledgement before it is born anew and sends again."""


def births(engine, wire, at):
    wire.bd_seq += 1
    engine.apply(wire.nbirth(at))
    engine.apply(wire.dbirth(at, "pt-1", {"pressure": "a/pressure", "level": "a/level"}))


def with_a_wrong_type(wire, at):
    wrong = Metric(name="pressure", value="high", datatype=DataType.STRING, timestamp=at)
    return wire.ddata(at, "pt-1", [reading("level", at, 3.0), wrong], offset=0)


def with_an_absurd_instant(wire, at):
    event = wire.ddata(
        at, "pt-1", [reading("level", at, 3.0), reading("pressure", 7, 5.0)], offset=0
    )
    return Arrived(
        at=at,
        topic=event.topic,
        payload=event.payload.replace(b"\x18\x07", b"\x18\xff\xff\xff\xff\xff\xff\x7f").replace(
            b"\x12\x15\x0a\x08pressure", b"\x12\x1b\x0a\x08pressure"
        ),
    )


def without_an_instant(wire, at):
    event = wire.ddata(at, "pt-1", [])
    metrics = (
        Metric(name="mw/epoch", value=wire.epoch, datatype=U64),
        Metric(name="mw/offset", value=0, datatype=U64),
        Metric(name="level", value=3.0, datatype=F64, timestamp=at),
        Metric(name="pressure", value=5.0, datatype=F64),
    )
    payload = Payload(timestamp=None, metrics=metrics, seq=wire.seq - 1)
    return Arrived(at=at, topic=event.topic, payload=encode(payload, with_datatypes=False))


@pytest.mark.parametrize(
    "malformed", [with_a_wrong_type, with_an_absurd_instant, without_an_instant]
)
def test_data_that_stay_unreadable_are_taken_as_bad_and_free_the_log(malformed):
    engine, wire = Engine("mainwatch"), Wire()
    answers = []
    for n in range(4):
        at = START + n * ROUND_MS
        births(engine, wire, at)
        answers.append(engine.apply(malformed(wire, at)))
        good = engine.apply(wire.ddata(at, "pt-1", [reading("level", at, 4.0)], offset=2))

    first, last = answers[0], answers[-1]
    assert [e for e in first if isinstance(e, Accepted | AckDue)] == []
    assert len([e for e in first if isinstance(e, MessageDropped)]) == 1
    samples = [s for e in last if isinstance(e, Accepted) for s in e.samples]
    assert [(s.point, s.quality, s.value) for s in samples] == [
        ("a/level", Quality.GOOD, 3.0),
        ("a/pressure", Quality.BAD, None),
    ]
    assert [e.offset for e in last if isinstance(e, AckDue)] == [3]
    assert [e.offset for e in good if isinstance(e, AckDue)] == [3]

    later = START + 5 * ROUND_MS
    again = engine.apply(malformed(wire, later))
    assert [e.offset for e in again if isinstance(e, AckDue)] == [3]
    assert [e for e in again if isinstance(e, Accepted | RebirthDue)] == []


@pytest.mark.parametrize("offset", [2**63 - 1, 2**63, 2**64 - 1])
def test_an_offset_that_no_database_can_hold_is_refused(offset):
    engine, wire = Engine("mainwatch"), Wire()
    births(engine, wire, START)

    effects = engine.apply(wire.ddata(START, "pt-1", [reading("level", START, 1.0)], offset=offset))

    assert [type(e) for e in effects] == [MessageDropped]


def test_foreign_logs_do_not_make_a_living_one_forgotten():
    engine, wire = Engine("mainwatch"), Wire()
    births(engine, wire, START)
    level = [reading("level", START, 1.0)]
    for other in range(100, 100 + 3 * EPOCHS_MAX):
        engine.apply(wire.ddata(START, "pt-1", level, offset=0, epoch=other))
        engine.apply(wire.ddata(START, "pt-1", level))

    effects = engine.apply(wire.ddata(START, "pt-1", level, offset=0))

    assert [e for e in effects if isinstance(e, Accepted)] == []


def test_gateways_of_two_groups_with_one_id_are_two_sources_of_samples():
    engine = Engine("mainwatch")
    names, seen = [], []
    for group in ("demo", "other"):
        wire = Wire(group=group)
        engine.apply(wire.nbirth(START))
        seen += engine.apply(wire.dbirth(START, "pt-1", {"pressure": f"{group}/pressure"}))
        effects = engine.apply(wire.ddata(START, "pt-1", [reading("pressure", START, 1.0)]))
        names += [e.gateway for e in effects if isinstance(e, Accepted)]

    assert names == ["gw-01", "other/gw-01"]
    assert [e.gateway for e in seen if isinstance(e, PointSeen)] == names


@pytest.mark.parametrize("value", [1e308, -1.7e308, 3.4e38])
def test_a_number_that_nothing_measures_is_a_bad_sample(value):
    engine, wire = Engine("mainwatch"), Wire()
    births(engine, wire, START)

    effects = engine.apply(wire.ddata(START, "pt-1", [reading("level", START, value)]))

    (sample,) = (s for e in effects if isinstance(e, Accepted) for s in e.samples)
    assert (sample.quality, sample.reason) == (Quality.BAD, Reason.OUT_OF_RANGE)


def test_an_absurd_period_is_taken_for_none():
    engine, wire = Engine("mainwatch"), Wire()
    engine.apply(wire.nbirth(START))
    properties = {
        "mw/point": Property(datatype=DataType.STRING, value="a/pressure"),
        "mw/quantity": Property(datatype=DataType.STRING, value="pressure"),
        "mw/period_ms": Property(datatype=U64, value=2**64 - 1),
    }
    metric = Metric(name="pressure", value=None, datatype=F64, properties=properties)

    effects = engine.apply(wire.event(MessageKind.DBIRTH, START, [metric], device="pt-1"))

    assert [e.period_ms for e in effects if isinstance(e, PointSeen)] == [0]
