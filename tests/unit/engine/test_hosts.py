"""The host application: births teach, offsets decide, and nothing on the wire can raise."""

import pytest

from server.engine.effects import (
    Accepted,
    AckDue,
    GatewayChanged,
    MessageDropped,
    PointSeen,
    RebirthDue,
)
from server.engine.engine import Engine
from server.engine.events import Arrived, RegistryChanged
from telemetry.sample import Quality, Reason, TimeQuality
from telemetry.sparkplug import DataType, MessageKind, Metric
from tests.scenarios.town_stream import START, registry
from tests.unit.engine.wire import Wire, reading

POINT = "wenhua-road-12/pressure"


@pytest.fixture
def engine():
    return Engine("mainwatch")


@pytest.fixture
def wire(engine):
    wire = Wire()
    engine.apply(wire.nbirth(START))
    engine.apply(wire.dbirth(START, "pt-1", {"pressure": POINT}))
    return wire


def only(effects, kind):
    found = [e for e in effects if isinstance(e, kind)]
    assert len(found) == 1, effects
    return found[0]


def none(effects, kind):
    return not [e for e in effects if isinstance(e, kind)]


def samples(effects):
    return [s for e in effects if isinstance(e, Accepted) for s in e.samples]


def test_a_birth_tells_who_is_there_and_which_points_it_reports(engine):
    wire = Wire()

    born = engine.apply(wire.nbirth(START))
    learnt = engine.apply(wire.dbirth(START, "pt-1", {"pressure": POINT}))

    assert only(born, GatewayChanged).online
    assert only(born, AckDue).offset == 0
    seen = only(learnt, PointSeen)
    assert (seen.point, seen.quantity, seen.status) == (POINT, "pressure", "in_test")


def test_a_repeated_birth_says_nothing_new(engine, wire):
    again = engine.apply(wire.nbirth(START + 1))
    device = engine.apply(wire.dbirth(START + 1, "pt-1", {"pressure": POINT}))

    assert [type(e) for e in again] == [AckDue]
    assert device == []


def test_a_scan_is_taken_in_with_its_offset_and_acknowledged(engine, wire):
    data = wire.ddata(START, "pt-1", [reading("pressure", START, 280.0)] * 3)

    effects = engine.apply(data)

    accepted = only(effects, Accepted)
    assert (accepted.gateway, accepted.epoch, accepted.first_offset) == ("gw-01", 7, 0)
    assert [s.value for s in accepted.samples] == [280.0] * 3
    assert only(effects, AckDue).offset == 3


def test_a_repetition_is_acknowledged_again_and_taken_in_only_once(engine, wire):
    scan = [reading("pressure", START, 280.0)] * 3
    engine.apply(wire.ddata(START, "pt-1", scan, offset=0))

    effects = engine.apply(wire.ddata(START, "pt-1", scan, offset=0))

    assert none(effects, Accepted)
    assert only(effects, AckDue).offset == 3


def test_only_the_new_part_of_a_message_is_taken_in(engine, wire):
    scan = [reading("pressure", START, float(v)) for v in range(5)]
    engine.apply(wire.ddata(START, "pt-1", scan[2:3], offset=2))

    effects = engine.apply(wire.ddata(START, "pt-1", scan, offset=0))

    parts = [e for e in effects if isinstance(e, Accepted)]
    assert [(p.first_offset, [s.value for s in p.samples]) for p in parts] == [
        (0, [0.0, 1.0]),
        (3, [3.0, 4.0]),
    ]


def test_a_hole_is_told_as_ranges_and_filled_later(engine, wire):
    scan = [reading("pressure", START, 280.0)] * 5
    with_hole = engine.apply(wire.ddata(START, "pt-1", scan, offset=5))
    filled = engine.apply(wire.ddata(START, "pt-1", scan, offset=0))

    assert (only(with_hole, AckDue).offset, only(with_hole, AckDue).ranges) == (0, ((5, 10),))
    assert (only(filled, AckDue).offset, only(filled, AckDue).ranges) == (10, ())


def test_a_tail_beyond_the_cursor_is_a_recorded_loss(engine, wire):
    engine.apply(wire.ddata(START, "pt-1", [reading("pressure", START, 1.0)], offset=4))

    effects = engine.apply(wire.ndata(START, head=20, tail=10))

    assert only(effects, GatewayChanged).lost == 9
    assert only(effects, AckDue).offset == 10


def test_a_log_that_went_back_is_told(engine, wire):
    engine.apply(wire.ddata(START, "pt-1", [reading("pressure", START, 1.0)] * 9, offset=0))

    effects = engine.apply(wire.nbirth(START, head=4))

    assert "its log went back" in only(effects, GatewayChanged).because


def test_a_new_log_of_the_same_gateway_starts_a_new_cursor(engine, wire):
    scan = [reading("pressure", START, 1.0)]
    engine.apply(wire.ddata(START, "pt-1", scan, offset=0))

    effects = engine.apply(wire.ddata(START, "pt-1", scan, offset=0, epoch=8))

    assert only(effects, Accepted).epoch == 8


def test_a_gap_in_the_sequence_asks_once_for_births_and_keeps_the_data(engine, wire):
    scan = [reading("pressure", START, 1.0)]
    wire.seq += 3
    first = engine.apply(wire.ddata(START, "pt-1", scan))
    wire.seq += 3
    second = engine.apply(wire.ddata(START + 6_000, "pt-1", scan))

    assert only(first, Accepted)
    assert "sequence" in only(first, RebirthDue).because
    assert only(second, Accepted)
    assert none(second, RebirthDue)


def test_a_rebirth_that_got_lost_is_asked_for_again(engine, wire):
    scan = [reading("pressure", START, 1.0)]
    wire.seq += 3
    engine.apply(wire.ddata(START, "pt-1", scan))

    effects = engine.apply(wire.ddata(START + 30_000, "pt-1", scan))

    assert only(effects, RebirthDue)


def test_an_unknown_node_is_asked_for_its_births_at_most_every_5_s(engine):
    wire = Wire()
    scan = [reading("pressure", START, 1.0)]
    asked = [
        at
        for at in range(0, 60_000, 500)
        for e in engine.apply(wire.ddata(START + at, "pt-1", scan))
        if isinstance(e, RebirthDue)
    ]

    assert asked == [0, 30_000]


def test_data_of_an_unborn_device_wait_for_its_birth(engine, wire):
    data = wire.ddata(START, "pt-2", [reading("pressure", START, 1.0)], offset=0)
    before = engine.apply(data)
    engine.apply(wire.nbirth(START))
    engine.apply(wire.dbirth(START, "pt-2", {"pressure": "x/pressure"}))
    after = engine.apply(wire.ddata(START, "pt-2", [reading("pressure", START, 1.0)], offset=0))

    assert [type(e) for e in before] == [RebirthDue]
    assert only(after, Accepted).first_offset == 0


def test_a_metric_that_no_birth_ever_names_does_not_hold_up_the_log(engine, wire):
    scan = [reading("gone", START, 1.0), reading("pressure", START, 2.0)]
    for _ in range(3):
        assert none(engine.apply(wire.ddata(START, "pt-1", scan, offset=0)), AckDue)
        engine.apply(wire.nbirth(START))
        engine.apply(wire.dbirth(START, "pt-1", {"pressure": POINT}))

    effects = engine.apply(wire.ddata(START, "pt-1", scan, offset=0))

    assert only(effects, AckDue).offset == 2
    assert "gone" in only(effects, MessageDropped).because
    assert only(effects, Accepted).first_offset == 1


def test_only_the_death_of_the_last_birth_counts(engine, wire):
    old = engine.apply(wire.ndeath(START, bd_seq=99))
    death = engine.apply(wire.ndeath(START))
    again = engine.apply(wire.ndeath(START))

    assert old == []
    assert not only(death, GatewayChanged).online
    assert again == []


def test_data_after_a_death_are_kept_and_a_birth_is_asked_for(engine, wire):
    engine.apply(wire.ndeath(START))

    effects = engine.apply(wire.ddata(START, "pt-1", [reading("pressure", START, 1.0)]))

    assert only(effects, Accepted)
    assert only(effects, RebirthDue)


def test_a_second_gateway_cannot_take_a_point(engine, wire):
    other = Wire("gw-02", epoch=9)
    engine.apply(other.nbirth(START))
    claim = engine.apply(other.dbirth(START, "pt-9", {"pressure": POINT, "level": "b/level"}))
    scan = [reading("pressure", START, 1.0), reading("level", START, 2.0)]
    data = engine.apply(other.ddata(START, "pt-9", scan))

    assert [(e.point, e.status) for e in claim] == [(POINT, "refused"), ("b/level", "in_test")]
    assert [(s.point, s.value) for s in samples(data)] == [("b/level", 2.0)]
    assert only(data, AckDue).offset == 2


def test_the_registry_takes_a_point_out_of_its_test(engine):
    wire = Wire()
    engine.apply(wire.nbirth(START))
    engine.apply(wire.dbirth(START, "pt-1", {"pressure": "north-00/pressure"}))

    effects = engine.apply(RegistryChanged(at=START, registry=registry()))

    assert [(e.point, e.status) for e in effects] == [("north-00/pressure", "accepted")]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (reading("pressure", START, None, quality=0, reason="timeout"), (None, 0, "timeout")),
        (reading("pressure", START, None), (None, 0, "unknown")),
        (reading("pressure", START, 5.0, quality=0), (None, 0, "unknown")),
        (
            reading("pressure", START, 5.0, quality=500, reason="counter_reset"),
            (5.0, 64, "counter_reset"),
        ),
        (reading("pressure", START, float("nan")), (None, 0, "not_a_number")),
        (reading("pressure", START, float("inf")), (None, 0, "not_a_number")),
        (reading("pressure", START, 5.0, quality=0, reason="nonsense"), (None, 0, "unknown")),
    ],
)
def test_a_bad_reading_is_a_sample_too(engine, wire, sent, expected):
    sample = samples(engine.apply(wire.ddata(START, "pt-1", [sent])))[0]

    assert (sample.value, sample.quality, sample.reason) == (
        expected[0],
        Quality(expected[1]),
        Reason(expected[2]),
    )


def test_time_quality_travels_with_the_sample(engine, wire):
    scan = [reading("pressure", START, 1.0, time="corrected")]

    sample = samples(engine.apply(wire.ddata(START, "pt-1", scan)))[0]

    assert sample.time_quality is TimeQuality.CORRECTED


def test_historical_samples_come_apart_from_live_ones(engine, wire):
    scan = [reading("pressure", START, 1.0, historical=True), reading("pressure", START, 2.0)]

    effects = engine.apply(wire.ddata(START, "pt-1", scan))

    parts = [e for e in effects if isinstance(e, Accepted)]
    assert [(p.is_historical, p.first_offset) for p in parts] == [(True, 0), (False, 1)]


def test_a_sample_of_the_future_is_let_go_told_and_does_not_block_the_log(engine, wire):
    far = START + 2 * 3_600_000
    scan = [reading("pressure", far, 1.0), reading("pressure", START, 2.0)]

    effects = engine.apply(wire.ddata(START, "pt-1", scan))

    assert [s.value for s in samples(effects)] == [2.0]
    assert "1 h ahead" in only(effects, MessageDropped).because
    assert only(effects, AckDue).offset == 2


def test_a_foreign_node_needs_no_log_and_gets_no_acknowledgement(engine):
    wire = Wire("plc-3", foreign=True)
    engine.apply(wire.nbirth(START))
    birth = wire.dbirth(START, "pump", {"speed": "unused/x"})
    seen = engine.apply(birth)
    first = engine.apply(wire.ddata(START, "pump", [reading("speed", START, 1.0)]))
    second = engine.apply(wire.ddata(START, "pump", [reading("speed", START, 2.0)]))

    assert only(seen, PointSeen).point == "plc-3/pump/speed"
    assert only(first, Accepted).gateway == "demo/plc-3"
    assert (only(first, Accepted).epoch, only(second, Accepted).first_offset) == (0, 2)
    assert none([*seen, *first, *second], AckDue)


def test_drops_are_told_first_and_then_each_hundredth(engine):
    bad = Arrived(at=START, topic="spBv1.0/demo/DDATA/gw-01/pt-1", payload=b"\xff\xff")

    told = [e.count for _ in range(250) for e in engine.apply(bad) if type(e) is MessageDropped]

    assert told == [1, 100, 200]


@pytest.mark.parametrize(
    "topic",
    ["spBv1.0/demo/NCMD/gw-01", "spBv1.0/demo/DCMD/gw-01/pt-1", "spBv1.0/STATE/mainwatch"],
)
def test_commands_and_states_are_none_of_our_business(engine, topic):
    assert engine.apply(Arrived(at=START, topic=topic, payload=b"{}")) == []


@pytest.mark.parametrize("payload", [b"\0" * 300_000, b"\xff" * 300_000, b"\x12\x00" * 6_000])
def test_what_is_too_large_is_refused(engine, wire, payload):
    topic = "spBv1.0/demo/DDATA/gw-01/pt-1"

    effects = engine.apply(Arrived(at=START, topic=topic, payload=payload))

    assert [type(e) for e in effects] == [MessageDropped]


def test_samples_without_their_offset_are_a_breach_of_the_contract(engine, wire):
    metrics = [Metric(name="mw/epoch", value=7, datatype=DataType.UINT64)]
    data = wire.event(MessageKind.DDATA, START, metrics, device="pt-1")

    assert "mw/offset" in only(engine.apply(data), MessageDropped).because
