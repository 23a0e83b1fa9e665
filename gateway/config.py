"""GatewayConfig: what the fitter writes about one gateway, its lines and what is on them."""

from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.site_config import (
    ClockSection,
    GpioSection,
    HealthSection,
    ReportSection,
    SanitySection,
)
from telemetry.loopback import broker_problems, is_host
from telemetry.point import NAME_PATTERN, POINT_PATTERN
from telemetry.register_map import Form, Register, RegisterMap
from telemetry.units import Quantity

DEVICE_POINTS_MAX = 100
"""Registers of one device: its birth must fit one message with the longest names and a flow each.
So does a scan, many times over, and a row of the outbox need never be split."""

COUNTS_MAX = 2**63
"""Where a counter can roll over at the latest: its count is kept in a database of 63 bits."""

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
PointName = Annotated[str, Field(pattern=POINT_PATTERN)]
Port = Annotated[int, Field(ge=1, le=65535)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GatewaySection(_Section):
    """Who the gateway is and where it keeps its files.

    `primary_host` is the host application without which it stays silent and stores; "" for none.
    `acknowledgement` is "none" where the host is foreign and knows nothing of `mw/ack`.
    """

    id: Name
    group: Name
    data: Path
    primary_host: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,32}$")] = "mainwatch"
    acknowledgement: Literal["mainwatch", "none"] = "mainwatch"


class OutboxSection(_Section):
    """How much the gateway may keep on its disk."""

    max_mb: Annotated[int, Field(ge=4, le=1_000_000)] = 512


class BrokerSection(_Section):
    """How to reach the MQTT broker. Secrets only by file."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Port = 1883
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


class PointSection(_Section):
    """One register and the point it feeds.

    With `flow_point` a counter feeds a second point: the flow, by the difference over
    `flow_window_s`. `pulse_m3` overrides the map's volume of one count.
    """

    register_: str = Field(alias="register", min_length=1, max_length=64)
    point: PointName
    pulse_m3: Positive | None = None
    flow_point: PointName | None = None
    flow_window_s: Annotated[float, Field(ge=1, le=3_600)] = 60.0
    flow_max_m3h: Positive | None = None
    report: ReportSection | None = None
    sanity: SanitySection | None = None


class DeviceSection(_Section):
    """One Modbus device on a line."""

    id: Name
    unit: Annotated[int, Field(ge=0, le=255)]
    map: str
    zone: Name
    place: Annotated[str, Field(max_length=64)] = ""
    period_s: Annotated[float, Field(ge=0.2, le=86_400)]
    point: tuple[PointSection, ...] = ()


class LineSection(_Section):
    """One Modbus TCP connection, to a device or to a converter with several units behind it."""

    name: Name
    host: Annotated[str, Field(min_length=1)]
    port: Port = 502
    timeout_s: Annotated[float, Field(ge=0.05, le=60)] = 1.0
    device: tuple[DeviceSection, ...] = ()


class GatewayConfig(_Section):
    """The whole file."""

    gateway: GatewaySection
    outbox: OutboxSection = OutboxSection()
    broker: BrokerSection = BrokerSection()
    clock: ClockSection = ClockSection()
    health: HealthSection = HealthSection()
    line: tuple[LineSection, ...] = ()
    gpio: tuple[GpioSection, ...] = ()


def problems(config: GatewayConfig, maps: Mapping[str, RegisterMap]) -> list[str]:
    """Return every mistake of sense, one sentence each, naming the key; touch nothing."""
    found = []
    if config.gateway.data == Path():  # pydantic reads "" as "."
        found.append('gateway.data: expected a folder of its own, was ""')
    if config.gateway.acknowledgement == "mainwatch" and not config.gateway.primary_host:
        found.append(
            'gateway.primary_host: expected the id of the Mainwatch server, was "";'
            ' only with acknowledgement "none" there may be no host'
        )
    found += _broker_problems(config.broker)
    found += _line_problems(config)
    if not config.line and not config.gpio:
        found.append("line: expected at least one [[line]] or [[gpio]], found none")
    found += [
        f"line[{n}].device: expected at least one [[line.device]], found none"
        for n, line in enumerate(config.line)
        if not line.device
    ]
    for key, device in _devices(config):
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
    return found


def metric_name(point: PointSection) -> str:
    """Return the short name under which a point travels: that of its register."""
    return point.register_


def flow_metric_name(point: PointSection) -> str:
    """Return the short name of the flow that is derived from a counter."""
    return f"{point.register_}_flow"


def _devices(config: GatewayConfig) -> Iterator[tuple[str, DeviceSection]]:
    for n, line in enumerate(config.line):
        for m, device in enumerate(line.device):
            yield f"line[{n}].device[{m}]", device


def _line_problems(config: GatewayConfig) -> list[str]:
    """Whatever may be there only once: line names, addresses, units, device ids and point ids."""
    found: list[str] = []
    lines: dict[str, str] = {}
    places: dict[tuple[str, int], str] = {}
    units: dict[tuple[str, int], str] = {}
    devices: dict[str, str] = {}
    points: dict[str, str] = {}

    def once(seen: dict[Any, str], value: Hashable, key: str, what: str) -> None:
        if value in seen:
            found.append(f"{key}: {what} is already used by {seen[value]}")
        seen.setdefault(value, key)

    for n, line in enumerate(config.line):
        once(lines, line.name, f"line[{n}].name", f"{line.name!r}")
        if not is_host(line.host):
            found.append(f"line[{n}].host: expected a host name or an address, was {line.host!r}")
        once(places, (line.host, line.port), f"line[{n}].port", f"{line.host}:{line.port}")
    for key, device in _devices(config):
        once(units, (key.split(".")[0], device.unit), f"{key}.unit", f"unit {device.unit}")
        once(devices, device.id, f"{key}.id", f"device {device.id!r}")
        for k, point in enumerate(device.point):
            once(points, point.point, f"{key}.point[{k}].point", f"point {point.point!r}")
            if point.flow_point is not None:
                what = f"point {point.flow_point!r}"
                once(points, point.flow_point, f"{key}.point[{k}].flow_point", what)
    for n, chip in enumerate(config.gpio):
        once(devices, chip.id, f"gpio[{n}].id", f"device {chip.id!r}")
        found += _gpio_problems(f"gpio[{n}]", chip)
        for key, point_name in chip.points():
            once(points, point_name, f"gpio[{n}].{key}", f"point {point_name!r}")
    return found


def _gpio_problems(key: str, chip: GpioSection) -> list[str]:
    if not chip.pulse and not chip.contact:
        return [f"{key}: expected at least one pulse or contact, found none"]
    found: list[str] = []
    pins: dict[int, str] = {}
    named = [(f"{key}.pulse[{k}].pin", p.pin) for k, p in enumerate(chip.pulse)]
    named += [(f"{key}.contact[{k}].pin", c.pin) for k, c in enumerate(chip.contact)]
    for here, pin in named:
        if pin in pins:
            found.append(f"{here}: pin {pin} is already used by {pins[pin]}")
        pins.setdefault(pin, here)
    return found


def _register_problems(key: str, device: DeviceSection, sheet: RegisterMap) -> list[str]:
    found: list[str] = []
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
        if register.form.words > sheet.registers_per_read_max:
            found.append(
                f"{here}.register: {register.name!r} takes {register.form.words} registers, but"
                f" map {device.map!r} allows {sheet.registers_per_read_max} in one read"
            )
        found += _counter_problems(here, point, register)
    return found


def _counter_problems(here: str, point: PointSection, register: Register) -> list[str]:
    counts = register.rolls_over_at is not None
    volume = point.pulse_m3 is not None or register.quantity is Quantity.VOLUME
    found = [
        f"{here}.{name}: expected a counter, but register {register.name!r} has no rolls_over_at"
        for name in ("pulse_m3", "flow_point", "flow_max_m3h")
        if getattr(point, name) is not None and not counts
    ]
    if counts and not volume:
        found.append(
            f"{here}.register: expected a counter of volume or pulse_m3,"
            f" was {register.name!r} in {register.unit!r}"
        )
    if counts and register.form in {Form.FLOAT32, Form.FLOAT64}:
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


def _broker_problems(broker: BrokerSection) -> list[str]:
    return broker_problems(
        broker.host,
        username=broker.username,
        password=broker.password_file,
        ca=broker.ca_file,
        cert=broker.cert_file,
        key=broker.key_file,
    )
