"""One Modbus device: what to ask it, and its answers as scans of samples.

Every poll gives a scan, good or bad, until the device is taken for dead; then it is probed ever
more rarely and its silence is told once, by its last bad scan and its death.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.core.decode import house_value, raw_number
from gateway.core.poll_plan import HOLE_MAX, Block, has_holes, plan
from gateway.core.pulse import Counter, CounterSettings, CounterState
from telemetry.instant import Instant
from telemetry.point import PointId
from telemetry.register_map import Register
from telemetry.sample import Reason, Sample
from telemetry.units import Quantity

PROBE_MIN_MS = 500
PROBE_MAX_MS = 10_000
"""A device that does not answer is asked again after the first, then twice as long, up to this."""

DEAD_AFTER_MS = 3_000
DEAD_AFTER_POLLS = 2
"""A device is dead when both have passed: one lost reply on a noisy line is no death."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What one block read gave, and when it arrived."""

    at: Instant
    words: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswer:
    """A block read that gave nothing; `answered` when the device at least refused."""

    at: Instant
    reason: Reason
    answered: bool = False


Reply = Words | NoAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class BornMetric:
    """What a birth says of one point: house units throughout."""

    name: str
    point: PointId
    quantity: Quantity
    zone: str
    place: str
    period_ms: int
    minimum: float | None
    maximum: float | None
    resolution: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A register that is read, and the counter that it feeds, if it is one."""

    register: Register
    point: PointId
    counter: CounterSettings | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """One poll of one device. `counters` go to the disk together with the samples.

    `alive` is None unless the scan ends or begins a silence: False with the last bad scan, True
    with the first one after it. `base_ms` is what wall time was ahead of the monotonic clock, so
    that an instant minus it is an instant of the boot. A scan may have counters alone.
    `polls` is more than 1 when several polls of the same points were put together.
    """

    device: str
    samples: tuple[Sample, ...]
    counters: tuple[CounterState, ...] = ()
    alive: bool | None = None
    base_ms: int = 0
    polls: int = 1


class Device:
    """The state of one device between polls."""

    def __init__(
        self,
        *,
        id: str,  # noqa: A002  the word of the configuration
        unit: int,
        period_ms: int,
        count_max: int,
        readings: Sequence[Reading],
        metrics: tuple[BornMetric, ...],
        states: Mapping[PointId, CounterState],
    ) -> None:
        self.id = id
        self.unit = unit
        self.period_ms = period_ms
        self.metrics = metrics
        self.alive = True
        self._count_max = count_max
        self._readings = {r.register.name: r for r in readings}
        self._counters = {
            r.register.name: Counter(r.counter, states.get(r.point))
            for r in readings
            if r.counter is not None
        }
        self._failures = 0
        self._failing_since_ms = 0
        self._timeouts = 0
        self.blocks: tuple[Block, ...] = ()
        self._plan(HOLE_MAX)

    def close_holes(self, refused: Block) -> bool:
        """Plan again without reading what nobody asked for; say whether that changes anything."""
        if not has_holes(refused):
            return False
        self._plan(0)
        return True

    def scan(self, replies: Sequence[Reply], *, now_ms: int) -> Scan | None:
        """Return the scan of a poll, or None while a dead device stays silent.

        `replies` are those of the blocks in order; the first that found nobody stands for the rest.
        `now_ms` is monotonic.
        """
        assert replies
        dead_before = not self.alive
        self._judge(replies[-1], now_ms)
        if dead_before and not self.alive:
            return None
        samples: list[Sample] = []
        for n, block in enumerate(self.blocks):
            reply = replies[min(n, len(replies) - 1)]
            for register in block.registers:
                samples += self._samples(register, block, reply)
        counters = tuple(c.state for c in self._counters.values() if c.state is not None)
        changed = dead_before == self.alive
        return Scan(
            device=self.id,
            samples=tuple(samples),
            counters=counters,
            alive=self.alive if changed else None,
        )

    def pause_ms(self) -> int | None:
        """Return how long to leave a device alone that costs time-outs; None when it does not."""
        if not self._timeouts:
            return None
        doubled = PROBE_MIN_MS << min(self._timeouts - 1, 10)
        return min(PROBE_MAX_MS, max(doubled, self.period_ms))

    def _plan(self, hole_max: int) -> None:
        registers = [r.register for r in self._readings.values()]
        self.blocks = plan(registers, count_max=self._count_max, hole_max=hole_max)

    def _judge(self, reply: Reply, now_ms: int) -> None:
        match reply:
            case NoAnswer(answered=False, reason=reason):
                # A line that is down costs nothing to ask, and then all its devices are back.
                self._timeouts = 0 if reason is Reason.LINE_DOWN else self._timeouts + 1
                if not self._failures:
                    self._failing_since_ms = now_ms
                self._failures += 1
                long = now_ms - self._failing_since_ms >= DEAD_AFTER_MS
                if long and self._failures >= DEAD_AFTER_POLLS:
                    self.alive = False
            case _:
                self._failures = self._timeouts = 0
                self.alive = True

    def _samples(self, register: Register, block: Block, reply: Reply) -> list[Sample]:
        reading = self._readings[register.name]
        counter = self._counters.get(register.name)
        match reply:
            case NoAnswer(at=at, reason=reason):
                if counter is not None:
                    return counter.bad(at, reason)
                return [Sample.bad(reading.point, at, reason)]
            case Words(at=at, words=words):
                first = register.address - block.address
                raw = raw_number(words[first : first + register.form.words], register)
                if counter is not None:
                    return counter.update(int(raw), at)
                return [_sample(reading.point, house_value(raw, register), at)]


def _sample(point: PointId, value: float | Reason, at: Instant) -> Sample:
    if isinstance(value, Reason):
        return Sample.bad(point, at, value)
    return Sample(point=point, at=at, value=value)
