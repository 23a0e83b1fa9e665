"""What InfluxDB has yet to be given, kept in the historian's own file and in its own transactions.

The newest samples wait in `sink_queue` as compressed entries. What would go beyond its bound is not
queued but *owed*: the historian has it anyway, so a row of `sink_owed` only says when it arrived,
and the sink reads it back from there. Only the historian's writer writes these tables; how far the
sink has come stands in a file of the sink's own (`sink_ledger`), and the writer trims by it.
"""

import logging
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from server.engine.effects import Accepted
from server.engine.events import Imported
from server.history.delivery import LINES_MAX
from server.history.historian import Part
from server.history.sink_entry import pack
from server.history.sink_ledger import Done, done_in
from telemetry.instant import Instant

log = logging.getLogger("mainwatch.intake")

OWED_ROWS_MAX = 1_000
"""Rows of what is owed; at the bound the last one grows, and what lies between is sent again."""

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS sink_state (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS sink_queue (
      seq INTEGER PRIMARY KEY, arrived_at INTEGER NOT NULL, n INTEGER NOT NULL,
      bytes INTEGER NOT NULL, payload BLOB NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS sink_owed (
      seq INTEGER PRIMARY KEY, arrived_from INTEGER NOT NULL, arrived_to INTEGER NOT NULL,
      at_from INTEGER NOT NULL, at_to INTEGER NOT NULL, n INTEGER NOT NULL)""",
)
_EVER = 2**62


class SinkQueue:
    """The writing end, called inside the historian's transactions (`Historian.write(also=...)`)."""

    def __init__(self, *, target: str, bytes_max: int, ledger: Path) -> None:
        self._target = target
        self._bytes_max = bytes_max
        self._ledger = ledger
        self._next_seq = 1
        self._bytes = 0
        self._arrived = 0
        self._owing: int | None = None
        """The row of what is owed that grows now; None while there is room in the queue."""
        self._trimmed = Done()

    def open(self, db: sqlite3.Connection, _parts: Sequence[Part], *, now: Instant) -> None:
        """Make the tables, and owe what was written while nobody queued.

        To a target that is new, everything that the historian has is owed.
        """
        for statement in _SCHEMA:
            db.execute(statement)
        known = dict(db.execute("SELECT key, value FROM sink_state"))
        done = done_in(self._ledger)
        self._next_seq = max(int(known.get("next_seq", 1)), done.queue + 1, done.owed + 1)
        self._arrived = int(known.get("arrived", 0))
        through = db.execute("SELECT value FROM meta WHERE key = 'through'").fetchone()
        written = int(through[0]) if through else 0
        if known.get("target") != self._target:
            db.execute("DELETE FROM sink_queue")
            db.execute("DELETE FROM sink_owed")
            self._owe(db, arrived=(0, now), at=(-_EVER, _EVER), n=0)
        elif int(known["through"]) != written:
            self._owe(db, arrived=(self._arrived, now), at=(-_EVER, _EVER), n=0)
        self._bytes = _bytes_in(db)
        self._keep(db, written)

    def enqueue(self, db: sqlite3.Connection, parts: Sequence[Part], through: int) -> None:
        """Queue the samples of some parts, or owe them; note how far the journal is followed."""
        if not parts and self._bytes == 0:
            self._keep(db, through)
            return
        self._trim(db)
        lived = [p for p in parts if isinstance(p, Accepted) and len(p.samples)]
        if lived:
            self._queue_or_owe(db, lived)
        for part in parts:
            if isinstance(part, Imported) and part.rows:
                instants = [row[1] for row in part.rows]
                span = (min(instants), max(instants))
                self._owe(db, arrived=(part.at, part.at), at=span, n=len(instants))
        if parts:
            self._arrived = max(self._arrived, *(p.at for p in parts))
        self._keep(db, through)

    def _queue_or_owe(self, db: sqlite3.Connection, parts: Sequence[Accepted]) -> None:
        points = [p for part in parts for p in part.samples.points]
        at = [a for part in parts for a in part.samples.at]
        arrived = (min(p.at for p in parts), max(p.at for p in parts))
        if self._owing is not None:
            if self._bytes > self._bytes_max // 2:
                self._owing = self._owe(
                    db, arrived=arrived, at=(min(at), max(at)), n=len(at), row=self._owing
                )
                return
            self._owing = None
            log.info("influx: there is room in its queue again")
        values = [v for part in parts for v in part.samples.values]
        qualities = [q for part in parts for q in part.samples.qualities]
        entries = []
        for k in range(0, len(at), LINES_MAX):
            some = slice(k, k + LINES_MAX)
            payload = pack(points[some], at[some], values[some], qualities[some])
            entries.append((arrived[0], len(at[some]), len(payload), payload))
        size = sum(e[2] for e in entries)
        if self._bytes + size > self._bytes_max:
            log.warning(
                "influx: its queue is full with %d bytes: what comes is read back from the"
                " historian later",
                self._bytes,
            )
            self._owing = self._owe(db, arrived=arrived, at=(min(at), max(at)), n=len(at))
            return
        db.executemany(
            "INSERT INTO sink_queue VALUES (?, ?, ?, ?, ?)",
            [(self._next_seq + k, *entry) for k, entry in enumerate(entries)],
        )
        self._next_seq += len(entries)
        self._bytes += size

    def _owe(
        self,
        db: sqlite3.Connection,
        *,
        arrived: tuple[int, int],
        at: tuple[int, int],
        n: int,
        row: int | None = None,
    ) -> int:
        """Add to the row of what is owed, where it is still there, or begin one; return it."""
        count, last = db.execute("SELECT COUNT(*), MAX(seq) FROM sink_owed").fetchone()
        if count >= OWED_ROWS_MAX:
            row = last
        if row is not None:
            grown = db.execute(
                "UPDATE sink_owed SET arrived_from = MIN(arrived_from, ?),"
                " arrived_to = MAX(arrived_to, ?), at_from = MIN(at_from, ?),"
                " at_to = MAX(at_to, ?), n = n + ? WHERE seq = ?",
                (*arrived, *at, n, row),
            )
            if grown.rowcount:
                return row
        db.execute(
            "INSERT INTO sink_owed VALUES (?, ?, ?, ?, ?, ?)", (self._next_seq, *arrived, *at, n)
        )
        self._next_seq += 1
        return self._next_seq - 1

    def _trim(self, db: sqlite3.Connection) -> None:
        done = done_in(self._ledger)
        if done == self._trimmed:
            return
        db.execute("DELETE FROM sink_queue WHERE seq <= ?", (done.queue,))
        db.execute(
            "DELETE FROM sink_owed WHERE seq < ? OR (seq = ? AND n = ?)",
            (done.owed, done.owed, done.owed_n),
        )
        self._bytes = _bytes_in(db)
        self._trimmed = done

    def _keep(self, db: sqlite3.Connection, through: int) -> None:
        db.executemany(
            "INSERT OR REPLACE INTO sink_state VALUES (?, ?)",
            [
                ("target", self._target),
                ("next_seq", self._next_seq),
                ("through", through),
                ("arrived", self._arrived),
            ],
        )


def _bytes_in(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT COALESCE(SUM(bytes), 0) FROM sink_queue").fetchone()[0])
