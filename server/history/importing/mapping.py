"""The mapping file of an import: how the input is written, and which column is which point."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from server.history.importing.csv_text import Form
from server.history.recording_toml import PointSection, ZoneSection
from telemetry.errors import ConfigError
from telemetry.mistakes import told
from telemetry.units import quantity_of


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FormSection(_Section):
    """How the input is written."""

    layout: Literal["wide", "long"] = "wide"
    time_column: str | None = None
    time_format: str = "iso"
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    decimal: Literal[".", ","] = "."
    encoding: str = "utf-8"
    missing: tuple[str, ...] = ("",)
    point_column: str = "point"
    value_column: str = "value"
    quality_column: str | None = None
    ignore: tuple[str, ...] = ()

    def form(self) -> Form:
        """Return how its texts are read."""
        return Form(
            separator=self.separator,
            decimal=self.decimal,
            encoding=self.encoding,
            time_format=self.time_format,
            missing=self.missing,
        )


class HeadSection(_Section):
    """What the recording will say of itself."""

    name: str | None = None
    source: str | None = None
    licence: str = "not stated"
    timezone: str | None = None
    calendar: Literal["cn", "it", "none"] = "none"
    cadence_s: Annotated[float, Field(gt=0, le=86_400)] | None = None


class ColumnSection(PointSection):
    """A point, and the column, location or series of the input that it comes from."""

    column: str

    def point(self) -> PointSection:
        """Return what the recording says of it."""
        return PointSection.model_validate(self.model_dump(exclude={"column"}))


class EpanetFile(_Section):
    """A file of EPANET's, with the one quantity that it holds."""

    file: Path
    quantity: Literal["pressure", "flow", "demand", "level", "head"]


class EpanetSection(_Section):
    """The network whose series these are, and the instant of its hour 0 on the zone's clock."""

    network: Path
    start: str
    zone: str | None = None
    files: tuple[EpanetFile, ...] = ()


class InfluxSection(_Section):
    """Which tag names the point, and which fields hold its value and its quality."""

    point_tag: str = "point"
    value_field: str = "v"
    quality_field: str = "q"
    epoch: Literal["ns", "us", "ms", "s"] = "ns"


class Mapping(_Section):
    """The whole file."""

    input: FormSection = FormSection()
    recording: HeadSection = HeadSection()
    epanet: EpanetSection | None = None
    influx: InfluxSection = InfluxSection()
    zone: tuple[ZoneSection, ...] = ()
    point: tuple[ColumnSection, ...] = ()

    def columns(self) -> dict[str, PointSection]:
        """Return each column's point."""
        return {c.column: c.point() for c in self.point}

    def zones(self) -> list[dict[str, Any]]:
        """Return the zones as a recording's head holds them."""
        return [z.model_dump(exclude_defaults=True) for z in self.zone]


def mapping_of(body: dict[str, Any], *, where: str) -> Mapping:
    """Return the mapping that a file and options describe. Raises `ConfigError`."""
    try:
        found = Mapping.model_validate(body)
    except ValidationError as e:
        raise ConfigError("; ".join(f"{where}: {line}" for line in told(e))) from None
    columns = [c.column for c in found.point]
    ids = [c.id for c in found.point]
    wrong = [
        f"{where}: point[{n}].{key}: {name!r} is used twice"
        for key, names in (("column", columns), ("id", ids))
        for n, name in enumerate(names)
        if name in names[:n]
    ]
    wrong += [
        f"{where}: point[{n}].unit: expected a unit of {c.quantity}, was {c.unit!r}"
        for n, c in enumerate(found.point)
        if quantity_of(c.unit) is not c.quantity
    ]
    if wrong:
        raise ConfigError("; ".join(wrong))
    return found
