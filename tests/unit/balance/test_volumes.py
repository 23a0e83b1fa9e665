"""Counters and flows with gaps: what passed is neither lost, doubled nor made up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.balance.hours import level_edges
from server.balance.volumes import counted, filled
from tests.unit.balance.town import of_volume

FLOWS = st.lists(st.floats(0, 50), min_size=3, max_size=60)


@given(FLOWS, st.data())
def test_a_counter_gives_what_passed_whatever_hours_are_missing(flows, data):
    m3 = np.array(flows)
    here = of_volume(m3)
    gaps = data.draw(st.sets(st.integers(1, len(m3) - 2)))
    low, high = here.low.copy(), here.high.copy()
    low[list(gaps)] = high[list(gaps)] = np.nan

    found = counted(low, high)

    assert np.nansum(found.m3) == pytest.approx(m3.sum(), abs=1e-6)
    assert found.spread[sorted(gaps)].all()
    assert not found.resets.any()


@given(FLOWS, FLOWS)
def test_a_counter_that_begins_again_loses_at_most_the_hour_of_its_reset(before, after):
    one, two = of_volume(np.array(before)), of_volume(np.array(after), first=0.0)
    found = counted(np.append(one.low, two.low), np.append(one.high, two.high))
    total = sum(before) + sum(after)

    assert (found.m3 >= 0).all()
    assert found.m3.sum() <= total + 1e-6
    assert found.m3.sum() >= total - after[0] - 1e-6
    assert found.resets.sum() == 1


@pytest.mark.parametrize("wrong", [999_999.0, 0.0])
def test_a_value_that_the_next_hour_takes_back_was_never_there(wrong):
    here = of_volume(np.full(10, 2.0))
    low, high = here.low.copy(), here.high.copy()
    high[4] = wrong
    low[4] = min(low[4], wrong)

    found = counted(low, high)

    assert found.m3.sum() == pytest.approx(20.0)
    assert np.flatnonzero(found.spikes).tolist() == [4]
    assert not found.resets.any()


def test_missing_hours_are_filled_by_their_hour_of_the_day_and_told_apart():
    clock = np.arange(72) % 24
    m3 = np.where(clock < 6, 1.0, 10.0)
    m3[[26, 27]] = np.nan

    found = filled(m3, clock)

    assert found.known_hours == 70
    assert found.filled_m3 == 2.0
    assert found.measured_m3 == 3 * (6 + 180) - 2
    assert found.m3 == 3 * 186


def test_nothing_known_is_filled_with_nothing():
    found = filled(np.full(5, np.nan), np.arange(5))

    assert (found.m3, found.known_hours, found.share) == (0.0, 0, 0.0)


def test_a_level_is_bridged_between_near_samples_only():
    at = np.array([0, 600, 4_000, 4_600])
    level = np.array([1.0, 2.0, 5.0, 6.0])

    found = level_edges(
        at, level, np.array([-200, 0, 300, 2_000, 4_300, 4_800, 9_000]), apart_ms_max=1_000
    )

    assert found[[0, 1, 2, 4, 5]].tolist() == [1.0, 1.0, 1.5, 5.5, 6.0]
    assert np.isnan(found[[3, 6]]).all()
