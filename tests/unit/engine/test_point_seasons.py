"""Pressures against their habits: what is told and when, what is the zone's own, what is over."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.engine.detectors.finding import Finding
from server.engine.detectors.hours import Hour
from server.engine.detectors.plot import Plot
from server.engine.detectors.point_seasons import FORGET_MS, REST_H, PointSeasons
from server.engine.effects import AlarmKind
from server.engine.events import ModelPublished, hash_of
from server.engine.operations import Operation, OperationKind, Operations
from server.learning.point_habits import A_YEAR, threshold_of
from telemetry.instant import DAY_MS, HOUR_MS
from telemetry.units import Quantity
from tests.scenarios.town_stream import START, registry

NAMES = ("p0", "p1", "p2", "p3", "p4")
BEGIN = START // DAY_MS * DAY_MS
TOWN = registry()
ZONE = TOWN.zones["north"]
ONE = next(p for p in TOWN.points.values() if p.quantity is Quantity.PRESSURE)
SHAPE = [4.0 if clock < 6 else 0.0 for clock in range(24)]


def artefact_of(points=NAMES, *, hours=60 * 24, slots=None, threshold=40.0):
    habit = {"usual": SHAPE * 2, "sigma": [0.5] * 24, "threshold": threshold, "a_year": 0.02}
    return {
        "habits": {
            "begin": BEGIN,
            "slots": [n % 24 for n in range(hours)] if slots is None else slots,
            "points": dict.fromkeys(points, habit),
        }
    }


def seasons_with(points=NAMES, *, artefact=None, operations=None):
    placed = tuple(replace(ONE, id=p) for p in points)
    plot = Plot(zone=ZONE, points=placed, begin=0, meters=(), stores=())
    seasons = PointSeasons((plot,), operations)
    artefact = artefact_of(points) if artefact is None else artefact
    window = (BEGIN - 42 * DAY_MS, BEGIN)
    seasons.publish(
        ModelPublished(
            at=BEGIN, zone="north", window=window, artefact=artefact, hash=hash_of(artefact)
        )
    )
    return seasons


def town(hours, *, points=5, seed=5):
    """Return hourly means of points about 300 kPa, with the shape of their days and noise."""
    chance = np.random.default_rng(seed)
    shape = np.array([SHAPE[n % 24] for n in range(hours)])
    return 300.0 + shape[:, None] + chance.normal(0.0, 0.3, (hours, points))


def hours_of(table, *, first=0):
    return [
        Hour(row=n, start=BEGIN + (first + n) * HOUR_MS, means=row, ends=row)
        for n, row in enumerate(np.array(table, dtype=float))
    ]


def told(kind, *, is_present=True):
    return Finding(
        kind=kind,
        zone="north",
        subject="x",
        points=(),
        is_present=is_present,
        severity=1,
        onset=BEGIN,
        because=("x",),
    )


@pytest.mark.parametrize(
    ("size", "kind", "word"),
    [(-2.0, AlarmKind.PRESSURE_LOW, "below"), (2.0, AlarmKind.LIMIT, "above")],
)
def test_a_point_that_leaves_its_habit_is_told_within_a_day_and_over_a_day_after_it_is_back(
    size, kind, word
):
    leaves, back = REST_H + 40, REST_H + 40 + 72
    table = town(back + 72)
    table[leaves:back, 2] += size

    found = seasons_with().run(hours_of(table), [])

    assert [(f.kind, f.is_present, f.points) for _, f in found] == [
        (kind, True, ("p2",)),
        (kind, False, ("p2",)),
    ]
    (raised_at, raised), (over_at, over) = found
    assert leaves + 10 <= raised_at <= leaves + 24
    assert back + 6 <= over_at <= back + 36
    assert (raised.severity, raised.is_watch) == (4, True)
    assert abs(raised.onset - (BEGIN + leaves * HOUR_MS)) <= 2 * HOUR_MS
    hours = raised_at + 1 - (raised.onset - BEGIN) // HOUR_MS
    usual = 300.0 + SHAPE[raised_at % 24]
    off, last, noise = raised.because
    assert off.endswith(f" kPa {word} its habit for {hours} h, its zone has not")
    assert abs(float(off.split()[3]) - 2.0) <= 0.4
    assert abs(float(last.split()[-2]) - usual) <= 0.4
    assert noise == "its own noise would bring 0.02 such alarms a year"
    assert over.because[0].startswith("p2 was ")


def test_a_point_that_stays_away_is_told_once_and_its_new_level_is_habit_after_two_weeks():
    leaves = REST_H + 40
    table = town(leaves + 40 * 24)
    table[leaves:, 2] -= 2.0

    found = seasons_with().run(hours_of(table), [])

    assert [f.is_present for _, f in found] == [True, False]
    assert found[1][0] - found[0][0] == FORGET_MS // HOUR_MS + 1
    assert found[1][1].because == ("p2 has kept its new level for 14 days",)


def test_of_points_that_go_together_the_one_that_goes_furthest_is_told():
    leaves = REST_H + 40
    table = town(leaves + 60, points=9)
    table[leaves:, 1] -= 2.6
    table[leaves:, 2] -= 4.0
    table[leaves:, 3] += 4.0

    found = seasons_with(tuple(f"p{n}" for n in range(9))).run(hours_of(table), [])

    assert sorted(f.points for _, f in found) == [("p2",), ("p3",)]


@pytest.mark.parametrize("size", [-20.0, -3.0, 6.0])
def test_what_the_whole_zone_does_says_nothing_though_its_points_feel_it_unequally(size):
    table = town(REST_H + 40 + 30 * 24)
    table[REST_H + 40 :] += size * np.array([0.9, 0.95, 1.0, 1.05, 1.1])

    assert seasons_with().run(hours_of(table), []) == []


def test_season_and_single_hours_say_nothing():
    table = town(60 * 24)
    table += np.linspace(0.0, 6.0, len(table))[:, None]
    table[:, 1] -= np.linspace(0.0, 1.5, len(table))
    table[REST_H + 50 :: 90, 2] -= 80.0

    assert seasons_with().run(hours_of(table), []) == []


def test_with_fewer_than_three_others_nothing_tells_a_point_from_its_zone():
    table = town(REST_H + 100, points=3)
    table[REST_H + 20 :, 0] -= 5.0

    assert seasons_with(NAMES[:3]).run(hours_of(table), []) == []


def test_a_point_without_a_habit_and_hours_without_a_slot_are_not_judged():
    table = town(REST_H + 100)
    table[REST_H + 20 :, 2] -= 5.0

    without = seasons_with(artefact=artefact_of(("p0", "p1", "p3", "p4")))
    assert without.run(hours_of(table), []) == []
    ended = seasons_with(artefact=artefact_of(hours=REST_H + 20))
    assert ended.run(hours_of(table), []) == []
    other = seasons_with(artefact={"points": {}})
    assert other.run(hours_of(table), []) == []


def test_a_clock_that_is_set_back_is_followed_by_its_slots():
    slots = [n % 24 for n in range(REST_H)]
    slots += [(n - 1) % 24 for n in range(REST_H, REST_H + 20 * 24)]
    table = town(REST_H) - 0.0
    late = 300.0 + np.array([SHAPE[s] for s in slots[REST_H:]])[:, None] + np.zeros((1, 5))
    table = np.concatenate([table, late])

    assert seasons_with(artefact=artefact_of(slots=slots)).run(hours_of(table), []) == []


def test_a_gap_neither_raises_nor_clears_and_a_sum_does_not_outlast_a_day_of_it():
    leaves = REST_H + 40
    short, long = town(leaves + 60), town(leaves + 80)
    short[leaves:, 2] -= 2.0
    long[leaves : leaves + 10, 2] -= 2.0
    long[leaves + 40 :, 2] -= 2.0
    whole = seasons_with().run(hours_of(short), [])[0][0]
    short[leaves + 5 : leaves + 11, 2] = np.nan
    long[leaves + 10 : leaves + 40, 2] = np.nan

    assert 4 <= seasons_with().run(hours_of(short), [])[0][0] - whole <= 8
    assert seasons_with().run(hours_of(long), [])[0][0] >= leaves + 40 + 10


@pytest.mark.parametrize("kind", [AlarmKind.BURST, AlarmKind.SUPPLY])
def test_while_a_burst_or_a_failure_of_supply_is_told_points_are_silent(kind):
    leaves = REST_H + 20
    table = town(leaves + 20 * 24)
    table[leaves:, 2] -= 5.0
    others = [(leaves - 1, told(kind)), (leaves + 200, told(kind, is_present=False))]

    assert seasons_with().run(hours_of(table), others) == []


def test_news_of_a_leak_makes_points_learn_anew_and_another_leak_beside_it_is_told():
    leaves = REST_H + 20
    table = town(leaves + 30 * 24)
    table[leaves:, 2] -= 3.0
    second = leaves + 12 * 24
    table[second:, 4] -= 3.0

    found = seasons_with().run(hours_of(table), [(leaves + 5, told(AlarmKind.LEAK))])

    assert [f.points for _, f in found if f.is_present] == [("p4",)]
    assert found[0][0] >= second


def test_a_point_that_is_unheard_when_a_leak_is_told_rests_all_the_same():
    leaves = REST_H + 20
    table = town(leaves + 20 * 24)
    table[leaves:, 2] -= 3.0
    table[leaves + 4 : leaves + 8, 2] = np.nan

    assert seasons_with().run(hours_of(table), [(leaves + 5, told(AlarmKind.LEAK))]) == []


def test_a_pressure_that_rises_while_a_leak_is_told_was_mended():
    mended = REST_H + 20 + 200
    table = town(mended + 5 * 24)
    table[mended:, 2] += 3.0
    leak = (REST_H + 20, told(AlarmKind.LEAK))

    assert seasons_with().run(hours_of(table), [leak]) == []
    assert len(seasons_with().run(hours_of(table), [])) == 1


def test_an_announced_operation_is_no_news():
    leaves = REST_H + 20
    works = Operation(
        id="w-1",
        kind=OperationKind.WORKS,
        zone="north",
        begin=BEGIN + leaves * HOUR_MS,
        end=BEGIN + (leaves + 30) * HOUR_MS,
    )
    operations = Operations()
    operations.registry_changed(TOWN)
    operations.tell(works, at=BEGIN)
    table = town(leaves + 10 * 24)
    table[leaves : leaves + 30, 2] -= 5.0

    assert seasons_with(operations=operations).run(hours_of(table), []) == []
    assert len(seasons_with().run(hours_of(table), [])) == 2


def test_a_faulty_instrument_takes_down_what_is_told_and_begins_anew():
    leaves = REST_H + 20
    table = town(leaves + 24)
    table[leaves:, 2] -= 5.0
    seasons = seasons_with()
    assert len(seasons.run(hours_of(table), [])) == 1

    [gone] = seasons.excuse(2, "the instrument is faulty: stuck")
    assert (gone.is_present, gone.because) == (False, ("the instrument is faulty: stuck",))
    later = town(REST_H + 24, seed=6)
    assert seasons.run(hours_of(later, first=len(table)), []) == []


def test_a_changed_registry_keeps_what_was_learnt_and_what_is_told():
    leaves = REST_H + 20
    table = town(leaves + 24)
    table[leaves:, 2] -= 5.0
    before, after = seasons_with(), seasons_with(artefact={"points": {}})
    before.run(hours_of(table), [])
    after.adopt(before, [(n, n) for n in range(len(NAMES))])

    found = after.run(hours_of(town(4 * 24, seed=7), first=len(table)), [])
    assert [(f.is_present, f.points) for _, f in found] == [(False, ("p2",))]


def test_noise_that_wanders_brings_as_few_alarms_as_its_threshold_promises():
    """Thirty point-years of hours that follow each other closely: ten times the variance of one."""
    hours, rho = 4383, 0.82
    chance = np.random.default_rng(8)
    points = tuple(f"p{n}" for n in range(60))
    noise = chance.normal(0.0, 0.5, (hours, len(points)))
    for n in range(1, hours):
        noise[n] = rho * noise[n - 1] + (1 - rho**2) ** 0.5 * noise[n]
    table = 300.0 + np.array([SHAPE[n % 24] for n in range(hours)])[:, None] + noise

    def alarms(threshold):
        artefact = artefact_of(points, hours=hours, threshold=threshold)
        found = seasons_with(points, artefact=artefact).run(hours_of(table), [])
        return sum(f.is_present for _, f in found)

    assert alarms(threshold_of((1 + rho) / (1 - rho))) <= A_YEAR * len(points) / 2
    assert alarms(8.0) > len(points)


@settings(max_examples=15)
@given(
    st.lists(st.integers(1, 30), min_size=1),
    st.sets(st.integers(0, 239), max_size=3),
    st.integers(0, 1000),
)
def test_how_hours_are_cut_changes_nothing(lengths, news, seed):
    table = town(240, seed=seed)
    table[REST_H + 20 : REST_H + 70, 2] -= 3.0
    table[np.random.default_rng(seed).random(table.shape) < 0.05] = np.nan
    others = [
        (row, told(AlarmKind.LEAK, is_present=n % 2 == 0)) for n, row in enumerate(sorted(news))
    ]
    whole = seasons_with().run(hours_of(table), others)

    seasons, again, first, turn = seasons_with(), [], 0, 0
    while first < len(table):
        beyond, turn = first + lengths[turn % len(lengths)], turn + 1
        part = [(row - first, f) for row, f in others if first <= row < beyond]
        said = seasons.run(hours_of(table[first:beyond], first=first), part)
        again += [(first + row, f) for row, f in said]
        first = beyond
    assert again == whole
