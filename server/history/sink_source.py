"""The reading end of what InfluxDB has yet to be given: what comes next, and how far behind it is.

What is queued goes first, so that live values are seen soon after a long silence; what is owed is
read back from the historian in the gaps, in time order.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from server.history.delivery import LINES_MAX
from server.history.line_protocol import Row
from server.history.sink_entry import unpack
from server.history.sink_ledger import AtWork, Done
from telemetry.errors import StorageError
from telemetry.instant import Instant

ENTRIES_MAX = 500
"""Entries that are read for one batch: small ones are sent together."""

PARTS_MAX = 4
"""Stretches of the historian that are read for one batch, should they hold next to nothing owed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Rows to deliver, and what will be done when they are."""

    rows: list[Row]
    done: Done
    at_work: AtWork | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How many samples are not delivered yet, at least, and since when the oldest of them waits."""

    rows: int
    oldest: Instant | None
    is_reading_back: bool


class Source:
    """Reads the historian's file while its writer goes on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._db = sqlite3.connect(
                f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA query_only=1")
            self._db.execute("PRAGMA busy_timeout=5000")
        except sqlite3.Error as e:
            raise StorageError(f"{path}: cannot be read as the historian: {e}") from e
        self._reading: _Reading | None = None

    def next(self, done: Done, at_work: AtWork | None) -> Work | None:
        """Return what is to be delivered now: at most as many rows as one request may have."""
        try:
            return self._queued(done, at_work) or self._owed(done, at_work)
        except sqlite3.Error as e:
            self._close_reading()
            raise StorageError(f"{self._path}: cannot be read for the sink: {e}") from e
        except StorageError:
            self._close_reading()  # it cannot go on, and must not look finished
            raise

    def lag(self, done: Done) -> Lag:
        """Return how far behind the server is."""
        rows, oldest = self._db.execute(
            "SELECT COALESCE(SUM(n), 0), MIN(arrived_at) FROM sink_queue WHERE seq > ?",
            (done.queue,),
        ).fetchone()
        owed, owed_since, owed_rows = self._db.execute(
            "SELECT COALESCE(SUM(CASE WHEN seq = ? THEN n - MAX(?, 0) ELSE n END), 0),"
            " MIN(NULLIF(CASE WHEN seq = ? THEN ? ELSE arrived_from END, 0)),"
            " COUNT(*)"
            " FROM sink_owed WHERE seq > ? OR (seq = ? AND n > ?)",
            (done.owed, done.owed_n, done.owed, done.owed_to, done.owed, done.owed, done.owed_n),
        ).fetchone()
        waiting = [Instant(at) for at in (oldest, owed_since) if at is not None]
        return Lag(
            rows=rows + owed, oldest=min(waiting, default=None), is_reading_back=owed_rows > 0
        )

    def close(self) -> None:
        """Close the file."""
        self._close_reading()
        self._db.close()

    def _queued(self, done: Done, at_work: AtWork | None) -> Work | None:
        rows: list[Row] = []
        through = done.queue
        for seq, n, payload in self._db.execute(
            "SELECT seq, n, payload FROM sink_queue WHERE seq > ? ORDER BY seq LIMIT ?",
            (done.queue, ENTRIES_MAX),
        ).fetchall():
            if rows and len(rows) + n > LINES_MAX:
                break
            rows += unpack(payload)
            through = seq
        if not rows:
            return None
        return Work(rows=rows, done=replace(done, queue=through), at_work=at_work)

    def _owed(self, done: Done, at_work: AtWork | None) -> Work | None:
        begun = self._begun(done, at_work)
        if begun is None:
            self._close_reading()
            return None
        if self._reading is None or self._reading.begun != begun:
            self._close_reading()
            self._reading = _Reading(self._path, begun)
        rows, at = self._reading.next()
        if at is None:
            finished = replace(done, owed=begun.owed, owed_n=begun.n, owed_to=begun.arrived_to)
            return Work(rows=rows, done=finished, at_work=None)
        self._reading.begun = replace(begun, at=at)
        return Work(rows=rows, done=done, at_work=self._reading.begun)

    def _close_reading(self) -> None:
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    def _begun(self, done: Done, at_work: AtWork | None) -> AtWork | None:
        """Return the row that is being read back, or the next one at its beginning."""
        if (
            at_work is not None
            and self._db.execute(
                "SELECT 1 FROM sink_owed WHERE seq = ?", (at_work.owed,)
            ).fetchone()
        ):
            return at_work
        row = self._db.execute(
            "SELECT seq, n, arrived_from, arrived_to, at_from, at_to FROM sink_owed"
            " WHERE seq > ? OR (seq = ? AND n > ?) ORDER BY seq LIMIT 1",
            (done.owed, done.owed, done.owed_n),
        ).fetchone()
        if row is None:
            return None
        seq, n, arrived_from, arrived_to, at_from, at_to = row
        return AtWork(
            owed=seq,
            n=n,
            arrived_from=max(arrived_from, done.owed_to) if seq == done.owed else arrived_from,
            arrived_to=arrived_to,
            at=at_from,
            at_to=at_to,
        )


class _Reading:
    """A row of what is owed while it is read back, in time order."""

    def __init__(self, path: Path, begun: AtWork) -> None:
        from server.history.reader import Reader  # noqa: PLC0415  numpy, only while anything is owed

        self.begun = begun
        self._reader = Reader(path)
        self._names: dict[int, str] = {}
        self._parts = self._reader.scan(Instant(begun.at), Instant(begun.at_to + 1), marked=False)
        self._rows: Iterator[Row] = iter(())

    def next(self) -> tuple[list[Row], int | None]:
        """Return the next rows, and up to which instant all are read; None at the end."""
        rows = list(islice(self._rows, LINES_MAX))
        at = self.begun.at
        for _ in range(PARTS_MAX):
            if len(rows) == LINES_MAX:
                return rows, rows[-1][1]
            part = next(self._parts, None)
            if part is None:
                return rows, None
            at = int(part.at[-1])
            self._rows = self._owed_of(part)
            rows += islice(self._rows, LINES_MAX - len(rows))
        return rows, rows[-1][1] if len(rows) == LINES_MAX else at

    def close(self) -> None:
        """Close the historian."""
        self._reader.close()

    def _owed_of(self, part: Any) -> Iterator[Row]:
        arrived = part.arrived_at
        owed = (arrived >= self.begun.arrived_from) & (arrived <= self.begun.arrived_to)
        found = part if owed.all() else part.take(owed)
        for k in range(0, len(found), LINES_MAX):
            some = found.take(slice(k, k + LINES_MAX))
            points = some.point.tolist()
            if not self._names.keys() >= set(points):
                self._names = self._reader.points()
            names = [self._names[p] for p in points]
            values = some.value.tolist()  # NaN where a reading gave none
            yield from zip(names, some.at.tolist(), values, some.quality.tolist(), strict=True)
