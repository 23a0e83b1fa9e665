"""Normal life is quiet; bursts, supply failures and single falls are told apart, quickly."""

from dataclasses import replace

import pytest

from server.engine.detectors.finding import Finding
from server.engine.detectors.stage import Detectors
from server.engine.effects import Accepted, AlarmKind
from server.engine.events import Arrived, Imported, RegistryChanged, Tick
from server.engine.samples import Samples
from telemetry.sample import Reason, Sample
from tests.scenarios.town_stream import INFLOW, POINTS, START, Burst, Town, pressure, registry

INSTRUMENT = (AlarmKind.SILENT, AlarmKind.SENSOR_FAULT)
NEAR = (9.0, 6.0, 3.0, 2.0, 1.0, 1.0)
SMALL = (4.0, 3.0, 1.0, 1.0, 0.5, 0.5)


def scan(town, second, at, *, mute=()):
    pressures, flow = town.at(second)
    named = [(pressure(i), p) for i, p in enumerate(pressures)] + [(INFLOW, flow)]
    return [
        Sample.bad(point, at, Reason.TIMEOUT)
        if point in mute
        else Sample(point=point, at=at, value=v)
        for point, v in named
    ]


def live(town, seconds, *, start=0, mute=(), historical=False, detectors=None):
    """Return (second, finding) of the water; a second's scan arrives 200 ms late."""
    if detectors is None:
        detectors = Detectors()
        detectors.apply(RegistryChanged(at=START, registry=registry()), [])
    events, arrivals = [], []
    for s in range(start, seconds):
        at = START + 1000 * s
        accepted = Accepted(
            at=at + 200,
            gateway="gw-01",
            epoch=1,
            first_offset=0,
            samples=Samples.of(scan(town, s, at, mute=mute)),
            is_historical=historical,
        )
        events += [Arrived(at=at + 200, topic="", payload=b""), Tick(at=at + 1000)]
        arrivals += [[accepted], []]
    told = detectors.run(events, arrivals)
    seconds_told = [(start + 1 + n // 2, f) for n, found in enumerate(told) for f in found]
    findings = [(s, f) for s, f in seconds_told if isinstance(f, Finding)]
    return [(s, f) for s, f in findings if f.kind not in INSTRUMENT]


def kinds(found):
    return [(f.kind.value, f.is_present) for _, f in found]


def test_five_hours_with_a_morning_ramp_and_pump_steps_are_quiet():
    town = Town(1)
    town.head = [(3_600, 8.0), (7_200, -8.0), (9_000, 8.0), (12_000, -8.0), (15_000, 12.0)]

    assert live(town, 5 * 3_600) == []


@pytest.mark.parametrize("seed", [2, 3])
def test_restless_demand_is_no_burst(seed):
    assert live(Town(seed, demand_noise=0.03, first_hour=5.5), 2 * 3_600) == []


@pytest.mark.parametrize("at", [100, 700, 3_000])
def test_forty_cubic_metres_an_hour_are_a_burst_within_12_s(at):
    town = Town(at)
    town.bursts = [Burst(at=at, m3h=40.0, falls=NEAR)]

    found = live(town, at + 30)

    assert kinds(found) == [("burst", True)]
    second, burst = found[0]
    assert second - at <= 12
    assert burst.severity == 1
    assert burst.estimate_m3h == pytest.approx(40, abs=4)
    assert burst.points[:2] == (pressure(0), pressure(1))
    assert 0 < burst.x < 50  # between the two that feel it most, nearer to the first
    assert abs(burst.onset - (START + 1000 * at)) <= 2_000


def test_five_percent_of_the_inflow_is_a_burst_within_30_s():
    town = Town(7)
    town.bursts = [Burst(at=3_000, m3h=7.5, falls=SMALL)]

    found = live(town, 3_060)

    assert kinds(found) == [("burst", True)]
    assert found[0][0] - 3_000 <= 30


def test_a_server_that_took_in_the_past_speaks_after_forty_seconds():
    town = Town(11)
    town.bursts = [Burst(at=40, m3h=40.0, falls=NEAR)]
    past = Town(12)
    rows = []
    for n in range(288):
        pressures, flow = past.at(300 * n)
        at = START - 86_400_000 + 300_000 * n
        rows += [(pressure(i), at, p, 192) for i, p in enumerate(pressures)]
        rows.append((INFLOW, at, flow, 192))
    detectors = Detectors()
    detectors.apply(RegistryChanged(at=START, registry=registry()), [])
    detectors.apply(Imported(at=START, source="past", rows=tuple(rows)), [])

    found = live(town, 60, detectors=detectors)

    assert kinds(found) == [("burst", True)]
    assert found[0][0] <= 52


def test_a_server_that_knows_nothing_is_silent_for_75_bins():
    town = Town(5)
    town.bursts = [Burst(at=30, m3h=40.0, falls=NEAR)]

    assert live(town, 76) == []


def test_a_burst_that_was_shut_clears_and_the_next_one_is_found():
    town = Town(6)
    town.bursts = [
        Burst(at=700, m3h=40.0, falls=NEAR, until=900),
        Burst(at=1_300, m3h=40.0, falls=NEAR[::-1]),
    ]

    assert kinds(live(town, 1_400)) == [("burst", True), ("burst", False), ("burst", True)]


def test_after_half_an_hour_the_state_of_a_burst_is_the_new_reference():
    town = Town(6)
    town.bursts = [Burst(at=700, m3h=40.0, falls=NEAR)]

    found = live(town, 700 + 1_900)

    assert kinds(found) == [("burst", True), ("burst", False)]
    assert "new reference" in found[1][1].because[0]


def test_a_pump_trip_is_one_supply_failure_and_no_burst():
    town = Town(9)
    town.outage = (700, 80.0, 0.3)

    found = live(town, 1_300)

    assert kinds(found) == [("supply", True)]
    assert found[0][0] - 700 <= 15
    assert "inflow fell" in found[0][1].because[1]


def test_a_supply_failure_clears_though_one_of_its_points_has_fallen_silent():
    town = Town(9)
    town.outage = (700, 80.0, 0.3)
    detectors = Detectors()
    detectors.apply(RegistryChanged(at=START, registry=registry()), [])
    live(town, 750, detectors=detectors)
    town.outage = None

    found = live(town, 850, start=750, mute=(pressure(0),), detectors=detectors)

    assert kinds(found) == [("supply", False)]


def test_no_data_is_no_sign_that_a_burst_has_gone():
    town = Town(9)
    town.bursts = [Burst(at=700, m3h=40.0, falls=NEAR, until=720)]
    detectors = Detectors()
    detectors.apply(RegistryChanged(at=START, registry=registry()), [])
    live(town, 715, detectors=detectors)

    everything = (INFLOW, *(pressure(i) for i in range(POINTS)))

    assert live(town, 4_000, start=715, mute=everything, detectors=detectors) == []


def test_a_single_point_without_neighbours_may_still_report_its_fall():
    zone = registry()
    lone = replace(zone, points={p: q for p, q in zone.points.items() if p == pressure(2)})
    detectors = Detectors()
    detectors.apply(RegistryChanged(at=START, registry=lone), [])
    town = Town(9)
    town.sensor = {2: (700, -15.0)}

    assert kinds(live(town, 800, detectors=detectors)) == [("pressure_drop", True)]


def sinking(at):
    """Return what lets one point sink by 15 kPa within five seconds, too slowly for a jump."""
    return [Burst(at=at + n, m3h=0.0, falls=(0, 0, 3.0, 0, 0, 0)) for n in range(5)]


def test_one_sensor_that_jumps_is_nothing_for_the_pipe_crew():
    town = Town(9)
    town.sensor = {2: (700, -15.0)}

    assert live(town, 1_000) == []


def test_one_point_that_sinks_is_a_pressure_drop_and_no_burst():
    town = Town(9)
    town.bursts = sinking(700)

    found = live(town, 800)

    assert kinds(found) == [("pressure_drop", True)]
    assert found[0][1].points == (pressure(2),)
    assert "kPa" in found[0][1].because[0]


def test_a_burst_takes_back_the_single_fall_that_came_before_it():
    town = Town(9)
    town.bursts = sinking(700)
    town.bursts += [Burst(at=730, m3h=40.0, falls=(0, 0, 0, 9.0, 5.0, 0))]

    found = live(town, 800)

    assert kinds(found) == [("pressure_drop", True), ("burst", True), ("pressure_drop", False)]


def test_without_its_inflow_meter_a_zone_has_no_burst():
    town = Town(9)
    town.bursts = [Burst(at=700, m3h=40.0, falls=NEAR)]

    found = live(town, 800, mute=(INFLOW,))

    assert ("burst", True) not in kinds(found)


def test_more_inflow_without_any_fall_is_no_finding():
    town = Town(9)
    town.bursts = [Burst(at=700, m3h=40.0, falls=(0.0,) * POINTS)]

    assert live(town, 800) == []


def test_historical_samples_never_alarm():
    town = Town(9)
    town.bursts = [Burst(at=700, m3h=40.0, falls=NEAR)]

    assert live(town, 800, historical=True) == []


def test_a_change_in_the_registry_keeps_what_was_learnt():
    detectors = Detectors()
    detectors.apply(RegistryChanged(at=START, registry=registry()), [])
    live(Town(3), 4_000, detectors=detectors)
    before = detectors._watches[0].falls.scales

    detectors.apply(RegistryChanged(at=START, registry=registry(low=100.0)), [])

    after = detectors._watches[0].falls.scales
    assert after is not before
    assert after.drift.tolist() == before.drift.tolist()
