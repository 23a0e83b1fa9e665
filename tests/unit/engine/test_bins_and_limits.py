"""Bins close once, in order; limits need time to raise and a margin to clear."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.engine.detectors.grid import Arrivals, Grid, grace_ms
from server.engine.detectors.limits import Limits, LimitsOf, lines_of
from server.engine.effects import AlarmKind
from telemetry.units import Quantity
from tests.scenarios.town_stream import START, pressure, registry

POINT = registry().points[pressure(0)]


class Bins:
    """A grid, told of one sample or one tick at a time."""

    def __init__(self, *points):
        self.grid, self.waiting = Grid([p.period_ms for p in points], width_ms=1_000), []

    def take(self, column, *, at, value, now):
        self.waiting.append((now, at, column, value))

    def close(self, *ticks):
        """Return the rows that close and whether each sample came in time."""
        now, at, column, value = zip(*self.waiting, strict=True) if self.waiting else [()] * 4
        self.waiting = []
        integers = [np.array(c, dtype=np.int64) for c in (now, at, column)]
        arrivals = Arrivals(
            after=np.zeros(len(now), dtype=np.int64),
            now=integers[0],
            at=integers[1],
            column=integers[2],
            value=np.array(value, dtype=np.float64),
        )
        rows, in_time = self.grid.run(np.array(ticks, dtype=np.int64), arrivals)
        return rows, in_time.tolist()


@pytest.fixture
def bins():
    return Bins(POINT, replace(POINT, period_ms=5_000))


def test_a_bin_waits_for_its_grace_and_holds_the_mean(bins):
    bins.take(0, at=START, value=10.0, now=START)
    bins.take(0, at=START + 900, value=20.0, now=START + 900)

    early, _ = bins.close(START + 2_999)
    rows, _ = bins.close(START + 3_000)

    assert len(early.start) == 0
    assert (rows.start.tolist(), rows.values[:, 0].tolist()) == ([START], [15.0])
    assert math.isnan(rows.values[0, 1])


def test_a_late_sample_never_re_opens_a_bin(bins):
    bins.take(0, at=START, value=10.0, now=START)
    bins.close(START + 5_000)
    bins.take(0, at=START, value=99.0, now=START + 5_000)

    rows, in_time = bins.close(START + 9_000)

    assert in_time == [False]
    assert np.isnan(rows.values[:, 0]).all()


def test_samples_of_one_bin_may_come_in_any_order(bins):
    for at, value in ((1_500, 3.0), (100, 1.0), (1_100, 5.0), (0, 2.0)):
        bins.take(0, at=START + at, value=value, now=START + 1_500)
    bins.take(0, at=START, value=3.0, now=START + 1_500)

    rows, _ = bins.close(START + 4_000)

    assert rows.values[:, 0].tolist() == [2.0, 4.0]


def test_a_slow_point_keeps_its_value_for_a_period_and_a_half(bins):
    bins.take(1, at=START, value=7.0, now=START)

    rows, _ = bins.close(START + 13_000)

    kept = [
        start - START for start, v in zip(rows.start, rows.values[:, 1], strict=True) if v == 7.0
    ]
    assert kept == [0, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000]
    assert rows.is_fresh[:2, 1].tolist() == [True, False]


def test_after_a_long_gap_bins_begin_anew(bins):
    bins.take(0, at=START, value=1.0, now=START)
    bins.close(START + 3_000)

    rows, _ = bins.close(START + 3_600_000)

    assert rows.anew == 0
    assert len(rows.start) == 1


def test_samples_far_ahead_of_the_server_are_not_live(bins):
    bins.take(0, at=START, value=1.0, now=START)
    bins.take(0, at=START + 120_000, value=1.0, now=START)

    assert bins.close()[1] == [True, False]


@st.composite
def streams(draw):
    """Samples and ticks in the order of arrival: ("sample", now, at, column) or ("tick", now)."""
    now, stream = START, []
    for _ in range(draw(st.integers(1, 40))):
        now += draw(st.integers(0, 2_500))
        if draw(st.booleans()):
            stream.append(("tick", now))
        else:
            at = now - draw(st.integers(-2_000, 6_000))
            stream.append(("sample", now, at, draw(st.integers(0, 1))))
    return stream


def run_of(stream, cuts):
    """Return what a grid says of a stream that is cut into blocks."""
    grid = Bins(POINT, replace(POINT, period_ms=5_000)).grid
    told, fresh, in_time = [], [], []
    for begin, end in pairwise([0, *sorted(cuts), len(stream)]):
        ticks, taken = [], []
        for n, (kind, now, *rest) in enumerate(stream[begin:end], begin):
            if kind == "tick":
                ticks.append(now)
            else:
                taken.append((len(ticks), now, *rest, 300.0 + 0.1 * n))
        columns = list(zip(*taken, strict=True)) or [()] * 5
        integers = [np.array(c, dtype=np.int64) for c in columns[:4]]
        arrivals = Arrivals(
            after=integers[0],
            now=integers[1],
            at=integers[2],
            column=integers[3],
            value=np.array(columns[4], dtype=np.float64),
        )
        rows, taken_in = grid.run(np.array(ticks, dtype=np.int64), arrivals)
        told += [ticks[n] for n in rows.tick]
        fresh.append(np.concatenate([rows.start[:, None], rows.values, rows.is_fresh], axis=1))
        in_time += taken_in.tolist()
    return told, np.concatenate(fresh).tobytes(), in_time


@given(stream=streams(), data=st.data())
def test_how_a_stream_is_cut_into_blocks_changes_no_bit_of_its_bins(stream, data):
    cuts = data.draw(st.sets(st.integers(0, len(stream)), max_size=8))

    assert run_of(stream, cuts) == run_of(stream, ())


@pytest.mark.parametrize(
    ("width", "grace"), [(1_000, 2_000), (5_000, 2_000), (300_000, 60_000), (900_000, 60_000)]
)
def test_the_grace_follows_the_period(width, grace):
    assert grace_ms(width) == grace


def limits_of(point):
    [line] = lines_of(point)
    return Limits(point, line)


def feed(limits, values):
    found = []
    for n, value in enumerate(values):
        found += [(n, f) for f in limits.update(at=START + 1_000 * n, value=value)]
    return found


def test_a_limit_needs_five_of_six_bins_and_clears_with_a_margin():
    limits = limits_of(replace(POINT, low=200.0))

    found = feed(limits, [250, 190, 190, 250, 190, 190, 190, *[202.0] * 10, *[205.0] * 6])

    assert [(n, f.kind, f.is_present) for n, f in found] == [
        (6, AlarmKind.PRESSURE_LOW, True),
        (22, AlarmKind.PRESSURE_LOW, False),
    ]
    assert "below its limit of 200.0 kPa" in found[0][1].because[0]


def test_a_spike_is_no_alarm():
    assert feed(limits_of(replace(POINT, low=200.0)), [250, 0, 250, 250, 0, 250, 250]) == []


@pytest.mark.parametrize(
    ("quantity", "low", "high", "value"),
    [(Quantity.PRESSURE, None, 600.0, 700.0), (Quantity.LEVEL, 1.0, None, 0.5)],
)
def test_every_other_limit_is_of_the_kind_limit(quantity, low, high, value):
    point = replace(POINT, quantity=quantity, low=low, high=high)

    assert [f.kind for _, f in feed(limits_of(point), [value] * 6)] == [AlarmKind.LIMIT]


def test_a_slow_point_needs_two_bins_only():
    limits = limits_of(replace(POINT, low=200.0, period_ms=300_000))

    assert [n for n, _ in feed(limits, [190.0, 190.0])] == [1]


def test_law_limit_and_promise_are_told_apart_and_the_number_itself_keeps_them():
    point = replace(POINT, low=200.0, promise_kpa=280.0, statute_kpa=140.0)
    limits = LimitsOf({0: point})

    def said(*values):
        rows = np.array(values, dtype=float)[:, None]
        start = START + 1_000 * np.arange(len(rows), dtype=np.int64)
        return [f for _, f in limits.run(start, rows, np.ones(rows.shape, dtype=bool))]

    assert said(*[280.0] * 6) == []
    [promise] = said(*[279.9] * 6)
    assert (promise.severity, promise.because[0].split(", ")[1]) == (
        3,
        "below the promise of 280.0 kPa",
    )
    own, statute = sorted(said(*[139.0] * 6), key=lambda f: -f.severity)
    assert (own.severity, own.because[0].split(", ")[1]) == (2, "below its limit of 200.0 kPa")
    assert statute.because[0].endswith("below the statutory 140.0 kPa")
    assert statute.severity == 1
    assert len({promise.key, own.key, statute.key}) == 3

    assert [f.key for f in said(*[142.0] * 6)] == []  # within its margin
    assert [f.key for f in said(*[150.0] * 6)] == [statute.key]
    assert {f.key for f in said(*[290.0] * 6)} == {own.key, promise.key}


def test_a_promise_of_a_policy_says_which_policy_and_which_key():
    point = replace(POINT, promise_kpa=280.0, promise_by="ours: pressure.central.min_mpa")
    limits = Limits(point, lines_of(point)[0])

    [(_, found)] = feed(limits, [279.9] * 6)
    assert found.because == (
        f"{POINT.id} is 279.9 kPa, below the promise of 280.0 kPa",
        "promised by policy ours: pressure.central.min_mpa",
    )
    assert feed(Limits(point, lines_of(point)[0]), [280.0] * 6) == []


def test_a_floor_that_is_said_twice_is_one_alarm():
    point = replace(POINT, low=280.0, promise_kpa=280.0)

    assert [(w.mark, w.low) for w in lines_of(point)] == [("", 280.0)]
