"""A habit recovers what a zone does each week, and sees no week where there is none."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from server.learning.day_kinds import DayKind, Days, weekday_of
from server.learning.habits import Habit, habit_of

FIRST = 20_464
DAYS = 42
NUMBERS = FIRST + np.arange(DAYS)
WEEKDAYS = np.array([weekday_of(d) for d in NUMBERS])
KINDS = np.array([int(Days(timezone="UTC").kind(int(d))) for d in NUMBERS])
HOURS = np.arange(24)
SHAPE = 30 * np.sin(2 * np.pi * HOURS / 24)


def learn(table, learnt=None) -> Habit:
    chosen = np.ones(DAYS, dtype=bool) if learnt is None else learnt
    return habit_of(table, KINDS, WEEKDAYS, learnt=chosen)


def noise(seed, sigma=1.0):
    return np.random.default_rng(seed).normal(0, sigma, (DAYS, 24))


def test_a_weekly_pattern_is_recovered():
    rest = np.where((KINDS == DayKind.REST)[:, None], 20.0 * (HOURS > 8), 0.0)
    friday = np.where((WEEKDAYS == 4)[:, None], -15.0 * (HOURS > 18), 0.0)
    habit = learn(100 + SHAPE + rest + friday + noise(1))

    usual = habit.expected(DayKind.WORK, 1)
    sunday = habit.expected(DayKind.REST, 6) - usual
    on_friday = habit.expected(DayKind.WORK, 4) - usual

    assert np.abs(usual - (SHAPE - SHAPE.mean())).max() < 4
    assert np.abs(sunday[10:] - 20).max() < 4 and np.abs(sunday[:8]).max() < 4
    assert np.abs(on_friday[19:] + 15).max() < 4 and np.abs(on_friday[:18]).max() < 4


def test_a_week_without_a_pattern_is_learnt_from_all_its_days_together():
    """What is left between weekdays is less than their own means would leave."""
    left = []
    for seed in range(10):
        habit = learn(100 + SHAPE + noise(seed, 3.0))
        alone = [habit.shape[DayKind.WORK, d, :24] for d in range(5)]
        left.append(np.std(alone, axis=0).mean())

    assert np.mean(left) < 0.4 * 3.0 / np.sqrt(DAYS / 7)


@given(st.integers(0, 1000), st.floats(0.5, 10))
@settings(max_examples=20, deadline=None)
def test_sigma_is_that_of_the_noise(seed, sigma):
    habit = learn(100 + SHAPE + noise(seed, sigma))

    assert np.all(habit.sigma > 0.4 * sigma) and np.all(habit.sigma < 2 * sigma)


@given(st.integers(0, 1000), st.floats(-500, 500))
@settings(max_examples=20, deadline=None)
def test_a_level_moves_nothing_but_the_level(seed, by):
    table = 100 + SHAPE + noise(seed)
    one, other = learn(table), learn(table + by)

    np.testing.assert_allclose(other.shape, one.shape, atol=1e-6)
    np.testing.assert_allclose(other.sigma, one.sigma, atol=1e-6)
    np.testing.assert_allclose(other.levels, one.levels + by, atol=1e-6)


def test_single_wild_hours_and_days_without_data_do_not_spoil_it():
    table = 100 + SHAPE + noise(2)
    clean = learn(table)
    table[3, 5] = 5_000.0
    table[20:24] = np.nan
    table[30, :10] = np.nan
    habit = learn(table)

    assert np.isnan(habit.levels[20:24]).all() and np.isnan(habit.levels[30])
    assert np.nanmax(np.abs(habit.shape - clean.shape)) < 3
    assert np.abs(habit.sigma - clean.sigma).max() < 1


def test_nothing_known_is_unknown_and_no_error():
    habit = learn(np.full((DAYS, 24), np.nan))

    assert np.isnan(habit.expected(DayKind.WORK, 0)).all()
    assert np.isnan(habit.sigma).all() and np.isnan(habit.levels).all()


def test_days_that_are_not_to_be_learnt_from_leave_no_trace_in_the_shape():
    table = 100 + SHAPE + noise(4)
    learnt = np.arange(DAYS) < 35
    spoilt = table.copy()
    spoilt[35:, :6] += 40

    np.testing.assert_allclose(
        learn(spoilt, learnt).shape[:, :, :24], learn(table, learnt).shape[:, :, :24]
    )
