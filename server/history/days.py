"""The samples of a day, wherever they lie: its sealed file and its hot blocks, as one."""

import sqlite3
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from server.history.columns import KINDS, Columns, among
from server.history.marks import Marks
from server.history.packing import Array, expand, split
from server.history.properties import Properties
from server.history.rollups import KINDS as ROLLUP_KINDS
from server.history.rollups import Rollups, hours_of
from server.history.words import Words
from telemetry.errors import StorageError
from telemetry.instant import DAY_MS, Instant

if TYPE_CHECKING:
    from server.history.day_file import DayFile

EVER = (Instant(-(2**62)), Instant(2**62))
"""A stretch of time that holds every instant."""

TRIES = 20
"""How often a file that was just replaced is looked for again."""

Answer = TypeVar("Answer")

_BLOCKS = (
    "SELECT rows, tidy, body FROM block WHERE day = ? AND at_hi >= ? AND at_lo < ?"
    " AND point_hi >= ? AND point_lo <= ? ORDER BY n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """What the historian knows of a day that has been sealed; without a name its file is gone."""

    day: int
    revision: int
    name: str | None
    rows: int
    is_stale: bool
    layout: bytes


def folder_of(path: Path) -> Path:
    """Return the folder of the sealed days, beside the historian's file."""
    return path.with_suffix("")


def day_of(at: int) -> int:
    """Return the number of the UTC day of an instant."""
    return at // DAY_MS


def unpacked(rows: int, tidy: int, body: bytes) -> Columns:
    """Return the samples of a hot block. Raises `ValueError` when it is damaged."""
    return Columns.of((expand if tidy else split)(body, list(KINDS.values()), rows))


class Days:
    """Reads days through one connection; each answer is of one moment."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path
        self.folder = folder_of(path)
        self._words: Words | None = None

    @contextmanager
    def moment(self) -> Iterator[None]:
        """Let everything within be read as it is now."""
        try:
            self._db.execute("BEGIN")
            self._words = None
            yield
        except sqlite3.Error as e:
            raise StorageError(f"{self._path}: cannot be read: {e}") from e
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def answer(self, ask: Callable[[], Answer]) -> Answer:
        """Return what `ask` reads, all of one moment; a later one when a file was just replaced."""
        missing = ""
        for _ in range(TRIES):
            with self.moment():
                try:
                    return ask()
                except FileNotFoundError as e:
                    missing = str(e.filename)
        raise StorageError(f"{missing}: expected the file of a sealed day, found none")

    def words(self) -> Words:
        """Return what the numbers stand for at this moment."""
        if self._words is None:
            self._words = Words.of(self._db)
        return self._words

    def held(self, start: int, end: int) -> list[int]:
        """Return the days that may hold samples or roll-ups of [start, end)."""
        days = self._db.execute(
            "SELECT day FROM file WHERE day BETWEEN ?1 AND ?2"
            " UNION SELECT day FROM block WHERE day BETWEEN ?1 AND ?2"
            " UNION SELECT day FROM rollup WHERE day BETWEEN ?1 AND ?2 ORDER BY 1",
            (day_of(start), day_of(end - 1)),
        )
        return [day for (day,) in days]

    def sealed(self, day: int) -> Sealed | None:
        """Return what is known of a sealed day."""
        row = self._db.execute(
            "SELECT day, revision, name, rows, stale, layout FROM file WHERE day = ?", (day,)
        ).fetchone()
        if row is None:
            return None
        day, revision, name, rows, stale, layout = row
        return Sealed(
            day=day, revision=revision, name=name, rows=rows, is_stale=bool(stale), layout=layout
        )

    def rows(self, day: int) -> int:
        """Return how many samples a day holds."""
        (hot,) = self._db.execute(
            "SELECT COALESCE(SUM(rows), 0) FROM block WHERE day = ?", (day,)
        ).fetchone()
        sealed = self.sealed(day)
        return int(hot) + (sealed.rows if sealed and sealed.name else 0)

    def read(
        self,
        day: int,
        *,
        points: Array | None = None,
        start: int = EVER[0],
        end: int = EVER[1],
        whole: bool = True,
    ) -> Columns:
        """Return a day's samples of these points in [start, end), as they were measured.

        In no order. Unless `whole`, only instant, point, value and quality are filled in. Raises
        `StorageError` naming the file that is damaged, `FileNotFoundError` when it was replaced.
        """
        words = self.words()
        parts = [
            self._in_file(day, words, points=points, start=start, end=end, whole=whole),
            self._in_blocks(day, words, points=points, start=start, end=end),
        ]
        return Columns.joined([part for part in parts if len(part)])

    def open(self, sealed: Sealed) -> "DayFile":
        """Open a sealed day's file. Raises `FileNotFoundError` when another took its place."""
        # Parquet is loaded by whoever reads a sealed day: 36 MB that a desk seldom needs.
        from server.history.day_file import DayFile, Layout  # noqa: PLC0415  as above

        assert sealed.name is not None
        path = self.folder / sealed.name
        try:
            layout = Layout.from_bytes(sealed.layout)
        except (ValueError, struct.error) as e:
            raise StorageError(f"{self._path}: the layout of {sealed.name} is damaged: {e}") from e
        return DayFile(path, layout)

    def kept_rollups(self, width: str, day: int, points: Array | None) -> Rollups:
        """Return the roll-ups that were kept when the day was sealed."""
        lo, hi = _ends(points)
        found = []
        for rows, body in self._db.execute(
            "SELECT rows, body FROM rollup WHERE width = ? AND day = ? AND point_hi >= ?"
            " AND point_lo <= ? ORDER BY point_lo",
            (width, day, lo, hi),
        ):
            try:
                part = Rollups.of(expand(body, list(ROLLUP_KINDS.values()), rows))
            except ValueError as e:
                raise StorageError(f"{self._path}: a roll-up of day {day}: {e}") from e
            found.append(part if points is None else part.take(among(part.point, points)))
        return Rollups.added(found)

    def rollups(self, width: str, day: int, points: Array | None) -> Rollups:
        """Return a day's part of the roll-ups, computed anew where what was kept is not enough."""
        sealed = self.sealed(day)
        is_gone = sealed is None or sealed.name is None
        if not self._must_compute(day, sealed, points):
            return self.kept_rollups(width, day, points)
        computed = self.computed(self.read(day, points=points, whole=False))
        kept = [self.kept_rollups(width, day, points)] if is_gone else []
        fresh = computed if width == "hour" else computed.by_day(Properties(self._db))
        return Rollups.added([*kept, fresh])

    def computed(self, samples: Columns) -> Rollups:
        """Return the hourly roll-ups of a day's samples as they are judged today."""
        return hours_of(Marks(self._db).judge(samples.by_point()), Properties(self._db))

    def _must_compute(self, day: int, sealed: Sealed | None, points: Array | None) -> bool:
        """Say whether something came since the day was sealed that these points' roll-ups lack."""
        if sealed is not None and sealed.name is not None and sealed.is_stale:
            return True
        lo, hi = _ends(points)
        (is_behind,) = self._db.execute(
            "SELECT EXISTS (SELECT 1 FROM block WHERE day = ?1 AND point_hi >= ?2"
            " AND point_lo <= ?3) OR EXISTS"
            " (SELECT 1 FROM again WHERE day = ?1 AND point BETWEEN ?2 AND ?3)",
            (day, lo, hi),
        ).fetchone()
        return bool(is_behind)

    def _in_file(
        self, day: int, words: Words, *, points: Array | None, start: int, end: int, whole: bool
    ) -> Columns:
        sealed = self.sealed(day)
        if sealed is None or sealed.name is None:
            return Columns.none()
        with closing(self.open(sealed)) as file:
            return file.read(words, points=points, start=start, end=end, whole=whole)

    def _in_blocks(
        self, day: int, words: Words, *, points: Array | None, start: int, end: int
    ) -> Columns:
        try:
            parts = [
                unpacked(*row)
                for row in self._db.execute(_BLOCKS, (day, start, end, *_ends(points)))
            ]
        except ValueError as e:
            raise StorageError(f"{self._path}: a block of day {day}: {e}") from e
        found = Columns.joined(parts)
        which = (found.at >= start) & (found.at < end)
        if points is not None:
            which &= among(found.point, points)
        if len(words.void):
            which &= ~among(found.source, words.void)
        return found if which.all() else found.take(which)


def _ends(points: Sequence[int] | Array | None) -> tuple[int, int]:
    if points is None:
        return 0, 2**31
    return (int(min(points)), int(max(points))) if len(points) else (1, 0)
