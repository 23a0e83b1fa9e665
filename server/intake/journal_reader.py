"""The journal from its oldest kept event to its newest, for whoever reads and does not write.

It walks the sealed segments, checking each against its hashes, and goes on in the open file. That a
segment is being sealed meanwhile changes nothing: no event is left out and none comes twice.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from server.engine import events
from server.intake.segments import Row, Segment, Snapshot, numbers_in, path_of
from telemetry.errors import StorageError
from telemetry.instant import Instant

SEGMENTS = "journal"
"""The folder of the sealed segments, beside the file of the open one."""

_STEP = 2_000
"""Rows of the open file that are read in one go: no reader holds up its writer for long."""


class JournalReader:
    """Reads a journal by the path of its open file."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise StorageError(f"{path}: expected a journal, found no file")
        self._path = path
        self._folder = path.parent / SEGMENTS
        self.uuid = str(self._value("uuid"))

    def first(self) -> int:
        """Return the sequence of the oldest event that is still kept."""
        snapshot = self.oldest()
        return 1 if snapshot is None else snapshot.seq + 1

    def oldest(self) -> Snapshot | None:
        """Return the snapshot with which what is kept begins; none when that is the very beginning.

        Raises `StorageError`.
        """
        return next(self._oldest_first(), None)

    def read(self, *, after: int = 0) -> Iterator[tuple[int, events.Event]]:
        """Yield the sequence and the event of everything after a sequence that is still kept.

        Raises `StorageError` that names the file and the event where something is not as written.
        """
        for seq, at, kind, body in self.rows(after=after):
            try:
                event = events.from_record(kind, Instant(at), body)
            except (ValueError, TypeError, KeyError) as e:
                raise StorageError(f"{self._path}: event {seq} cannot be read: {e}") from e
            yield seq, event

    def rows(self, *, after: int = 0) -> Iterator[Row]:
        """Yield the events as they are kept."""
        done = after
        previous: str | None = None
        seen = 0
        while True:
            for number in [n for n in numbers_in(self._folder) if n > seen]:
                segment = self._segment(number, previous if number == seen + 1 else None)
                seen, previous = number, None
                if segment is None or segment.header.last <= done:
                    continue
                for row in segment.rows(after=done):
                    done = row[0]
                    yield row
                previous = segment.hash
            step = self._open_rows(done, seen)
            if step is None:
                continue  # another segment has been sealed
            for row in step:
                if row[0] != done + 1 and done > after:
                    raise StorageError(
                        f"{self._path}: expected event {done + 1}, found {row[0]}; events are gone"
                    )
                done = row[0]
                yield row
            if len(step) < _STEP:
                return

    def recorded(self, *, after: tuple[int, int] = (0, -1)) -> Iterator[tuple[int, int, str, str]]:
        """Yield (seq, n, kind, body) of the recorded effects after a cursor, in their order."""
        while True:
            with self._connected() as db:
                rows = db.execute(
                    "SELECT seq, n, kind, body FROM effect WHERE (seq, n) > (?, ?)"
                    " ORDER BY seq, n LIMIT ?",
                    (*after, _STEP),
                ).fetchall()
            yield from rows
            if len(rows) < _STEP:
                return
            after = rows[-1][:2]

    def recorded_through(self) -> int:
        """Return the sequence up to which effects have been derived and recorded."""
        return int(self._value("effects_through") or 0)

    def effects_pruned(self) -> tuple[int, int]:
        """Return the last recorded effect that is kept no more, before all others where none is."""
        value = self._value("effects_pruned")
        seq, n = json.loads(value) if value else (0, -1)
        return int(seq), int(n)

    def _oldest_first(self) -> Iterator[Snapshot]:
        for number in numbers_in(self._folder):
            segment = self._segment(number, None)
            if segment is None:
                continue
            if segment.header.first > 1:
                yield segment.snapshot()
            return
        with self._connected() as db:
            row = db.execute("SELECT seq, at, code, essentials, engine FROM opening").fetchone()
        if row is not None:
            yield opening_of(row)

    def _segment(self, number: int, previous: str | None) -> Segment | None:
        path = path_of(self._folder, number)
        if not path.exists():
            return None
        segment = Segment(path, previous=previous)
        if segment.header.journal != self.uuid or segment.header.number != number:
            raise StorageError(
                f"{path}: expected segment {number} of journal {self.uuid}, found segment"
                f" {segment.header.number} of journal {segment.header.journal}"
            )
        return segment

    def _open_rows(self, done: int, number: int) -> list[Row] | None:
        """Return the next rows of the open file; nothing when a segment beyond `number` is sealed.

        Asked in this order, a segment that is sealed meanwhile cannot take rows from under us.
        """
        with self._connected() as db:
            db.execute("BEGIN")
            sealed = db.execute("SELECT value FROM meta WHERE key = 'sealed'").fetchone()
            is_behind = sealed is not None and int(sealed[0]) > number
            if is_behind and any(n > number for n in numbers_in(self._folder)):
                return None
            rows: list[Row] = db.execute(
                "SELECT seq, at, kind, body FROM event WHERE seq > ? ORDER BY seq LIMIT ?",
                (done, _STEP),
            ).fetchall()
            return rows

    def _value(self, key: str) -> str | None:
        with self._connected() as db:
            row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as db:
                db.execute("PRAGMA busy_timeout=5000")
                yield db
        except sqlite3.Error as e:
            raise StorageError(f"{self._path}: cannot be read as a journal: {e}") from e


def opening_of(row: tuple[int, int, str, bytes, bytes]) -> Snapshot:
    """Return the snapshot that the open file begins with."""
    seq, at, code, essentials, engine = row
    return Snapshot(seq=seq, at=Instant(at), code=code, essentials=essentials, engine=engine)
