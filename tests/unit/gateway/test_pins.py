"""Pulses and contacts through libgpiod: its own settings and event types, a fake kernel behind."""

import asyncio
import os
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.device import Scan
from gateway.core.pins import SEQNO_TURN, PulsePin, counter_of
from gateway.core.pulse import CounterState
from gateway.site_config import GpioSection
from gateway.watchdog import Progress
from telemetry.instant import HOUR_MS, Instant
from telemetry.point import PointId
from telemetry.sample import Quality, Reason
from tests.unit.gateway.field import START, until
from tests.unit.gateway.pit import Machine

gpiod = pytest.importorskip("gpiod", reason="the package gpiod is not installed")

from gateway.gpio import EVENTS_MAX, Chip  # noqa: E402  only with the package

SECTION = GpioSection.model_validate(
    {
        "id": "pit-io",
        "zone": "north",
        "period_s": 0.2,
        "pulse": [
            {
                "pin": 17,
                "point": "pit-1/volume",
                "pulse_m3": 0.01,
                "start_m3": 1_000.0,
                "flow_point": "pit-1/flow",
                "flow_window_s": 2,
            }
        ],
        "contact": [{"pin": 22, "point": "pit-1/door", "active": "low"}],
    }
)


@dataclass
class Line:
    """One requested line as the kernel keeps it: a bounded buffer, numbers taken at the edge."""

    settings: object
    events_max: int
    fd: int = field(default_factory=lambda: os.eventfd(0, os.EFD_NONBLOCK))
    events: deque = field(default_factory=deque)
    seqno: int = 0
    active: bool = False
    broken: bool = False
    released: bool = False

    def edge(self, *, active: bool, at_ms: int) -> None:
        self.seqno = (self.seqno + 1) % SEQNO_TURN
        self.active = active
        rising = gpiod.EdgeEvent.Type.RISING_EDGE
        falling = gpiod.EdgeEvent.Type.FALLING_EDGE
        if len(self.events) == self.events_max:
            self.events.popleft()  # as the kernel does: the oldest goes
        kind = rising if active else falling
        self.events.append(
            gpiod.EdgeEvent(kind.value, at_ms * 1_000_000, 0, self.seqno, self.seqno)
        )
        os.eventfd_write(self.fd, 1)

    def wait_edge_events(self, timeout=None):
        if self.broken:
            raise OSError(19, "No such device")
        return bool(self.events)

    def read_edge_events(self, max_events=None):
        os.eventfd_read(self.fd)
        found = list(self.events)
        self.events.clear()
        return found

    def get_value(self, line):
        return gpiod.line.Value.ACTIVE if self.active else gpiod.line.Value.INACTIVE

    def release(self):
        self.released = True
        os.close(self.fd)


class Kernel:
    def __init__(self) -> None:
        self.lines: dict[int, Line] = {}
        self.refuses = False

    def ask(self, path, config, consumer=None, event_buffer_size=None, output_values=None):
        if self.refuses:
            raise FileNotFoundError(2, "No such file or directory", path)
        ((pin, settings),) = config.items()
        self.lines[pin] = Line(settings=settings, events_max=event_buffer_size)
        return self.lines[pin]


async def playing(play, *, states=None, kernel=None, machine=None) -> list[Scan]:
    kernel = kernel or Kernel()
    machine = machine or Machine()
    scans: list[Scan] = []
    came = asyncio.Event()

    async def put(scan: Scan) -> None:
        scans.append(scan)
        came.set()

    async def heard(is_it) -> Scan:
        while True:
            for scan in scans:
                if is_it(scan):
                    return scan
            came.clear()
            async with asyncio.timeout(10):
                await came.wait()

    chip = Chip(SECTION, states or {}, clock=machine, put=put, progress=Progress(), ask=kernel.ask)
    task = asyncio.get_running_loop().create_task(chip.run())
    try:
        await play(kernel, machine, heard)
    finally:
        task.cancel()
        await asyncio.wait([task])
    return scans


def volumes(scans: list[Scan]) -> list[float | None]:
    return [s.value for scan in scans for s in scan.samples if s.point == "pit-1/volume"]


def doors(scans: list[Scan]) -> list[tuple[float | None, int]]:
    return [(s.value, s.at) for scan in scans for s in scan.samples if s.point == "pit-1/door"]


def test_pins_are_requested_as_the_file_says():
    async def play(kernel, machine, heard):
        await heard(lambda scan: scan.samples)
        pulse, door = kernel.lines[17], kernel.lines[22]
        assert pulse.events_max == EVENTS_MAX
        assert pulse.settings.edge_detection is gpiod.line.Edge.FALLING
        assert pulse.settings.bias is gpiod.line.Bias.PULL_UP
        assert pulse.settings.debounce_period == timedelta(milliseconds=20)
        assert pulse.settings.event_clock is gpiod.line.Clock.MONOTONIC
        assert door.settings.edge_detection is gpiod.line.Edge.BOTH
        assert door.settings.active_low is True

    asyncio.run(playing(play))


def test_a_stalled_process_and_a_full_buffer_lose_no_pulse():
    async def play(kernel, machine, heard):
        await heard(lambda scan: scan.samples)
        for n in range(5_000):
            kernel.lines[17].edge(active=False, at_ms=n)
        machine.pass_ms(5_000)
        await heard(lambda scan: volumes([scan]) == [pytest.approx(1_050.0)])

    asyncio.run(playing(play))


def test_a_door_is_told_at_once_with_the_instant_of_its_edge():
    async def play(kernel, machine, heard):
        await heard(lambda scan: doors([scan]))
        machine.pass_ms(100)
        kernel.lines[22].edge(active=True, at_ms=machine.monotonic - 40)
        await heard(lambda scan: (1.0, START + 60) in doors([scan]))
        kernel.lines[22].edge(active=False, at_ms=machine.monotonic)
        await heard(lambda scan: (0.0, START + 100) in doors([scan]))

    scans = asyncio.run(playing(play))
    assert [value for value, _ in doors(scans)] == [0.0, 1.0, 0.0]


def test_a_contact_that_does_not_change_is_said_again_after_its_silence():
    async def play(kernel, machine, heard):
        await heard(lambda scan: doors([scan]))
        machine.pass_ms(600_000)
        await heard(lambda scan: any(at > START for _, at in doors([scan])))

    asyncio.run(playing(play))


def test_after_a_restart_the_total_goes_on_and_its_first_word_is_uncertain():
    point = PointId("pit-1/volume")
    held = CounterState(point=point, base=120_000, raw=45, at=Instant(START - HOUR_MS))

    async def play(kernel, machine, heard):
        first = await heard(lambda scan: volumes([scan]))
        sample = next(s for s in first.samples if s.point == point)
        assert sample.value == pytest.approx(1_200.45)
        assert (sample.quality, sample.reason) == (Quality.UNCERTAIN, Reason.COUNTER_RESET)
        kernel.lines[17].edge(active=False, at_ms=1)
        machine.pass_ms(1_000)
        scan = await heard(lambda scan: volumes([scan]) == [pytest.approx(1_200.46)])
        assert scan.samples[0].quality is Quality.GOOD
        assert (scan.counters[0].base + scan.counters[0].raw) == 120_046

    asyncio.run(playing(play, states={point: held}))


def test_a_chip_that_goes_away_says_so_and_counts_on_when_it_is_back():
    async def play(kernel, machine, heard):
        await heard(lambda scan: volumes([scan]) == [1_000.0])
        kernel.lines[17].edge(active=False, at_ms=1)
        machine.pass_ms(300)
        await heard(lambda scan: volumes([scan]) == [pytest.approx(1_000.01)])
        gone = kernel.lines[17]
        gone.broken = True
        kernel.refuses = True
        machine.pass_ms(300)
        bad = await heard(lambda scan: None in volumes([scan]))
        assert {s.reason for s in bad.samples if s.value is None} == {Reason.LINE_DOWN}
        assert gone.released
        kernel.refuses = False
        machine.pass_ms(6_000)
        await heard(lambda scan: kernel.lines[17] is not gone)
        kernel.lines[17].edge(active=False, at_ms=2)
        machine.pass_ms(300)
        await heard(lambda scan: volumes([scan]) == [pytest.approx(1_000.02)])

    asyncio.run(playing(play))


def test_the_last_total_is_told_at_the_end():
    async def play(kernel, machine, heard):
        await heard(lambda scan: volumes([scan]))
        kernel.lines[17].edge(active=False, at_ms=1)

    scans = asyncio.run(playing(play))
    assert scans[-1].counters[0].raw == 1


@settings(deadline=None)
@given(st.integers(0, SEQNO_TURN - 1), st.lists(st.integers(1, 1_000), max_size=50))
def test_the_count_is_the_sum_of_the_gaps_between_numbers_over_any_turn(start, gaps):
    pin = PulsePin(counter_of(SECTION, SECTION.pulse[0]), None, start=0, at=Instant(0))
    seqno = start
    pin.event(seqno)
    pin.samples(Instant(0))
    began = pin.state.raw
    totals = []
    for n, gap in enumerate(gaps):
        seqno = (seqno + gap) % SEQNO_TURN
        pin.event(seqno)
        pin.samples(Instant(n))
        totals.append(pin.state.base + pin.state.raw)
    assert totals == sorted(totals)
    assert pin.state.raw - began == sum(gaps)


@pytest.mark.skipif(
    not Path("/sys/kernel/config/gpio-sim").is_dir(),
    reason="the kernel has no gpio-sim here: needs CONFIG_GPIO_SIM and a mounted configfs",
)
def test_pulses_of_a_simulated_chip_are_counted_through_the_kernel(tmp_path):
    bank = Path("/sys/kernel/config/gpio-sim/mainwatch/bank0")
    bank.mkdir(parents=True)
    (bank / "num_lines").write_text("32")
    (bank.parent / "live").write_text("1")
    try:
        chip = (bank / "chip_name").read_text().strip()
        device = (bank.parent / "dev_name").read_text().strip()
        pull = Path(f"/sys/devices/platform/{device}/{chip}/sim_gpio17/pull")
        section = SECTION.model_copy(update={"chip": f"/dev/{chip}"})

        async def scenario() -> None:
            scans: list[Scan] = []

            async def put(scan: Scan) -> None:
                scans.append(scan)

            machine = Machine()
            running = Chip(section, {}, clock=machine, put=put, progress=Progress())
            task = asyncio.get_running_loop().create_task(running.run())
            async with asyncio.timeout(20):
                await until(lambda: scans)
                for _ in range(1_000):
                    pull.write_text("pull-up")
                    pull.write_text("pull-down")
                machine.pass_ms(200)
                await until(lambda: volumes(scans)[-1] == pytest.approx(1_010.0))
            task.cancel()
            await asyncio.wait([task])

        asyncio.run(scenario())
    finally:
        (bank.parent / "live").write_text("0")
        bank.rmdir()
        bank.parent.rmdir()
