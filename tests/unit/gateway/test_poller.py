"""The polling of lines: who waits for whom, what is skipped, what is found out."""

import asyncio
from collections.abc import Callable

from gateway.core.device import Device, Reading, Scan
from gateway.core.statistics import Health
from gateway.pace import Pace
from gateway.poller import Poller
from mainwatch.wall_clock import WallClock
from telemetry.point import PointId
from telemetry.register_map import Form, Register
from telemetry.sample import Quality, Reason
from tests.unit.gateway.field import running, until
from tests.unit.gateway.serial_field import COSTS, Answer, honest, line_on, port, refusal


def register(address: int) -> Register:
    return Register(name=f"r{address}", address=address, form=Form.UINT16, unit="")


def device(unit: int, *addresses: int, period_ms: int = 200, low: tuple[int, ...] = ()) -> Device:
    return Device(
        id=f"d{unit}",
        unit=unit,
        costs=COSTS,
        readings=[
            Reading(
                register=register(a),
                point=PointId(f"d{unit}/r{a}"),
                counter=None,
                period_ms=period_ms,
                is_low=a in low,
            )
            for a in addresses
        ],
        states={},
    )


def poll(
    answer: Answer, *devices: Device, enough: Callable[[list[Scan]], bool], timeout_s: float = 0.1
) -> tuple[list[Scan], Poller]:
    async def scenario() -> tuple[list[Scan], Poller]:
        scans: list[Scan] = []

        async def put(scan: Scan) -> None:
            scans.append(scan)

        with port(answer) as path:
            line = line_on(path, timeout_s=timeout_s, quiet_s=0.02)
            poller = Poller(line, devices, clock=WallClock(), put=put, pace=Pace(WallClock()))
            async with running(poller.run()):
                await until(lambda: enough(scans))
        return scans, poller

    return asyncio.run(scenario())


def prompt(asked: bytes) -> list[tuple[float, bytes]]:
    return [(0.001, honest(asked))]


def good(scans: list[Scan], name: str) -> int:
    return sum(
        s.device == name and all(x.quality is Quality.GOOD for x in s.samples) for s in scans
    )


def test_a_hung_line_never_stops_another():
    async def scenario() -> list[Scan]:
        scans: list[Scan] = []

        async def put(scan: Scan) -> None:
            scans.append(scan)

        with port(lambda asked: []) as dead, port(prompt) as alive:
            pollers = [
                Poller(
                    line_on(path, timeout_s=30.0),
                    [device(unit, 0)],
                    clock=WallClock(),
                    put=put,
                    pace=Pace(WallClock()),
                )
                for unit, path in ((1, dead), (2, alive))
            ]
            async with running(pollers[0].run()), running(pollers[1].run()):
                await until(lambda: good(scans, "d2") >= 10)
        return scans

    scans = asyncio.run(scenario())

    at = [s.samples[0].at for s in scans if s.device == "d2"]
    assert at[9] - at[0] < 9 * 200 + 300
    assert good(scans, "d1") == 0


def test_a_dead_device_is_given_up_probed_alone_and_taken_back():
    dead = {1}

    def answer(asked: bytes) -> list[tuple[float, bytes]]:
        return [] if asked[0] in dead else prompt(asked)

    def enough(scans: list[Scan]) -> bool:
        if any(s.alive is False for s in scans):
            dead.clear()
        return any(s.alive for s in scans)

    scans, poller = poll(answer, device(1, 0, 40), device(2, 0), enough=enough)

    told = [s.alive for s in scans if s.device == "d1" and s.alive is not None]
    assert told == [False, True]
    statistics = poller.statistics.devices["d1"]
    assert (statistics.deaths, statistics.health) == (1, Health.ANSWERING)
    assert statistics.timeouts < 8
    span_ms = scans[-1].samples[0].at - scans[0].samples[0].at
    assert good(scans, "d2") >= 0.9 * span_ms / 200


def test_a_register_that_a_device_refuses_is_found_in_few_reads_and_left_out():
    asked_for: list[tuple[int, int]] = []

    def answer(asked: bytes) -> list[tuple[float, bytes]]:
        address, count = int.from_bytes(asked[2:4], "big"), int.from_bytes(asked[4:6], "big")
        asked_for.append((address, count))
        return [(0.0, refusal(asked, 2))] if address <= 77 < address + count else prompt(asked)

    scans, poller = poll(answer, device(1, *range(100)), enough=lambda s: len(s) >= 2)

    extra = next(n for n, a in enumerate(asked_for[1:]) if a == (0, 77))
    assert extra <= 8
    for scan in scans[:2]:
        values = {s.point: s.value for s in scan.samples}
        assert values.pop("d1/r77") is None
        assert all(value == float(point.partition("/r")[2]) for point, value in values.items())
        assert len(values) == 99
    assert poller.statistics.devices["d1"].unreadable == 1


def test_a_device_that_minds_long_reads_is_asked_for_shorter_ones():
    def answer(asked: bytes) -> list[tuple[float, bytes]]:
        long = int.from_bytes(asked[4:6], "big") > 20
        return [(0.0, refusal(asked, 3))] if long else prompt(asked)

    scans, poller = poll(answer, device(1, *range(60)), enough=lambda s: len(s) >= 1)

    assert good(scans, "d1") == 1
    assert poller.statistics.devices["d1"].unreadable == 0


def test_a_busy_device_is_asked_again_before_it_counts_as_a_failure():
    busy = [True, True, False]

    def answer(asked: bytes) -> list[tuple[float, bytes]]:
        return [(0.0, refusal(asked, 6))] if busy and busy.pop(0) else prompt(asked)

    scans, poller = poll(answer, device(1, 0), enough=lambda s: len(s) >= 1)

    assert good(scans, "d1") == 1
    assert poller.statistics.devices["d1"].busy == 2


def test_a_device_that_stays_busy_gives_bad_samples_and_lives():
    scans, poller = poll(
        lambda asked: [(0.0, refusal(asked, 6))], device(1, 0), enough=lambda s: len(s) >= 2
    )

    assert {s.samples[0].reason for s in scans} == {Reason.DEVICE_EXCEPTION}
    assert poller.statistics.devices["d1"].health is Health.ANSWERING


def test_when_a_line_cannot_keep_up_low_priority_is_skipped_and_counted():
    def slow(asked: bytes) -> list[tuple[float, bytes]]:
        return [(0.045, honest(asked))]

    devices = [device(unit, 0, 200, low=(200,)) for unit in (1, 2, 3)]  # 300 ms of work each 200 ms

    scans, poller = poll(slow, *devices, enough=lambda s: len(s) >= 60, timeout_s=0.3)

    s = poller.statistics
    low = sum(x.point.endswith("/r200") for scan in scans for x in scan.samples)
    high = sum(x.point.endswith("/r0") for scan in scans for x in scan.samples)
    assert s.skipped_low > 10
    assert s.skipped_low > 4 * s.skipped
    assert high > 2 * low
    assert s.skipped_low == sum(d.skipped_low for d in s.devices.values())


def test_the_plan_needs_what_it_needs():
    _, poller = poll(prompt, device(1, 0), device(2, 0), enough=lambda s: len(s) >= 2)

    assert poller.statistics.needed == sum(d.needed for d in poller._devices)
    assert 0 < poller.statistics.needed < 0.2
