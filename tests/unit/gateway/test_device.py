"""One device between polls: its scans, its silence, its return."""

import struct

import pytest

from gateway.core.device import BornMetric, Device, NoAnswer, Reading, Words
from gateway.core.pulse import CounterSettings
from telemetry.instant import Instant
from telemetry.point import PointId
from telemetry.register_map import Form, Register
from telemetry.sample import Quality, Reason

PRESSURE = Register(
    name="pressure", address=0, form=Form.FLOAT32, unit="bar", minimum=0.0, maximum=16.0
)
STATUS = Register(name="status", address=4, form=Form.UINT16, unit="")
PULSES = Register(
    name="pulses", address=50, form=Form.UINT32, unit="m3", scale=0.01, rolls_over_at=2**32
)
BAR_3_5 = struct.unpack(">HH", struct.pack(">f", 3.5))


def device(*registers: Register, period_ms: int = 1_000, metrics: tuple[BornMetric, ...] = ()):
    readings = []
    for r in registers:
        point = PointId(f"place/{r.name}")
        counter = None
        if r.rolls_over_at is not None:
            counter = CounterSettings(
                point=point,
                count_m3=r.scale,
                rolls_over_at=r.rolls_over_at,
                period_ms=period_ms,
                flow_max_m3h=None,
                flow_point=PointId("place/flow"),
                flow_window_ms=60_000,
            )
        readings.append(Reading(register=r, point=point, counter=counter))
    return Device(
        id="pt-1",
        unit=1,
        period_ms=period_ms,
        count_max=125,
        readings=readings,
        metrics=metrics,
        states={},
    )


def words(at: int, *held: int) -> Words:
    return Words(at=Instant(at), words=held)


def nobody(at: int, reason: Reason = Reason.TIMEOUT) -> NoAnswer:
    return NoAnswer(at=Instant(at), reason=reason)


def test_each_sample_has_the_instant_at_which_its_block_arrived():
    d = device(PULSES, PRESSURE, STATUS)

    scan = d.scan([words(10, *BAR_3_5, 9, 9, 2), words(20, 0, 1000)], now_ms=0)

    assert [(s.point, s.at, s.value) for s in scan.samples] == [
        ("place/pressure", 10, 350.0),
        ("place/status", 10, 2.0),
        ("place/pulses", 20, 10.0),
        ("place/flow", 20, None),
    ]
    assert [c.raw for c in scan.counters] == [1000]
    assert scan.alive is None


def test_a_value_beyond_the_instrument_is_bad_and_the_rest_is_not():
    d = device(PRESSURE, STATUS)

    scan = d.scan([words(0, *struct.unpack(">HH", struct.pack(">f", 17.0)), 0, 0, 2)], now_ms=0)

    assert [(s.quality, s.reason) for s in scan.samples] == [
        (Quality.BAD, Reason.OUT_OF_RANGE),
        (Quality.GOOD, Reason.NONE),
    ]


def test_a_block_without_answer_is_bad_for_all_that_follow_it():
    d = device(PRESSURE, PULSES)

    scan = d.scan([nobody(5)], now_ms=0)

    assert [(s.point, s.reason) for s in scan.samples] == [
        ("place/pressure", Reason.TIMEOUT),
        ("place/pulses", Reason.TIMEOUT),
        ("place/flow", Reason.TIMEOUT),
    ]


def test_a_device_dies_once_and_comes_back_once():
    d = device(PRESSURE)

    said = [d.scan([nobody(t)], now_ms=t) for t in (0, 1_000, 2_000, 3_000, 4_000)]
    back = d.scan([words(5_000, *BAR_3_5)], now_ms=5_000)
    after = d.scan([words(6_000, *BAR_3_5)], now_ms=6_000)

    assert [None if s is None else s.alive for s in said] == [None, None, None, False, None]
    assert said[4] is None  # a dead device is silent
    assert (back.alive, after.alive) == (True, None)


def test_a_device_that_refuses_is_alive():
    d = device(PRESSURE)
    refusal = NoAnswer(at=Instant(0), reason=Reason.DEVICE_EXCEPTION, answered=True)

    scans = [d.scan([refusal], now_ms=t) for t in range(0, 10_000, 1_000)]

    assert all(s.alive is None for s in scans)
    assert d.pause_ms() is None


@pytest.mark.parametrize(
    ("period_ms", "expected"),
    [
        (200, [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]),
        (3_000, [3_000, 3_000, 3_000, 4_000, 8_000, 10_000, 10_000]),
        (60_000, [10_000] * 7),
    ],
)
def test_a_silent_device_is_asked_ever_more_rarely(period_ms, expected):
    d = device(PRESSURE, period_ms=period_ms)
    pauses = []
    for n in range(7):
        d.scan([nobody(n)], now_ms=n)
        pauses.append(d.pause_ms())

    assert pauses == expected


def test_a_line_that_is_down_is_asked_on_the_grid():
    d = device(PRESSURE)

    d.scan([nobody(0, Reason.LINE_DOWN)], now_ms=0)

    assert d.pause_ms() is None


def test_holes_are_closed_when_a_device_refuses_them():
    d = device(PRESSURE, STATUS)
    (block,) = d.blocks

    assert d.close_holes(block)
    assert [(b.address, b.count) for b in d.blocks] == [(0, 2), (4, 1)]
    assert not d.close_holes(d.blocks[0])
