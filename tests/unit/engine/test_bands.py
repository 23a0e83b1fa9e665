"""Bands of points: what is told, what is not, and that no cut of the hours changes it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.engine.alarms import Alarms
from server.engine.detectors.bands import OFF_H, ON_H, Bands
from server.engine.detectors.finding import Finding
from server.engine.detectors.hours import Hour
from server.engine.detectors.plot import Plot
from server.engine.effects import AlarmKind, DispatchRequested, IncidentOpened
from server.engine.events import ModelPublished, Tick, hash_of
from server.engine.incidents import Incidents
from server.history.stretch import Stretch
from server.learning.bands import bands_of, learnt_of
from server.learning.past import BRIEF_H, PlayedPast
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS
from telemetry.sample import Quality
from telemetry.units import Quantity
from tests.scenarios.town_stream import START, registry

NAMES = ("p0", "p1", "p2", "p3")
BEGIN = START // HOUR_MS * HOUR_MS
TOWN = registry()
ZONE = TOWN.zones["north"]
ONE = next(p for p in TOWN.points.values() if p.quantity is Quantity.PRESSURE)


def bands_with(points=NAMES, *, low=290.0, high=310.0):
    placed = tuple(replace(ONE, id=p) for p in points)
    plot = Plot(zone=ZONE, points=placed, begin=0, meters=(), stores=())
    bands = Bands((plot,))
    artefact = {"points": {p: [low, high] for p in points}}
    bands.publish(
        ModelPublished(
            at=BEGIN,
            zone="north",
            window=(BEGIN - 42 * DAY_MS, BEGIN),
            artefact=artefact,
            hash=hash_of(artefact),
        )
    )
    return bands


def hours_of(table, *, first=0):
    means = np.array(table, dtype=float)
    return [
        Hour(row=n, start=BEGIN + (first + n) * HOUR_MS, means=row, ends=row)
        for n, row in enumerate(means)
    ]


def away(value, hours, *, others=300.0):
    return [[value, others, others, others]] * hours


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
    ("value", "kind", "word"),
    [(280.0, AlarmKind.PRESSURE_LOW, "below"), (320.0, AlarmKind.LIMIT, "above")],
)
def test_a_point_that_leaves_its_band_for_hours_is_told_and_is_over_when_well_inside(
    value, kind, word
):
    bands = bands_with()
    edge = 290.2 if value < 300 else 309.8  # inside, but not by the margin

    table = [*away(value, ON_H - 1), *away(300.0, 1), *away(value, ON_H + 3), *away(edge, 8)]
    found = bands.run(hours_of([*table, *away(300.0, OFF_H)]), [])

    assert [(row, f.kind, f.is_present) for row, f in found] == [
        (2 * ON_H - 1, kind, True),
        (len(table) + OFF_H - 1, kind, False),
    ]
    raised = found[0][1]
    assert (raised.severity, raised.is_watch, raised.points) == (4, True, ("p0",))
    assert raised.onset == BEGIN + ON_H * HOUR_MS
    assert raised.because == (
        f"p0 has been {word} what it has kept for 42 days for {ON_H} h",
        f"last hour {value:.2f} kPa; it has kept 290.00 to 310.00 kPa",
    )


def test_a_point_without_a_band_and_a_zone_that_moves_together_say_nothing():
    learning = bands_with(NAMES[1:])
    assert learning.run(hours_of([[280.0, 300.0, 300.0]] * 0), []) == []
    learning.publish(
        ModelPublished(at=BEGIN, zone="north", window=(0, 1), artefact={"points": {}}, hash="")
    )
    assert learning.run(hours_of([[280.0, 300.0, 300.0]] * 20), []) == []

    assert bands_with().run(hours_of([[280.0, 280.0, 300.0, 300.0]] * 20), []) == []


@pytest.mark.parametrize("kind", [AlarmKind.LEAK, AlarmKind.BURST, AlarmKind.SUPPLY])
def test_while_a_leak_or_burst_of_the_zone_is_told_its_points_are_silent(kind):
    bands = bands_with()
    over = 12

    found = bands.run(
        hours_of(away(280.0, over + ON_H)),
        [(0, told(kind)), (over, told(kind, is_present=False))],
    )

    assert [(row, f.is_present) for row, f in found] == [(over + ON_H - 1, True)]


@given(
    st.lists(st.sampled_from([280.0, 290.2, 300.0, 320.0, float("nan")]), max_size=60),
    st.lists(st.integers(1, 9), min_size=1),
    st.sets(st.integers(0, 59), max_size=4),
)
def test_how_hours_are_cut_changes_nothing(values, lengths, leaks):
    table = [[v, 300.0, 300.0, 300.0] for v in values]
    others = [
        (row, told(AlarmKind.LEAK, is_present=n % 2 == 0))
        for n, row in enumerate(sorted(leaks))
        if row < len(table)
    ]
    whole = bands_with().run(hours_of(table), others) if table else []

    bands, again, first = bands_with(), [], 0
    while first < len(table):
        beyond = first + lengths[first % len(lengths)]
        part = [(row - first, f) for row, f in others if first <= row < beyond]
        said = bands.run(hours_of(table[first:beyond], first=first), part)
        again += [(first + row, f) for row, f in said]
        first = beyond
    assert again == whole


def incident_effects(incidents, alarms, finding, at):
    raised = alarms.apply(Tick(at=at), [finding], ())
    return incidents.apply(Tick(at=at), raised)


def test_what_is_to_be_looked_at_sends_nobody_and_does_not_keep_others_from_being_sent():
    incidents, alarms = Incidents(), Alarms()
    watch = replace(told(AlarmKind.PRESSURE_LOW), subject="p0 band", severity=4, is_watch=True)

    effects = incident_effects(incidents, alarms, watch, BEGIN)
    assert [type(e) for e in effects] == [IncidentOpened]

    real = replace(told(AlarmKind.PRESSURE_LOW), subject="p0", severity=2)
    effects = incident_effects(incidents, alarms, real, BEGIN + MINUTE_MS)
    [sent] = [e for e in effects if isinstance(e, DispatchRequested)]
    assert (sent.incident, sent.mode) == ("INC-000001", "confirm")

    again = replace(told(AlarmKind.PRESSURE_LOW), subject="p1", severity=2)
    effects = incident_effects(incidents, alarms, again, BEGIN + 2 * MINUTE_MS)
    assert not any(isinstance(e, DispatchRequested) for e in effects)


def test_a_band_holds_what_was_seen_but_a_few_hours_and_needs_two_weeks():
    chance = np.random.default_rng(3)
    means = chance.uniform(295.0, 305.0, (42 * 24, 3))
    means[5:7, 0] = 0.0  # two hours of a burst
    means[200:, 1] = np.nan
    means[:, 2] = 250.0  # held by a regulator

    low, high = bands_of(means)

    assert 285.0 < low[0] < 295.0 and 305.0 < high[0] < 315.0
    assert np.isnan(low[1]) and np.isnan(high[1])
    assert (low[2], high[2]) == (247.5, 252.5)


def test_a_long_recording_keeps_the_hours_that_bands_are_learnt_from():
    points = {p: replace(ONE, id=p) for p in ("p0",)}
    past = PlayedPast(["p0"], [], BEGIN, ["p0"])
    days = 2 * BRIEF_H // 24
    for day in range(days):
        at = BEGIN + day * DAY_MS + np.arange(24) * HOUR_MS
        past.add(
            Stretch(
                at=at,
                point=np.zeros(24, dtype=np.int32),
                value=np.full(24, 300.0 + day / 10),
                quality=np.full(24, Quality.GOOD, dtype=np.uint8),
                arrived_at=at,
            )
        )
        end = BEGIN + (day + 1) * DAY_MS
        found = learnt_of(ZONE, points, past, (end - 42 * DAY_MS, end))
        if day >= 42:
            low, high = found["p0"]
            assert low < 300.0 + (day - 41) / 10 < 300.0 + day / 10 < high
