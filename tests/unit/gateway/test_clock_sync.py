"""Instants of a boot that begins with a wrong clock: doubtful, then corrected, never re-ordered."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock_sync import ClockSync
from gateway.core.device import Scan
from mainwatch.wall_clock import WallClock
from telemetry.instant import HOUR_MS, Instant
from telemetry.point import PointId
from telemetry.sample import Sample, TimeQuality
from tests.unit.gateway.pit import Machine

POINT = PointId("pit-1/pressure")


def scan_at(at: Instant) -> Scan:
    return Scan(device="pt-1", samples=(Sample(point=POINT, at=at, value=1.0),))


def test_before_the_synchronisation_instants_are_doubtful_and_evenly_spaced():
    machine = Machine()
    clock = ClockSync(machine, is_trusted=False)
    began = clock.now()
    machine.pass_ms(700)
    machine.step(-HOUR_MS)  # somebody turns the clock without saying that it is right now

    assert clock.now() == began + 700
    sample = clock.stamp(scan_at(clock.now())).samples[0]
    assert (sample.at, sample.time_quality) == (began + 700, TimeQuality.DOUBTFUL)


def test_at_the_synchronisation_the_clock_leaps_once_and_leaves_an_anchor():
    machine = Machine()
    clock = ClockSync(machine, is_trusted=False)
    doubtful = clock.stamp(scan_at(clock.now()))
    machine.pass_ms(10_000)
    machine.step(5 * HOUR_MS)
    machine.synchronised = True

    anchor = clock.follow()

    assert anchor is not None
    assert anchor.base_ms - doubtful.base_ms == 5 * HOUR_MS
    assert clock.now() == machine.now()
    assert clock.follow() is None
    machine.pass_ms(100_000)
    fine = clock.stamp(scan_at(clock.now())).samples[0]
    assert fine.time_quality is TimeQuality.SYNCHRONISED


@pytest.mark.parametrize("step", [5 * HOUR_MS, -5 * HOUR_MS])
def test_what_was_read_just_before_the_leap_and_comes_after_it_is_corrected(step):
    machine = Machine()
    clock = ClockSync(machine, is_trusted=False)
    read_at = clock.now()
    truly = machine.monotonic
    machine.pass_ms(800)
    machine.step(step)
    machine.synchronised = True
    anchor = clock.follow()
    machine.pass_ms(300)

    late, fresh = clock.stamp(scan_at(read_at)), clock.stamp(scan_at(clock.now()))

    assert anchor is not None
    assert late.samples[0].at == truly + anchor.base_ms
    assert late.samples[0].time_quality is TimeQuality.CORRECTED
    assert fresh.samples[0].time_quality is TimeQuality.SYNCHRONISED


def test_a_clock_that_loses_its_discipline_is_doubted_again():
    machine = Machine(synchronised=True)
    clock = ClockSync(machine, is_trusted=False)
    assert clock.stamp(scan_at(clock.now())).samples[0].time_quality is TimeQuality.SYNCHRONISED
    machine.synchronised = False

    assert clock.follow() is None
    assert clock.stamp(scan_at(clock.now())).samples[0].time_quality is TimeQuality.DOUBTFUL


def test_a_clock_that_others_keep_is_never_doubted():
    clock = ClockSync(Machine(), is_trusted=True)
    assert clock.stamp(scan_at(clock.now())).samples[0].time_quality is TimeQuality.SYNCHRONISED
    assert clock.follow() is None


def test_a_sleep_is_not_disturbed_by_the_leap():
    machine = Machine()
    clock = ClockSync(machine, is_trusted=False)
    machine.step(HOUR_MS)
    asyncio.run(clock.sleep_until(Instant(clock.now() + 500)))
    assert machine.monotonic == 5_500


@given(st.lists(st.tuples(st.integers(0, 5_000), st.integers(-HOUR_MS, HOUR_MS)), max_size=20))
def test_without_discipline_time_never_goes_back_whatever_the_wall_does(moves):
    machine = Machine()
    clock = ClockSync(machine, is_trusted=False)
    seen = [clock.now()]
    for ms, step in moves:
        machine.pass_ms(ms)
        machine.step(step)
        seen.append(clock.now())
    assert seen == sorted(seen)


def test_the_machine_names_its_boot_and_says_whether_its_clock_is_right():
    clock = WallClock()
    assert len(clock.boot_id()) == 36
    assert clock.boot_id() == WallClock().boot_id()
    assert isinstance(clock.is_synchronised(), bool)
