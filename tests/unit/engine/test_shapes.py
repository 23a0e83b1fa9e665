"""Reading a scan by its shape is reading it in full: the same effects for whatever bytes come."""

import pickle
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.engine import shapes
from server.engine.effects import Accepted
from server.engine.engine import Engine
from server.engine.events import Arrived
from server.engine.shapes import SHAPES_MAX, Shapes
from telemetry.instant import HOUR_MS, Instant
from tests.scenarios.town_stream import START
from tests.unit.engine.wire import Wire, reading

NAMES = ("p", "level", "a-longer-name", "druck-π")
POINTS = {name: f"x/{n}/pressure" for n, name in enumerate(NAMES)}
VALUES = st.one_of(
    st.floats(100, 400),
    st.sampled_from([0.0, -0.0, float("nan"), float("inf"), -float("inf"), 1e15, 1.1e15, -1e308]),
)
SCANS = st.fixed_dictionaries(
    {
        "plain": st.sampled_from([True, True, True, False]),
        "values": st.lists(VALUES, min_size=len(NAMES), max_size=len(NAMES)),
        "step": st.sampled_from([0, 0, 0, 1, 250]),
        "at": st.sampled_from([0, 1_000, 2_000, -60_000, HOUR_MS + 1, 2 * HOUR_MS]),
        "historical": st.sampled_from([False, False, False, True, "some"]),
        "count": st.sampled_from([len(NAMES)] * 5 + [0, 1, 2]),
        "bad": st.sampled_from([False] * 9 + [True]),
        "again": st.sampled_from([False] * 4 + [True]),
        "skip": st.sampled_from([0, 0, 0, 0, 1, 100, 20_000, 2**40, 2**63 - 3]),
        "seq": st.sampled_from([0, 0, 0, 0, 3, 120]),
        "flips": st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=1),
    }
)

PLAIN = {
    "plain": False, "step": 0, "at": 0, "historical": False, "count": len(NAMES), "bad": False,
    "again": False, "skip": 0, "seq": 0, "flips": (),
}  # fmt: skip
"""What most scans of the field are."""


class _Blind(Shapes):
    """One that knows no shape: every message is read in full."""

    __slots__ = ()

    def read(self, data, *, value_max):
        assert data
        assert value_max


def births(wire):
    return [
        wire.nbirth(START),
        wire.dbirth(START, "d", POINTS),
    ]


def message(wire, scan):
    """Return a scan as drawn, perhaps with one byte changed."""
    if scan["plain"]:
        values = [v if abs(v) < 1e15 else 1.0 for v in scan["values"]]  # a NaN is not
        scan = PLAIN | {"values": values, "historical": scan["historical"] is True}
    readings = []
    at = START + scan["at"]
    for n, (name, value) in enumerate(zip(NAMES, scan["values"], strict=True)):
        is_late = scan["historical"] is True or (scan["historical"] == "some" and n == 1)
        quality = 500 if scan["bad"] and n == 2 else None
        readings.append(
            reading(name, at + n * scan["step"], value, historical=is_late, quality=quality)
        )
    wire.seq = (wire.seq + scan["seq"]) % 256
    wire.offset = min(wire.offset + scan["skip"], 2**63 - 2)
    event = wire.ddata(START, "d", readings[: scan["count"]])
    data = bytearray(event.payload)
    for place, byte in scan["flips"]:
        data[place % len(data)] = byte
    return Arrived(at=event.at, topic=event.topic, payload=bytes(data))


def run(events):
    engine = Engine("mainwatch")
    return [repr(engine.apply(event)) for event in events]


@pytest.fixture
def blind(monkeypatch):
    def _run(events):
        with monkeypatch.context() as patch:
            patch.setattr("server.engine.nodes.Shapes", _Blind)
            return run(events)

    return _run


@settings(max_examples=300)
@given(st.lists(SCANS, min_size=2, max_size=25))
def test_a_shape_reads_what_the_codec_reads(scans):
    wire = Wire()
    events = births(wire)
    for scan in scans:
        event = message(wire, scan)
        events += [event] * (1 + (scan["again"] and not scan["plain"]))
    patch = pytest.MonkeyPatch()
    seen = run(events)
    patch.setattr("server.engine.nodes.Shapes", _Blind)
    in_full = run(events)
    patch.undo()

    assert seen == in_full


@pytest.mark.parametrize("seed", range(4))
def test_every_single_byte_changed_reads_as_in_full(blind, seed):
    chance = random.Random(seed)
    wire = Wire()
    events = births(wire)
    for _ in range(3):
        events.append(message(wire, PLAIN | {"values": [300.0, 2.0, 3.0, 4.0]}))
    last = message(wire, PLAIN | {"values": [301.0, 2.5, 3.5, 4.5]})
    for place in range(len(last.payload)):
        data = bytearray(last.payload)
        data[place] = chance.randrange(256)
        events.append(Arrived(at=last.at, topic=last.topic, payload=bytes(data)))

    assert run(events) == blind(events)


def test_the_second_plain_scan_is_read_by_its_shape(monkeypatch):
    read = []
    decode = shapes.Shape.read

    def noted(self, data):
        scan = decode(self, data)
        read.append(scan is not None)
        return scan

    wire = Wire()
    engine = Engine("mainwatch")
    engine.run(births(wire))
    readings = [reading(name, START, 300.0) for name in NAMES]
    engine.apply(wire.ddata(START, "d", readings))
    monkeypatch.setattr(shapes.Shape, "read", noted)
    effects = engine.apply(wire.ddata(START, "d", readings))

    assert read == [True]
    assert [len(e.samples) for e in effects if isinstance(e, Accepted)] == [len(NAMES)]


def test_shapes_are_bounded_and_no_part_of_what_is_pickled():
    wire = Wire()
    engine = Engine("mainwatch")
    engine.run(births(wire))
    fresh = len(pickle.dumps(engine))
    for n in range(1, 4 * SHAPES_MAX):
        wire.offset = 1 << n
        scan = [reading(name, START, 1.0) for name in NAMES[: 1 + n % 4]]
        engine.apply(wire.ddata(Instant(START + n), "d", scan))
    device = engine._hosts._nodes["demo", "gw-01"].devices["d"]
    kept = sum(map(len, device.scans._by_length.values()))

    assert 0 < kept <= SHAPES_MAX
    assert len(pickle.dumps(engine)) < fresh + 4_000
