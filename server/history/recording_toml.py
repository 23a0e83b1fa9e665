"""recording.toml: what a recording says of itself, its zones and its points, or every mistake.

The unit of a point is that of its samples; whoever reads them gets the house unit.
"""

import json
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from server.engine.registry import Inflow, Point, Registry, Storage, Zone
from telemetry.errors import ConfigError
from telemetry.instant import Instant
from telemetry.mistakes import told
from telemetry.point import NAME_PATTERN, POINT_PATTERN, PointId, ZoneId
from telemetry.units import UNITS, Quantity, quantity_of, to_house

NAME = "recording.toml"


def instant_of(value: Any) -> Any:
    """Return the instant of a TOML or JSON time stamp. Raises `ValueError` without a zone."""
    stamp = value
    if isinstance(value, str):
        try:
            stamp = datetime.fromisoformat(value)
        except ValueError:
            stamp = None
    if not isinstance(stamp, datetime) or stamp.tzinfo is None:
        raise ValueError("expected an instant with its zone, such as 2026-01-01T00:00:00Z")
    return Instant(round(stamp.timestamp() * 1000))


def told_instant(at: int) -> str:
    """Return an instant as ISO 8601 in UTC, with milliseconds where there are any."""
    text = str(np.datetime64(int(at), "ms"))
    return f"{text.removesuffix('.000')}Z"


def is_timezone(name: str) -> bool:
    """Say whether a name is one of the IANA time zones."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _timezone(name: str) -> str:
    if not is_timezone(name):
        raise ValueError("expected an IANA time zone such as Asia/Shanghai")
    return name


def _unit(name: str) -> str:
    if name not in UNITS:
        raise ValueError(f"expected a unit out of {', '.join(map(repr, UNITS))}")
    return name


Name = Annotated[str, Field(pattern=NAME_PATTERN)]
PointName = Annotated[str, Field(pattern=POINT_PATTERN)]
Stamp = Annotated[int, BeforeValidator(instant_of)]
Timezone = Annotated[str, AfterValidator(_timezone)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Head(_Section):
    """What the recording is. `begin` and `end` are its first and its last instant."""

    version: Literal[1]
    name: Annotated[str, Field(min_length=1)]
    source: str = ""
    licence: str = ""
    timezone: Timezone
    calendar: Literal["cn", "it", "none"] = "none"
    begin: Stamp = Field(alias="from")
    end: Stamp = Field(alias="to")
    cadence_s: Annotated[float, Field(gt=0, le=86_400)]
    network: str | None = None


class InflowSection(_Section):
    """A meter at the edge of a zone: sign 1 for what comes in, -1 for what goes out."""

    point: PointName
    sign: Literal[1, -1]


class StorageSection(_Section):
    """A tank in a zone: its level, and the area that the level stands on."""

    point: PointName
    area_m2: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ZoneSection(_Section):
    """A zone. Time zone and calendar are the recording's, unless it has its own."""

    id: Name
    name: str = ""
    kind: str = "dma"
    inflow: tuple[InflowSection, ...] = ()
    storage: tuple[StorageSection, ...] = ()
    parent: Name | None = None
    timezone: Timezone | None = None
    calendar: Literal["cn", "it", "none"] | None = None


class LimitsSection(_Section):
    """What must be alarmed, in the point's unit.

    Of a pressure also what is promised there, by a policy where `promise_by` names it and its key,
    and what the law asks for.
    """

    low: Number | None = None
    high: Number | None = None
    promise: Number | None = None
    promise_by: str | None = None
    statute: Number | None = None


class PointSection(_Section):
    """A point. `period_s` is the recording's cadence, unless it has its own."""

    id: PointName
    zone: Name
    quantity: Quantity
    unit: Annotated[str, AfterValidator(_unit)]
    name: str = ""
    role: str | None = None
    resolution: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    node: str | None = None
    link: str | None = None
    x: Number | None = None
    y: Number | None = None
    elevation_m: Number | None = None
    period_s: Annotated[float, Field(gt=0, le=86_400)] | None = None
    limits: LimitsSection = LimitsSection()

    @property
    def house_factor(self) -> float:
        """Return what a sample is multiplied by to be in the house unit."""
        return to_house(1.0, self.unit)


class Description(_Section):
    """The whole file."""

    recording: Head
    zone: tuple[ZoneSection, ...] = ()
    point: tuple[PointSection, ...] = ()

    def registry(self) -> Registry:
        """Return zones and points as the engine knows them."""
        head = self.recording
        zones = [
            Zone(
                id=ZoneId(z.id),
                name_zh=z.name or z.id,
                name_en=z.name or z.id,
                timezone=z.timezone or head.timezone,
                calendar=z.calendar or head.calendar,
                inflow=tuple(Inflow(point=PointId(i.point), sign=i.sign) for i in z.inflow),
                storage=tuple(
                    Storage(point=PointId(s.point), area_m2=s.area_m2) for s in z.storage
                ),
                parent=None if z.parent is None else ZoneId(z.parent),
            )
            for z in self.zone
        ]
        points = [
            Point(
                id=PointId(p.id),
                zone=ZoneId(p.zone),
                quantity=p.quantity,
                name_zh=p.name or p.id,
                name_en=p.name or p.id,
                period_ms=round((p.period_s or head.cadence_s) * 1000),
                x=p.x,
                y=p.y,
                elevation_m=p.elevation_m,
                low=None if p.limits.low is None else to_house(p.limits.low, p.unit),
                high=None if p.limits.high is None else to_house(p.limits.high, p.unit),
                promise_kpa=_floor(p.limits.promise, p.unit),
                promise_by=p.limits.promise_by or "",
                statute_kpa=_floor(p.limits.statute, p.unit),
            )
            for p in self.point
        ]
        return Registry(zones={z.id: z for z in zones}, points={p.id: p for p in points})


def _floor(value: float | None, unit: str) -> float | None:
    """Return a floor in kPa; rounded, so that 0.28 MPa is 280 kPa and nothing more."""
    return None if value is None else round(to_house(value, unit), 6)


def read(folder: Path) -> Description:
    """Return the description of a recording. Raises `ConfigError` with every mistake in it."""
    path = folder / NAME
    try:
        body = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: expected the head of a recording, found none") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise ConfigError(f"{path}: cannot be read: {e}") from e
    try:
        found = Description.model_validate(body)
    except ValidationError as e:
        raise ConfigError("; ".join(f"{path}: {line}" for line in told(e))) from None
    wrong = problems(found)
    network = found.recording.network
    here = folder.resolve()
    path_of = None if network is None else (folder / network).resolve()
    if path_of is not None and not (path_of.is_file() and path_of.is_relative_to(here)):
        wrong.append(f"recording.network: expected a file of the folder, was {network!r}")
    if wrong:
        raise ConfigError("; ".join(f"{path}: {line}" for line in wrong))
    return found


def problems(found: Description) -> list[str]:
    """Return every mistake of sense, one sentence each, naming the key."""
    head = found.recording
    wrong = []
    if head.begin > head.end:
        wrong.append("recording.to: expected an instant that is not before recording.from")
    if not found.point:
        wrong.append("point: expected at least one point, found none")
    wrong += _repeated("zone", [z.id for z in found.zone])
    wrong += _repeated("point", [p.id for p in found.point])
    wrong += _unrelated(found)
    for n, p in enumerate(found.point):
        if quantity_of(p.unit) is not p.quantity:
            wrong.append(f"point[{n}].unit: expected a unit of {p.quantity}, was {p.unit!r}")
        low, high = p.limits.low, p.limits.high
        if low is not None and high is not None and low >= high:
            wrong.append(f"point[{n}].limits.low: expected less than high {high}, was {low}")
        wrong += _floor_problems(n, p)
    return wrong


def _floor_problems(n: int, point: PointSection) -> list[str]:
    limits = point.limits
    wrong = [
        f"point[{n}].limits.{key}: expected of a pressure only, was of {point.quantity}"
        for key in ("promise", "statute")
        if getattr(limits, key) is not None and point.quantity is not Quantity.PRESSURE
    ]
    if limits.promise_by is not None and limits.promise is None:
        wrong.append(f"point[{n}].limits.promise_by: expected a promise with it, found none")
    return wrong


def _unrelated(found: Description) -> list[str]:
    """Return every reference to a zone or a point that is not there, or is of another kind."""
    zones = {z.id for z in found.zone}
    quantities = {p.id: p.quantity for p in found.point}
    known = ", ".join(sorted(zones)) or "none"
    wrong = [
        f"point[{n}].zone: expected one of {known}, was {p.zone!r}"
        for n, p in enumerate(found.point)
        if p.zone not in zones
    ]
    for n, z in enumerate(found.zone):
        if z.parent is not None and (z.parent not in zones or z.parent == z.id):
            wrong.append(f"zone[{n}].parent: expected another one of {known}, was {z.parent!r}")
        parts = [(f"inflow[{m}]", i.point, Quantity.FLOW) for m, i in enumerate(z.inflow)]
        parts += [(f"storage[{m}]", s.point, Quantity.LEVEL) for m, s in enumerate(z.storage)]
        for key, point, quantity in parts:
            if quantities.get(point) is not quantity:
                was = f"{point!r}, a {quantities[point]}" if point in quantities else f"{point!r}"
                wrong.append(f"zone[{n}].{key}.point: expected a {quantity} point, was {was}")
    return wrong


def _repeated(what: str, ids: list[str]) -> list[str]:
    return [
        f"{what}[{n}].id: {name!r} is used twice" for n, name in enumerate(ids) if name in ids[:n]
    ]


def text_of(found: Description) -> str:
    """Return the text of a recording.toml that says this, and what is default not at all."""
    head = found.recording.model_dump(by_alias=True, exclude_none=True)
    head |= {key: _Moment(told_instant(head[key])) for key in ("from", "to")}
    tables = [("[recording]", head)]
    for title, sections in (("[[zone]]", found.zone), ("[[point]]", found.point)):
        for section in sections:
            body = section.model_dump(mode="json", exclude_defaults=True)
            tables.append((title, body))
    return "\n".join(
        f"{title}\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in body.items())
        for title, body in tables
    )


class _Moment(str):
    """An instant that TOML writes without quotes."""

    __slots__ = ()


def _toml(value: Any) -> str:
    match value:
        case _Moment():
            return str(value)
        case dict():
            return "{ " + ", ".join(f"{key} = {_toml(v)}" for key, v in value.items()) + " }"
        case list() | tuple():
            return "[" + ", ".join(_toml(v) for v in value) + "]"
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return str(value)
