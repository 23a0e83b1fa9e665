"""One device between polls: its scans, its silence, its return."""

import struct

import pytest

from gateway.core.device import Device, NoAnswer, Reading, Words
from gateway.core.isolation import Isolation
from gateway.core.line_timing import LineTiming
from gateway.core.poll_plan import Costs
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


COSTS = Costs(
    timing=LineTiming(baud=9600, char_bits=10, has_gaps=True),
    turnaround_s=0.01,
    pause_s=0.0,
    count_max=125,
    barred=frozenset(),
)


def device(*registers: Register, period_ms: int = 1_000):
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
        readings.append(Reading(register=r, point=point, counter=counter, period_ms=period_ms))
    return Device(
        id="pt-1",
        unit=1,
        costs=COSTS,
        readings=readings,
        states={},
    )


def words(at: int, *held: int) -> Words:
    return Words(at=Instant(at), words=held)


def nobody(at: int, reason: Reason = Reason.TIMEOUT) -> NoAnswer:
    return NoAnswer(at=Instant(at), reason=reason)


def test_each_sample_has_the_instant_at_which_its_block_arrived():
    d = device(PULSES, PRESSURE, STATUS)

    scan = d.scan(d.polls[0], [words(10, *BAR_3_5, 9, 9, 2), words(20, 0, 1000)], now_ms=0)

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

    scan = d.scan(
        d.polls[0], [words(0, *struct.unpack(">HH", struct.pack(">f", 17.0)), 0, 0, 2)], now_ms=0
    )

    assert [(s.quality, s.reason) for s in scan.samples] == [
        (Quality.BAD, Reason.OUT_OF_RANGE),
        (Quality.GOOD, Reason.NONE),
    ]


def test_a_block_without_answer_is_bad_for_all_that_follow_it():
    d = device(PRESSURE, PULSES)

    scan = d.scan(d.polls[0], [nobody(5)], now_ms=0)

    assert [(s.point, s.reason) for s in scan.samples] == [
        ("place/pressure", Reason.TIMEOUT),
        ("place/pulses", Reason.TIMEOUT),
        ("place/flow", Reason.TIMEOUT),
    ]


def test_a_device_dies_once_and_comes_back_once():
    d = device(PRESSURE)

    said = [d.scan(d.polls[0], [nobody(t)], now_ms=t) for t in (0, 1_000, 2_000, 3_000, 4_000)]
    back = d.scan(d.polls[0], [words(5_000, *BAR_3_5)], now_ms=5_000)
    after = d.scan(d.polls[0], [words(6_000, *BAR_3_5)], now_ms=6_000)

    assert [None if s is None else s.alive for s in said] == [None, None, None, False, None]
    assert said[4] is None  # a dead device is silent
    assert (back.alive, after.alive) == (True, None)


def test_a_device_that_refuses_is_alive():
    d = device(PRESSURE)
    refusal = NoAnswer(at=Instant(0), reason=Reason.DEVICE_EXCEPTION, answered=True)

    scans = [d.scan(d.polls[0], [refusal], now_ms=t) for t in range(0, 10_000, 1_000)]

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
        d.scan(d.polls[0], [nobody(n)], now_ms=n)
        pauses.append(d.pause_ms())

    assert pauses == expected


def test_a_line_that_is_down_is_asked_on_the_grid():
    d = device(PRESSURE)

    d.scan(d.polls[0], [nobody(0, Reason.LINE_DOWN)], now_ms=0)

    assert d.pause_ms() is None


def search(d: Device, bad: set[int]) -> int:
    """Let a device that refuses some addresses be found out; return how many reads that took."""
    (block,) = d.polls[0].blocks
    found, reads = Isolation(block), 0
    while found.verdict is None:
        asked = found.next
        found.told(refused=any(asked.address <= a < asked.end for a in bad))
        reads += 1
    d.learn(block, found.verdict)
    return reads


def test_a_hole_that_is_refused_is_not_read_again():
    d = device(PRESSURE, STATUS)

    assert search(d, {2, 3}) <= 8
    assert [(b.address, b.count) for b in d.polls[0].blocks] == [(0, 2), (4, 1)]


def test_a_register_that_is_refused_is_remembered_and_its_point_stays_bad():
    d = device(PRESSURE, STATUS)

    assert search(d, {4}) <= 8
    assert [(b.address, b.count) for b in d.polls[0].blocks] == [(0, 2)]
    scan = d.scan(d.polls[0], [words(10, *BAR_3_5)], now_ms=0)

    assert [(s.point, s.value, s.reason) for s in scan.samples] == [
        ("place/pressure", 350.0, Reason.NONE),
        ("place/status", None, Reason.DEVICE_EXCEPTION),
    ]
    assert d.statistics.unreadable == 1


def test_a_device_that_comes_back_is_asked_for_everything_again():
    d = device(PRESSURE, STATUS)
    search(d, {4})
    for t in (0, 1_000, 2_000, 3_000, 4_000):
        d.scan(d.polls[0], [nobody(t)], now_ms=t)

    d.scan(d.polls[0], [words(5_000, *BAR_3_5)], now_ms=5_000)

    assert [(b.address, b.count) for b in d.polls[0].blocks] == [(0, 5)]
    assert d.statistics.unreadable == 0


def test_the_plan_follows_the_turnaround_that_is_measured():
    d = device(PRESSURE, PULSES)
    assert len(d.polls[0].blocks) == 2  # 46 unwanted registers cost more than another request

    for t in range(20):
        slow = [Words(at=Instant(t), words=(0, 0), turnaround_s=0.2)] * 2
        d.scan(d.polls[0], slow, now_ms=1_000 * t)

    assert d.replan(20_000)
    assert len(d.polls[0].blocks) == 1
    assert not d.replan(40_000)
    assert d.statistics.turnaround_ms == pytest.approx(200, rel=0.1)


def test_another_device_in_its_place_is_never_believed():
    serial = Register(
        name="serial", address=90, form=Form.STRING, unit="", words=2, identifies=True
    )
    d = Device(
        id="pt-1",
        unit=1,
        costs=COSTS,
        readings=[Reading(register=PRESSURE, point=PointId("p/p"), counter=None, period_ms=1000)],
        states={},
        identity=serial,
        expected_identity="A123",
    )

    said = d.identified((0x4239, 0x3939))
    wrong = d.scan(d.polls[0], [words(0, *BAR_3_5)], now_ms=0)
    again = d.identified((0x4131, 0x3233))
    right = d.scan(d.polls[0], [words(1_000, *BAR_3_5)], now_ms=1_000)

    assert said == "another device answers: expected 'A123', was 'B999'"
    assert wrong.samples[0].reason is Reason.WRONG_REPLY
    assert again == "the right device answers again: 'A123'"
    assert right.samples[0].value == 350.0
    assert d.statistics.impostors == 1


def test_a_rare_register_rides_with_a_frequent_one_and_is_told_rarely():
    readings = [
        Reading(register=PRESSURE, point=PointId("p/p"), counter=None, period_ms=1_000),
        Reading(register=STATUS, point=PointId("p/s"), counter=None, period_ms=4_000),
    ]
    d = Device(id="d", unit=1, costs=COSTS, readings=readings, states={})
    (poll,) = d.polls
    held = (*BAR_3_5, 0, 0, 2)

    told = [
        [s.point for s in d.scan(poll, [words(t, *held)], now_ms=t).samples]
        for t in range(0, 8_001, 1_000)
    ]

    assert [len(points) for points in told] == [2, 1, 1, 1, 2, 1, 1, 1, 2]
