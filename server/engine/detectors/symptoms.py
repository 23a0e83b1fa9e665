"""What may be wrong with an instrument, as it is told to the instrument desk."""

from dataclasses import dataclass
from enum import StrEnum

from telemetry.instant import Instant
from telemetry.point import PointId


class Symptom(StrEnum):
    """How an instrument shows that it is not to be believed."""

    RANGE = "range"
    ZERO = "zero"
    DOUBTED = "doubted"
    DROPOUTS = "dropouts"
    FLAT = "flat"
    SPIKES = "spikes"
    NOISE = "noise"
    OFFSET = "offset"
    DRIFT = "drift"


SHARED = (Symptom.SPIKES, Symptom.NOISE)
"""What the water does too: told of one instrument, and not where much of its zone shows it."""

RELATIONS = (Symptom.OFFSET, Symptom.DRIFT)
"""What shows only beside the other points of the zone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A symptom of a point comes or goes; `tick` is the number of the tick that may tell it.

    `since` is when it began, or ended; the reason is told to people.
    """

    tick: int
    point: PointId
    symptom: Symptom
    is_on: bool
    since: Instant
    because: str
