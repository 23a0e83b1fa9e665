"""Outward: house units, instants and ids become what a reader of a screen expects."""

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from server.engine.registry import Registry
from server.servicecore.rules.permissions import Actor, Right, may
from server.web.words import CATALOGUES, Words
from telemetry.instant import Instant
from telemetry.point import PointId, ZoneId
from telemetry.units import Quantity, from_house

PRESSURE_UNITS = ("MPa", "kPa", "bar")
_PRESSURE_BY_LANGUAGE = {"zh-CN": "MPa", "en": "kPa"}
_DECIMALS = {"MPa": 4, "kPa": 1, "bar": 3, "m3/h": 1, "m3": 2, "m": 2, "degC": 1, "": 0}
_PRINTED = {"m3/h": "m³/h", "m3": "m³", "degC": "°C"}

NO_VALUE = "–"


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Who looks: language, unit of pressure, and the name of whoever is on shift or signed in."""

    language: str
    pressure_unit: str
    operator: str
    actor: Actor | None = None

    def may(self, right: Right) -> bool:
        """Say whether a button for this makes sense; without sign-in everything does."""
        return self.actor is None or may(self.actor, right)

    @property
    def sees_personal_data(self) -> bool:
        """Say whether names, telephone numbers and addresses of customers are shown whole."""
        return self.may(Right.CONTACT) or self.may(Right.FIELD)

    @property
    def words(self) -> Words:
        """Return the viewer's catalogue."""
        return CATALOGUES[self.language]


def pressure_unit(wish: str, language: str) -> str:
    """Return the unit that was chosen, or the usual one of the language."""
    return wish if wish in PRESSURE_UNITS else _PRESSURE_BY_LANGUAGE[language]


class Screen:
    """Prints values, instants and names for one viewer."""

    def __init__(self, viewer: Viewer, registry: Registry) -> None:
        self.viewer = viewer
        self._registry = registry
        self._timezone = _timezone(registry)

    def unit_code(self, quantity: str) -> str:
        """Return the unit that a quantity is shown in, as the units module names it."""
        known = Quantity(quantity)
        return self.viewer.pressure_unit if known is Quantity.PRESSURE else known.unit

    def unit(self, quantity: str) -> str:
        """Return the unit as printed."""
        code = self.unit_code(quantity)
        return _PRINTED.get(code, code)

    def decimals(self, quantity: str) -> int:
        """Return how many decimals are shown: about what the instruments resolve."""
        return _DECIMALS[self.unit_code(quantity)]

    def factor(self, quantity: str) -> float:
        """Return what a house value is multiplied by; for the scripts."""
        return from_house(1.0, self.unit_code(quantity))

    def units(self) -> dict[str, dict[str, object]]:
        """Return how the scripts print each quantity."""
        return {
            q: {"unit": self.unit(q), "factor": self.factor(q), "decimals": self.decimals(q)}
            for q in Quantity
        }

    def value(self, quantity: str, value: float | None) -> str:
        """Return a house value as printed, without its unit."""
        if value is None:
            return NO_VALUE
        shown = from_house(value, self.unit_code(quantity))
        return f"{shown:.{self.decimals(quantity)}f}"

    def change(self, quantity: str, change: float | None) -> str:
        """Return by how much a value changed, with its sign, as printed."""
        if change is None:
            return NO_VALUE
        shown = from_house(change, self.unit_code(quantity))
        return f"{shown:+.{self.decimals(quantity)}f}"

    def time(self, at: int | None) -> str:
        """Return an instant as hours, minutes, seconds where the water is."""
        return NO_VALUE if at is None else f"{self._local(at):%H:%M:%S}"

    def stamp(self, at: int | None) -> str:
        """Return an instant with its date."""
        return NO_VALUE if at is None else f"{self._local(at):%Y-%m-%d %H:%M:%S}"

    def minute(self, at: int | None) -> str:
        """Return an instant to the minute, with its date."""
        return NO_VALUE if at is None else f"{self._local(at):%Y-%m-%d %H:%M}"

    def field(self, at: int | None) -> str:
        """Return an instant as a form's field for local times holds it."""
        return "" if at is None else f"{self._local(at):%Y-%m-%dT%H:%M}"

    @property
    def timezone(self) -> tzinfo:
        """Return the time zone shown."""
        return self._timezone

    @property
    def timezone_name(self) -> str:
        """Return the IANA name of the time zone shown."""
        return str(self._timezone)

    def zones(self) -> list[tuple[str, str]]:
        """Return every zone of the registry with its name."""
        return [(str(zone), self.zone(zone)) for zone in self._registry.zones]

    def zone(self, zone: str) -> str:
        """Return a zone's name, or its id when the registry does not know it."""
        known = self._registry.zones.get(ZoneId(zone))
        return zone if known is None else self._name(known.name_zh, known.name_en)

    def point(self, point: str) -> str:
        """Return a point's name, or its id when the registry does not know it."""
        known = self._registry.points.get(PointId(point))
        return point if known is None else self._name(known.name_zh, known.name_en)

    def _name(self, zh: str, en: str) -> str:
        return zh if self.viewer.language == "zh-CN" else en

    def _local(self, at: int) -> datetime:
        return datetime.fromtimestamp(Instant(at) / 1000, tz=self._timezone)


def _timezone(registry: Registry) -> tzinfo:
    first = next(iter(registry.zones.values()), None)
    return ZoneInfo(first.timezone) if first else UTC
