"""Everything that the historian holds of a stretch of time, in time order, a little at a time."""

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from telemetry.instant import HOUR_MS, SECOND_MS

_ROWS_WANTED = 5_000
_WIDTH_FIRST_MS, _WIDTH_MAX_MS = 10 * SECOND_MS, HOUR_MS

_NEXT = """
SELECT MIN((SELECT MIN(at) FROM sample WHERE point = number AND at >= ? AND at <= ?)) FROM point
"""
_ROWS = """
SELECT id, at, value, quality, arrived_at FROM point JOIN sample ON point = number
WHERE at >= ? AND at <= ? ORDER BY at
"""


class Stored(NamedTuple):
    """A sample as the historian keeps it, with the instant at which it arrived."""

    point: str
    at: int
    value: float | None
    quality: int
    arrived_at: int


def scan(db: sqlite3.Connection, start: int, end: int) -> Iterator[list[Stored]]:
    """Yield the samples in [start, end], in stretches that are never empty.

    No transaction stays open between two of them, however long the caller takes.
    """
    width = _WIDTH_FIRST_MS
    while start <= end:
        first = db.execute(_NEXT, (start, end)).fetchone()[0]
        if first is None:
            return
        until = min(first + width - 1, end)
        rows = [Stored(*row) for row in db.execute(_ROWS, (first, until)).fetchall()]
        yield rows
        start = until + 1
        if len(rows) < _ROWS_WANTED:
            width = min(width * 2, _WIDTH_MAX_MS)
        elif len(rows) > 4 * _ROWS_WANTED:
            width = max(width // 2, 1)
