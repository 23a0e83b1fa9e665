"""A stretch of samples as columns of equal length: what recordings are read and written in."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from telemetry.sample import Reason, TimeQuality

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Float64s = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.intp] | npt.NDArray[np.bool_] | slice

REASONS = tuple(Reason)
"""What the numbers of `Stretch.reason` mean."""

TIME_QUALITIES = tuple(TimeQuality)
"""What the numbers of `Stretch.time_quality` mean."""

NO_GATEWAY = -1
"""The gateway, epoch and offset of a sample that no gateway's log holds."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stretch:
    """Samples in the order in which a server would have heard them.

    `at` and `arrived_at` are milliseconds UTC, `point` numbers the points of the recording, `value`
    is in house units and NaN exactly where `quality` is bad. Columns that a recording may leave out
    are None; `gateway` numbers `gateways`, -1 for none.
    """

    at: Int64s
    point: Int32s
    value: Float64s
    quality: Bytes
    arrived_at: Int64s
    reason: Bytes | None = None
    time_quality: Bytes | None = None
    gateway: Int32s | None = None
    epoch: Int64s | None = None
    offset: Int64s | None = None
    gateways: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.at)

    def take(self, rows: Rows) -> "Stretch":
        """Return some of the samples, in the order of `rows`."""
        columns = {name: getattr(self, name) for name in COLUMNS}
        return replace(self, **{n: c[rows] for n, c in columns.items() if c is not None})


COLUMNS = tuple(f.name for f in fields(Stretch) if f.name != "gateways")
"""The columns of a stretch, in the order of a recording's file."""

_ABSENT = {
    "reason": (np.uint8, REASONS.index(Reason.NONE)),
    "time_quality": (np.uint8, TIME_QUALITIES.index(TimeQuality.SYNCHRONISED)),
    "gateway": (np.int32, NO_GATEWAY),
    "epoch": (np.int64, NO_GATEWAY),
    "offset": (np.int64, NO_GATEWAY),
}
"""What a column that was left out means."""


def joined(parts: Sequence[Stretch]) -> Stretch:
    """Return stretches one behind the other; columns that only some have are filled in."""
    if len(parts) == 1:
        return parts[0]
    gateways = tuple(dict.fromkeys(name for p in parts for name in p.gateways))
    columns: dict[str, Any] = {}
    for name in COLUMNS:
        if name in _ABSENT and all(getattr(p, name) is None for p in parts):
            columns[name] = None
        else:
            columns[name] = np.concatenate([filled(p, name, gateways) for p in parts])
    return Stretch(**columns, gateways=gateways)


def filled(part: Stretch, name: str, gateways: tuple[str, ...] | None = None) -> npt.NDArray[Any]:
    """Return a column, made up where it was left out; gateways as numbers of `gateways`."""
    column: npt.NDArray[Any] | None = getattr(part, name)
    if column is None:
        kind, value = _ABSENT[name]
        return np.full(len(part), value, dtype=kind)
    if name == "gateway" and gateways is not None and part.gateways != gateways:
        places = [gateways.index(g) for g in part.gateways]
        numbers: Int32s = np.array([*places, NO_GATEWAY], dtype=np.int32)
        column = numbers[column]
    return column
