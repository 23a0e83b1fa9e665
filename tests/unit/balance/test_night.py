"""Night flow against its own past: nights by the zone's clock, gaps told, one burst no new past."""

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.balance.local import midnight, windows
from server.engine.night import PAST_NIGHTS, against_past, night_flow, trend
from telemetry.instant import HOUR_MS

NIGHTS = [date(2026, 2, 1) + timedelta(days=n) for n in range(3)]
STARTS, ENDS = windows(NIGHTS, "Asia/Shanghai", from_h=2, to_h=4)
AT = midnight(NIGHTS[0], "Asia/Shanghai") + np.arange(72) * HOUR_MS


def flow_of(m3h: np.ndarray, at: np.ndarray = AT, width_ms: int = HOUR_MS):
    return night_flow(at, m3h, STARTS, ENDS, width_ms=width_ms)


def test_a_night_is_the_mean_of_its_window_and_nothing_else():
    m3h = np.full(72, 90.0)
    m3h[[2, 3, 26, 27]] = 10.0, 14.0, 20.0, 20.0

    found = flow_of(m3h)

    assert found.mean.tolist() == [12.0, 20.0, 90.0]
    assert found.lowest.tolist() == [10.0, 20.0, 90.0]
    assert found.share.tolist() == [1.0, 1.0, 1.0]


def test_a_night_with_too_little_measured_has_no_flow_and_says_how_much_there_was():
    m3h = np.full(72, 10.0)
    m3h[3] = m3h[26] = m3h[27] = np.nan

    found = flow_of(m3h)

    assert np.isnan(found.mean[:2]).all()
    assert found.share.tolist() == [0.5, 0.0, 1.0]
    assert found.mean[2] == 10.0


@pytest.mark.parametrize(
    ("day", "hours"), [("2021-03-28", 1), ("2021-10-31", 3), ("2021-06-01", 2)]
)
def test_the_window_follows_the_clock_over_its_changes(day, hours):
    starts, ends = windows([date.fromisoformat(day)], "Europe/Rome", from_h=2, to_h=4)
    at = midnight(date.fromisoformat(day), "Europe/Rome") + np.arange(8) * HOUR_MS

    found = night_flow(at, np.arange(8.0), starts, ends, width_ms=HOUR_MS)

    assert (ends[0] - starts[0]) // HOUR_MS == hours
    assert found.mean[0] == np.mean(np.arange(2.0, 2 + hours))
    assert found.share[0] == 1.0


@given(
    st.lists(st.floats(0, 1e4), min_size=72, max_size=72),
    st.integers(0, 40),
    st.integers(1, 12),
)
def test_what_else_is_in_the_arrays_changes_no_bit_of_a_night(values, cut, per_hour):
    width = HOUR_MS // per_hour
    at = AT[0] + np.arange(72 * per_hour) * width
    m3h = np.repeat(values, per_hour) * np.tile(np.linspace(1, 1.1, per_hour), 72)
    whole = flow_of(m3h, at, width)

    part = flow_of(m3h[cut:], at[cut:], width)

    kept = at[cut] <= STARTS
    assert part.mean[kept].tobytes() == whole.mean[kept].tobytes()
    assert part.median[kept].tobytes() == whole.median[kept].tobytes()


def test_a_night_is_held_against_the_nights_before_it_alone():
    nightly = np.append(np.tile([9.0, 11.0], 14), 50.0)

    past = against_past(nightly)

    assert past.median[-1] == 10.0
    assert past.sigma[-1] == pytest.approx(1.4826)
    assert np.isnan(past.median[13])
    assert past.median[14] == 10.0
    assert past.count[-1] == PAST_NIGHTS


def test_some_burst_nights_move_neither_the_past_nor_the_trend():
    quiet = 40 + 0.1 * np.arange(28) + np.tile([0.3, -0.3], 14)
    burst = quiet.copy()
    burst[[5, 6, 7]] += 30.0

    assert trend(quiet) == pytest.approx(0.1, abs=0.02)
    assert trend(burst) == pytest.approx(0.1, abs=0.05)
    medians = [against_past(np.append(n, 0.0)).median[-1] for n in (quiet, burst)]
    assert medians[0] == pytest.approx(medians[1], abs=0.5)


def test_unknown_nights_are_passed_over_and_too_few_make_no_past():
    nightly = np.full(29, np.nan)
    nightly[:13] = 5.0

    assert np.isnan(against_past(nightly).median[-1])
    assert np.isnan(trend(nightly))
    nightly[20] = 5.0
    assert against_past(nightly).median[-1] == 5.0


@given(st.lists(st.floats(1, 1e3) | st.just(float("nan")), min_size=0, max_size=40))
def test_a_past_depends_on_28_nights_and_never_on_the_future(values):
    nightly = np.array(values)
    past = against_past(nightly)

    for n in range(len(nightly)):
        alone = against_past(nightly[max(0, n - 28) : n + 1])
        assert alone.median[-1:].tobytes() == past.median[n : n + 1].tobytes()
