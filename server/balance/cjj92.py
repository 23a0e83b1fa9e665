"""Loss rates by CJJ 92-2016 with the partial revision of 2018: gross, corrected, and their grade.

The standard rates a supplier by its year. A zone's month in the same terms shows where a year is
going; it is no rating.
"""

from collections.abc import Callable
from dataclasses import dataclass

from server.config import BalanceSection

GRADES = (10.0, 12.0)
"""Clause 5.1.2: at most so many per cent is grade 1, grade 2."""

METER_SHORTFALL = 0.08
"""R1 = 0.08 r: what household meters show less than the meter of their building."""

LENGTH_FACTOR, LENGTH_USUAL, LENGTH_PERCENT_MAX = 0.99, 0.0693, 3.0
"""R2 = 0.99 (A - 0.0693), A in km for 10,000 m³ a year; between -3 % and 3 %."""

PRESSURE_STEPS = ((0.75, 2.0), (0.55, 1.0), (0.35, 0.5))
"""R3: above so many MPa at the plants, as a mean of the year, so many per cent."""

FROST_M, FROST_PERCENT = 1.4, 1.0
"""R4: where the ground freezes deeper, so many per cent."""

DAYS_A_YEAR = 365.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Loss rates in per cent; what is None is not known, for lack of what `missing` names.

    `gross` is R_WL, `corrections` R1 to R4, `correction` their sum R_n, `loss` R_BL.
    """

    gross: float
    corrections: tuple[float | None, float | None, float | None, float | None]
    missing: tuple[str, ...]

    @property
    def correction(self) -> float | None:
        """Return R_n, where all four parts are known."""
        known = [r for r in self.corrections if r is not None]
        return sum(known) if len(known) == len(self.corrections) else None

    @property
    def loss(self) -> float | None:
        """Return R_BL."""
        return None if self.correction is None else self.gross - self.correction

    @property
    def grade(self) -> int | None:
        """Return 1 or 2; 0 for worse than both."""
        if self.loss is None:
            return None
        return next((n for n, most in enumerate(GRADES, 1) if self.loss <= most), 0)


def rates(supplied_m3: float, used_m3: float, *, days: float, facts: BalanceSection) -> Rates:
    """Return the rates of so many days. Raises `ValueError` when nothing was supplied.

    What is configured as a correction wins over what its formula would give.
    """
    if supplied_m3 <= 0:
        raise ValueError(f"expected a supply above 0 m3, was {supplied_m3}")
    found = (
        _first(facts.r1_percent, facts.household_share, household_correction),
        _first(
            facts.r2_percent,
            facts.mains_dn75_km,
            lambda km: length_correction(km, supplied_m3 / days * DAYS_A_YEAR),
        ),
        _first(facts.r3_percent, facts.plant_pressure_mpa, pressure_correction),
        _first(facts.r4_percent, facts.frost_depth_m, frost_correction),
    )
    inputs = ("household_share", "mains_dn75_km", "plant_pressure_mpa", "frost_depth_m")
    return Rates(
        gross=(supplied_m3 - used_m3) / supplied_m3 * 100,
        corrections=found,
        missing=tuple(name for name, r in zip(inputs, found, strict=True) if r is None),
    )


def household_correction(share: float) -> float:
    """Return R1 of the share of the supply that is read at households' own meters, per cent.

    >>> household_correction(0.5)
    4.0
    """
    return METER_SHORTFALL * share * 100


def length_correction(mains_dn75_km: float, year_m3: float) -> float:
    """Return R2 of the length of mains of 75 mm and more, and a year's supply, per cent.

    >>> round(length_correction(800.0, 100_000_000.0), 2), length_correction(1.0, 1e9)
    (1.06, -3.0)
    """
    per_10000_m3 = mains_dn75_km / (year_m3 / 10_000)
    found = LENGTH_FACTOR * (per_10000_m3 - LENGTH_USUAL) * 100
    return max(-LENGTH_PERCENT_MAX, min(LENGTH_PERCENT_MAX, found))


def pressure_correction(mpa: float) -> float:
    """Return R3 of the year's mean pressure at the plants, per cent.

    >>> [pressure_correction(p) for p in (0.35, 0.36, 0.56, 0.8)]
    [0.0, 0.5, 1.0, 2.0]
    """
    return next((percent for above, percent in PRESSURE_STEPS if mpa > above), 0.0)


def frost_correction(depth_m: float) -> float:
    """Return R4 of the greatest depth of frost, per cent.

    >>> frost_correction(1.4), frost_correction(1.5)
    (0.0, 1.0)
    """
    return FROST_PERCENT if depth_m > FROST_M else 0.0


def _first(
    told: float | None, known: float | None, formula: Callable[[float], float]
) -> float | None:
    if told is not None:
        return told
    return None if known is None else formula(known)
