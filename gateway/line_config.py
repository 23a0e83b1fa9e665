"""Lines, devices and points: what the fitter writes about them, and what is wrong with it."""

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from gateway.core.line_timing import NETWORK_BAUD, LineTiming
from gateway.site_config import SECTION, ReportSection, SanitySection, Section
from telemetry.loopback import is_host
from telemetry.point import NAME_PATTERN, POINT_PATTERN
from telemetry.register_map import (
    PAUSE_MS_MAX,
    REGISTERS_PER_READ_MAX,
    Form,
    Register,
    RegisterMap,
)
from telemetry.units import Quantity

DEVICE_POINTS_MAX = 100
"""Registers of one device: its birth must fit one message with the longest names and a flow each.
So does a scan, many times over, and a row of the outbox need never be split."""

COUNTS_MAX = 2**63
"""Where a counter can roll over at the latest: its count is kept in a database of 63 bits."""

TCP_PORT = 502
DEFAULT_BAUD = 9600
RTU_TIMEOUT_S = 0.3
TCP_TIMEOUT_S = 1.0

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
PointName = Annotated[str, Field(pattern=POINT_PATTERN)]
Port = Annotated[int, Field(ge=1, le=65535)]
Period = Annotated[float, Field(ge=0.2, le=86_400)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PointSection:
    """One register and the point it feeds, as often as its device unless `period_s` says otherwise.

    A point of `priority` "low" waits, and is skipped, when the line cannot keep up. With
    `flow_point` a counter feeds a second point: the flow, by the difference over `flow_window_s`.
    `pulse_m3` or `pulses_per_m3` overrides the map's volume of one count. `report` and `sanity` are
    about the point itself, not about its flow.

    There are thousands of them in a gateway, so they have slots where other sections have models.
    """

    __pydantic_config__ = SECTION

    register_: Annotated[str, Field(alias="register", min_length=1, max_length=64)]
    point: PointName
    period_s: Period | None = None
    priority: Literal["high", "low"] = "high"
    pulse_m3: Positive | None = None
    pulses_per_m3: Positive | None = None
    flow_point: PointName | None = None
    flow_window_s: Annotated[float, Field(ge=1, le=3_600)] = 60.0
    flow_max_m3h: Positive | None = None
    report: ReportSection | None = None
    sanity: SanitySection | None = None

    @property
    def count_m3(self) -> float | None:
        """Return the volume of one count, where the fitter says it."""
        return 1 / self.pulses_per_m3 if self.pulses_per_m3 else self.pulse_m3


class DeviceSection(Section):
    """One Modbus device on a line.

    `pause_ms` is what it wants after each answer, `registers_max` what it gives in one read, where
    that differs from its map. `identity` is what its identifying register says, a serial number
    for instance: another device in its place is then never believed.
    """

    id: Name
    unit: Annotated[int, Field(ge=0, le=255)]
    map: str
    zone: Name
    place: Annotated[str, Field(max_length=64)] = ""
    period_s: Period
    pause_ms: Annotated[int, Field(ge=0, le=PAUSE_MS_MAX)] | None = None
    registers_max: Annotated[int, Field(ge=1, le=REGISTERS_PER_READ_MAX)] | None = None
    identity: Annotated[str, Field(max_length=64)] = ""
    point: tuple[PointSection, ...] = ()


class LineSection(Section):
    """One line: a serial port, or a network connection to a device or converter.

    `kind` "tcp" is Modbus TCP, "rtu-over-tcp" serial frames through a transparent converter, and
    "rtu" a serial port: name it by `/dev/serial/by-id/…`, as `/dev/ttyUSB0` may be another one
    after a restart. With the two network kinds `baud` says how fast the serial line behind the
    converter is, for the plan.

    A device has `timeout_s` to begin its answer. After a failed request a serial line is left quiet
    for `quiet_s`, so that a late reply is not taken for the next one. `connect_pause_ms` is for
    converters that need a moment after they were opened.
    """

    name: Name
    kind: Literal["tcp", "rtu", "rtu-over-tcp"] = "tcp"
    host: str = ""
    port: Port | None = None
    serial: Annotated[str, Field(max_length=255)] = ""
    baud: Literal[1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200] | None = None
    parity: Literal["none", "even", "odd"] | None = None
    stop_bits: Literal[1, 2] | None = None
    timeout_s: Annotated[float, Field(ge=0.02, le=60)] | None = None
    quiet_s: Annotated[float, Field(ge=0.0, le=60)] | None = None
    connect_pause_ms: Annotated[int, Field(ge=0, le=PAUSE_MS_MAX)] = 0
    device: tuple[DeviceSection, ...] = ()

    @property
    def is_serial(self) -> bool:
        """Say whether it is a port of this machine."""
        return self.kind == "rtu"

    @property
    def tcp_port(self) -> int:
        """Return the port of the converter."""
        return TCP_PORT if self.port is None else self.port

    @property
    def patience_s(self) -> float:
        """Return how long a device has to begin its answer."""
        if self.timeout_s is not None:
            return self.timeout_s
        return RTU_TIMEOUT_S if self.is_serial else TCP_TIMEOUT_S

    @property
    def timing(self) -> LineTiming:
        """Return the speed of the wires, as far as it is known."""
        has_gaps = self.baud is not None or self.is_serial
        baud = self.baud or (DEFAULT_BAUD if self.is_serial else NETWORK_BAUD)
        parity = self.parity not in {None, "none"}
        bits = 10 + parity + ((self.stop_bits or 1) - 1)
        return LineTiming(baud=baud, char_bits=bits, has_gaps=has_gaps)


def line_problems(lines: Sequence[LineSection], maps: Mapping[str, RegisterMap]) -> list[str]:
    """Return every mistake in the lines, with line, device and key; touch nothing."""
    found = []
    for n, line in enumerate(lines):
        found += _place_problems(f"line[{n}]", line)
        if not line.device:
            found.append(f"line[{n}].device: expected at least one [[line.device]], found none")
    found += _used_twice(lines)
    for key, device in _devices(lines):
        if not 1 <= len(device.point) <= DEVICE_POINTS_MAX:
            found.append(
                f"{key}.point: expected 1 to {DEVICE_POINTS_MAX} of [[line.device.point]],"
                f" found {len(device.point)}"
            )
        if device.map not in maps:
            known = ", ".join(sorted(maps)) or "none"
            found.append(f"{key}.map: expected one of {known}, was {device.map!r}")
        else:
            found += _register_problems(key, device, maps[device.map])
    return [_named(lines, sentence) for sentence in found]


def metric_name(point: PointSection) -> str:
    """Return the short name under which a point travels: that of its register."""
    return point.register_


def flow_metric_name(point: PointSection) -> str:
    """Return the short name of the flow that is derived from a counter."""
    return f"{point.register_}_flow"


def _devices(lines: Sequence[LineSection]) -> Iterator[tuple[str, DeviceSection]]:
    for n, line in enumerate(lines):
        for m, device in enumerate(line.device):
            yield f"line[{n}].device[{m}]", device


def _used_twice(lines: Sequence[LineSection]) -> list[str]:
    """Whatever may be there only once: line names, addresses, units, device ids and point ids."""
    found: list[str] = []
    names: dict[str, str] = {}
    places: dict[str, str] = {}
    units: dict[tuple[str, int], str] = {}
    devices: dict[str, str] = {}
    points: dict[str, str] = {}

    def once(seen: dict[Any, str], value: Hashable, key: str, what: str) -> None:
        if value in seen:
            found.append(f"{key}: {what} is already used by {seen[value]}")
        seen.setdefault(value, key)

    for n, line in enumerate(lines):
        once(names, line.name, f"line[{n}].name", f"{line.name!r}")
        place = line.serial if line.is_serial else f"{line.host}:{line.tcp_port}"
        once(places, place, f"line[{n}].{'serial' if line.is_serial else 'port'}", place)
    for key, device in _devices(lines):
        once(units, (key.split(".")[0], device.unit), f"{key}.unit", f"unit {device.unit}")
        once(devices, device.id, f"{key}.id", f"device {device.id!r}")
        for k, point in enumerate(device.point):
            once(points, point.point, f"{key}.point[{k}].point", f"point {point.point!r}")
            if point.flow_point is not None:
                what = f"point {point.flow_point!r}"
                once(points, point.flow_point, f"{key}.point[{k}].flow_point", what)
    return found


def _register_problems(key: str, device: DeviceSection, sheet: RegisterMap) -> list[str]:
    found: list[str] = []
    if device.identity and identifying(sheet) is None:
        found.append(f"{key}.identity: map {device.map!r} has no register that identifies")
    names: dict[str, str] = {}
    for k, point in enumerate(device.point):
        here = f"{key}.point[{k}]"
        register = sheet.register(point.register_)
        if register is None:
            known = ", ".join(r.name for r in sheet.registers) or "none"
            found.append(
                f"{here}.register: expected one of {known} of map {device.map!r},"
                f" was {point.register_!r}"
            )
            continue
        metrics = [metric_name(point)] + [flow_metric_name(point)] * (point.flow_point is not None)
        for name in metrics:
            if name in names:
                found.append(f"{here}.register: {name!r} is already used by {names[name]}")
            names.setdefault(name, f"{here}.register")
        longest = device.registers_max or sheet.registers_per_read_max
        if register.length > longest and not register.table.is_of_bits:
            found.append(
                f"{here}.register: {register.name!r} takes {register.length} registers, but"
                f" map {device.map!r} allows {longest} in one read"
            )
        if register.form is Form.STRING:
            found.append(f"{here}.register: expected a number, was the text {register.name!r}")
        found += _counter_problems(here, point, register)
    return found


def _counter_problems(here: str, point: PointSection, register: Register) -> list[str]:
    counts = register.rolls_over_at is not None
    volume = point.count_m3 is not None or register.quantity is Quantity.VOLUME
    found = [
        f"{here}.{name}: expected a counter, but register {register.name!r} has no rolls_over_at"
        for name in ("pulse_m3", "pulses_per_m3", "flow_point", "flow_max_m3h")
        if getattr(point, name) is not None and not counts
    ]
    if point.pulse_m3 is not None and point.pulses_per_m3 is not None:
        found.append(f"{here}.pulses_per_m3: expected one of pulse_m3 and pulses_per_m3, was both")
    if counts and not volume:
        found.append(
            f"{here}.register: expected a counter of volume or pulse_m3,"
            f" was {register.name!r} in {register.unit!r}"
        )
    if counts and register.form.is_float:
        found.append(f"{here}.register: expected whole counts, was {register.form.value}")
    if counts and not 1 < (register.rolls_over_at or 0) <= COUNTS_MAX:
        found.append(
            f"{here}.register: expected a counter that rolls over at 2 to {COUNTS_MAX},"
            f" was {register.rolls_over_at}"
        )
    if counts and register.scale <= 0:
        found.append(f"{here}.register: expected a scale above 0, was {register.scale}")
    if counts and register.offset:
        found.append(f"{here}.register: expected a counter with offset 0, was {register.offset}")
    return found


def identifying(sheet: RegisterMap) -> Register | None:
    """Return the register that tells one device of a model from another."""
    return next((r for r in sheet.registers if r.identifies), None)


def _place_problems(key: str, line: LineSection) -> list[str]:
    """Return what is missing or out of place for the kind of a line."""
    if line.is_serial:
        found = [] if line.serial else [f"{key}.serial: required as kind is rtu"]
        found += [
            f"{key}.{name}: only for a network line, but kind is rtu"
            for name in ("host", "port")
            if getattr(line, name)
        ]
        return found
    found = [
        f"{key}.{name}: only for a serial line, but kind is {line.kind}"
        for name in ("serial", "parity", "stop_bits")
        if getattr(line, name) and (name == "serial" or line.baud is None)
    ]
    if not is_host(line.host):
        found.append(f"{key}.host: expected a host name or an address, was {line.host!r}")
    return found


_KEY = re.compile(r"^line\[(\d+)\](?:\.device\[(\d+)\])?")


def _named(lines: Sequence[LineSection], sentence: str) -> str:
    """Return a sentence after the names of its line and device."""
    at = _KEY.match(sentence)
    assert at is not None, sentence
    line = lines[int(at[1])]
    names = f"line {line.name}"
    if at[2] is not None:
        names += f", device {line.device[int(at[2])].id}"
    return f"{names}: {sentence}"
