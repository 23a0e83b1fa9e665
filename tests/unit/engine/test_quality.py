"""Instruments that lie: whether they are named, and whether what they say is kept from the rest."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.engine.detectors.finding import Finding
from server.engine.detectors.pages import Pages, Readings
from server.engine.detectors.stage import Detectors
from server.engine.detectors.symptoms import Symptom
from server.engine.effects import Accepted, QualityMarked
from server.engine.events import Arrived, RegistryChanged, Tick
from server.engine.samples import Samples
from telemetry.sample import Sample
from tests.scenarios.town_stream import INFLOW, START, Burst, Town, pressure, registry


def live(town, seconds, spoil=lambda _s, _values: None, *, low=None):
    """Return (second, what was told) of a town whose readings `spoil` may change."""
    detectors = Detectors()
    detectors.apply(RegistryChanged(at=START, registry=registry(low=low)), [])
    events, arrivals = [], []
    for s in range(seconds):
        at = START + 1000 * s
        pressures, flow = town.at(s)
        values = {pressure(i): p for i, p in enumerate(pressures)} | {INFLOW: flow}
        spoil(s, values)
        samples = Samples.of(Sample(point=p, at=at, value=v) for p, v in values.items())
        accepted = Accepted(
            at=at + 200, gateway="g", epoch=1, first_offset=0, samples=samples, is_historical=False
        )
        events += [Arrived(at=at + 200, topic="", payload=b""), Tick(at=at + 1000)]
        arrivals += [[accepted], []]
    told = detectors.run(events, arrivals)
    return [(n // 2 + 1, t) for n, found in enumerate(told) for t in found]


def findings(told):
    return [(f.kind.value, f.points, f.is_present) for _, f in told if isinstance(f, Finding)]


def marks(told):
    return [m for _, m in told if isinstance(m, QualityMarked)]


def test_a_frozen_sensor_is_named_and_marked_back_to_when_it_froze():
    held = []

    def freeze(s, values):
        if 500 <= s < 560:
            held.append(values[pressure(1)])
            values[pressure(1)] = held[0]

    told = live(Town(3), 620, freeze)

    fault = ("sensor_fault", (pressure(1),))
    assert findings(told) == [(*fault, True), (*fault, False)]
    first, last = marks(told)
    assert abs(first.begin - (START + 500_000)) <= 1_000
    assert first.quality == 0 and first.reason == "flat" and first.author == "engine"
    assert first.end == last.begin
    assert abs(last.end - (START + 560_000)) <= 13_000


@pytest.mark.parametrize("by", [-40.0, -8.0, 8.0, 40.0])
def test_a_knocked_sensor_is_named_before_it_is_a_matter_of_the_pipe(by):
    town = Town(5)
    town.sensor = {2: (600, by)}

    told = live(town, 900, low=290.0)

    assert findings(told) == [("sensor_fault", (pressure(2),), True)]
    assert len(marks(told)) == 1
    assert told[0][0] <= 610


def test_a_knocked_sensor_that_is_set_right_is_believed_again():
    town = Town(5)
    town.sensor = {2: (600, -40.0)}

    def mend(s, values):
        if s >= 800:
            values[pressure(2)] += 40.0

    told = live(town, 1_200, mend, low=200.0)

    assert [present for _, _, present in findings(told)] == [True, False]


def test_a_sensor_without_power_is_no_low_pressure_but_a_zone_without_water_is():
    def unplug(s, values):
        if s >= 400:
            values[pressure(0)] = 0.0

    def drain(s, values):
        if s >= 400:
            values |= dict.fromkeys(values, 0.0)

    alone = findings(live(Town(7), 480, unplug, low=200.0))
    together = findings(live(Town(7), 480, drain, low=200.0))

    assert alone == [("sensor_fault", (pressure(0),), True)]
    kinds = [kind for kind, _, _ in together]
    assert kinds.count("pressure_low") == 6
    assert "sensor_fault" not in kinds


def test_noise_of_one_is_a_fault_and_noise_of_all_is_the_water():
    chance = random.Random(1)

    def hiss(points):
        def spoil(s, values):
            if s >= 500:
                for i in points:
                    values[pressure(i)] += chance.gauss(0, 3.0)

        return spoil

    one = findings(live(Town(8), 700, hiss([4])))
    all_of_them = findings(live(Town(8), 700, hiss(range(6))))

    assert {(k, p) for k, p, _ in one} == {("sensor_fault", (pressure(4),))}
    assert all(k != "sensor_fault" for k, _, _ in all_of_them)


@pytest.mark.parametrize("seed", range(6))
def test_a_burst_beside_one_point_is_never_called_a_fault(seed):
    town = Town(seed)
    town.bursts = [Burst(at=600, m3h=25.0, falls=(14.0, 1.0, 0.5, 0.5, 0, 0))]

    kinds = {kind for kind, _, _ in findings(live(town, 900))}

    assert "sensor_fault" not in kinds
    assert "burst" in kinds


def test_four_ordinary_hours_blame_no_instrument():
    town = Town(11, first_hour=5.0)
    town.head = [(3_600, 9.0), (7_200, -9.0)]

    assert not marks(live(town, 4 * 3_600))


def paged(values, cuts):
    """Return the turns of one point whose readings come in pieces."""
    pages = Pages(1, floor=np.array([0.2]), is_steady=np.array([True]))
    turns, begin = [], 0
    for end in [*cuts, len(values)]:
        n = end - begin
        turns += pages.run(
            Readings(
                number=np.zeros(n, dtype=np.int64),
                place=np.arange(begin, end),
                at=1_000 * np.arange(begin, end),
                value=np.array(values[begin:end], dtype=np.float64),
            )
        )
        begin = end
    return turns


class PageByPage(Pages):
    """Pages of which none is taken for calm."""

    def _learn_calm(self, sheet):
        return np.zeros(len(sheet.who), dtype=np.bool_)


@pytest.mark.parametrize("seed", range(8))
def test_calm_pages_teach_together_what_they_teach_one_by_one(seed):
    chance, points = np.random.default_rng(seed), 6
    both = [
        kind(points, floor=np.full(points, 0.2), is_steady=np.arange(points) != 1)
        for kind in (Pages, PageByPage)
    ]
    turns = []
    for block in range(40):
        counts = chance.integers(0, 60, points)
        number = np.repeat(np.arange(points), counts)
        step = np.array([0.1, 0.5, 1.0, 2.0, 4.0, 0.0])[number]
        value = 300 + step * np.round(chance.standard_normal(len(number)))
        value[chance.random(len(value)) < 0.003] += 40.0
        if 20 <= block < 24:
            value[number == 2] += chance.normal(0, 9.0, int((number == 2).sum()))
            value[number == 3] = 301.0
        at = 1_000_000 * block + 1_000 * np.arange(len(number))
        readings = Readings(number=number, place=np.arange(len(number)), at=at, value=value)
        told, again = (pages.run(readings) for pages in both)
        assert told == again
        turns += told

    assert {t.symptom for t in turns} >= {Symptom.NOISE, Symptom.FLAT}
    for name, ours in vars(both[0]).items():
        assert np.array_equal(ours, getattr(both[1], name), equal_nan=True), name


def test_a_channel_of_coarse_steps_is_frozen_only_beyond_what_it_is_known_to_do():
    chance = random.Random(2)
    day = [float(chance.randrange(3) + 300) for _ in range(400)]
    night = [300.0] * 9

    assert not paged([*day, *night, *day], [])
    assert [t.symptom for t in paged([*day, *[300.0] * 60], [])] == [Symptom.FLAT]


def test_zeros_of_the_night_are_not_frozen():
    chance = random.Random(2)
    day = [chance.gauss(20, 2) for _ in range(400)]

    assert not paged([*day, *[0.0] * 300], [])


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_pages_say_the_same_however_readings_are_cut(data):
    chance = random.Random(data.draw(st.integers(0, 10**6)))
    values = [300 + chance.gauss(0, 0.5) for _ in range(700)]
    for _ in range(data.draw(st.integers(0, 4))):
        begin = chance.randrange(300, 640)
        for k in range(begin, min(700, begin + chance.randrange(3, 60))):
            values[k] = chance.choice([values[begin], values[k], values[k] + 90])
    cuts = sorted(data.draw(st.lists(st.integers(0, 700), max_size=30)))

    assert paged(values, cuts) == paged(values, [])
