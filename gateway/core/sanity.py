"""What a reading cannot truly be: the edge says so in its quality, and still sends it.

Rule 1: nothing is left out here, and no value is invented. A value that its place cannot have is
uncertain; only where 0 is known to stand for "no value" is it no value.
Rule 2: a rate is judged between neighbouring readings. So a lone spike is doubted twice, up and
down, and a level that stays is doubted once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from telemetry.instant import SECOND_MS
from telemetry.point import PointId
from telemetry.sample import Quality, Reason, Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is known of a point, in its house unit; None is not known."""

    minimum: float | None = None
    maximum: float | None = None
    rate_max_per_s: float | None = None
    frozen_after_ms: int | None = None
    zero_is_missing: bool = False


@dataclass(slots=True)
class _Seen:
    value: float
    monotonic_ms: int
    since_ms: int
    """Since when it has had this value."""


class Sanity:
    """The judgement over all points that have limits."""

    def __init__(self, limits: Mapping[PointId, Limits]) -> None:
        self._limits = dict(limits)
        self._seen: dict[PointId, _Seen] = {}

    def judge(self, sample: Sample, *, monotonic_ms: int) -> Sample:
        """Return the sample with a quality that is no better than it deserves."""
        limits = self._limits.get(sample.point)
        value = sample.value
        if limits is None or value is None:
            return sample
        if limits.zero_is_missing and value == 0:
            return replace(sample, value=None, quality=Quality.BAD, reason=Reason.NOT_A_NUMBER)
        reason = self._reason(sample.point, value, limits, monotonic_ms)
        if reason is Reason.NONE or sample.quality is not Quality.GOOD:
            return sample
        return replace(sample, quality=Quality.UNCERTAIN, reason=reason)

    def _reason(self, point: PointId, value: float, limits: Limits, now_ms: int) -> Reason:
        last = self._seen.get(point)
        since_ms = last.since_ms if last is not None and last.value == value else now_ms
        self._seen[point] = _Seen(value, now_ms, since_ms)
        low, high = limits.minimum, limits.maximum
        if (low is not None and value < low) or (high is not None and value > high):
            return Reason.OUT_OF_RANGE
        if last is not None and limits.rate_max_per_s is not None:
            elapsed_s = max(1, now_ms - last.monotonic_ms) / SECOND_MS
            if abs(value - last.value) > limits.rate_max_per_s * elapsed_s:
                return Reason.IMPLAUSIBLE_RATE
        if limits.frozen_after_ms is not None and now_ms - since_ms >= limits.frozen_after_ms:
            return Reason.STUCK
        return Reason.NONE
