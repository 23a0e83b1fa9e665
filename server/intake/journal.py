"""The journal: everything that reached the engine, in order, and the recorded effects beside it.

Append-only. An event is on disk (WAL, FULL) before the engine sees it; recorded effects follow in a
second transaction, with how far they have been derived. What lies between the two after a crash is
derived again, so an effect is never recorded twice and never lost.
"""

import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from server.engine import effects, events
from telemetry.errors import StorageError
from telemetry.instant import Instant

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS event (
  seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS effect (
  seq INTEGER NOT NULL, n INTEGER NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL,
  body TEXT NOT NULL, PRIMARY KEY (seq, n)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """The n-th recorded effect of the seq-th event."""

    seq: int
    n: int
    effect: effects.Recorded


class Journal:
    """The one writer of a journal file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
            self._db.execute(
                "INSERT OR IGNORE INTO meta VALUES ('uuid', ?)", (secrets.token_hex(16),)
            )
            self.uuid = str(self._meta("uuid"))
            row = self._db.execute("SELECT seq, at FROM event ORDER BY seq DESC LIMIT 1").fetchone()
        except sqlite3.Error as e:
            raise StorageError(f"{path}: cannot be opened as a journal: {e}") from e
        self.last_seq: int = row[0] if row else 0
        self.last_at = Instant(row[1] if row else 0)

    @property
    def effects_through(self) -> int:
        """Return the sequence up to which effects have been recorded."""
        return int(self._meta("effects_through") or 0)

    def append(self, batch: Sequence[events.Event]) -> int:
        """Commit events and return the sequence of the first one.

        Raises `StorageError`, with none of them written.
        """
        first = self.last_seq + 1
        rows = []
        for seq, event in enumerate(batch, first):
            kind, body = events.to_record(event)
            rows.append((seq, event.at, kind, body))
        with _Transaction(self._db, self._path):
            self._db.executemany("INSERT INTO event VALUES (?, ?, ?, ?)", rows)
        self.last_seq += len(rows)
        if batch:
            self.last_at = batch[-1].at
        return first

    def record(self, derived: Sequence[Derived], *, through: int) -> None:
        """Commit recorded effects and how far they have been derived."""
        rows = [(d.seq, d.n, d.effect.at, *effects.to_record(d.effect)) for d in derived]
        with _Transaction(self._db, self._path):
            self._db.executemany("INSERT INTO effect VALUES (?, ?, ?, ?, ?)", rows)
            self._db.execute(
                "INSERT OR REPLACE INTO meta VALUES ('effects_through', ?)", (str(through),)
            )

    def read(self, *, after: int) -> Iterator[tuple[int, events.Event]]:
        """Yield every event after a sequence, in order."""
        cursor = self._db.execute(
            "SELECT seq, at, kind, body FROM event WHERE seq > ? ORDER BY seq", (after,)
        )
        for seq, at, kind, body in cursor:
            yield seq, events.from_record(kind, Instant(at), body)

    def has(self, kind: str) -> bool:
        """Say whether an event of that kind was ever written."""
        row = self._db.execute("SELECT 1 FROM event WHERE kind = ? LIMIT 1", (kind,)).fetchone()
        return row is not None

    def count(self, kind: str) -> int:
        """Return how many events of that kind there are; reads the whole journal."""
        row = self._db.execute("SELECT COUNT(*) FROM event WHERE kind = ?", (kind,)).fetchone()
        return int(row[0])

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _meta(self, key: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None


class _Transaction:
    """Everything or nothing, durable at the end; our error with the file's name otherwise."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path

    def __enter__(self) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as e:
            raise StorageError(f"{self._path}: cannot be written: {e}") from e

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        try:
            self._db.execute("COMMIT" if error is None else "ROLLBACK")
        except sqlite3.Error as e:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise StorageError(f"{self._path}: cannot be written: {e}") from e
        if isinstance(error, sqlite3.Error):
            raise StorageError(f"{self._path}: cannot be written: {error}") from error
