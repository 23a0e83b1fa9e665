"""The journal: everything that reached the engine, in order, and the recorded effects beside it.

Append-only. An event is on disk (WAL, FULL) before the engine sees it; recorded effects follow in a
second transaction, with how far they have been derived. What lies between the two after a crash is
derived again, so an effect is never recorded twice and never lost.

This file is the open segment. Once it is large or old enough its events are sealed into a file of
their own (`segments`) and leave it in one transaction, which also puts the snapshot with which the
next segment begins. Recorded effects stay here, by a rule of their own.
"""

import json
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from server.engine import effects, events
from server.intake.journal_reader import SEGMENTS, JournalReader, opening_of
from server.intake.segments import Header, Row, Segment, Snapshot, numbers_in, path_of, seal
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
CREATE TABLE IF NOT EXISTS opening (
  id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL, at INTEGER NOT NULL,
  code TEXT NOT NULL, essentials BLOB NOT NULL, engine BLOB NOT NULL
);
"""

_SET = "INSERT OR REPLACE INTO meta VALUES (?, ?)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """The n-th recorded effect of the seq-th event."""

    seq: int
    n: int
    effect: effects.Recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A segment that has been written and whose events may leave the open file."""

    header: Header
    hash: str
    counts: dict[str, int]


class Journal:
    """The one writer of a journal."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = path.parent / SEGMENTS
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
            row = row or self._db.execute("SELECT seq, at FROM opening").fetchone() or (0, 0)
            self.open_bytes = self._db.execute(
                "SELECT COALESCE(SUM(LENGTH(body) + 32), 0) FROM event"
            ).fetchone()[0]
            self._open_since = self._oldest_open()
            self._drop_half_sealed(row[0])
        except sqlite3.Error as e:
            raise StorageError(f"{path}: cannot be opened as a journal: {e}") from e
        except OSError as e:
            raise StorageError(f"{self._folder}: cannot be kept: {e}") from e
        self.last_seq: int = row[0]
        self.last_at = Instant(row[1])
        self._through = self._recorded_through = int(self._meta("effects_through") or 0)

    @property
    def effects_through(self) -> int:
        """Return the sequence up to which recorded effects have been derived."""
        return self._through

    @property
    def open_since(self) -> Instant | None:
        """Return the instant of the oldest event of the open segment, if it has any."""
        return self._open_since

    def append(self, batch: Sequence[events.Event]) -> int:
        """Commit events and return the sequence of the first one.

        How far effects were derived before is committed with them. Raises `StorageError`, with none
        of them written.
        """
        first = self.last_seq + 1
        rows = []
        size = 0
        for seq, event in enumerate(batch, first):
            kind, body = events.to_record(event)
            size += len(body) + 32
            rows.append((seq, event.at, kind, body))
        with _Transaction(self._db, self._path):
            self._db.executemany("INSERT INTO event VALUES (?, ?, ?, ?)", rows)
            self._write_through(self._through)
        self._recorded_through = self._through
        self.last_seq += len(rows)
        self.open_bytes += size
        if batch:
            self.last_at = batch[-1].at
            self._open_since = self._open_since or batch[0].at
        return first

    def record(self, derived: Sequence[Derived], *, through: int) -> None:
        """Commit recorded effects; how far they were derived, at the latest with the next events.

        After a crash in between, events without a recorded effect are applied again and have none.
        """
        if derived:
            rows = [(d.seq, d.n, d.effect.at, *effects.to_record(d.effect)) for d in derived]
            with _Transaction(self._db, self._path):
                self._db.executemany("INSERT INTO effect VALUES (?, ?, ?, ?, ?)", rows)
                self._write_through(through)
            self._recorded_through = through
        self._through = through

    def settle(self) -> None:
        """Commit how far effects have been derived."""
        if self._recorded_through != self._through:
            with _Transaction(self._db, self._path):
                self._write_through(self._through)
            self._recorded_through = self._through

    def read(self, *, after: int) -> Iterator[tuple[int, events.Event]]:
        """Yield every event after a sequence, in order, sealed ones first."""
        return JournalReader(self._path).read(after=after)

    def snapshots(self) -> Iterator[Snapshot]:
        """Yield the snapshots that are kept, newest first; that of the very beginning is empty."""
        row = self._db.execute("SELECT seq, at, code, essentials, engine FROM opening").fetchone()
        if row is not None:
            yield opening_of(row)
        for number in reversed(numbers_in(self._folder)):
            yield Segment(path_of(self._folder, number), previous=None).snapshot()

    def has(self, kind: str) -> bool:
        """Say whether an event of that kind was ever written."""
        if self._sealed_counts().get(kind, 0):
            return True
        row = self._db.execute("SELECT 1 FROM event WHERE kind = ? LIMIT 1", (kind,)).fetchone()
        return row is not None

    def count(self, kind: str) -> int:
        """Return how many events of that kind were ever written; reads the whole open file."""
        row = self._db.execute("SELECT COUNT(*) FROM event WHERE kind = ?", (kind,)).fetchone()
        return int(row[0]) + self._sealed_counts().get(kind, 0)

    def numbered(self) -> tuple[int, int]:
        """Return the highest numbers of alarms and of incidents in the recorded effects."""
        highest = []
        for kind, field in (("AlarmRaised", "alarm"), ("IncidentOpened", "incident")):
            row = self._db.execute(
                "SELECT MAX(CAST(SUBSTR(json_extract(body, ?), ?) AS INTEGER)) FROM effect"
                " WHERE kind = ?",
                (f"$.{field}", 3 if field == "alarm" else 5, kind),
            ).fetchone()
            highest.append(int(row[0] or 0))
        return highest[0], highest[1]

    def seal(self, through: int) -> Sealed:
        """Write the open segment's events up to a sequence to a file, with a connection of its own.

        Nothing leaves the open file before `sealed`. Raises `StorageError`.
        """
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as db:
                return self._seal(db, through)
        except (sqlite3.Error, OSError) as e:
            raise StorageError(f"{self._path}: cannot be sealed: {e}") from e

    def _seal(self, db: sqlite3.Connection, through: int) -> Sealed:
        db.execute("BEGIN")
        first, begins, last, ends = db.execute(
            "SELECT MIN(seq), MIN(at), MAX(seq), MAX(at) FROM event WHERE seq <= ?", (through,)
        ).fetchone()
        counts = dict(
            db.execute("SELECT kind, COUNT(*) FROM event WHERE seq <= ? GROUP BY kind", (through,))
        )
        row = db.execute("SELECT seq, at, code, essentials, engine FROM opening").fetchone()
        nothing = Snapshot(seq=0, at=Instant(0), code="", essentials=b"", engine=b"")
        header = Header(
            journal=self.uuid,
            number=int(self._value(db, "sealed") or 0) + 1,
            first=first,
            last=last,
            begins=Instant(begins),
            ends=Instant(ends),
            previous=self._value(db, "sealed_hash") or "",
        )
        rows: Iterator[Row] = db.execute(
            "SELECT seq, at, kind, body FROM event WHERE seq <= ? ORDER BY seq", (through,)
        )
        snapshot = nothing if row is None else opening_of(row)
        return Sealed(header=header, hash=seal(self._folder, header, snapshot, rows), counts=counts)

    def sealed(self, done: Sealed, snapshot: Snapshot) -> None:
        """Let the sealed events leave the open file, which begins with `snapshot` from now on."""
        counts = self._sealed_counts()
        for kind, count in done.counts.items():
            counts[kind] = counts.get(kind, 0) + count
        with _Transaction(self._db, self._path):
            self._db.execute("DELETE FROM event WHERE seq <= ?", (done.header.last,))
            self._db.execute(
                "INSERT OR REPLACE INTO opening VALUES (1, ?, ?, ?, ?, ?)",
                (
                    snapshot.seq,
                    snapshot.at,
                    snapshot.code,
                    snapshot.essentials,
                    snapshot.engine,
                ),
            )
            self._db.executemany(
                _SET,
                [
                    ("sealed", str(done.header.number)),
                    ("sealed_hash", done.hash),
                    ("sealed_counts", json.dumps(counts)),
                ],
            )
        self.open_bytes = self._db.execute(
            "SELECT COALESCE(SUM(LENGTH(body) + 32), 0) FROM event"
        ).fetchone()[0]
        self._open_since = self._oldest_open()

    def prune(self, *, before: Instant, bytes_max: int, through: int) -> list[Path]:
        """Delete the oldest segments that are too old or too much, and return them.

        Only what lies at or before `through` goes. The next one begins with a snapshot, so nothing
        depends on those before it.
        """
        kept = [path_of(self._folder, n) for n in numbers_in(self._folder)]
        gone = []
        try:
            size = sum(path.stat().st_size for path in kept)
            for path in kept:
                header = Segment(path, previous=None).header
                is_too_much = header.ends < before or size > bytes_max
                if header.last > through or not is_too_much:
                    break
                size -= path.stat().st_size
                path.unlink()
                gone.append(path)
        except OSError as e:
            raise StorageError(f"{self._folder}: cannot be pruned: {e}") from e
        return gone

    def prune_effects(self, *, before: Instant) -> int:
        """Delete the recorded effects of before an instant, never the newest; return how many."""
        with _Transaction(self._db, self._path):
            row = self._db.execute(
                "SELECT seq, n FROM effect WHERE at < ? AND (seq, n) <"
                " (SELECT seq, n FROM effect ORDER BY seq DESC, n DESC LIMIT 1)"
                " ORDER BY seq DESC, n DESC LIMIT 1",
                (before,),
            ).fetchone()
            if row is None:
                return 0
            deleted = self._db.execute("DELETE FROM effect WHERE (seq, n) <= (?, ?)", row).rowcount
            self._db.execute(_SET, ("effects_pruned", json.dumps(row)))
        return deleted

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _drop_half_sealed(self, last_seq: int) -> None:
        """Forget segments whose events are still in the open file: a crash came in between.

        One whose events are not is of another journal, or this file is an older copy: that one is
        put aside.
        """
        done = int(self._meta("sealed") or 0)
        if not self._folder.is_dir():
            return
        for path in self._folder.glob("*.new"):
            path.unlink()
        for number in numbers_in(self._folder):
            path = path_of(self._folder, number)
            if number > done:
                header = Segment(path, previous=None).header
                if header.journal == self.uuid and header.last <= last_seq:
                    path.unlink()
                else:
                    path.replace(path.with_suffix(f".{header.journal[:8]}-{header.last}.aside"))

    def _oldest_open(self) -> Instant | None:
        row = self._db.execute("SELECT at FROM event ORDER BY seq LIMIT 1").fetchone()
        return None if row is None else Instant(row[0])

    def _sealed_counts(self) -> dict[str, int]:
        counts: dict[str, int] = json.loads(self._meta("sealed_counts") or "{}")
        return counts

    def _write_through(self, through: int) -> None:
        self._db.execute(_SET, ("effects_through", str(through)))

    def _meta(self, key: str) -> str | None:
        return self._value(self._db, key)

    @staticmethod
    def _value(db: sqlite3.Connection, key: str) -> str | None:
        row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])


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
            if error is None:
                self._db.execute("COMMIT")
        except sqlite3.Error as e:
            error = e
        if error is not None and self._db.in_transaction:  # a full disk may have ended it already
            self._db.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            raise StorageError(f"{self._path}: cannot be written: {error}") from error
