"""One unit per quantity inside the house; every other unit is converted at the door.

Inside: pressure kPa, flow m³/h, volume m³, level m, temperature °C. Register maps name the unit of
a register; `to_house` turns its number into ours, `from_house` back (for simulator and screens).
"""

from enum import StrEnum
from typing import NewType

Kilopascals = NewType("Kilopascals", float)
CubicMetresPerHour = NewType("CubicMetresPerHour", float)
CubicMetres = NewType("CubicMetres", float)
Metres = NewType("Metres", float)

KPA_PER_METRE_OF_WATER = 9.80665
"""Pressure of one metre of water at 4 °C under standard gravity (ISO 80000-4)."""


class Quantity(StrEnum):
    """What a point measures. A quantity has exactly one unit inside the house."""

    PRESSURE = "pressure"
    FLOW = "flow"
    VOLUME = "volume"
    LEVEL = "level"
    TEMPERATURE = "temperature"
    STATE = "state"

    @property
    def unit(self) -> str:
        """Return the house unit of this quantity, as written on the wire."""
        return HOUSE_UNITS[self]


HOUSE_UNITS: dict[Quantity, str] = {
    Quantity.PRESSURE: "kPa",
    Quantity.FLOW: "m3/h",
    Quantity.VOLUME: "m3",
    Quantity.LEVEL: "m",
    Quantity.TEMPERATURE: "degC",
    Quantity.STATE: "",
}

_FACTORS: dict[str, tuple[Quantity, float]] = {
    "kPa": (Quantity.PRESSURE, 1.0),
    "Pa": (Quantity.PRESSURE, 0.001),
    "MPa": (Quantity.PRESSURE, 1000.0),
    "bar": (Quantity.PRESSURE, 100.0),
    "mbar": (Quantity.PRESSURE, 0.1),
    "mH2O": (Quantity.PRESSURE, KPA_PER_METRE_OF_WATER),
    "psi": (Quantity.PRESSURE, 6.894757293168361),
    "m3/h": (Quantity.FLOW, 1.0),
    "l/s": (Quantity.FLOW, 3.6),
    "l/min": (Quantity.FLOW, 0.06),
    "l/h": (Quantity.FLOW, 0.001),
    "m3": (Quantity.VOLUME, 1.0),
    "l": (Quantity.VOLUME, 0.001),
    "m": (Quantity.LEVEL, 1.0),
    "cm": (Quantity.LEVEL, 0.01),
    "mm": (Quantity.LEVEL, 0.001),
    "degC": (Quantity.TEMPERATURE, 1.0),
    "": (Quantity.STATE, 1.0),
}

UNITS = tuple(_FACTORS)
"""Every unit a register map may name."""


def quantity_of(unit: str) -> Quantity:
    """Return what a unit measures. Raises `ValueError` naming the units that are known."""
    try:
        return _FACTORS[unit][0]
    except KeyError:
        known = ", ".join(repr(name) for name in UNITS)
        raise ValueError(f"expected a unit out of {known}, was {unit!r}") from None


def to_house(value: float, unit: str) -> float:
    """Convert a number in `unit` to the house unit of its quantity.

    >>> to_house(2.8, "bar")
    280.0
    """
    quantity_of(unit)
    return value * _FACTORS[unit][1]


def from_house(value: float, unit: str) -> float:
    """Convert a number in a house unit to `unit`.

    >>> from_house(36.0, "l/s")
    10.0
    """
    quantity_of(unit)
    return value / _FACTORS[unit][1]
