"""Quality marks: later judgements on samples, dated and signed; samples never change."""

import sqlite3
from dataclasses import dataclass

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
