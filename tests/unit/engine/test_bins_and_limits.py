"""Bins close once, in order; limits need time to raise and a margin to clear."""

import math
from dataclasses import replace

import pytest

from server.engine.detectors.frames import Frames, grace_ms
from server.engine.detectors.limits import Limits
from server.engine.effects import AlarmKind
from telemetry.units import Quantity
from tests.scenarios.town_stream import START, pressure, registry

POINT = registry().points[pressure(0)]


@pytest.fixture
def frames():
    slow = replace(POINT, period_ms=5_000)
    return Frames((POINT, slow), width_ms=1_000)


def test_a_bin_waits_for_its_grace_and_holds_the_mean(frames):
    frames.take(0, at=START, value=10.0, now=START)
    frames.take(0, at=START + 900, value=20.0, now=START + 900)

    assert frames.close(START + 2_999) == (False, [])
    _, closed = frames.close(START + 3_000)
    assert [(f.start, f.values[0]) for f in closed] == [(START, 15.0)]
    assert math.isnan(closed[0].values[1])


def test_a_late_sample_never_re_opens_a_bin(frames):
    frames.take(0, at=START, value=10.0, now=START)
    frames.close(START + 5_000)
    frames.take(0, at=START, value=99.0, now=START + 5_000)

    _, closed = frames.close(START + 9_000)

    assert all(math.isnan(f.values[0]) for f in closed)


def test_samples_of_one_bin_may_come_in_any_order(frames):
    for at, value in ((1_500, 3.0), (100, 1.0), (1_100, 5.0), (0, 2.0)):
        frames.take(0, at=START + at, value=value, now=START + 1_500)
    frames.take(0, at=START, value=3.0, now=START + 1_500)

    _, closed = frames.close(START + 4_000)

    assert closed[-1].values[0] == 4.0


def test_a_slow_point_keeps_its_value_for_a_period_and_a_half(frames):
    frames.take(1, at=START, value=7.0, now=START)

    _, closed = frames.close(START + 13_000)

    kept = [f.start - START for f in closed if f.values[1] == 7.0]
    assert kept == [0, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000]
    assert [bool(f.is_fresh[1]) for f in closed][:2] == [True, False]


def test_after_a_long_gap_bins_begin_anew(frames):
    frames.take(0, at=START, value=1.0, now=START)
    frames.close(START + 3_000)

    is_anew, closed = frames.close(START + 3_600_000)

    assert is_anew
    assert len(closed) == 1


def test_samples_far_ahead_of_the_server_are_not_live(frames):
    frames.take(0, at=START, value=1.0, now=START)
    frames.take(0, at=START + 120_000, value=1.0, now=START)

    assert len(frames._open) == 1


@pytest.mark.parametrize(
    ("width", "grace"), [(1_000, 2_000), (5_000, 2_000), (300_000, 60_000), (900_000, 60_000)]
)
def test_the_grace_follows_the_period(width, grace):
    assert grace_ms(width) == grace


def feed(limits, values):
    found = []
    for n, value in enumerate(values):
        found += [(n, f) for f in limits.update(at=START + 1_000 * n, value=value)]
    return found


def test_a_limit_needs_five_of_six_bins_and_clears_with_a_margin():
    limits = Limits(replace(POINT, low=200.0))

    found = feed(limits, [250, 190, 190, 250, 190, 190, 190, *[202.0] * 10, *[205.0] * 6])

    assert [(n, f.kind, f.is_present) for n, f in found] == [
        (6, AlarmKind.PRESSURE_LOW, True),
        (22, AlarmKind.PRESSURE_LOW, False),
    ]
    assert "below its limit of 200.0 kPa" in found[0][1].because[0]


def test_a_spike_is_no_alarm():
    assert feed(Limits(replace(POINT, low=200.0)), [250, 0, 250, 250, 0, 250, 250]) == []


@pytest.mark.parametrize(
    ("quantity", "low", "high", "value"),
    [(Quantity.PRESSURE, None, 600.0, 700.0), (Quantity.LEVEL, 1.0, None, 0.5)],
)
def test_every_other_limit_is_of_the_kind_limit(quantity, low, high, value):
    point = replace(POINT, quantity=quantity, low=low, high=high)

    assert [f.kind for _, f in feed(Limits(point), [value] * 6)] == [AlarmKind.LIMIT]


def test_a_slow_point_needs_two_bins_only():
    limits = Limits(replace(POINT, low=200.0, period_ms=300_000))

    assert [n for n, _ in feed(limits, [190.0, 190.0])] == [1]
