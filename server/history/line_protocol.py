"""Samples as InfluxDB line protocol: one line a sample, tagged by the point's immutable id alone.

    telemetry,point=wenhua-road-12/pressure v=281.25,q=192i 1795000000000

`v` is always a float and `q` always an integer, as a field must never change its type. A line is
known by measurement, tags and instant: the same sample sent twice is the same line. A sample
without a finite value has no `v`; its quality says why. See docs/influxdb.md.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

MEASUREMENT = "telemetry"
TAG = "point"
VALUE = "v"
QUALITY = "q"
PRECISION = "ms"

Row = tuple[str, int, float | None, int]
"""Point, instant, value in the house unit or None, quality."""

_ESCAPES = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ "})


@dataclass(slots=True)
class Encoded:
    """Lines, how many of their samples had no finite value, and rows that no line can say."""

    lines: list[bytes] = field(default_factory=list)
    without_value: int = 0
    unsayable: list[Row] = field(default_factory=list)


class Encoder:
    """Turns rows into lines; the beginning of a point's lines is made once."""

    def __init__(self) -> None:
        self._heads: dict[str, str | None] = {}

    def encode(self, rows: Iterable[Row]) -> Encoded:
        """Return the lines of some rows, in their order.

        >>> Encoder().encode([("a/flow", 1000, 2, 192), ("a/flow", 2000, None, 0)]).lines
        [b'telemetry,point=a/flow v=2.0,q=192i 1000', b'telemetry,point=a/flow q=0i 2000']
        """
        out, heads = Encoded(), self._heads
        for row in rows:
            point, at, value, quality = row
            try:
                head = heads[point]
            except KeyError:
                head = heads[point] = head_of(point)
            if head is None:
                out.unsayable.append(row)
            elif value is None or not math.isfinite(value):
                out.without_value += 1
                out.lines.append(f"{head}{QUALITY}={quality}i {at}".encode())
            else:
                v = float(value)
                out.lines.append(f"{head}{VALUE}={v!r},{QUALITY}={quality}i {at}".encode())
        return out


def head_of(point: str) -> str | None:
    """Return what the lines of a point begin with; None for an id that no tag can hold.

    A tag is not empty, has no control characters, and does not end with a backslash: there is no
    escape for them.
    """
    if not point or not point.isprintable() or point.endswith("\\"):
        return None
    return f"{MEASUREMENT},{TAG}={point.translate(_ESCAPES)} "
