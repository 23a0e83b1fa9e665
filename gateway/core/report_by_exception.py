"""Report by exception: of a steady value only what is news is sent.

Rule 1: a change of quality, of its reason or of the time quality is always news.
Rule 2: so is a value that left the deadband around the last one sent; the deadband never drifts.
Rule 3: nothing stays silent for longer than was promised, measured on the monotonic clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from telemetry.point import PointId
from telemetry.sample import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporting:
    """How a point reports: `deadband` in its house unit, `period_ms` of its reading."""

    deadband: float
    silence_max_ms: int
    period_ms: int


class ReportByException:
    """What was last sent of the points that report by exception; all others send everything."""

    def __init__(self, reporting: Mapping[PointId, Reporting]) -> None:
        self._reporting = dict(reporting)
        self._last: dict[PointId, tuple[Sample, int]] = {}

    def is_news(self, sample: Sample, *, monotonic_ms: int) -> bool:
        """Say whether a sample is to be sent, and remember it if so."""
        how = self._reporting.get(sample.point)
        if how is None:
            return True
        last = self._last.get(sample.point)
        # With the next reading it may be too late to keep the promise.
        if (
            last is not None
            and not _differs(sample, last[0], how.deadband)
            and monotonic_ms - last[1] + how.period_ms <= how.silence_max_ms
        ):
            return False
        self._last[sample.point] = sample, monotonic_ms
        return True


def _differs(sample: Sample, last: Sample, deadband: float) -> bool:
    if (sample.quality, sample.reason, sample.time_quality) != (
        last.quality,
        last.reason,
        last.time_quality,
    ):
        return True
    if sample.value is None or last.value is None:
        return False
    return abs(sample.value - last.value) > deadband
