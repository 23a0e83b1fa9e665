"""Reads the historian from any process while its writer goes on."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from server.history.columns import Columns
from server.history.day_file import STRIPE_ROWS
from server.history.days import EVER, Days
from server.history.figures import Bucket, Compliance, Night, bucketed, compliance_of, nights_of
from server.history.marks import Mark, Marks
from server.history.packing import Array
from server.history.properties import Properties
from server.history.rollups import Rollups
from server.history.schema import open_reading
from server.history.words import Words
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

        Stretches without a usable sample are absent: gaps are never bridged. Where a stretch is an
        hour or more it begins on the hour, and whole hours come from the roll-ups.
        """
        with self._days.moment():
            numbers = self._words().numbers([point])
            if not len(numbers) or end <= start:
                return []
            width = -(-(end - start) // max(1, buckets))
            if width < HOUR_MS:
                raw = self._judged(numbers, start, end)
                return bucketed(raw, Rollups.added([]), origin=start, width=width)
            origin = start // HOUR_MS * HOUR_MS
            width = -(-(end - origin) // max(1, buckets))
            width = -(-width // HOUR_MS) * HOUR_MS
            hours = self._rolled("hour", numbers, start, end)
            whole = hours.take((hours.at >= start) & (hours.at + HOUR_MS <= end))
            first = int(whole.at[0]) if len(whole) else end
            last = int(whole.at[-1]) + HOUR_MS if len(whole) else end
            edges = [self._judged(numbers, start, first), self._judged(numbers, last, end)]
            return bucketed(Columns.joined(edges), whole, origin=origin, width=width)

    def samples(
        self, points: Iterable[str], start: Instant, end: Instant, *, marked: bool = True
    ) -> Columns:
        """Return the samples of some points in [start, end), point by point, in time order.

        Under their quality of today, or not `marked`, as they were measured.
        """
        with self._days.moment():
            numbers = self._words().numbers(list(points))
            return self._found(numbers, start, end, marked=marked, whole=True).by_point()

    def scan(
        self, start: Instant = Instant(EVER[0]), end: Instant = Instant(EVER[1]), *, marked: bool
    ) -> Iterator[Columns]:
        """Yield every sample of [start, end) in the order of instant, point, source and offset.

        Some hundred thousand at a time, whatever there is. `points`, `sources` and `labels` say
        what the numbers in them stand for.
        """
        with self._days.moment():
            days = self._days.held(start, end)
        for day in days:
            with self._days.moment():
                parts = max(1, -(-self._days.rows(day) // STRIPE_ROWS))
            step = -(-DAY_MS // parts)
            for begin in range(day * DAY_MS, (day + 1) * DAY_MS, step):
                lo, hi = max(begin, start), min(begin + step, (day + 1) * DAY_MS, end)
                if lo < hi:
                    with self._days.moment():
                        found = self._days.read(day, start=lo, end=hi)
                        found = Marks(self._db).judge(found) if marked else found
                    if len(found):
                        yield found.by_time()

    def rollups(
        self, points: Iterable[str], start: Instant, end: Instant, *, width: str
    ) -> Rollups:
        """Return the roll-ups ("hour" or "day") that begin in [start, end), by point and time."""
        with self._days.moment():
            return self._rolled(width, self._words().numbers(list(points)), start, end)

    def night_minimum(
        self, points: Iterable[str], until: date, nights: int, *, window: tuple[int, int] = NIGHT
    ) -> list[Night]:
        """Return the lowest and the mean value of each point in each of the nights up to a date.

        The window is in whole hours of the zone's own time. Nights without a usable sample are
        absent.
        """
        with self._days.moment():
            words = self._words()
            numbers = words.numbers(list(points))
            midnight = (until - date(1970, 1, 1)).days * DAY_MS
            end = midnight + DAY_MS + DAYS_ASIDE_MS
            hours = self._rolled("hour", numbers, midnight - nights * DAY_MS, end)
            return nights_of(
                hours, Properties(self._db), words, until=until, nights=nights, window=window
            )

    def compliance(
        self, points: Iterable[str], start: Instant, end: Instant, *, monthly: bool = False
    ) -> list[Compliance]:
        """Return which share of the valid samples stood at or above the limit, day by day.

        For the days, or months, of each point's own zone that begin in [start, end). Samples for
        which no lower limit was in force do not count.
        """
        with self._days.moment():
            words = self._words()
            rolled = self._rolled("day", words.numbers(list(points)), start, end)
            return compliance_of(rolled, Properties(self._db), words, monthly=monthly)

    def held(self, gateway: str, epoch: int, *, below: int) -> tuple[int, int]:
        """Return how many samples of a gateway's log are stored, and how many offsets they have.

        Both below an offset. The first minus the second are duplicates; `below` minus the second
        are missing.
        """
        with self._days.moment():
            source = self._words().sources.get((gateway, str(epoch)), -1)
            found = [np.empty(0, "<u8")]
            for day in self._days.held(*EVER):
                read = self._days.read(day)
                found.append(read.offset[(read.source == source) & (read.offset < below)])
        offsets = np.concatenate(found)
        return len(offsets), len(np.unique(offsets))

    def points(self) -> dict[int, str]:
        """Return every point by its number."""
        with self._days.moment():
            return self._words().points

    def sources(self) -> dict[int, tuple[str, str]]:
        """Return gateway and epoch of every source by its number."""
        with self._days.moment():
            return {number: source for source, number in self._words().sources.items()}

    def labels(self) -> dict[int, tuple[str, str]]:
        """Return reason and time quality of every label by its number."""
        with self._days.moment():
            return {number: label for label, number in self._words().labels.items()}

    def marks(self) -> list[Mark]:
        """Return every quality mark, in the order of its revision."""
        rows = self._db.execute(
            "SELECT id, start, end, quality, reason, author, at FROM mark"
            " JOIN point ON point.number = mark.point ORDER BY revision"
        )
        return [
            Mark(
                point=point,
                start=Instant(start),
                end=Instant(end),
                quality=quality,
                reason=reason,
                author=author,
                at=Instant(at),
            )
            for point, start, end, quality, reason, author, at in rows
        ]

    def extent(self) -> tuple[Instant, Instant] | None:
        """Return the first and the last UTC day that hold samples, as [start, end)."""
        with self._days.moment():
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

    def _words(self) -> Words:
        return self._days.words()

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

    def _rolled(self, width: str, points: Array, start: int, end: int) -> Rollups:
        if not len(points):
            return Rollups.added([])
        aside = DAYS_ASIDE_MS if width == "day" else HOUR_MS
        found = Rollups.added(
            self._days.rollups(width, day, points)
            for day in self._days.held(start - aside, end + aside)
        )
        return found.take((found.at >= start) & (found.at < end))
