"""Quality marks: later judgements on samples, dated and signed; samples never change."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from server.history.columns import Columns
from telemetry.instant import Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """From `start` up to `end` a point's samples have this quality; None: as they were measured.

    Where marks overlap, the one that was added last holds: a later one revises, or with None takes
    back, what an earlier one said of that time.
    """

    point: str
    start: Instant
    end: Instant
    quality: int | None
    reason: str
    author: str
    at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """In [start, end) the mark of this revision holds."""

    start: Instant
    end: Instant
    revision: int


def holding(marks: Mapping[int, Mark]) -> list[Holding]:
    """Return which marks of a point, by revision, hold where; in the order of time.

    >>> mark = Mark(point="p", start=0, end=9, quality=0, reason="", author="", at=9)
    >>> holding({1: mark, 2: replace(mark, start=3, end=5)})  # doctest: +NORMALIZE_WHITESPACE
    [Holding(start=0, end=3, revision=1),
     Holding(start=3, end=5, revision=2),
     Holding(start=5, end=9, revision=1)]
    """
    found: list[Holding] = []
    for revision, mark in sorted(marks.items()):
        left = [part for held in found for part in _outside(held, mark)]
        found = [*left, Holding(start=mark.start, end=mark.end, revision=revision)]
    return sorted(found, key=lambda h: h.start)


def _outside(held: Holding, mark: Mark) -> list[Holding]:
    """Return what is left of a stretch beside a mark."""
    before = replace(held, end=min(held.end, mark.start))
    after = replace(held, start=max(held.start, mark.end))
    return [part for part in (before, after) if part.start < part.end]


def without(marks: Mapping[int, Mark], revision: int) -> list[Mark]:
    """Return what holds in the stretch of a mark once it is taken back, in the order of time.

    Told again after a mark of None over that stretch, it is as if it had never been made; nor is
    what of it was told again when another was taken back.
    """
    gone = marks[revision]

    def is_same(mark: Mark) -> bool:
        same = (mark.quality, mark.reason, mark.author) == (gone.quality, gone.reason, gone.author)
        return same and gone.start <= mark.start and mark.end <= gone.end

    others = {r: m for r, m in marks.items() if not is_same(m)}
    found = []
    for held in holding(others):
        mark = others[held.revision]
        start, end = max(held.start, gone.start), min(held.end, gone.end)
        if mark.quality is not None and start < end:
            found.append(replace(mark, start=start, end=end))
    return found


class Marks:
    """Every mark, in the order of its revision."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._all: list[tuple[int, int, int, int | None]] = db.execute(
            "SELECT point, start, end, quality FROM mark ORDER BY revision"
        ).fetchall()

    def judge(self, samples: Columns) -> Columns:
        """Return the samples with the quality that holds today; one without a value stays bad."""
        if not self._all or not len(samples):
            return samples
        first, last = int(samples.at.min()), int(samples.at.max())
        named = set(np.unique(samples.point).tolist())
        quality = samples.quality
        for point, start, end, mark in self._all:
            if point not in named or start > last or end <= first:
                continue
            which = (samples.point == point) & (samples.at >= start) & (samples.at < end)
            which &= ~np.isnan(samples.value)
            judged = samples.quality if mark is None else np.uint8(mark)
            quality = np.where(which, judged, quality)
        return samples.with_quality(quality)
