"""The hot part: blocks of samples as they came, gathered into larger ones, until they are sealed.

A write is one small block for each day that it touches. Every so often a day's young blocks become
tidy ones, compressed and point by point, so that one point's day is read without all the others.
"""

import sqlite3
from dataclasses import dataclass, field

from server.history.columns import Columns
from server.history.days import unpacked
from server.history.keeping import Keeping
from server.history.packing import join, squeeze

YOUNG_BLOCKS_MAX = 64
YOUNG_ROWS_MAX = 65_536
CHUNK_ROWS = 4_096

_INSERT = "INSERT INTO block VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


@dataclass(slots=True)
class Day:
    """What is unsealed of a day: how many samples, arrived from when to when, and young blocks."""

    rows: int
    oldest: int
    newest: int
    young: list[int] = field(default_factory=list)
    young_rows: int = 0


class Hot:
    """Blocks of the days that are not sealed yet, or that something came late for."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._held: set[int] = set()
        self.reload()

    def reload(self) -> None:
        """Know again what the file says: after a transaction that did not happen."""
        days = self._db.execute("SELECT DISTINCT day FROM block").fetchall()
        self._days = {day: self._known(day) for (day,) in days}

    @property
    def rows(self) -> int:
        """Return how many samples are unsealed."""
        return sum(day.rows for day in self._days.values())

    def due(self, keeping: Keeping, now: int, *, is_crowded: bool) -> set[int]:
        """Return the days that are to be sealed."""
        return {
            n
            for n, d in self._days.items()
            if keeping.is_due(n, oldest=d.oldest, newest=d.newest, now=now, is_crowded=is_crowded)
        }

    def add(self, day: int, samples: Columns) -> None:
        """Write samples of one day as a young block."""
        n = self._insert(day, samples, is_tidy=False)
        oldest, newest = int(samples.arrived_at.min()), int(samples.arrived_at.max())
        known = self._days.setdefault(day, Day(0, oldest, newest))
        known.rows += len(samples)
        known.oldest, known.newest = min(known.oldest, oldest), max(known.newest, newest)
        known.young.append(n)
        known.young_rows += len(samples)
        is_full = len(known.young) >= YOUNG_BLOCKS_MAX or known.young_rows >= YOUNG_ROWS_MAX
        if is_full and day not in self._held:
            self._tidy(day, known)

    def hold(self, day: int) -> None:
        """Leave the blocks of a day as they are: it is being sealed."""
        self._held.add(day)

    def release(self, day: int) -> None:
        """Know again what is left of a day."""
        self._held.discard(day)
        self._days[day] = self._known(day)
        if not self._days[day].rows:
            del self._days[day]

    def _known(self, day: int) -> Day:
        rows, oldest, newest = self._db.execute(
            "SELECT COALESCE(SUM(rows), 0), MIN(arrived_lo), MAX(arrived_hi) FROM block"
            " WHERE day = ?",
            (day,),
        ).fetchone()
        young = self._db.execute(
            "SELECT n, rows FROM block WHERE day = ? AND NOT tidy ORDER BY n", (day,)
        ).fetchall()
        return Day(rows, oldest, newest, [n for n, _ in young], sum(r for _, r in young))

    def _tidy(self, day: int, known: Day) -> None:
        parts = [
            unpacked(
                *self._db.execute("SELECT rows, tidy, body FROM block WHERE n = ?", (n,)).fetchone()
            )
            for n in known.young
        ]
        samples = Columns.joined(parts).by_point()
        self._db.executemany("DELETE FROM block WHERE n = ?", [(n,) for n in known.young])
        for begin in range(0, len(samples), CHUNK_ROWS):
            self._insert(day, samples.take(slice(begin, begin + CHUNK_ROWS)), is_tidy=True)
        known.young, known.young_rows = [], 0

    def _insert(self, day: int, samples: Columns, *, is_tidy: bool) -> int:
        arrays = samples.arrays()
        ends = [
            int(end)
            for column in (samples.at, samples.point, samples.arrived_at)
            for end in (column.min(), column.max())
        ]
        body = (squeeze if is_tidy else join)(arrays)
        cursor = self._db.execute(_INSERT, (day, is_tidy, *ends, len(samples), body))
        return int(cursor.lastrowid or 0)
