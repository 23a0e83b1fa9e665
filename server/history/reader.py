"""Reads the historian from any process while its writer goes on."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np

from server.history.columns import STRIPE_ROWS, Columns
from server.history.days import EVER, Days
from server.history.figures import Bucket, Compliance, Night, bucketed, compliance_of, nights_of
from server.history.marks import Mark, Marks
from server.history.packing import Array
from server.history.properties import Properties
from server.history.rollups import Rollups
from server.history.schema import open_reading
from telemetry.instant import DAY_MS, HOUR_MS, Instant

NIGHT = (2, 4)
"""From which hour up to which a night is at its quietest, in the zone's own time."""

DAYS_ASIDE_MS = 26 * HOUR_MS
"""How far a day of some time zone may reach beyond the UTC days that its ends lie in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastValue:
    """The newest sample of a point."""

    at: Instant
    value: float | None
    quality: int
    reason: str
    time_quality: str
    arrived_at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What keeps a day from being sealed: the day, why, and since when it is known."""

    what: str
    because: str
    at: Instant


class Reader:
    """Every answer is of one moment; a scan is of one moment for each of its days.

    What computes (`series`, `rollups`, `night_minimum`, `compliance`) obeys the quality marks. A
    file that cannot be read is a `StorageError` that names it; other days are not touched by it.
    """

    def __init__(self, path: Path) -> None:
        self._db = open_reading(path)
        self._days = Days(self._db, path)

    def last_all(self) -> dict[str, LastValue]:
        """Return the newest sample of every point that has said anything live."""
        return {
            point: LastValue(
                at=Instant(at),
                value=value,
                quality=quality,
                reason=reason,
                time_quality=time_quality,
                arrived_at=Instant(arrived),
            )
            for point, at, value, quality, reason, time_quality, arrived in self._db.execute(
                "SELECT id, at, value, quality, reason, time_quality, arrived_at FROM last"
                " JOIN point ON point.number = last.point"
                " JOIN label ON label.number = last.label ORDER BY id"
            )
        }

    def newest_arrival(self) -> Instant | None:
        """Return when the newest live sample reached the server."""
        row = self._db.execute("SELECT MAX(arrived_at) FROM last").fetchone()
        return None if row[0] is None else Instant(row[0])

    def series(self, point: str, start: Instant, end: Instant, buckets: int) -> list[Bucket]:
        """Return the point's past in [start, end) as at most `buckets` stretches of equal length.

        Stretches without a usable sample are absent: gaps are never bridged. Stretches of an hour
        or more begin on the zone's hours, and whole hours come from the roll-ups.
        """
        return self._days.answer(lambda: self._series(point, start, end, buckets))

    def samples(
        self, points: Iterable[str], start: Instant, end: Instant, *, marked: bool = True
    ) -> Columns:
        """Return the samples of some points in [start, end), point by point, in time order.

        Under their quality of today, or not `marked`, as they were measured.
        """
        names = list(points)
        return self._days.answer(
            lambda: self._found(
                self._numbers(names), start, end, marked=marked, whole=True
            ).by_point()
        )

    def scan(
        self, start: Instant = EVER[0], end: Instant = EVER[1], *, marked: bool
    ) -> Iterator[Columns]:
        """Yield every sample of [start, end) in the order of instant, point, source and offset.

        Some hundred thousand at a time, whatever there is. `points`, `sources` and `labels` say
        what the numbers in them stand for.
        """
        for day in self._days.answer(lambda: self._days.held(start, end)):
            rows = self._days.answer(partial(self._days.rows, day))
            step = -(-DAY_MS // max(1, -(-rows // STRIPE_ROWS)))
            for begin in range(day * DAY_MS, (day + 1) * DAY_MS, step):
                lo, hi = max(begin, start), min(begin + step, (day + 1) * DAY_MS, end)
                if lo < hi:
                    found = self._days.answer(partial(self._stretch, day, lo, hi, marked=marked))
                    if len(found):
                        yield found

    def rollups(
        self, points: Iterable[str], start: Instant, end: Instant, *, width: str
    ) -> Rollups:
        """Return the roll-ups ("hour" or "day") that begin in [start, end), by point and time."""
        names = list(points)
        return self._days.answer(lambda: self._rolled(width, names, start, end))

    def night_minimum(
        self, points: Iterable[str], until: date, nights: int, *, window: tuple[int, int] = NIGHT
    ) -> list[Night]:
        """Return the lowest and the mean value of each point in each of the nights up to a date.

        The window is in whole hours of the zone's own time. Nights without a usable sample are
        absent.
        """
        names = list(points)
        midnight = (until - date(1970, 1, 1)).days * DAY_MS
        start, end = midnight - nights * DAY_MS, midnight + DAY_MS + DAYS_ASIDE_MS

        def ask() -> list[Night]:
            hours = self._rolled("hour", names, start, end)
            known, words = Properties(self._db), self._days.words()
            return nights_of(hours, known, words, until=until, nights=nights, window=window)

        return self._days.answer(ask)

    def compliance(
        self, points: Iterable[str], start: Instant, end: Instant, *, monthly: bool = False
    ) -> list[Compliance]:
        """Return which share of the valid samples stood at or above the limit, day by day.

        For the days, or months, of each point's own zone that begin in [start, end). Samples for
        which no lower limit was in force do not count.
        """
        names = list(points)

        def ask() -> list[Compliance]:
            days = self._rolled("day", names, start, end)
            known, words = Properties(self._db), self._days.words()
            return compliance_of(days, known, words, monthly=monthly)

        return self._days.answer(ask)

    def held(self, gateway: str, epoch: int, *, below: int) -> tuple[int, int]:
        """Return how many samples of a gateway's log are stored, and how many offsets they have.

        Both below an offset. The first minus the second are duplicates; `below` minus the second
        are missing.
        """

        def ask() -> tuple[int, int]:
            source = self._days.words().sources.get((gateway, str(epoch)), -1)
            found = [np.empty(0, "<u8")]
            for day in self._days.held(*EVER):
                read = self._days.read(day)
                found.append(read.offset[(read.source == source) & (read.offset < below)])
            offsets = np.concatenate(found)
            return len(offsets), len(np.unique(offsets))

        return self._days.answer(ask)

    def points(self) -> dict[int, str]:
        """Return every point by its number."""
        return self._days.answer(self._days.words).points

    def sources(self) -> dict[int, tuple[str, str]]:
        """Return gateway and epoch of every source by its number."""
        words = self._days.answer(self._days.words)
        return {number: source for source, number in words.sources.items()}

    def labels(self) -> dict[int, tuple[str, str]]:
        """Return reason and time quality of every label by its number."""
        words = self._days.answer(self._days.words)
        return {number: label for label, number in words.labels.items()}

    def marks(self) -> list[Mark]:
        """Return every quality mark, in the order of its revision."""
        rows = self._db.execute(
            "SELECT id, start, end, quality, reason, author, at FROM mark"
            " JOIN point ON point.number = mark.point ORDER BY revision"
        )
        return [_mark(*row) for row in rows]

    def marks_of(self, point: str) -> dict[int, Mark]:
        """Return the quality marks of a point by their revision."""
        rows = self._db.execute(
            "SELECT revision, id, start, end, quality, reason, author, at FROM mark"
            " JOIN point ON point.number = mark.point WHERE id = ? ORDER BY revision",
            (point,),
        )
        return {revision: _mark(*row) for revision, *row in rows}

    def extent(self) -> tuple[Instant, Instant] | None:
        """Return the first and the last UTC day that hold samples, as [start, end)."""
        first, last = self._db.execute(
            "SELECT MIN(day), MAX(day) FROM (SELECT day FROM file WHERE name IS NOT NULL"
            " UNION ALL SELECT day FROM block)"
        ).fetchone()
        return None if first is None else (Instant(first * DAY_MS), Instant((last + 1) * DAY_MS))

    def troubles(self) -> list[Trouble]:
        """Return what keeps days from being sealed."""
        return [
            Trouble(what=what, because=because, at=Instant(at))
            for what, because, at in self._db.execute("SELECT * FROM trouble ORDER BY what")
        ]

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _series(self, point: str, start: int, end: int, buckets: int) -> list[Bucket]:
        numbers = self._numbers([point])
        if not len(numbers) or end <= start:
            return []
        width = -(-(end - start) // max(1, buckets))
        if width < HOUR_MS:
            raw = self._judged(numbers, start, end)
            return bucketed(raw, Rollups.added([]), origin=start, width=width)
        known = Properties(self._db).of(numbers, np.array([start], "<i8"))
        origin = start - (start + int(known.shift[0])) % HOUR_MS
        width = -(-(end - origin) // max(1, buckets))
        width = -(-width // HOUR_MS) * HOUR_MS
        hours = self._rolled("hour", [point], start, end)
        whole = hours.take(hours.at + HOUR_MS <= end)
        first = int(whole.at[0]) if len(whole) else end
        last = int(whole.at[-1]) + HOUR_MS if len(whole) else end
        edges = [self._judged(numbers, start, first), self._judged(numbers, last, end)]
        return bucketed(Columns.joined(edges), whole, origin=origin, width=width)

    def _stretch(self, day: int, start: int, end: int, *, marked: bool) -> Columns:
        found = self._days.read(day, start=start, end=end).by_time()
        return Marks(self._db).judge(found) if marked else found

    def _numbers(self, points: list[str]) -> Array:
        return self._days.words().numbers(points)

    def _judged(self, points: Array, start: int, end: int) -> Columns:
        return self._found(points, start, end, marked=True, whole=False)

    def _found(self, points: Array, start: int, end: int, *, marked: bool, whole: bool) -> Columns:
        if start >= end or not len(points):
            return Columns.none()
        found = Columns.joined(
            [
                self._days.read(day, points=points, start=start, end=end, whole=whole)
                for day in self._days.held(start, end)
            ]
        )
        return Marks(self._db).judge(found) if marked else found

    def _rolled(self, width: str, names: list[str], start: int, end: int) -> Rollups:
        points = self._numbers(names)
        if not len(points):
            return Rollups.added([])
        aside = DAYS_ASIDE_MS if width == "day" else HOUR_MS
        found = Rollups.added(
            self._days.rollups(width, day, points)
            for day in self._days.held(start - aside, end + aside)
        )
        return found.take((found.at >= start) & (found.at < end))


def _mark(
    point: str, start: int, end: int, quality: int | None, reason: str, author: str, at: int
) -> Mark:
    return Mark(
        point=point,
        start=Instant(start),
        end=Instant(end),
        quality=quality,
        reason=reason,
        author=author,
        at=Instant(at),
    )
