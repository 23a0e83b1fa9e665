"""Samples as columns of numbers: joined, ordered and cut."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from server.history.packing import Array
from telemetry.sample import Quality

STRIPE_ROWS = 1_000_000
"""Samples of a sealed day that are written and read at once, about."""

KINDS: dict[str, str] = {
    "at": "<i8",
    "arrived_at": "<i8",
    "offset": "<u8",
    "value": "<f8",
    "point": "<i4",
    "source": "<i4",
    "label": "<i2",
    "quality": "|u1",
}
"""The columns in the order in which a block holds them, each with its form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Columns of equal length; row n of them is one sample.

    `point`, `source` (gateway and epoch) and `label` (reason and time quality) are the historian's
    own numbers; `value` is NaN exactly where a reading gave none.
    """

    at: Array
    arrived_at: Array
    offset: Array
    value: Array
    point: Array
    source: Array
    label: Array
    quality: Array

    def __len__(self) -> int:
        return len(self.at)

    def arrays(self) -> list[Array]:
        """Return the columns in the order of `KINDS`."""
        return [getattr(self, name).astype(kind, copy=False) for name, kind in KINDS.items()]

    @classmethod
    def of(cls, arrays: Sequence[Array]) -> "Columns":
        """Return what `arrays` returned as columns again."""
        return cls(**dict(zip(KINDS, arrays, strict=True)))

    @classmethod
    def none(cls) -> "Columns":
        """Return columns without a row."""
        return cls(**{name: np.empty(0, kind) for name, kind in KINDS.items()})

    @classmethod
    def joined(cls, parts: Sequence["Columns"]) -> "Columns":
        """Return the rows of all parts, one after the other."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.none()
        return cls(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in KINDS})

    def take(self, which: Array | slice) -> "Columns":
        """Return some rows: by their numbers, by a mask or by a slice."""
        return Columns(**{name: getattr(self, name)[which] for name in KINDS})

    def with_quality(self, quality: Array) -> "Columns":
        """Return the same rows under another judgement."""
        return Columns(**{n: quality if n == "quality" else getattr(self, n) for n in KINDS})

    def by_point(self) -> "Columns":
        """Return the rows point by point, each in time order."""
        return self.take(np.lexsort((self.offset, self.source, self.at, self.point)))

    def by_time(self) -> "Columns":
        """Return the rows in time order."""
        return self.take(np.lexsort((self.offset, self.source, self.point, self.at)))

    def usable(self) -> Array:
        """Return a mask of what may be computed with: it has a value and is not bad."""
        mask: Array = ~np.isnan(self.value) & (self.quality != Quality.BAD)
        return mask


def among(numbers: Array, wanted: Array) -> Array:
    """Return a mask of the numbers that are wanted; both are small and not negative."""
    if not len(numbers) or not len(wanted):
        return np.zeros(len(numbers), bool)
    if len(wanted) == 1:
        found: Array = numbers == wanted[0]
        return found
    table = np.zeros(max(int(numbers.max()), int(wanted.max())) + 1, bool)
    table[wanted] = True
    mask: Array = table[numbers]
    return mask
