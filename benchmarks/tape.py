"""A recording held in memory as a field would have delivered it: late, with holes, and stoppable.

`disturbed` leaves samples out and lets others arrive minutes to hours after they were read, seeded.
A `Tape` plays the result day by day through the product's own replay; before each day it asks
whoever holds it, who may change what is still to come or say where to end.

Repeated samples are not on a tape. A gateway that repeats a message repeats its offsets, and the
hosts in front of the detectors drop them; `Engine.play` begins behind the hosts. `wire.py` says a
part of a tape over Sparkplug, with messages repeated, and compares.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import numpy as np

from server.history.recording import Recording
from server.history.stretch import Int64s, Stretch, joined
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Instant

LATE_MIN_MS, LATE_MAX_MS = 2 * MINUTE_MS, 6 * HOUR_MS
"""A late sample comes so much later, evenly spread over the logarithm."""

Before = Callable[[int], int | None]
"""Is told the instant at which a day of arrivals begins; returns where to end, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """What is done to samples: shares of all, and the seed of which."""

    seed: int
    late: float = 0.01
    missing: float = 0.02
    repeated: float = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Tape(Recording):
    """A recording whose samples are in memory, by arrival; values may be changed in place."""

    samples: Stretch
    before_day: Before

    def stretches(
        self,
        start: Instant | None = None,
        end: Instant | None = None,
        points: Collection[str] | None = None,
        *,
        with_marks: bool = True,
    ) -> Iterator[Stretch]:
        """Yield the samples read in [start, end) of some points, a day of arrivals at a time.

        The quality is always that of the last judgement. Only the reading that goes on to the end
        asks `before_day`: whoever looks back at a part on the way does not.
        """
        assert with_marks, "a tape has taken the marks in"
        wanted = None if points is None else np.array([p in points for p in self.points])
        days = self.samples.arrived_at // DAY_MS
        cuts = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(days)]
        for first, beyond in pairwise(cuts) if len(days) else ():
            until = None if end is not None else self.before_day(int(days[first]) * DAY_MS)
            part = self.samples.take(slice(first, beyond))
            keep = np.ones(len(part), dtype=np.bool_)
            if start is not None:
                keep &= part.at >= start
            if end is not None:
                keep &= part.at < end
            if wanted is not None:
                keep &= wanted[part.point]
            if until is not None:
                keep &= part.arrived_at <= until
            if keep.any():
                yield part.take(keep)
            if until is not None and until < (int(days[first]) + 1) * DAY_MS:
                return


def samples_of(recording: Recording) -> Stretch:
    """Return all samples of a recording, in the order of arrival."""
    return joined(list(recording.stretches()))


def tape_of(recording: Recording, samples: Stretch, before_day: Before) -> Tape:
    """Return a recording with other samples."""
    head = {f.name: getattr(recording, f.name) for f in fields(Recording)}
    return Tape(**head, samples=samples, before_day=before_day)


def disturbed(samples: Stretch, how: Disturbance) -> Stretch:
    """Return samples with some left out and some late, in the new order of arrival."""
    chance = np.random.default_rng(how.seed)
    samples = samples.take(chance.random(len(samples)) >= how.missing)
    late = np.flatnonzero(chance.random(len(samples)) < how.late)
    logs = chance.uniform(np.log(LATE_MIN_MS), np.log(LATE_MAX_MS), len(late))
    delays: Int64s = np.exp(logs).astype(np.int64) // SECOND_MS * SECOND_MS
    arrived = samples.arrived_at.copy()
    arrived[late] += delays
    order = np.argsort(arrived, kind="stable")
    return replace(samples, arrived_at=arrived).take(order)


def mean_inflow_m3h(tape: Recording, samples: Stretch, zone: str) -> float | None:
    """Return a zone's mean net inflow: the sum of its meters' means, if all of them speak."""
    meters = next(z.inflow for z in tape.description.zone if z.id == zone)
    total = 0.0
    for meter in meters:
        values = samples.value[samples.point == tape.points.index(meter.point)]
        known = values[np.isfinite(values)]
        if not len(known):
            return None
        total += meter.sign * float(known.mean())
    return total if meters else None
