"""One Modbus device: what to ask it, and its answers as scans of samples.

Every poll gives a scan, good or bad, until the device is taken for dead; then it is probed ever
more rarely and its silence is told once, by its last bad scan and its death.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.core.decode import PlainBlock, house_value, raw_number, text
from gateway.core.isolation import Verdict, unreadable
from gateway.core.poll_plan import Block, Costs, Poll, Wanted, is_settled, load, polls
from gateway.core.pulse import Counter, CounterSettings, CounterState
from gateway.core.statistics import DeviceStatistics, Health
from telemetry.instant import Instant
from telemetry.point import PointId
from telemetry.register_map import Register
from telemetry.sample import Reason, Sample, good_samples
from telemetry.units import Quantity

PROBE_MIN_MS = 500
PROBE_MAX_MS = 10_000
"""A device that does not answer is asked again after the first, then twice as long, up to this."""

DEAD_AFTER_MS = 3_000
DEAD_AFTER_POLLS = 2
"""A device is dead when both have passed: one lost reply on a noisy line is no death."""

REPLAN_MS = 10_000
REPLAN_SHARE = 0.3
REPLAN_MIN_S = 0.002
"""A plan is made anew when the measured turnaround has moved by so much, and no more often."""

BUSY_TRIES = 3
BUSY_PAUSE_MS = 100
"""A busy device is asked again so often within one poll, after so long a pause each time."""

PROBE_PATIENCE_S = 0.1
PROBE_PATIENCE_TIMES = 4.0
"""A device in quarantine is waited for four times as long as it ever took, at least so long."""

_SMOOTHING = 1 / 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What one block read gave, and when it arrived."""

    at: Instant
    words: Sequence[int]
    turnaround_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswer:
    """A block read that gave nothing; `answered` when the device at least refused, by `code`."""

    at: Instant
    reason: Reason
    answered: bool = False
    code: int = 0


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
    """A register that is read every `period_ms`, and the counter that it feeds, if it is one."""

    register: Register
    point: PointId
    counter: CounterSettings | None
    period_ms: int
    is_low: bool = False


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
        costs: Costs,
        readings: Sequence[Reading],
        states: Mapping[PointId, CounterState],
        identity: Register | None = None,
        expected_identity: str = "",
    ) -> None:
        self.id = id
        self.unit = unit
        self.alive = True
        self.statistics = DeviceStatistics(turnaround_ms=1000 * costs.turnaround_s)
        self.identity = identity
        """The register that tells this device from another of its model, if it has one."""
        self.wants_identity = identity is not None
        self.said_identity = ""
        self.polls: tuple[Poll, ...] = ()
        self._expected_identity = expected_identity
        self._costs = costs
        self._as_delivered = costs
        self._readings = {r.register.name: r for r in readings}
        self._counters = {
            r.register.name: Counter(r.counter, states.get(r.point))
            for r in readings
            if r.counter is not None
        }
        self._unreadable: dict[str, Register] = {}
        self._due_ms: dict[str, int] = {}
        self._failures = 0
        self._failing_since_ms = 0
        self._silences = 0
        self._turnaround_s = costs.turnaround_s
        self._slowest_s = 0.0
        self._observed = 0
        self._planned_ms = 0
        self._plain: dict[int, tuple[Block, PlainBlock | None]] = {}
        """By the identity of the block, which is held so that it stays its own."""
        self._plan()

    # What to ask.

    @property
    def needed(self) -> float:
        """Return what share of its line's time the device's plan asks for."""
        return load(self.polls, self._costs)

    def needed_of(self, poll: Poll) -> float:
        """Return what share of its line's time one of its polls asks for."""
        return load((poll,), self._costs)

    def read_s(self, block: Block) -> float:
        """Return for how long a block is reckoned to hold the line."""
        return self._costs.block_s(block)

    def period_ms(self, register: Register) -> int:
        """Return how often a register is wanted."""
        return self._readings[register.name].period_ms

    def point_of(self, register: Register) -> PointId:
        """Return the point that a register feeds."""
        return self._readings[register.name].point

    @property
    def pause_s(self) -> float:
        """Return how long the device wants to be left alone after an answer."""
        return self._costs.pause_s

    def replan(self, now_ms: int) -> bool:
        """Plan anew if the device has become slower or faster; say whether the plan has changed."""
        planned_s = self._costs.turnaround_s
        moved_s = abs(self._turnaround_s - planned_s)
        too_early = self._observed < 1 / _SMOOTHING or now_ms - self._planned_ms < REPLAN_MS
        if too_early or moved_s < max(REPLAN_MIN_S, REPLAN_SHARE * planned_s):
            return False
        self._planned_ms = now_ms
        self._costs = replace(self._costs, turnaround_s=self._turnaround_s)
        return False if is_settled(self.polls) else self._plan()

    def learn(self, block: Block, verdict: Verdict) -> None:
        """Remember what the device refuses, and never ask for it again while it lives."""
        if verdict.longest is not None:
            shorter = max(verdict.longest, self._longest_alone())
            self._costs = replace(self._costs, count_max=min(self._costs.count_max, shorter))
        if verdict.refused is not None:
            barred = frozenset((block.table, a) for a in verdict.refused)
            self._costs = replace(self._costs, barred=self._costs.barred | barred)
            for r in unreadable(verdict.refused, block):
                if len(self._unreadable) < len(self._readings) - 1:  # one is left to ask for
                    self._unreadable[r.name] = r
        self.statistics.unreadable = len(self._unreadable)
        self._plan()

    def refuses(self, register: Register) -> bool:
        """Say whether the device is known to refuse a register."""
        return register.name in self._unreadable

    def patience_s(self, usual_s: float) -> float:
        """Return how long to wait for the device to begin its answer."""
        if self.alive or not self._slowest_s:
            return usual_s
        return min(usual_s, max(PROBE_PATIENCE_S, PROBE_PATIENCE_TIMES * self._slowest_s))

    def pause_ms(self) -> int | None:
        """Return how long to leave a device alone that costs time-outs; None when it does not."""
        if not self._silences:
            return None
        doubled = PROBE_MIN_MS << min(self._silences - 1, 10)
        period_ms = min(p.period_ms for p in self.polls)
        return min(PROBE_MAX_MS, max(doubled, period_ms))

    # What it says.

    def scan(self, poll: Poll, replies: Sequence[Reply], *, now_ms: int) -> Scan | None:
        """Return the scan of a poll, or None while a dead device stays silent.

        `replies` are those of the blocks in order; the first that found nobody stands for the rest.
        `now_ms` is monotonic.
        """
        assert replies
        dead_before = not self.alive
        self._judge(replies[-1], now_ms)
        self._count(replies)
        if dead_before and not self.alive:
            return None
        if dead_before:
            self._forget_refusals()
        samples: list[Sample] = []
        for n, block in enumerate(poll.blocks):
            reply = replies[min(n, len(replies) - 1)]
            if self.statistics.health is Health.IMPOSTOR:
                reply = NoAnswer(at=reply.at, reason=Reason.WRONG_REPLY, answered=True)
            samples += self._block_samples(block, poll, reply, now_ms)
        if self.polls and poll is self.polls[0]:
            at = replies[-1].at
            for name, register in self._unreadable.items():
                if self._is_due(register, poll, now_ms):
                    samples += self._bad(name, at, Reason.DEVICE_EXCEPTION)
        changed = dead_before == self.alive
        counters = tuple(c.state for c in self._counters.values() if c.state is not None)
        return Scan(
            device=self.id,
            samples=tuple(samples),
            counters=counters,
            alive=self.alive if changed else None,
        )

    def identified(self, words: Sequence[int]) -> str:
        """Take what the identifying register holds; return "" or what there is to tell of it."""
        assert self.identity is not None
        found = text(words, self.identity)
        self.wants_identity = False
        expected = self._expected_identity or self.said_identity
        was_impostor = self.statistics.health is Health.IMPOSTOR
        if self._expected_identity and found != self._expected_identity:
            self.statistics.health = Health.IMPOSTOR
            self.wants_identity = True  # until the right one is back
            if not was_impostor:
                self.statistics.impostors += 1
                return f"another device answers: expected {expected!r}, was {found!r}"
            return ""
        changed = bool(self.said_identity) and found != self.said_identity
        self.said_identity = found
        if was_impostor:
            self.statistics.health = Health.ANSWERING
            return f"the right device answers again: {found!r}"
        if changed:
            self.statistics.impostors += 1
            for counter in self._counters.values():
                counter.replaced()
            return f"it was replaced: {expected!r} before, {found!r} now; its totals go on"
        return ""

    def line_was_lost(self) -> None:
        """Take note that another device may be at the other end from now on."""
        self.wants_identity = self.identity is not None

    def _plan(self) -> bool:
        wanted = [
            Wanted(register=r.register, period_ms=r.period_ms, is_low=r.is_low)
            for r in self._readings.values()
            if r.register.name not in self._unreadable
        ]
        before = self.polls
        self.polls = polls(wanted, self._costs)
        self._plain.clear()
        return self.polls != before

    def _longest_alone(self) -> int:
        return max(r.register.length for r in self._readings.values())

    def _forget_refusals(self) -> None:
        """Try everything again with a device that comes back: it may be another one."""
        self.wants_identity = self.identity is not None
        if not self._unreadable and self._costs.barred == self._as_delivered.barred:
            return
        self._unreadable.clear()
        self.statistics.unreadable = 0
        self._costs = replace(self._as_delivered, turnaround_s=self._costs.turnaround_s)
        self._plan()

    def _is_due(self, register: Register, poll: Poll, now_ms: int) -> bool:
        """Say whether a register that may ride with a faster poll is wanted this time."""
        period_ms = self._readings[register.name].period_ms
        if period_ms <= poll.period_ms:
            return True
        due_ms = self._due_ms.get(register.name, now_ms)
        if now_ms < due_ms - poll.period_ms // 2:
            return False
        late = now_ms - due_ms >= period_ms
        self._due_ms[register.name] = (now_ms if late else due_ms) + period_ms
        return True

    def _judge(self, reply: Reply, now_ms: int) -> None:
        s = self.statistics
        match reply:
            case NoAnswer(answered=False, reason=reason):
                # A line that is down costs nothing to ask, and then all its devices are back.
                if reason is Reason.LINE_DOWN:
                    self._silences = 0
                elif reason is Reason.TIMEOUT or not self.alive:
                    self._silences += 1
                if not self._failures:
                    self._failing_since_ms = now_ms
                self._failures += 1
                long = now_ms - self._failing_since_ms >= DEAD_AFTER_MS
                if long and self._failures >= DEAD_AFTER_POLLS:
                    s.deaths += self.alive
                    self.alive = False
                if s.health is not Health.UNHEARD or not self.alive:
                    s.health = Health.FAILING if self.alive else Health.QUARANTINED
            case _:
                self._failures = self._silences = 0
                self.alive = True
                if s.health is not Health.IMPOSTOR:
                    s.health = Health.ANSWERING

    def _count(self, replies: Sequence[Reply]) -> None:
        s = self.statistics
        for reply in replies:
            match reply:
                case Words(turnaround_s=turnaround_s):
                    s.replies += 1
                    if turnaround_s is not None:
                        self._observe(turnaround_s)
                case NoAnswer(reason=Reason.TIMEOUT):
                    s.timeouts += 1
                case NoAnswer(reason=Reason.WRONG_REPLY):
                    s.wrong_replies += 1
                case NoAnswer(reason=Reason.DEVICE_EXCEPTION):
                    s.exceptions += 1

    def _observe(self, turnaround_s: float) -> None:
        weight = _SMOOTHING if self._observed else 1.0
        self._observed += 1
        self._turnaround_s += weight * (turnaround_s - self._turnaround_s)
        self._slowest_s = max(self._slowest_s, turnaround_s)
        self.statistics.turnaround_ms = 1000 * self._turnaround_s

    def _block_samples(
        self, block: Block, poll: Poll, reply: Reply, now_ms: int
    ) -> Sequence[Sample]:
        if isinstance(reply, Words):
            plain = self._plain_block(block, poll)
            if plain is not None:
                return self._plain_samples(plain, reply)
        found: list[Sample] = []
        for register in block.registers:
            if self._is_due(register, poll, now_ms):
                found += self._samples(register, block, reply)
        return found

    def _plain_block(self, block: Block, poll: Poll) -> PlainBlock | None:
        """Return how to decode a block in one go, if all of it is plain and always due."""
        found = self._plain.get(id(block))
        if found is not None:
            return found[1]
        plain = None
        if all(
            self._readings[r.name].period_ms <= poll.period_ms and r.name not in self._counters
            for r in block.registers
        ):
            plain = PlainBlock.of(block.registers, address=block.address, count=block.count)
        self._plain[id(block)] = block, plain
        return plain

    def _plain_samples(self, plain: PlainBlock, reply: Words) -> Sequence[Sample]:
        points = [self._readings[r.name].point for r in plain.registers]
        values = plain.values(reply.words)
        good = [v for v in values if not isinstance(v, Reason)]
        if len(good) == len(values):
            return good_samples(points, [reply.at] * len(good), good)
        return [_sample(p, v, reply.at) for p, v in zip(points, values, strict=True)]

    def _samples(self, register: Register, block: Block, reply: Reply) -> list[Sample]:
        match reply:
            case NoAnswer(at=at, reason=reason):
                return self._bad(register.name, at, reason)
            case Words(at=at, words=words):
                first = register.address - block.address
                raw = raw_number(words[first : first + register.length], register)
                counter = self._counters.get(register.name)
                if counter is None:
                    point = self._readings[register.name].point
                    return [_sample(point, house_value(raw, register), at)]
                if raw in register.error_values or not math.isfinite(raw):
                    return counter.bad(at, Reason.NOT_A_NUMBER)
                return counter.update(int(raw), at)

    def _bad(self, name: str, at: Instant, reason: Reason) -> list[Sample]:
        counter = self._counters.get(name)
        if counter is not None:
            return counter.bad(at, reason)
        return [Sample.bad(self._readings[name].point, at, reason)]


def identity_block(register: Register) -> Block:
    """Return the read of a register alone."""
    return Block(
        table=register.table,
        address=register.address,
        count=register.length,
        registers=(register,),
    )


def is_single(block: Block) -> bool:
    """Say whether a block is one register that cannot be read in parts."""
    return all(r.address == block.address and r.end == block.end for r in block.registers)


def _sample(point: PointId, value: float | Reason, at: Instant) -> Sample:
    if isinstance(value, Reason):
        return Sample.bad(point, at, value)
    return Sample(point=point, at=at, value=value)
