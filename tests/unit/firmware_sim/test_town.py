"""What the town asks for."""

from itertools import pairwise

import pytest

from firmware_sim.core.town import Habit, Town, Users, habit_at
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS, Instant

USERS = tuple(
    Users(name=f"{habit} {alone}", habit=habit, alone=alone)
    for habit in Habit
    for alone in (False, True)
)
MONDAY = Instant(1_735_862_400_000 + 3 * DAY_MS)  # 2025-01-06T00:00Z


def _town(seed: int) -> Town:
    return Town(USERS, seed=seed, offset_ms=lambda _: 8 * HOUR_MS)


def test_demand_depends_on_seed_and_instant_only() -> None:
    asked = [Instant(MONDAY + n * 777_777) for n in range(50)]
    one, other = _town(1), _town(1)
    backwards = [other.multipliers(at) for at in reversed(asked)]

    assert [one.multipliers(at) for at in asked] == backwards[::-1]


def test_another_seed_is_another_town() -> None:
    assert _town(1).multipliers(MONDAY) != _town(2).multipliers(MONDAY)


def test_nobody_gives_water_back() -> None:
    town = _town(3)

    assert all(
        m > 0 for n in range(2000) for m in town.multipliers(Instant(MONDAY + n * 11 * MINUTE_MS))
    )


def test_a_neighbourhood_changes_little_from_one_second_to_the_next() -> None:
    town = _town(4)
    course = [town.multipliers(Instant(MONDAY + n * 1000))[0] for n in range(3600)]

    assert max(abs(b - a) for a, b in pairwise(course)) < 0.005


@pytest.mark.parametrize("habit", Habit)
def test_a_habit_has_no_jump_in_a_week_not_even_at_the_weekend(habit: Habit) -> None:
    course = [habit_at(habit, local_ms=MONDAY + n * MINUTE_MS) for n in range(7 * 1440 + 60)]

    assert max(abs(b - a) for a, b in pairwise(course)) < 0.02


def test_homes_rise_later_and_factories_rest_at_the_weekend() -> None:
    saturday = MONDAY + 5 * DAY_MS
    seven, noon = 7 * HOUR_MS, 12 * HOUR_MS

    assert habit_at(Habit.RESIDENTIAL, local_ms=saturday + seven) < habit_at(
        Habit.RESIDENTIAL, local_ms=MONDAY + seven
    )
    assert habit_at(Habit.INDUSTRY, local_ms=saturday + noon) < 0.7 * habit_at(
        Habit.INDUSTRY, local_ms=MONDAY + noon
    )


def test_the_average_workday_is_about_one() -> None:
    for habit in Habit:
        course = [habit_at(habit, local_ms=MONDAY + n * 10 * MINUTE_MS) for n in range(144)]

        assert sum(course) / len(course) == pytest.approx(1.0, abs=0.05)
