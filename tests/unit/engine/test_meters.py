"""Meters: what is told of them and when, what is not, and what comes and goes."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.engine.detectors.meters import Meters
from server.engine.effects import AlarmKind
from server.engine.events import Imported
from telemetry.instant import DAY_MS, HOUR_MS
from tests.unit.engine.meter_street import (
    HOTEL,
    INLET,
    INLET_TOTAL,
    PRESSURE,
    SCHOOL,
    SHOP,
    START,
    Street,
    judged,
    registry,
)

LEAK, FAULT = AlarmKind.CUSTOMER_LEAK, AlarmKind.METER_FAULT


def said(street, **more):
    """Return (day, comes, kind, subject) of everything that is said."""
    return [
        (round((at - START) / DAY_MS, 2), f.is_present, f.kind, f.subject)
        for at, f in street.hear(**more)
    ]


def street(days=24, **more):
    return Street(days=days, period_s=900, **more)


def change(s, name, begin, end, how):
    part = slice(s.row(*begin), s.row(*end))
    s.values[name] = s.values[name].copy()
    s.values[name][part] = how(s.values[name][part])


def test_an_ordinary_street_is_quiet():
    assert said(street(days=40)) == []


@pytest.mark.parametrize("name", [SCHOOL, SHOP])
def test_a_small_leak_is_told_after_three_nights_with_its_size(name):
    s = street()
    change(s, name, (12, 19), (18, 0), lambda v: v + 0.15)

    (at, told), (over, gone) = s.hear()

    assert (told.kind, told.severity, told.points) == (LEAK, 3, (name,))
    assert told.estimate_m3h == pytest.approx(0.15, abs=0.02)
    assert told.because == (
        f"{name} has not been below {told.estimate_m3h:.2f} m3/h for 72 hours",
        "before that it stood still on 13 of 15 days",
    )
    assert 15.5 < (at - START) / DAY_MS < 16
    assert abs(told.onset - START - 12.75 * DAY_MS) <= 2 * HOUR_MS
    assert not gone.is_present and (over - START) / DAY_MS < 18.3


def test_a_large_leak_is_told_after_a_day():
    s = street()
    change(s, SCHOOL, (12, 19), (18, 0), lambda v: v + 1.4)

    day, *told = said(s)[0]

    assert told == [True, LEAK, SCHOOL]
    assert 13.7 < day < 14.0


def test_a_customer_that_always_uses_water_has_no_leak():
    s = street()
    change(s, HOTEL, (12, 0), (24, 0), lambda v: v + 0.5)

    assert said(s) == []


def test_nothing_is_told_of_a_leak_that_was_there_from_the_beginning():
    s = street()
    change(s, SCHOOL, (0, 0), (20, 0), lambda v: v + 0.2)

    assert said(s) == []


def test_a_leak_is_not_told_in_the_first_week():
    s = street()
    change(s, SCHOOL, (4, 0), (9, 0), lambda v: v + 0.2)

    assert said(s) == []


def test_a_districts_meter_has_no_leak_behind_it():
    s = street()
    change(s, INLET, (0, 0), (12, 0), lambda v: np.where(v < 45, 0.0, v))

    assert [t for t in said(s) if t[2] == LEAK] == []


def test_one_still_hour_by_chance_does_not_take_a_leak_down_and_two_do():
    s = street()
    change(s, SCHOOL, (12, 19), (20, 0), lambda v: v + 0.15)
    change(s, SCHOOL, (17, 2), (17, 3), lambda v: 0 * v)

    assert [(int(day), up) for day, up, *_ in said(s)] == [(15, True), (20, False)]


def test_a_night_without_data_is_no_night_without_rest():
    s = street()
    for day in (12, 13, 14, 15, 16):
        change(s, SCHOOL, (day, 18), (day + 1, 7), lambda v: np.nan * v)

    assert said(s) == []


def test_many_that_begin_to_run_at_once_are_a_season_and_no_leaks():
    more = [f"house-{n}/flow" for n in range(5)]
    s = street(more=more)
    for name in more:
        s.values[name] = s.values[SCHOOL].copy()
        change(s, name, (12, 19), (24, 0), lambda v: v + 0.3)

    assert said(s) == []


def test_what_began_to_run_for_good_is_use_after_four_weeks():
    s = street(days=60)
    change(s, SCHOOL, (12, 19), (60, 0), lambda v: v + 0.3)

    (_, _, _, _), (gone, up, _, _) = said(s)

    assert not up
    assert 43 < gone < 44


def test_a_burst_behind_a_meter_is_told_within_minutes_and_is_severe():
    s = Street(days=12)
    change(s, SCHOOL, (10, 10), (11, 0), lambda v: v + 9)

    (at, told), (over, gone) = s.hear()

    assert (told.kind, told.severity, told.subject) == (LEAK, 2, f"{SCHOOL} burst")
    assert at - (START + 10 * DAY_MS + 10 * HOUR_MS) <= 20 * 60_000
    assert told.estimate_m3h > 8
    assert "it looks like a burst behind the meter" in told.because
    assert not gone.is_present and over - (START + 11 * DAY_MS) <= 20 * 60_000


def test_a_short_peak_is_no_burst_and_becomes_ordinary_when_it_comes_again():
    s = Street(days=14)
    for day in (8, 9):
        change(s, SCHOOL, (day, 10), (day, 10.17), lambda v: v + 9)  # two bins: too short
    change(s, SCHOOL, (12, 10), (12, 14), lambda v: v + 9)

    assert said(s) == []


def test_use_that_ends_by_itself_and_comes_again_is_told_twice_and_then_ordinary():
    s = street(days=22)
    for day in range(9, 21, 2):
        change(s, SCHOOL, (day, 10), (day, 12), lambda v: v + 9)

    told = [int(day) for day, up, *_ in said(s) if up]

    assert told == [9, 11]


def test_a_garden_hose_is_no_burst():
    s = street(days=16)
    change(s, SHOP, (10, 19), (10, 22), lambda v: v + 1.2)

    assert said(s) == []


def test_more_use_for_good_is_granted_after_a_week():
    s = street(days=30)
    change(s, SCHOOL, (12, 0), (30, 0), lambda v: v * 3 + 6)

    told = [(up, subject) for _, up, _, subject in said(s)]

    assert told.count((True, f"{SCHOOL} burst")) == 1
    assert told.count((False, f"{SCHOOL} burst")) == 1


@pytest.mark.parametrize(
    ("name", "begin", "hours"),
    [(HOTEL, (12, 10), 48), (SCHOOL, (12, 10), 504), (INLET, (12, 10), 2)],
)
def test_a_meter_that_stops_is_told_by_its_own_habits(name, begin, hours):
    s = street(days=40)
    change(s, name, begin, (36, 12), lambda v: 0 * v)

    (at, told), (_, gone) = s.hear()

    assert (told.kind, told.subject) == (FAULT, f"{name} stopped")
    waited = (at - START - 12 * DAY_MS) / HOUR_MS - 10
    assert hours - 1 <= waited <= hours + 2
    assert f"{name} has stood still for" in told.because[0]
    assert not gone.is_present


def test_a_school_on_holiday_has_not_stopped():
    s = street(days=40)
    for day in range(5, 40, 7):
        change(s, SCHOOL, (day, 0), (day + 2, 0), lambda v: 0 * v)
    change(s, SCHOOL, (26, 0), (36, 0), lambda v: 0 * v)

    assert said(s) == []


def test_an_inlet_is_not_called_stopped_when_the_water_is_gone():
    s = street()
    change(s, INLET, (12, 10), (13, 4), lambda v: 0 * v)
    change(s, PRESSURE, (12, 10), (13, 4), lambda v: 0.2 * v)

    assert said(s) == []


def test_a_meter_that_runs_backwards_is_told_and_one_that_always_does_is_not():
    s = street()
    change(s, INLET, (12, 10), (12, 20), lambda v: -v)
    s.values[HOTEL] = np.where(np.arange(s.rows) % 10 == 0, -0.4, s.values[HOTEL])
    change(s, HOTEL, (12, 10), (12, 20), lambda v: 0 * v - 1.0)

    told = said(s)

    assert [t[1:] for t in told] == [
        (True, FAULT, f"{INLET} reversed"),
        (False, FAULT, f"{INLET} reversed"),
    ]


def test_a_zone_that_gives_more_than_it_gets_has_a_wrong_sign():
    s = street(days=8)
    change(s, INLET, (0, 0), (8, 0), lambda v: -v)

    ((at, told),) = s.hear()

    assert (told.kind, told.subject) == (FAULT, "zone meters")
    assert (at - START) // DAY_MS == 2


@pytest.mark.parametrize("factor", [10, 0.1])
def test_a_scale_that_is_wrong_by_ten_is_told_while_pressures_hold(factor):
    s = street()
    change(s, INLET, (12, 10), (14, 0), lambda v: factor * v)

    (_, told), (_, gone) = s.hear()

    assert (told.kind, told.subject) == (FAULT, f"{INLET} implausible")
    assert not gone.is_present


def test_a_large_inflow_under_falling_pressures_is_water():
    s = street()
    change(s, INLET, (12, 10), (12, 16), lambda v: 4 * v)
    change(s, PRESSURE, (12, 10), (12, 16), lambda v: 0.6 * v)

    assert said(s) == []


def test_a_flow_that_no_longer_agrees_with_its_total_is_told():
    s = street()
    s.values[INLET_TOTAL] = s.values[INLET].copy()
    change(s, INLET, (12, 10), (14, 0), lambda v: 1.1 * v)

    (at, told), (_, gone) = s.hear()

    assert (told.kind, told.subject) == (FAULT, f"{INLET} total")
    assert (at - START - 12 * DAY_MS) / HOUR_MS < 14
    assert not gone.is_present


class _Reset(Street):
    """A street in which the shop's total begins anew, or jumps."""

    def __init__(self, *, to, at=12.4, days=16):
        super().__init__(days=days, period_s=900)
        self._to, self._at = to, at

    def readings(self):
        found = super().readings()
        total = found[SHOP].copy()
        row = self.row(self._at)
        total[row:] += self._to - total[row]
        found[SHOP] = total
        return found


@pytest.mark.parametrize("to", [0.4, 3_000.0, 90_000.0])
def test_a_total_that_begins_anew_is_told_once_for_a_day_and_is_no_use(to):
    s = _Reset(to=to)

    (at, told), (over, gone) = s.hear()

    assert (told.kind, told.severity, told.points) == (FAULT, 4, (SHOP,))
    assert "the counter was reset or replaced" in told.because
    assert not gone.is_present and 0.9 * DAY_MS < over - at < 1.1 * DAY_MS


def test_a_roll_over_and_a_lone_wild_reading_of_a_total_are_nothing():
    s = Street(days=10, period_s=900)
    readings = s.readings()
    readings[SHOP] = (readings[SHOP] - 5_000 + 99_970) % 100_000
    readings[INLET_TOTAL][500] = 12.0
    meters = Meters()
    meters.registry_changed(s.registry)

    assert readings[SHOP].min() < 100
    assert [f for b in s.blocks(said=readings) for f in judged(meters, b)] == []


def sizes(seed, longest):
    chance = random.Random(seed)
    return iter(lambda: chance.randrange(1, longest), 0)


@pytest.fixture(scope="module")
def eventful():
    s = _Reset(to=0.4, days=20)
    s.values[INLET_TOTAL] = s.values[INLET].copy()
    change(s, SCHOOL, (9, 19), (15, 0), lambda v: v + 0.15)
    change(s, SCHOOL, (15, 1), (15, 9), lambda v: v + 9)
    change(s, HOTEL, (8, 20), (11, 2), lambda v: 0 * v)
    change(s, INLET, (9, 0), (9, 4), lambda v: -v)
    change(s, INLET, (10, 0), (10, 9), lambda v: 10 * v)
    change(s, INLET, (12, 2), (12, 9), lambda v: 0.1 * v)
    change(s, INLET, (14, 2), (14, 6), lambda v: 0 * v)
    chance = np.random.default_rng(4)
    for name in s.values:
        s.values[name] = np.where(chance.random(s.rows) < 0.02, np.nan, s.values[name])
        change(s, name, (11, 3), (11, 9), lambda v: np.nan * v)
    return s, s.hear(itertools.repeat(1))


def test_the_eventful_street_has_everything_in_it(eventful):
    _, found = eventful

    subjects = {f.subject for _, f in found}
    wanted = {SCHOOL, f"{SCHOOL} burst", f"{HOTEL} stopped", f"{SHOP} counter"}
    wanted |= {f"{INLET} {what}" for what in ("reversed", "implausible", "stopped")}
    assert wanted <= subjects


@pytest.mark.parametrize("longest", [3, 40, 300, 3_000])
def test_no_cut_and_no_restart_changes_what_is_said(eventful, longest):
    s, found = eventful

    assert s.hear(sizes(longest, longest), with_restarts=longest > 3) == found


@settings(max_examples=25, deadline=None)
@given(st.lists(st.booleans(), min_size=5, max_size=5), st.integers(0, 10**6))
def test_what_comes_goes_and_never_comes_twice(choices, seed):
    s = street(days=18, seed=seed)
    happenings = [
        (SCHOOL, lambda v: v + 0.2),
        (SCHOOL, lambda v: v + 12),
        (HOTEL, lambda v: 0 * v),
        (INLET, lambda v: -v),
        (INLET, lambda v: 20 * v),
    ]
    for chosen, (name, how) in zip(choices, happenings, strict=True):
        if chosen:
            change(s, name, (9, 0), (14, 0), how)
    present = set()
    for _, finding in s.hear():
        assert (finding.key in present) != finding.is_present
        (present.add if finding.is_present else present.discard)(finding.key)
    assert not present


def test_a_history_that_was_taken_in_teaches_and_is_not_told_of():
    s = street(days=18)
    change(s, SCHOOL, (12, 19), (18, 0), lambda v: v + 0.15)
    meters = Meters()
    meters.registry_changed(s.registry)
    readings, cut = s.readings(), s.row(17)
    for begin in range(0, cut, 500):
        rows = tuple(
            (name, int(s.at[n]), float(values[n]), 192)
            for n in range(begin, min(cut, begin + 500))
            for name, values in readings.items()
        )
        meters.learn_past(Imported(at=START, source="past", rows=rows))

    blocks = itertools.islice(s.blocks(iter(lambda: 96, 0)), 17, None)
    told = [f for block in blocks for _, f in judged(meters, block)]

    assert [f.subject for f in told] == [SCHOOL]
    assert "has not been below 0.15 m3/h for 102 hours" in told[0].because[0]


def test_a_change_of_the_registry_keeps_what_is_learnt_and_what_is_told():
    s = street()
    change(s, SCHOOL, (12, 19), (20, 0), lambda v: v + 0.15)
    more = street(more=("new/flow",)).registry
    less = registry(period_s=900, without=(SCHOOL,))
    meters = Meters()
    meters.registry_changed(s.registry)
    found = []
    for n, block in enumerate(s.blocks(iter(lambda: 96, 0))):
        if n == 14:
            found += meters.registry_changed(more)
        if n == 17:
            found += meters.registry_changed(less)
        found += [f for _, f in judged(meters, block)]

    assert [(f.subject, f.is_present) for f in found] == [(SCHOOL, True), (SCHOOL, False)]
    assert found[1].because == ("the meter was changed in the registry",)
