"""What the plan of each line is, what it needs of the line's time, and what it cannot hold."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.config import GatewayConfig
from gateway.core.device import Device
from gateway.core.poll_plan import Poll
from gateway.devices import device_of
from gateway.line_config import LineSection
from telemetry.instant import SECOND_MS
from telemetry.register_map import RegisterMap

UNSTEADY_PORTS = ("/dev/ttyUSB", "/dev/ttyACM")
"""Names that go to whatever converter is found first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinePlan:
    """One line: its plan as text, the share of its time that it needs, and what is wrong."""

    line: str
    needed: float
    reads: tuple[str, ...]
    findings: tuple[str, ...]
    advice: tuple[str, ...]


def plans(config: GatewayConfig, maps: Mapping[str, RegisterMap]) -> tuple[LinePlan, ...]:
    """Return the plan of each line of a configuration without mistakes."""
    return tuple(_plan_of(section, maps) for section in config.line)


def _plan_of(section: LineSection, maps: Mapping[str, RegisterMap]) -> LinePlan:
    devices = [device_of(d, maps[d.map], section.timing, {}) for d in section.device]
    needed = sum(d.needed for d in devices)
    head = f"line {section.name} needs {_percent(needed)} of its time"
    timing = section.timing
    how = f"{timing.baud} baud" if timing.has_gaps else "network"
    reads = [f"{head} ({how}, {len(devices)} devices)"]
    for device in devices:
        for poll in device.polls:
            reads += _reads(device, poll)
    findings = () if needed <= 1 else (f"{head}; {_cannot_hold(devices)}",)
    advice = (
        f"line {section.name}: {section.serial} may be another converter after a restart;"
        " name it by /dev/serial/by-id/…"
    )
    is_unsteady = section.serial.startswith(UNSTEADY_PORTS)
    return LinePlan(
        line=section.name,
        needed=needed,
        reads=tuple(reads),
        findings=findings,
        advice=(advice,) if is_unsteady else (),
    )


def _reads(device: Device, poll: Poll) -> Iterable[str]:
    for block in poll.blocks:
        names = ", ".join(r.name for r in block.registers)
        rank = ", low priority" if poll.is_low else ""
        yield (
            f"  {device.id} every {_seconds(poll.period_ms)}{rank}: {block.table}"
            f" {block.address} to {block.end - 1}, {1000 * device.read_s(block):.1f} ms: {names}"
        )


def _cannot_hold(devices: list[Device]) -> str:
    """Return which points cannot be read as often as they are wanted: low priority gives way."""
    high = sum(device.needed_of(p) for device in devices for p in device.polls if not p.is_low)
    late: dict[int, list[str]] = {}
    for device in devices:
        for poll in device.polls:
            if not poll.is_low and high <= 1:
                continue
            for block in poll.blocks:
                for r in block.registers:
                    late.setdefault(device.period_ms(r), []).append(device.point_of(r))
    return "; ".join(
        f"these points cannot hold {_seconds(period_ms)}: {', '.join(late[period_ms])}"
        for period_ms in sorted(late)
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _seconds(ms: int) -> str:
    return f"{ms / SECOND_MS:g} s"
