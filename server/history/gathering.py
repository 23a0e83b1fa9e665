"""What the intake hands on, gathered into columns; and the newest live sample of each point."""

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from math import isnan

import numpy as np

from server.engine.effects import Accepted
from server.engine.events import Imported
from server.engine.samples import Samples
from server.history.columns import Columns
from server.history.names import Names
from server.history.packing import Array
from telemetry.instant import DAY_MS
from telemetry.sample import Quality, Reason

SET_BACK_MS = 15_000
"""A live sample older than the last is the newest all the same when nothing else came for so long:
then the gateway's clock was set back."""


class Gathering:
    """Makes columns of samples, each once, however often it is handed on."""

    def __init__(self, db: sqlite3.Connection, names: Names) -> None:
        self._db = db
        self._names = names
        self.reload()

    def reload(self) -> None:
        """Know again what the file says: after a transaction that did not happen."""
        self._last: dict[int, tuple[int, int]] = {
            point: (at, arrived_at)
            for point, at, arrived_at in self._db.execute("SELECT point, at, arrived_at FROM last")
        }

    def days(self, parts: Sequence[Accepted | Imported]) -> Iterator[tuple[int, Columns]]:
        """Yield the samples that are new, day by day; write which of them are the newest."""
        gathered = [self._imported(p) for p in parts if isinstance(p, Imported)]
        accepted = [p for p in parts if isinstance(p, Accepted)]
        if accepted:
            gathered.append(self._accepted(accepted))
        samples = Columns.joined([g for g in gathered if len(g)])
        if not len(samples):
            return
        day = samples.at // DAY_MS
        if day[0] == day[-1] and (day == day[0]).all():
            yield int(day[0]), samples
            return
        for each in np.unique(day).tolist():
            yield each, samples.take(day == each)

    def _accepted(self, parts: Sequence[Accepted]) -> Columns:
        sizes = [len(p.samples) for p in parts]
        rows = sum(sizes)
        qualities, labels = zip(*(self._judged(p.samples) for p in parts), strict=True)
        sources = [self._names.source(p.gateway, str(p.epoch)) for p in parts]
        gathered = Columns(
            at=np.fromiter(chain.from_iterable([p.samples.at for p in parts]), "<i8", rows),
            arrived_at=np.repeat(np.array([p.at for p in parts], "<i8"), sizes),
            offset=np.concatenate(
                [_offsets(p.first_offset, n) for p, n in zip(parts, sizes, strict=True)]
            ),
            value=np.array(list(chain.from_iterable([p.samples.values for p in parts])), "<f8"),
            point=self._points(list(chain.from_iterable([p.samples.points for p in parts]))),
            source=np.repeat(np.array(sources, "<i4"), sizes),
            label=np.concatenate(labels),
            quality=np.concatenate(qualities),
        )
        is_live = np.repeat([not p.is_historical for p in parts], sizes)
        is_new = self._take(parts, sources, sizes)
        self._remember(gathered, is_live if is_new is None else is_live & is_new)
        return gathered if is_new is None else gathered.take(is_new)

    def _take(
        self, parts: Sequence[Accepted], sources: list[int], sizes: list[int]
    ) -> Array | None:
        """Take the offsets as stored; return which rows were new, or None when all of them were."""
        is_new = None
        begin = 0
        for part, source, size in zip(parts, sources, sizes, strict=True):
            lo, hi = part.first_offset, part.first_offset + size
            fresh = self._names.take(source, lo, hi)
            if fresh != ((lo, hi),) and size:
                is_new = np.ones(sum(sizes), bool) if is_new is None else is_new
                is_new[begin : begin + size] = False
                for first, end in fresh:
                    is_new[begin + first - lo : begin + end - lo] = True
            begin += size
        return is_new

    def _imported(self, part: Imported) -> Columns:
        rows = len(part.rows)
        if not rows:
            return Columns.none()
        points, at, values, quality = zip(*part.rows, strict=True)
        source = self._names.recording(part.source)
        first = self._names.head(source)
        self._names.take(source, first, first + rows)
        return Columns(
            at=np.array(at, "<i8"),
            arrived_at=np.full(rows, part.at, "<i8"),
            offset=_offsets(first, rows),
            value=np.array(values, "<f8"),
            point=self._points(list(points)),
            source=np.full(rows, source, "<i4"),
            label=np.full(rows, self._names.label("", ""), "<i2"),
            quality=np.array(quality, "|u1"),
        )

    def _points(self, names: list[str]) -> Array:
        numbers = self._names.points
        try:
            return np.fromiter(map(numbers.__getitem__, names), "<i4", len(names))
        except KeyError:
            return np.array([self._names.point(name) for name in names], "<i4")

    def _judged(self, samples: Samples) -> tuple[Array, Array]:
        """Return the qualities and labels of samples, which are nearly always the same for all."""
        n = len(samples)
        first = samples.time_qualities[0] if n else ""
        if (
            samples.reasons.count(Reason.NONE) == n
            and samples.qualities.count(Quality.GOOD) == n
            and samples.time_qualities.count(first) == n
        ):
            label = self._names.label("", first) if n else 0
            return np.full(n, int(Quality.GOOD), "|u1"), np.full(n, label, "<i2")
        labels = [
            self._names.label(str(reason), str(time_quality))
            for reason, time_quality in zip(samples.reasons, samples.time_qualities, strict=True)
        ]
        return np.array([int(q) for q in samples.qualities], "|u1"), np.array(labels, "<i2")

    def _remember(self, samples: Columns, which: Array) -> None:
        """Write the newest live samples, in the order in which they came."""
        newest: dict[int, int] = {}
        rows = range(len(samples)) if which.all() else np.flatnonzero(which).tolist()
        known = self._last
        for n, point, at, arrived_at in zip(
            rows,
            *(c[which].tolist() for c in (samples.point, samples.at, samples.arrived_at)),
            strict=True,
        ):
            last = known.get(point)
            if last is None or at >= last[0] or arrived_at >= last[1] + SET_BACK_MS:
                known[point] = (at, arrived_at)
                newest[point] = n
        index = np.fromiter(newest.values(), "<i8", len(newest))
        values = [None if isnan(v) else v for v in samples.value[index].tolist()]
        columns = (samples.at, samples.quality, samples.label, samples.arrived_at)
        at, quality, label, arrived = (c[index].tolist() for c in columns)
        self._db.executemany(
            "INSERT OR REPLACE INTO last VALUES (?, ?, ?, ?, ?, ?)",
            zip(newest, at, values, quality, label, arrived, strict=True),
        )


def _offsets(first: int, count: int) -> Array:
    return np.arange(count, dtype="<u8") + np.uint64(first)
