"""The historian: every sample by point and time; its one writer, and its readers.

One writer, in the intake process; readers open the files read-only, so that only one connection
ever writes or checkpoints them. The writer keeps the journal sequence it has reached in the same
transaction as the samples: after a crash the rest is derived again from the journal, nothing twice.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock

from server.engine.effects import Accepted, QualityMarked
from server.engine.events import Imported, RegistryChanged
from server.history.figures import Bucket
from server.history.gathering import Gathering
from server.history.hot import Hot
from server.history.keeping import Keeping
from server.history.marks import Mark
from server.history.names import Names
from server.history.properties import Properties
from server.history.reader import LastValue, Reader
from server.history.schema import open_writing
from server.history.sealing import Sealer
from telemetry.errors import StorageError
from telemetry.instant import DAY_MS, MINUTE_MS

__all__ = ["Also", "Bucket", "Historian", "LastValue", "Mark", "Part", "Reader"]

Part = Accepted | Imported | RegistryChanged | QualityMarked
"""What the historian takes in."""

Also = Callable[[sqlite3.Connection, Sequence[Part]], None]
"""What else is written in the transaction of a write: all of it is there afterwards, or none."""

Always = Callable[[sqlite3.Connection, Sequence[Part], int], None]
"""The same for every write, told how far the journal will have been followed."""

UPKEEP_EVERY_MS = MINUTE_MS
UPKEEP_EVERY_ROWS = 500_000
"""How often, by the arrival of samples, it is looked whether anything is to be sealed."""


class Historian:
    """The one writer. Days that are over are sealed in a thread of its own."""

    def __init__(self, path: Path, *, keeping: Keeping | None = None) -> None:
        self._path = path
        self._keeping = keeping or Keeping()
        self._db = open_writing(path)
        self._lock = RLock()
        """Held by whoever uses the writing connection."""
        self._sealer = Sealer(path, self._db, keeping=self._keeping, lock=self._lock)
        self._always: Always | None = None
        self._now = 0
        self._looked_at = -UPKEEP_EVERY_MS
        self._unlooked = 0
        self._dropped_on = -1
        self._is_closing = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="historian")
        self._upkeep: Future[None] | None = None
        try:
            self._names = Names(self._db)
            self._hot = Hot(self._db)
            self._gathering = Gathering(self._db, self._names)
            self._properties = Properties(self._db)
            self._sealer.remove_orphans()
        except (sqlite3.Error, OSError) as e:
            raise StorageError(f"{path}: cannot be opened as the historian: {e}") from e

    def follow(self, journal: str, *, last_seq: int) -> None:
        """Follow this journal, which has `last_seq` events, from where it was left.

        Under a new journal, or an older copy of the same one, sequences mean other events: what
        they bring is written again and found to be there, or is new. Imports come again whole.
        """
        with self._transaction():
            known = self._meta("journal")
            is_new = known is not None and known != journal
            through = 0 if is_new else min(self.through, last_seq)
            if is_new:
                self._names.void_imports()
                self._db.execute("UPDATE file SET stale = 1 WHERE name IS NOT NULL")
            self._db.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)",
                [("journal", journal), ("through", through)],
            )

    @property
    def through(self) -> int:
        """Return the journal sequence up to which samples have been written."""
        with self._lock:
            return int(self._meta("through") or 0)

    def write(self, parts: Sequence[Part], *, through: int, also: Also | None = None) -> None:
        """Write samples and how far the journal has been followed, in one transaction.

        `also` is called inside it, on the one writing connection, after the samples; it neither
        commits nor keeps the connection. Raises `StorageError`, with nothing of it written.
        """
        with self._transaction():
            samples = [p for p in parts if isinstance(p, Accepted | Imported)]
            for part in parts:
                if isinstance(part, RegistryChanged):
                    self._learn(part)
                elif isinstance(part, QualityMarked):
                    self._add_mark(_mark_of(part))
            for day, columns in self._gathering.days(samples):
                self._hot.add(day, columns)
                self._unlooked += len(columns)
            self._names.save()
            if also is not None:
                also(self._db, parts)
            if self._always is not None:
                self._always(self._db, parts, through)
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('through', ?)", (through,))
        if parts:
            self._now = max(self._now, parts[-1].at)
            self._look_after()

    def accompany(self, always: Always) -> None:
        """From now on call this in the transaction of every write, as `also` of `write`."""
        self._always = always

    def mark(self, marks: Iterable[Mark]) -> None:
        """Add judgements on samples; whoever computes obeys them from now on.

        The roll-ups that they touch are computed anew. Those of days whose samples are no longer
        kept stay as they are. Raises `StorageError`, with no mark added.
        """
        with self._transaction():
            for m in marks:
                self._add_mark(m)
        self._look_after(at_once=True)

    def _add_mark(self, m: Mark) -> None:
        """Add a mark, unless it is there: a journal that is followed again tells it again."""
        point = self._names.point(m.point)
        row = (point, m.start, m.end, m.quality, m.reason, m.author, m.at)
        known = self._db.execute(
            "SELECT 1 FROM mark WHERE (point, start, end, reason, author, at)"
            " = (?1, ?2, ?3, ?5, ?6, ?7) AND quality IS ?4",
            row,
        ).fetchone()
        if known is None:
            self._db.execute(
                "INSERT INTO mark (point, start, end, quality, reason, author, at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
            self._compute_again(point, m.start // DAY_MS, (m.end - 1) // DAY_MS)

    def settle(self) -> None:
        """Return when everything that is due has been sealed, computed anew or dropped."""
        for _ in range(2):  # what is at work now may have begun before the last write
            self._look_after(at_once=True)
            if self._upkeep is not None:
                self._upkeep.result()

    def close(self) -> None:
        """Close the file; a sealing that goes on is finished first."""
        self._is_closing = True
        self._thread.shutdown(wait=True)
        self._sealer.let_go()
        with suppress(sqlite3.Error):  # what is free already is given back when there is time
            self._db.executescript("PRAGMA incremental_vacuum")
        self._db.close()

    def _learn(self, changed: RegistryChanged) -> None:
        new = self._properties.learn(changed.registry, self._names.point, changed.at)
        self._properties.save(self._db)
        for point in new:
            self._compute_again(point, -(2**31), 2**31)

    def _compute_again(self, point: int, first: int, last: int) -> None:
        """Ask for the roll-ups of a point in every day that is, or is just being, sealed."""
        self._db.execute(
            "INSERT INTO again (day, point) SELECT day, ?1 FROM"
            " (SELECT day FROM file WHERE day BETWEEN ?2 AND ?3 AND name IS NOT NULL"
            " UNION SELECT day FROM block WHERE day BETWEEN ?2 AND ?3)",
            (point, first, last),
        )

    def _look_after(self, *, at_once: bool = False) -> None:
        """Start the upkeep in its thread, unless it is at work or was looked at lately."""
        if self._upkeep is not None and self._upkeep.done():
            self._upkeep.result()  # a mistake of ours in the thread is raised here
            self._upkeep = None
        is_time = self._now - self._looked_at >= UPKEEP_EVERY_MS
        is_time |= self._unlooked >= UPKEEP_EVERY_ROWS
        if self._upkeep is None and (is_time or at_once):
            self._looked_at, self._unlooked = self._now, 0
            self._upkeep = self._thread.submit(self._keep_up, self._now)

    def _keep_up(self, now: int) -> None:
        due = self._due(now)
        for day in due:
            if self._is_closing:
                return
            with self._lock:
                self._hot.hold(day)
            try:
                self._sealer.seal(day, now)
            finally:
                with self._lock:
                    self._hot.release(day)
        self._sealer.compute_again(now)
        if due or now // DAY_MS != self._dropped_on:
            self._dropped_on = now // DAY_MS
            self._sealer.drop(now)

    def _due(self, now: int) -> list[int]:
        with self._lock:
            is_crowded = self._hot.rows > self._keeping.hot_rows_max
            due = self._hot.due(self._keeping, now, is_crowded=is_crowded)
            stale = self._db.execute("SELECT day FROM file WHERE stale AND name IS NOT NULL")
            due |= {day for (day,) in stale}
        return sorted(d for d in due if not self._sealer.is_left_alone(d, now))

    def _meta(self, key: str) -> str | int | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Everything or nothing, durable at the end; our error with the file's name otherwise."""
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
            except sqlite3.Error as e:
                raise StorageError(f"{self._path}: cannot be written: {e}") from e
            finally:
                if self._db.in_transaction:
                    self._undo()

    def _undo(self) -> None:
        self._db.execute("ROLLBACK")
        self._names.reload()
        self._hot.reload()
        self._gathering.reload()
        self._properties = Properties(self._db)


def _mark_of(marked: QualityMarked) -> Mark:
    return Mark(
        point=marked.point,
        start=marked.begin,
        end=marked.end,
        quality=marked.quality,
        reason=marked.reason,
        author=marked.author,
        at=marked.at,
    )
