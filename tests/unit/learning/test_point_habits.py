"""What is learnt of pressures: the habit of their days, their noise, and what is too little."""

import json
from dataclasses import replace

import numpy as np
import pytest

from server.engine.detectors.point_habit import NO_SLOT, Habits
from server.engine.events import from_record, hash_of, to_record
from server.learning.day_kinds import Calendar, Days
from server.learning.point_habits import A_YEAR, COMING, alarms_a_year, learnt_of, threshold_of
from server.learning.trainer import Trainer
from telemetry.instant import DAY_MS, HOUR_MS, Instant
from telemetry.point import PointId
from telemetry.units import Quantity
from tests.scenarios.town_stream import registry

TOWN = registry()
ZONE = TOWN.zones["north"]
ONE = next(p for p in TOWN.points.values() if p.quantity is Quantity.PRESSURE)
MONDAY = 19_723  # 2024-01-01
DAYS = Days(timezone="UTC")
WINDOW = 42


class Played:
    """Hourly means from a Monday on."""

    def __init__(self, table, *, begin):
        self.table, self.begin = table, begin

    def means(self, points, begin, end):
        first, beyond = ((at - self.begin) // HOUR_MS for at in (begin, end))
        columns = [int(p[1:]) for p in points]
        lacking = np.full((max(0, beyond - len(self.table)), len(columns)), np.nan)
        assert first >= 0
        return np.concatenate([self.table[first:beyond, columns], lacking])


def points_of(count):
    return {PointId(f"p{n}"): replace(ONE, id=PointId(f"p{n}")) for n in range(count)}


def table_of(days, *, points=5, first=MONDAY, seed=2, noise=0.3):
    """Return days with higher nights, and higher ones still on weekends, whose level wanders."""
    chance = np.random.default_rng(seed)
    rows = []
    for d in range(first, first + days):
        night = 8.0 if (d + 3) % 7 >= 5 else 4.0
        shape = np.array([night if clock < 6 else 0.0 for clock in range(24)])
        rows.append(300.0 + d % 3 + shape[:, None] + chance.normal(0, noise, (24, points)))
    return np.concatenate(rows)


def learnt(table, *, days=DAYS, day=MONDAY + WINDOW, first=MONDAY, points=5):
    window = (Instant(days.start(first)), Instant(days.start(day)))
    begin = Instant(days.start(first) // HOUR_MS * HOUR_MS)
    past = Played(table, begin=begin)
    return learnt_of(ZONE, points_of(points), past, window, days, day)


def test_the_habit_is_the_shape_of_each_kind_of_day_about_its_level():
    found = learnt(table_of(WINDOW))

    habits = Habits.of({"habits": found})
    habit = habits.points["p2"]
    night, day = habit.usual[:24][:6].mean(), habit.usual[:24][6:].mean()
    assert night - day == pytest.approx(4.0, abs=0.2)
    assert habit.usual[24:30].mean() - habit.usual[30:].mean() == pytest.approx(8.0, abs=0.3)
    assert ((habit.sigma > 0.2) & (habit.sigma < 2.0)).all()
    saturday = (MONDAY + WINDOW + 5) * DAY_MS
    assert habits.slot(saturday + 3 * HOUR_MS) == 24 + 3
    assert habits.slot(saturday - DAY_MS + 3 * HOUR_MS) == 3
    assert habits.slot((MONDAY + WINDOW + COMING) * DAY_MS) == NO_SLOT


def test_the_trainer_publishes_habits_with_the_bands_on_mondays_and_the_journal_keeps_them():
    points = {**TOWN.points, **points_of(5)}
    plant = replace(TOWN, points=points, zones={"north": replace(ZONE, inflow=(), timezone="UTC")})
    table = table_of(WINDOW + 10)

    class Past(Played):
        def means(self, points, begin, end):
            known = [n for n, p in enumerate(points) if p.startswith("p")]
            means = np.full(((end - begin) // HOUR_MS, len(points)), np.nan)
            means[:, known] = super().means([points[n] for n in known], begin, end)
            return means

    past = Past(table, begin=MONDAY * DAY_MS)
    trainer = Trainer({})
    at = Instant((MONDAY + WINDOW) * DAY_MS + 30 * 60_000)
    [monday] = trainer.train(plant, past, at=at)
    [tuesday] = trainer.train(plant, past, at=Instant(at + DAY_MS))

    assert sorted(monday.artefact["habits"]["points"]) == [f"p{n}" for n in range(5)]
    assert "points" in monday.artefact and "habits" not in tuesday.artefact
    kind, body = to_record(monday)
    again = from_record(kind, monday.at, body)
    assert hash_of(again.artefact) == monday.hash
    assert len(json.dumps(monday.artefact["habits"]["points"]["p0"])) < 800


def test_a_few_days_of_a_burst_do_not_move_it():
    table = table_of(WINDOW)
    plain = learnt(table)
    table[20 * 24 + 7 : 22 * 24 + 15, 2] -= 40.0

    spoilt = learnt(table)

    of = [np.array(found["points"]["p2"]["usual"]) for found in (plain, spoilt)]
    assert np.abs(of[0] - of[1]).max() < 0.3


@pytest.mark.parametrize(("known", "is_told"), [(13, False), (14, True)])
def test_fewer_than_two_weeks_are_too_little(known, is_told):
    table = table_of(WINDOW)
    table[: (WINDOW - known) * 24, 2] = np.nan

    found = learnt(table)

    assert ("p2" in found["points"]) == is_told
    assert "p1" in found["points"]


def test_three_pressures_are_too_few_to_tell_one_from_its_zone():
    assert learnt(table_of(WINDOW, points=3), points=3) is None
    assert learnt(table_of(WINDOW, points=4), points=4) is not None


def test_no_sigma_is_less_than_the_instrument_resolves():
    found = learnt(np.round(table_of(WINDOW, noise=0.0)))

    assert min(found["points"]["p0"]["sigma"]) >= 0.1


def test_hours_keep_their_name_when_clocks_are_set_back():
    days = Days(timezone="Europe/Rome")
    monday = 20_017  # 2024-10-21; clocks are set back on Sunday the 27th
    assert len(days.hours(monday + 6)) == 25
    first = monday - WINDOW
    begin = days.start(first)
    hours = (days.start(monday) - begin) // HOUR_MS
    night = [4.0 if (n % 24) < 6 else 0.0 for n in range(hours)]
    table = 300.0 + np.array(night)[:, None] + np.zeros((1, 5))

    habits = Habits.of({"habits": learnt(table, days=days, day=monday, first=first)})

    sunday = days.hours(monday + 6)
    assert [habits.slot(at) for at, _ in sunday] == [24 + clock for _, clock in sunday]


def test_days_of_which_little_is_known_have_no_slot_and_are_not_learnt_from():
    holiday = MONDAY + WINDOW + 2
    learned = MONDAY + 9
    days = Days(timezone="UTC", calendar=Calendar(off=frozenset({holiday, learned})))
    table = table_of(WINDOW)
    table[9 * 24 : 10 * 24] -= 100.0

    found = learnt(table, days=days)

    habits = Habits.of({"habits": found})
    assert habits.slot(holiday * DAY_MS) == NO_SLOT
    assert habits.slot((holiday - 1) * DAY_MS) == NO_SLOT  # its eve
    assert habits.slot((holiday + 1) * DAY_MS) == 0
    assert max(found["points"]["p0"]["sigma"]) < 2.0


def test_a_point_that_wanders_is_asked_for_more_until_chance_brings_few_alarms():
    thresholds = [threshold_of(v) for v in (0.0, 2.0, 15.0, 25.0, 1000.0)]

    assert thresholds == sorted(thresholds)
    assert (thresholds[0], thresholds[-1]) == (40.0, 120.0)
    for variance in (0.0, 2.0, 15.0, 25.0):
        assert alarms_a_year(threshold_of(variance), variance) <= A_YEAR * 1.001
    assert alarms_a_year(120.0, 1000.0) > A_YEAR
