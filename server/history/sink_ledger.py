"""How far InfluxDB has been given its samples: a file of the sink's own, which nobody else writes.

The sink says here what is done, what the server refused for good, and how it is. The historian's
writer reads what is done to trim its queue; the desk reads how it is to show it.
"""

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from server.history.delivery import Refused
from telemetry.errors import StorageError
from telemetry.instant import Instant

REFUSED_MAX = 10_000
"""Refused lines that are kept, the newest; all of them are counted."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sink_reject (
  number INTEGER PRIMARY KEY, at INTEGER NOT NULL, line TEXT NOT NULL, because TEXT NOT NULL
);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What is delivered: queue entries up to `queue`; of what is owed, the rows before `owed`.

    Of row `owed` itself, its first `owed_n` samples, which arrived up to `owed_to`.
    """

    queue: int = 0
    owed: int = 0
    owed_n: int = -1
    owed_to: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AtWork:
    """The row of what is owed that is being read back, as it was at the beginning; now at `at`."""

    owed: int
    n: int
    arrived_from: int
    arrived_to: int
    at: int
    at_to: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How the sink is: `delivering`, `waiting` for a server that is away, or `stopped`."""

    state: str = "delivering"
    because: str = ""
    since: int = 0
    written_at: int = 0
    delivered: int = 0
    without_value: int = 0
    refused: int = 0
    expired: int = 0


class Ledger:
    """The one writer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
            self.done = _read(self._db, "done", Done) or Done()
            self.at_work = _read(self._db, "at_work", AtWork)
            self.told = _read(self._db, "told", Told) or Told()
        except sqlite3.Error as e:
            raise StorageError(f"{path}: cannot be opened as the sink's ledger: {e}") from e

    def settle(
        self,
        *,
        done: Done,
        at_work: AtWork | None,
        told: Told,
        refused: Iterable[Refused] = (),
    ) -> None:
        """Write what is done, what was refused and how it is, in one transaction."""
        rows = [(told.written_at, r.line.decode(errors="replace"), r.because) for r in refused]
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for key, value in (("done", done), ("at_work", at_work), ("told", told)):
                self._db.execute(
                    "INSERT OR REPLACE INTO state VALUES (?, ?)",
                    (key, json.dumps(None if value is None else asdict(value))),
                )
            self._db.executemany(
                "INSERT INTO sink_reject (at, line, because) VALUES (?, ?, ?)", rows
            )
            if rows:
                self._db.execute(
                    "DELETE FROM sink_reject WHERE number <="
                    " (SELECT MAX(number) FROM sink_reject) - ?",
                    (REFUSED_MAX,),
                )
            self._db.execute("COMMIT")
        except sqlite3.Error as e:
            raise StorageError(f"{self._path}: cannot be written: {e}") from e
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        self.done, self.at_work, self.told = done, at_work, told

    def refused(self) -> list[tuple[Instant, str, str]]:
        """Return the refused lines that are kept: when, the line, why."""
        return list(
            self._db.execute("SELECT at, line, because FROM sink_reject ORDER BY number").fetchall()
        )

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def done_in(path: Path) -> Done:
    """Return what is delivered by the word of the ledger at `path`; nothing where there is none."""
    found = _glance(path, "done", Done)
    return found if found is not None else Done()


def told_in(path: Path) -> Told | None:
    """Return how the sink is by the word of its ledger; None where there is none."""
    found: Told | None = _glance(path, "told", Told)
    return found


def _glance(path: Path, key: str, kind: type[Any]) -> Any:
    """Read one value of a ledger that may be missing, new or busy; never wait for it."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0)) as db:
            return _read(db, key, kind)
    except sqlite3.Error:
        return None


def _read(db: sqlite3.Connection, key: str, kind: type[Any]) -> Any:
    row = db.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
    body = json.loads(row[0]) if row else None
    return kind(**body) if body else None
