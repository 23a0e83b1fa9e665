"""Sealing: days that are over move from the hot part into files, and late samples after them.

Everything slow happens in a thread of its own, which only reads; the one writing connection is
taken at the end, for one transaction that records the new file and deletes what lies in it. Before
that the new file is an orphan that the next start removes; after it the old one is.
"""

import logging
import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

import numpy as np
import pyarrow as pa

from server.history.columns import STRIPE_ROWS, Columns, among
from server.history.day_file import DayFile, DayWriter, Layout
from server.history.days import EVER, Days, Sealed, unpacked
from server.history.keeping import Keeping
from server.history.packing import squeeze
from server.history.properties import Properties
from server.history.rollups import Rollups
from server.history.schema import open_reading
from server.history.words import Words
from telemetry.errors import StorageError
from telemetry.instant import DAY_MS, HOUR_MS

log = logging.getLogger("mainwatch.history")

RETRY_MS = HOUR_MS
"""How long a day that could not be sealed is left alone."""

REPLACED_KEPT = 32
"""Replaced files that stay a while: whoever reads a whole year began before they were replaced, and
must not begin anew each time. Those that are left go at the next start."""

POINTS_PER_CHUNK = 100
"""Points whose roll-ups of a day lie together: few enough that a year of one point is quick."""

_FAILURES = (StorageError, sqlite3.Error, OSError, pa.ArrowException)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What a sealing saw of its day: which blocks, which earlier file, which requests."""

    day: int
    blocks: list[int]
    earlier: Sealed | None
    asked: int
    words: Words


class Sealer:
    """Moves days into files, keeps their roll-ups right, and drops what need not be kept."""

    def __init__(
        self, path: Path, db: sqlite3.Connection, *, keeping: Keeping, lock: RLock
    ) -> None:
        self._path = path
        self._db = db
        self._keeping = keeping
        self._lock = lock
        self._failed_at: dict[int, int] = {}
        self._replaced: deque[Path] = deque()

    def remove_orphans(self) -> None:
        """Remove the files that no transaction ever recorded, or that another one replaced."""
        folder = Days(self._db, self._path).folder
        known = {name for (name,) in self._db.execute("SELECT name FROM file")}
        for path in [*folder.glob("*.parquet"), *folder.glob("*.new")]:
            if path.name not in known:
                path.unlink()

    def is_left_alone(self, day: int, now: int) -> bool:
        """Say whether a day failed so lately that it is not tried again yet."""
        return now < self._failed_at.get(day, -RETRY_MS) + RETRY_MS

    def seal(self, day: int, now: int) -> bool:
        """Move everything that is hot of a day into its file; say whether that was possible.

        What prevents it is logged, and kept for readers to see; the samples stay where they are.
        """
        what = str(np.datetime64(day, "D"))
        try:
            with closing(open_reading(self._path)) as db:
                days = Days(db, self._path)
                with days.moment():
                    self._seal(days, db, day)
        except _FAILURES as e:
            self._failed_at[day] = now
            self._note(what, str(e), now)
            return False
        if self._failed_at.pop(day, None) is not None:
            log.info("history: %s is sealed after all", what)
        return True

    def _seal(self, days: Days, db: sqlite3.Connection, day: int) -> None:
        drawn = Drawn(
            day=day,
            blocks=[
                n for (n,) in db.execute("SELECT n FROM block WHERE day = ? ORDER BY n", (day,))
            ],
            earlier=days.sealed(day),
            asked=db.execute("SELECT COALESCE(MAX(n), 0) FROM again").fetchone()[0],
            words=days.words(),
        )
        if drawn.earlier is not None and drawn.earlier.name is None:
            self._add_to_dropped(days, db, drawn)
            return
        revision = drawn.earlier.revision + 1 if drawn.earlier else 1
        name = f"{np.datetime64(day, 'D')}.{revision}.parquet"
        rows = days.rows(day)
        writer = DayWriter(days.folder / name, drawn.words, rows=rows)
        alone = days.read(day).by_point() if rows <= STRIPE_ROWS else None
        try:
            for stripe in [alone] if alone is not None else _stripes(days, db, drawn):
                writer.add(stripe)
            layout = writer.finish()
        except BaseException:
            writer.abandon()
            raise
        if layout is None:
            hours = Rollups.added([])
        elif alone is not None:
            hours = days.computed(alone)
        else:
            hours = _hours(days, days.folder / name, layout)
        with self._lock, self._transaction() as tx:
            if layout is None:
                tx.execute("DELETE FROM file WHERE day = ?", (day,))
            else:
                tx.execute(
                    "INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, 0, ?)",
                    (day, revision, name, int(layout.group_rows.sum()), layout.to_bytes()),
                )
            self._finish(tx, drawn, hours, Properties(db))
        if drawn.earlier and drawn.earlier.name:
            self._let_go(days.folder / drawn.earlier.name)

    def _let_go(self, path: Path) -> None:
        """Take a replaced file away, once others have been replaced after it."""
        self._replaced.append(path)
        while len(self._replaced) > REPLACED_KEPT:
            self._replaced.popleft().unlink(missing_ok=True)

    def let_go(self) -> None:
        """Take every replaced file away: nothing will be replaced any more, so nobody starves."""
        while self._replaced:
            self._replaced.popleft().unlink(missing_ok=True)

    def _add_to_dropped(self, days: Days, db: sqlite3.Connection, drawn: Drawn) -> None:
        """Add to the roll-ups of a day whose samples are no longer kept what came so late."""
        fresh = days.computed(days.read(drawn.day, whole=False))
        hours = Rollups.added([days.kept_rollups("hour", drawn.day, None), fresh])
        with self._lock, self._transaction() as tx:
            self._finish(tx, drawn, hours, Properties(db))

    def _finish(
        self, tx: sqlite3.Connection, drawn: Drawn, hours: Rollups, properties: Properties
    ) -> None:
        """Write what a sealing leaves, and delete what it has taken."""
        tx.executemany("DELETE FROM block WHERE n = ?", [(n,) for n in drawn.blocks])
        tx.execute("DELETE FROM again WHERE day = ? AND n <= ?", (drawn.day, drawn.asked))
        tx.execute("DELETE FROM trouble WHERE what = ?", (str(np.datetime64(drawn.day, "D")),))
        _keep(tx, drawn.day, hours, properties)

    def compute_again(self, now: int) -> None:
        """Compute anew the roll-ups that a mark or a registry has asked for."""
        with self._lock:
            asked = self._db.execute("SELECT DISTINCT day FROM again ORDER BY day").fetchall()
        for (day,) in asked:
            if self.is_left_alone(day, now):
                continue
            try:
                with closing(open_reading(self._path)) as db:
                    self._compute_again(Days(db, self._path), db, day)
            except _FAILURES as e:
                self._failed_at[day] = now
                self._note(str(np.datetime64(day, "D")), str(e), now)

    def _compute_again(self, days: Days, db: sqlite3.Connection, day: int) -> None:
        with days.moment():
            rows = db.execute("SELECT n, point FROM again WHERE day = ?", (day,)).fetchall()
            points = np.array(sorted({point for _, point in rows}), "<i4")
            sealed = days.sealed(day)
            hours = None
            if sealed is not None and sealed.name is not None:
                with closing(days.open(sealed)) as file:
                    mine = file.read(
                        days.words(), points=points, start=EVER[0], end=EVER[1], whole=False
                    )
                others = days.kept_rollups("hour", day, None)
                others = others.take(~among(others.point, points))
                hours = Rollups.added([others, days.computed(mine)])
            properties = Properties(db)
        with self._lock, self._transaction() as tx:
            tx.executemany("DELETE FROM again WHERE n = ?", [(n,) for n, _ in rows])
            if hours is not None:
                _keep(tx, day, hours, properties)

    def drop(self, now: int) -> None:
        """Drop the samples and the roll-ups that need not be kept any longer."""
        today = now // DAY_MS
        raw, rolled = today - self._keeping.raw_days, today - self._keeping.rollup_days
        with self._lock, self._transaction() as tx:
            old = tx.execute(
                "SELECT name FROM file WHERE day < ? AND name IS NOT NULL", (raw,)
            ).fetchall()
            tx.execute("UPDATE file SET name = NULL, layout = x'' WHERE day < ?", (raw,))
            tx.execute("DELETE FROM rollup WHERE day < ?", (rolled,))
            tx.execute("DELETE FROM file WHERE day < ? AND name IS NULL", (rolled,))
        for (name,) in old:
            (Days(self._db, self._path).folder / name).unlink(missing_ok=True)
        with self._lock:
            self._db.executescript("PRAGMA incremental_vacuum(2000)")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _note(self, what: str, because: str, now: int) -> None:
        """Log what prevents a day from being sealed, once, and keep it for readers to see."""
        try:
            with self._lock, self._transaction() as tx:
                known = tx.execute(
                    "SELECT 1 FROM trouble WHERE what = ? AND because = ?", (what, because)
                ).fetchone()
                tx.execute("INSERT OR REPLACE INTO trouble VALUES (?, ?, ?)", (what, because, now))
        except sqlite3.Error:
            known = None
        if known is None:
            log.error("history: %s cannot be sealed: %s", what, because)


def _stripes(days: Days, db: sqlite3.Connection, drawn: Drawn) -> Iterator[Columns]:
    """Yield a large day's samples with bounded memory: its earlier file, and then what is hot."""
    if drawn.earlier is not None and drawn.earlier.name is not None:
        with closing(days.open(drawn.earlier)) as file:
            yield from file.stripes(drawn.words)
    parts: list[Columns] = []
    for n in drawn.blocks:
        try:
            part = unpacked(
                *db.execute("SELECT rows, tidy, body FROM block WHERE n = ?", (n,)).fetchone()
            )
        except ValueError as e:
            raise StorageError(f"block {n} of the historian is damaged: {e}") from e
        parts.append(part.take(~among(part.source, drawn.words.void)))
        if sum(len(p) for p in parts) >= STRIPE_ROWS:
            yield Columns.joined(parts).by_point()
            parts = []
    if parts:
        yield Columns.joined(parts).by_point()


def _hours(days: Days, path: Path, layout: Layout) -> Rollups:
    """Return the hourly roll-ups of a large day from its new file, some points at a time."""
    named = np.unique(layout.run_point)
    parts = -(-int(layout.group_rows.sum()) // STRIPE_ROWS)
    found = []
    with closing(DayFile(path, layout)) as file:
        for points in np.array_split(named, min(parts, len(named))):
            some = file.read(days.words(), points=points, start=EVER[0], end=EVER[1], whole=False)
            found.append(days.computed(some))
    return Rollups.added(found)


def _keep(tx: sqlite3.Connection, day: int, hours: Rollups, properties: Properties) -> None:
    """Write a day's roll-ups in place of the earlier ones."""
    tx.execute("DELETE FROM rollup WHERE day = ?", (day,))
    for width, rollups in (("hour", hours), ("day", hours.by_day(properties))):
        named = np.unique(rollups.point)
        for begin in range(0, len(named), POINTS_PER_CHUNK):
            points = named[begin : begin + POINTS_PER_CHUNK]
            lo, hi = int(points[0]), int(points[-1])
            part = rollups.take((rollups.point >= lo) & (rollups.point <= hi))
            tx.execute(
                "INSERT INTO rollup VALUES (?, ?, ?, ?, ?, ?)",
                (width, day, lo, hi, len(part), squeeze(part.arrays())),
            )
