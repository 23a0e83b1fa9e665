"""What the town asks for."""

from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_sim.core.days import CALENDARS, CHINA, day_of
from firmware_sim.core.events import Event, Kind
from firmware_sim.core.noise import key_of, smooth, smooth_each
from firmware_sim.core.town import Course, Habit, Town, Users, habit_at
from firmware_sim.core.weather import Climate, Thirst, Weather
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


def test_a_public_holiday_is_a_day_of_rest_and_its_make_up_day_is_none() -> None:
    national_day = day_of(2026, 10, 1) * DAY_MS + 12 * HOUR_MS  # a Thursday
    made_up = day_of(2026, 10, 10) * DAY_MS + 12 * HOUR_MS  # a Saturday
    work = habit_at(Habit.INDUSTRY, local_ms=MONDAY + 12 * HOUR_MS)
    rest = habit_at(Habit.INDUSTRY, local_ms=MONDAY + 6 * DAY_MS + 12 * HOUR_MS)

    assert habit_at(Habit.INDUSTRY, local_ms=national_day, calendar=CHINA) == rest
    assert habit_at(Habit.INDUSTRY, local_ms=made_up, calendar=CHINA) == work
    assert habit_at(Habit.INDUSTRY, local_ms=national_day) == work


def test_factories_stand_still_at_the_spring_festival() -> None:
    festival = day_of(2026, 2, 18) * DAY_MS + 12 * HOUR_MS
    sunday = day_of(2026, 3, 22) * DAY_MS + 12 * HOUR_MS
    shares = [
        habit_at(habit, local_ms=festival, calendar=CHINA)
        / habit_at(habit, local_ms=sunday, calendar=CHINA)
        for habit in (Habit.INDUSTRY, Habit.COMMERCIAL, Habit.RESIDENTIAL)
    ]

    assert shares == sorted(shares)
    assert 0.5 < shares[0] < shares[-1] < 1


@pytest.mark.parametrize("habit", Habit)
def test_a_habit_has_no_jump_in_a_year_of_holidays(habit: Habit) -> None:
    first = day_of(2026, 1, 1) * DAY_MS
    course = [
        habit_at(habit, local_ms=first + n * 10 * MINUTE_MS, calendar=CHINA)
        for n in range(365 * 144)
    ]

    assert max(abs(b - a) for a, b in pairwise(course)) < 0.16


def test_every_day_worked_is_a_weekend_and_a_year_has_its_holidays() -> None:
    epoch = date(1970, 1, 1)
    for day in CHINA.worked:
        assert (epoch + timedelta(day)).weekday() >= 5
    for year, count in ((2024, 28), (2025, 28), (2026, 33)):
        days = [d for d in CHINA.off if (epoch + timedelta(d)).year == year]
        assert len(days) == count
    assert not CHINA.off & CHINA.worked
    assert not CALENDARS["none"].is_rest(day_of(2026, 10, 1))


@given(st.dates(date(1900, 1, 1), date(2199, 12, 31)))
@settings(max_examples=100)
def test_days_are_counted_as_everybody_counts_them(day: date) -> None:
    assert day_of(day.year, day.month, day.day) == (day - date(1970, 1, 1)).days


@given(st.integers(0, 2**62), st.integers(0, 2 * 10**12))
@settings(max_examples=100)
def test_many_streams_of_chance_at_once_are_those_taken_one_by_one(seed: int, at: int) -> None:
    keys = [[key_of(seed, f"{row} {column}") for column in range(2)] for row in range(3)]
    periods = [20_000, 12 * HOUR_MS]
    found = smooth_each(np.array(keys, dtype=np.uint64), at, np.array(periods, dtype=np.int64))

    for row, streams in enumerate(keys):
        for column, key in enumerate(streams):
            assert found[row, column] == pytest.approx(
                smooth(key, at, periods[column]), rel=1e-9, abs=1e-9
            )


def test_a_course_of_a_file_is_met_at_its_steps_and_begins_on_monday() -> None:
    course = Course(values=(1.0, 2.0, 3.0, 0.0, 4.0, 5.0, 6.0), step_ms=DAY_MS)

    assert [course.at(MONDAY + n * DAY_MS) for n in range(8)] == [1, 2, 3, 0, 4, 5, 6, 1]
    assert all(course.at(MONDAY + n * HOUR_MS) >= 0 for n in range(200))


def test_summer_makes_thirsty() -> None:
    def asked(day: int, thirst: Thirst) -> float:
        town = Town(USERS, seed=1, offset_ms=lambda _: 0, climate=Climate(), thirst=thirst)
        at = Instant(day * DAY_MS + 12 * HOUR_MS)
        return town.multipliers(at)[0]

    july, january = day_of(2026, 7, 22), day_of(2026, 1, 21)
    none, usual = Thirst(per_degree_above=0.0), Thirst()

    assert 1.01 < asked(july, usual) / asked(july, none) < 1.15
    assert asked(january, usual) == asked(january, none)


def test_the_weather_is_that_of_its_climate() -> None:
    weather = Weather(Climate(mean_c=10.0, season_c=12.0, day_c=4.0), seed=3)

    def mean(month: int, hour: int) -> float:
        days = [day_of(2026, month, d) * DAY_MS + hour * HOUR_MS for d in range(1, 29)]
        return sum(weather.outdoor_c(Instant(t), local_ms=t) for t in days) / 28

    assert mean(1, 5) < mean(1, 15) < mean(7, 5) < mean(7, 15)
    assert mean(1, 12) == pytest.approx(-1, abs=4)
    assert mean(7, 12) == pytest.approx(23, abs=4)


def test_a_holiday_that_is_made_to_happen_comes_and_goes_without_a_jump() -> None:
    town = _town(1)
    noon = Instant(MONDAY + 4 * HOUR_MS)
    usual = town.multipliers(noon)
    event = Event(
        id="feast",
        kind=Kind.HOLIDAY,
        begin=Instant(MONDAY - 8 * HOUR_MS),
        end=Instant(MONDAY + 8 * HOUR_MS),
        numbers={"factor": 1.0},
    )
    industry = next(n for n, u in enumerate(USERS) if u.habit is Habit.INDUSTRY)
    town.begin(event)
    feast = town.multipliers(noon)
    course = []
    for n in range(-9 * 60, 11 * 60):
        if n == 8 * 60:
            town.finish(event, Instant(MONDAY + 8 * HOUR_MS))
        course.append(town.multipliers(Instant(MONDAY + n * MINUTE_MS))[industry])

    assert feast[industry] < 0.75 * usual[industry]
    assert max(abs(b - a) for a, b in pairwise(course)) < 0.05
    after = Instant(MONDAY + 10 * HOUR_MS)
    assert town.multipliers(after) == _town(1).multipliers(after)
