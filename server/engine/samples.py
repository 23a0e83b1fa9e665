"""Samples side by side: a column for each of their parts, as they come off the wire together."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from telemetry.instant import Instant
from telemetry.point import PointId
from telemetry.sample import Quality, Reason, Sample, TimeQuality


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Columns of equal length; row n of them is one sample, and keeps what `Sample` promises."""

    points: tuple[PointId, ...]
    at: tuple[Instant, ...]
    values: tuple[float | None, ...]
    qualities: tuple[Quality, ...]
    reasons: tuple[Reason, ...]
    time_qualities: tuple[TimeQuality, ...]

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> "Samples":
        """Return the columns of some samples, in their order."""
        rows = list(samples)
        return cls(
            points=tuple([s.point for s in rows]),
            at=tuple([s.at for s in rows]),
            values=tuple([s.value for s in rows]),
            qualities=tuple([s.quality for s in rows]),
            reasons=tuple([s.reason for s in rows]),
            time_qualities=tuple([s.time_quality for s in rows]),
        )

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[Sample]:
        columns = zip(
            self.points,
            self.at,
            self.values,
            self.qualities,
            self.reasons,
            self.time_qualities,
            strict=True,
        )
        for point, at, value, quality, reason, time_quality in columns:
            yield Sample(
                point=point,
                at=at,
                value=value,
                quality=quality,
                reason=reason,
                time_quality=time_quality,
            )
