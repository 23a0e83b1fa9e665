"""The historian: samples by point and time, in one SQLite file, and its reader.

One writer, in the intake process; readers open the file read-only, so that only one connection
ever writes or checkpoints it. The writer keeps the journal sequence it has reached in the same
transaction as the samples: after a crash the rest is derived again from the journal, nothing twice.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from server.engine.effects import Accepted
from server.engine.events import Imported
from telemetry.errors import StorageError
from telemetry.instant import Instant

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS point (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS source (
  number INTEGER PRIMARY KEY, gateway TEXT NOT NULL, epoch TEXT NOT NULL, UNIQUE (gateway, epoch)
);
CREATE TABLE IF NOT EXISTS sample (
  point INTEGER NOT NULL, at INTEGER NOT NULL, source INTEGER NOT NULL, offset INTEGER NOT NULL,
  value REAL, quality INTEGER NOT NULL, reason TEXT NOT NULL, time_quality TEXT NOT NULL,
  arrived_at INTEGER NOT NULL,
  PRIMARY KEY (point, at, source, offset)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS last (
  point INTEGER PRIMARY KEY, at INTEGER NOT NULL, value REAL, quality INTEGER NOT NULL,
  reason TEXT NOT NULL, arrived_at INTEGER NOT NULL
) WITHOUT ROWID;
"""

_INSERT = "INSERT OR IGNORE INTO sample VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
"""What is there already stays: a sample that comes again must not stop the intake."""

_UPSERT_LAST = """
INSERT INTO last VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (point) DO UPDATE SET
  at = excluded.at, value = excluded.value, quality = excluded.quality, reason = excluded.reason,
  arrived_at = excluded.arrived_at
WHERE excluded.at >= last.at OR excluded.arrived_at >= last.arrived_at + 15000
"""
"""A live sample older than the last is the newest all the same when nothing else came for 15 s:
then the gateway's clock was set back."""

Part = Accepted | Imported
"""What the historian takes in."""

Also = Callable[[sqlite3.Connection, Sequence[Part]], None]
"""What else is written in the transaction of a write: all of it is there afterwards, or none."""

IMPORT_SOURCE = "import"
"""The gateway name under which imported history is kept, with the recording's name as its epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastValue:
    """The newest sample of a point."""

    at: Instant
    value: float | None
    quality: int
    reason: str
    arrived_at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """The usable samples of one stretch of time: lowest, mean, highest, how many."""

    at: Instant
    low: float
    mean: float
    high: float
    count: int


class Historian:
    """The one writer."""

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
            self._points = dict(self._db.execute("SELECT id, number FROM point"))
            self._sources = {
                (gateway, epoch): number
                for number, gateway, epoch in self._db.execute("SELECT * FROM source")
            }
        except sqlite3.Error as e:
            raise StorageError(f"{path}: cannot be opened as the historian: {e}") from e
        self._path = path

    def follow(self, journal: str, *, last_seq: int) -> None:
        """Follow this journal, which has `last_seq` events, from where it was left.

        Under a new journal, or an older copy of the same one, sequences mean other events: what
        they bring is written again and found to be there, or is new. Imports come again whole.
        """
        known = self._db.execute("SELECT value FROM meta WHERE key = 'journal'").fetchone()
        is_new = known is not None and known[0] != journal
        through = 0 if is_new else min(self.through, last_seq)
        try:
            self._db.execute("BEGIN IMMEDIATE")
            if is_new:
                self._db.execute(
                    "DELETE FROM sample WHERE source IN"
                    " (SELECT number FROM source WHERE gateway = ?)",
                    (IMPORT_SOURCE,),
                )
            self._db.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)",
                [("journal", journal), ("through", through)],
            )
            self._db.execute("COMMIT")
        except sqlite3.Error as e:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise StorageError(f"{self._path}: cannot be written: {e}") from e

    @property
    def through(self) -> int:
        """Return the journal sequence up to which samples have been written."""
        row = self._db.execute("SELECT value FROM meta WHERE key = 'through'").fetchone()
        return int(row[0]) if row else 0

    def write(self, parts: Sequence[Part], *, through: int, also: Also | None = None) -> None:
        """Write samples and how far the journal has been followed, in one transaction.

        `also` is called inside it, on the one writing connection, after the samples; it neither
        commits nor keeps the connection. Raises `StorageError`, with nothing of it written.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for part in parts:
                if isinstance(part, Imported):
                    self._write_imported(part)
                else:
                    self._write_accepted(part)
            if also is not None:
                also(self._db, parts)
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('through', ?)", (through,))
            self._db.execute("COMMIT")
        except sqlite3.Error as e:
            raise StorageError(f"{self._path}: cannot be written: {e}") from e
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _write_accepted(self, part: Accepted) -> None:
        source = self._source(part.gateway, str(part.epoch))
        rows = [
            (
                self._point(s.point),
                s.at,
                source,
                part.first_offset + k,
                s.value,
                int(s.quality),
                s.reason.value,
                s.time_quality.value,
                part.at,
            )
            for k, s in enumerate(part.samples)
        ]
        self._db.executemany(_INSERT, rows)
        if not part.is_historical:
            self._db.executemany(_UPSERT_LAST, [(r[0], r[1], r[4], r[5], r[6], r[8]) for r in rows])

    def _write_imported(self, part: Imported) -> None:
        source = self._source(IMPORT_SOURCE, part.source)
        taken = self._db.execute(
            "SELECT COALESCE(MAX(offset) + 1, 0) FROM sample WHERE source = ?", (source,)
        ).fetchone()[0]
        self._db.executemany(
            _INSERT,
            (
                (self._point(point), at, source, taken + k, value, quality, "", "", part.at)
                for k, (point, at, value, quality) in enumerate(part.rows)
            ),
        )

    def _point(self, point: str) -> int:
        number = self._points.get(point)
        if number is None:
            cursor = self._db.execute("INSERT INTO point (id) VALUES (?)", (point,))
            number = self._points[point] = int(cursor.lastrowid or 0)
        return number

    def _source(self, gateway: str, epoch: str) -> int:
        number = self._sources.get((gateway, epoch))
        if number is None:
            cursor = self._db.execute(
                "INSERT INTO source (gateway, epoch) VALUES (?, ?)", (gateway, epoch)
            )
            number = self._sources[gateway, epoch] = int(cursor.lastrowid or 0)
        return number


class Reader:
    """Reads the historian's file from any process while the writer goes on."""

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(
                f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA query_only=1")
            self._db.execute("PRAGMA busy_timeout=5000")
        except sqlite3.Error as e:
            raise StorageError(f"{path}: cannot be read as the historian: {e}") from e

    def last_all(self) -> dict[str, LastValue]:
        """Return the newest sample of every point that has said anything live."""
        return {
            point: LastValue(
                at=Instant(at),
                value=value,
                quality=quality,
                reason=reason,
                arrived_at=Instant(arrived),
            )
            for point, at, value, quality, reason, arrived in self._db.execute(
                "SELECT id, at, value, quality, reason, arrived_at"
                " FROM last JOIN point ON point.number = last.point ORDER BY id"
            )
        }

    def newest_arrival(self) -> Instant | None:
        """Return when the newest live sample reached the server."""
        row = self._db.execute("SELECT MAX(arrived_at) FROM last").fetchone()
        return None if row[0] is None else Instant(row[0])

    def series(self, point: str, start: Instant, end: Instant, buckets: int) -> list[Bucket]:
        """Return the point's past in [start, end) as at most `buckets` stretches of equal length.

        Stretches without a usable sample are absent: gaps are never bridged.
        """
        width = max(1, -(-(end - start) // max(1, buckets)))
        rows = self._db.execute(
            "SELECT (at - ?) / ? AS slot, MIN(value), AVG(value), MAX(value), COUNT(*) FROM sample"
            " WHERE point = (SELECT number FROM point WHERE id = ?) AND at >= ? AND at < ?"
            " AND value IS NOT NULL GROUP BY slot ORDER BY slot",
            (start, width, point, start, end),
        )
        return [
            Bucket(at=Instant(start + slot * width), low=low, mean=mean, high=high, count=count)
            for slot, low, mean, high, count in rows
        ]

    def held(self, gateway: str, epoch: int, *, below: int) -> tuple[int, int]:
        """Return how many samples of a gateway's log are stored, and how many offsets they have.

        Both below an offset. The first minus the second are duplicates; `below` minus the second
        are missing.
        """
        row = self._db.execute(
            "SELECT COUNT(*), COUNT(DISTINCT offset) FROM sample WHERE offset < ? AND source ="
            " (SELECT number FROM source WHERE gateway = ? AND epoch = ?)",
            (below, gateway, str(epoch)),
        ).fetchone()
        return int(row[0]), int(row[1])

    def close(self) -> None:
        """Close the file."""
        self._db.close()
