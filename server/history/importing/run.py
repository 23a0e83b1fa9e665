"""One import from beginning to end: of which kind, into which folder; whole or not at all."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from server.history.importing import battledim, epanet, influx, plain_csv
from server.history.importing.gathering import Gathering, Head, Say, Step
from server.history.importing.mapping import Mapping
from server.history.importing.slug import slug
from telemetry.errors import ConfigError

Kind = Literal["csv", "battledim", "epanet", "influx"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be imported, and where to."""

    kind: Kind
    sources: tuple[Path, ...]
    folder: Path
    mapping: Mapping
    software: str


def run(order: Order, *, step: Step, say: Say) -> int:
    """Import and return how many samples there are. Raises `ConfigError`; nothing is half done."""
    told = order.mapping.recording
    is_battledim = order.kind == "battledim"
    head = Head(
        name=told.name or order.folder.name,
        source=told.source or _sources(order),
        licence=told.licence,
        timezone=told.timezone or ("UTC" if is_battledim else _timezone(order)),
        calendar=told.calendar,
        cadence_s=told.cadence_s,
    )
    with Gathering(order.folder, head, software=order.software, step=step, say=say) as gathering:
        zones = order.mapping.zones()
        match order.kind:
            case "csv":
                for path in order.sources:
                    plain_csv.read(path, order.mapping, gathering)
            case "influx":
                for path in order.sources:
                    influx.read(path, order.mapping, gathering)
            case "epanet":
                if order.mapping.epanet is None:
                    raise ConfigError("epanet: expected a network and a start, found none")
                zone = order.mapping.epanet.zone or slug(head.name, longest=32)
                epanet.read(order.mapping.epanet, zone, gathering)
            case "battledim":
                for path in order.sources:
                    battledim.read(path, gathering)
                zones = battledim.zones(gathering)
        return gathering.finish(zones)


def _sources(order: Order) -> str:
    return f"{order.kind}: {', '.join(p.name for p in order.sources)}"


def _timezone(order: Order) -> str:
    """Return the time zone of what says its own instants; else a person must."""
    if order.kind == "influx" or all(plain_csv.is_own(p) for p in order.sources):
        return "UTC"
    raise ConfigError("timezone: expected the IANA time zone of the stamps, found none")
