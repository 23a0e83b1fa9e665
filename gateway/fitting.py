"""What a fitter asks a line: who is there, and what does it say. On the gateway's own lines.

A scan asks every unit for one register and hardly waits: an answer, an exception too, is a device.
What is heard after that, a late reply or noise, tells that one of the units just asked is slow, and
those are asked again with patience. A device that needs longer than some 35 ms at 9600 baud and
gives up when it hears the next request is only found by a scan that waits: `patience_s`.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.core.device import NoAnswer, Reply, Words
from gateway.core.fitters_view import settings_to_try
from gateway.core.poll_plan import Block
from gateway.devices import device_of, open_line
from gateway.line_config import LineSection
from gateway.modbus import Line
from telemetry.instant import Clock
from telemetry.register_map import Register, RegisterMap, Table
from telemetry.sample import Sample

HASTE_S = 0.015
PATIENCE_S = 0.25
PROBE = Block(table=Table.HOLDING, address=0, count=1, registers=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A unit that answers, at which speed, and how: with data or with an exception."""

    unit: int
    baud: int
    parity: str
    exception: int
    turnaround_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """One register of a device as it came, and what the gateway makes of it."""

    device: str
    unit: int
    register: Register
    words: tuple[int, ...]
    samples: tuple[Sample, ...]
    exception: int
    turnaround_ms: float | None


async def scan(
    section: LineSection,
    units: Sequence[int],
    *,
    clock: Clock,
    is_detecting: bool,
    patience_s: float,
    tell: Callable[[str], None],
) -> list[Found]:
    """Return who is there. When detecting, speeds and parities are tried until one answers."""
    baud, parity = section.baud, section.parity
    if not is_detecting or not section.is_serial:
        return await _scan_at(section, units, clock=clock, patience_s=patience_s)
    for one_baud, one_parity in settings_to_try(baud, parity):
        tell(f"trying {one_baud} baud, parity {one_parity}")
        tried = section.model_copy(update={"baud": one_baud, "parity": one_parity})
        found = await _scan_at(tried, units, clock=clock, patience_s=patience_s)
        if found:
            return found
    return []


async def _scan_at(
    section: LineSection, units: Sequence[int], *, clock: Clock, patience_s: float
) -> list[Found]:
    line = open_line(section, clock=clock, ports=None)
    is_framed = line.place.is_framed
    found: dict[int, Found] = {}
    suspects: list[int] = []
    try:
        for n, unit in enumerate(units):
            heard = _strange(line)
            reply = await _ask(line, unit, patience_s if is_framed else None)
            if _strange(line) != heard:
                suspects += units[max(0, n - 1) : n + 1]
            _note(found, section, unit, reply)
        suspects += units[-1:] if is_framed else []
        for unit in dict.fromkeys(suspects):
            if unit not in found:
                _note(found, section, unit, await _ask(line, unit, PATIENCE_S))
    finally:
        line.close()
    return [found[unit] for unit in sorted(found)]


async def _ask(line: Line, unit: int, patience_s: float | None) -> Reply:
    return await line.read(unit, PROBE, patience_s=patience_s)


def _strange(line: Line) -> int:
    """Return how often something was heard that nobody waited for."""
    s = line.statistics
    return s.late + s.foreign + s.noise + s.noise_octets


def _note(found: dict[int, Found], section: LineSection, unit: int, reply: Reply) -> None:
    if isinstance(reply, NoAnswer) and not reply.answered:
        return
    turnaround_s = reply.turnaround_s if isinstance(reply, Words) else None
    found[unit] = Found(
        unit=unit,
        baud=section.timing.baud if section.is_serial else 0,
        parity=(section.parity or "none") if section.is_serial else "",
        exception=reply.code if isinstance(reply, NoAnswer) else 0,
        turnaround_ms=None if turnaround_s is None else round(1000 * turnaround_s, 1),
    )


async def poll(
    section: LineSection,
    maps: Mapping[str, RegisterMap],
    *,
    device: str | None,
    clock: Clock,
) -> AsyncIterator[Polled]:
    """Read every register of the devices of a line once, each alone, so that nothing hides."""
    line = open_line(section, clock=clock, ports=None)
    try:
        for one in section.device:
            if device not in {None, one.id}:
                continue
            sheet = maps[one.map]
            for point in one.point:
                register = sheet.register(point.register_)
                assert register is not None, point.register_  # the configuration is checked
                alone = one.model_copy(update={"point": (point,)})
                judge = device_of(alone, sheet, section.timing, {})
                (planned,) = judge.polls
                reply = await line.read(one.unit, planned.blocks[0])
                read = judge.scan(planned, [reply], now_ms=clock.monotonic_ms())
                turnaround_s = reply.turnaround_s if isinstance(reply, Words) else None
                yield Polled(
                    device=one.id,
                    unit=one.unit,
                    register=register,
                    words=tuple(reply.words) if isinstance(reply, Words) else (),
                    samples=() if read is None else read.samples,
                    exception=reply.code if isinstance(reply, NoAnswer) else 0,
                    turnaround_ms=None if turnaround_s is None else round(1000 * turnaround_s, 1),
                )
    finally:
        line.close()


async def read_words(section: LineSection, unit: int, block: Block, *, clock: Clock) -> Reply:
    """Read words of a device that no file speaks of yet."""
    line = open_line(section, clock=clock, ports=None)
    try:
        return await line.read(unit, block)
    finally:
        line.close()
