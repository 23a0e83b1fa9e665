"""A counter that rolls over, restarts and stutters to a volume that only grows, and to a flow.

Rule 1: the volume never leaps, and goes backwards only where the register counts a net volume and
water flows back. A count that does not continue the last one is held back; when the next one
continues it, the device has begun anew, or another meter is in its place, and the volume goes on
from where it was (UNCERTAIN, counter_reset); when the next one continues the old series, it was
noise.
Rule 2: a flow is a difference over a window, so its resolution is one count over that window. Until
half of the window is seen there is no flow, until the whole is seen it is UNCERTAIN.
"""

from collections import deque
from dataclasses import dataclass

from telemetry.instant import HOUR_MS, Instant
from telemetry.point import PointId
from telemetry.sample import Quality, Reason, Sample

NEAR_EDGE = 8
"""Without a maximum flow a fall is a roll-over only from the last eighth of the range to the first,
and a rise is believed up to an eighth of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterSettings:
    """What is known of a counter: `count_m3` is the volume of one count."""

    point: PointId
    count_m3: float
    rolls_over_at: int
    period_ms: int
    flow_max_m3h: float | None
    flow_point: PointId | None
    flow_window_ms: int
    runs_backwards: bool = False

    @property
    def flow_resolution_m3h(self) -> float:
        """Return the flow of one count in the window."""
        return self.count_m3 * HOUR_MS / self.flow_window_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterState:
    """Where a counter stands; kept on disk with the samples. Its total is `base + raw`, counts."""

    point: PointId
    base: int
    raw: int
    at: Instant


class Counter:
    """One counter. `update` takes what the device says and returns the samples of its points."""

    def __init__(self, settings: CounterSettings, state: CounterState | None) -> None:
        self.settings = settings
        self.state = state
        self._is_replaced = False
        self._held: CounterState | None = None
        """A reading that did not continue the series and waits for the next one to confirm it."""
        self._window: deque[tuple[Instant, int]] = deque()

    def update(self, raw: int, at: Instant) -> list[Sample]:
        """Take a reading and return the sample of the volume and that of the flow, if wanted."""
        last = self.state
        if last is None and not 0 <= raw < self.settings.rolls_over_at:
            return self._samples(at, Reason.OUT_OF_RANGE, value=None)
        if last is None:
            return self._accept(base=0, raw=raw, at=at, sure=True)
        if self._is_replaced and 0 <= raw < self.settings.rolls_over_at:
            self._is_replaced = False
            self._held = CounterState(point=last.point, base=0, raw=raw, at=at)
            return self._restart(raw, at, since_held=0)
        step = self._step(last, raw, at)
        if step is not None:
            sure = self._plausible(last.at, at) < self.settings.rolls_over_at
            base = last.base + (last.raw + step - raw)
            return self._accept(base=base, raw=raw, at=at, sure=sure)
        held = self._held
        if held is not None:
            step = self._step(held, raw, at)
            if step is not None:
                return self._restart(raw, at, since_held=step)
        self._held = CounterState(point=last.point, base=0, raw=raw, at=at)
        if raw < last.raw:
            return self._samples(at, Reason.COUNTER_RESET, value=self._volume(last))
        return self._samples(at, Reason.IMPLAUSIBLE_RATE, value=None)

    def replaced(self) -> None:
        """Take note that another meter is in its place: its first count continues the series."""
        self._is_replaced = self.state is not None

    def bad(self, at: Instant, reason: Reason) -> list[Sample]:
        """Return the samples of a reading that failed; the series waits."""
        return self._samples(at, reason, value=None)

    def _step(self, last: CounterState, raw: int, at: Instant) -> int | None:
        """Return how many counts have passed since `last`, or None if `raw` cannot follow it."""
        turn = self.settings.rolls_over_at
        if not 0 <= raw < turn:
            return None
        step = (raw - last.raw) % turn
        most = self._plausible(last.at, at)
        if step <= most:
            return step
        return step - turn if self.settings.runs_backwards and turn - step <= most else None

    def _plausible(self, before: Instant, at: Instant) -> float:
        """Return the most counts that can have passed.

        The device may have taken its count up to a period before it answered, and the clock may
        have been set back, so a period is added and time never counts as negative.
        """
        flow_max = self.settings.flow_max_m3h
        if flow_max is None:
            return self.settings.rolls_over_at / NEAR_EDGE
        elapsed_ms = max(0, at - before) + self.settings.period_ms
        return flow_max * elapsed_ms / HOUR_MS / self.settings.count_m3 + 1

    def _accept(self, *, base: int, raw: int, at: Instant, sure: bool) -> list[Sample]:
        """Go on to `raw`; not `sure` when whole turns may have gone by since the last reading."""
        self.state = CounterState(point=self.settings.point, base=base, raw=raw, at=at)
        self._held = None
        flow = self._flow(at, base + raw)
        volume = Sample(
            point=self.settings.point,
            at=at,
            value=self._volume(self.state),
            quality=Quality.GOOD if sure else Quality.UNCERTAIN,
            reason=Reason.NONE if sure else Reason.UNKNOWN,
        )
        return [volume] if flow is None else [volume, flow]

    def _restart(self, raw: int, at: Instant, *, since_held: int) -> list[Sample]:
        """Continue from the old total with what the restarted counter has surely counted."""
        last, held = self.state, self._held
        assert last is not None
        assert held is not None
        total = last.base + last.raw + since_held
        self.state = CounterState(point=last.point, base=total - raw, raw=raw, at=at)
        self._held = None
        self._window.clear()
        self._window.append((at, total))
        return self._samples(at, Reason.COUNTER_RESET, value=self._volume(self.state))

    def _samples(self, at: Instant, reason: Reason, *, value: float | None) -> list[Sample]:
        """Return a volume that is uncertain, or bad without a value, and no flow."""
        s = self.settings
        quality = Quality.BAD if value is None else Quality.UNCERTAIN
        found = [Sample(point=s.point, at=at, value=value, quality=quality, reason=reason)]
        if s.flow_point is not None:
            found.append(Sample.bad(s.flow_point, at, reason))
        return found

    def _volume(self, state: CounterState) -> float:
        return (state.base + state.raw) * self.settings.count_m3

    def _flow(self, at: Instant, total: int) -> Sample | None:
        s = self.settings
        if s.flow_point is None:
            return None
        window = self._window
        if window and at <= window[-1][0]:  # the clock was set back: begin the window anew
            window.clear()
        while window and at - window[0][0] > 2 * s.flow_window_ms + s.period_ms:
            window.popleft()
        window.append((at, total))
        while len(window) > 2 and at - window[1][0] >= s.flow_window_ms:
            window.popleft()
        since, before = window[0]
        if 2 * (at - since) < s.flow_window_ms or len(window) < 2:
            return Sample.bad(s.flow_point, at, Reason.FIRST_READING)
        flow = (total - before) * s.count_m3 * HOUR_MS / (at - since)
        # A grid of polls jitters by some milliseconds: nearly the whole window is the whole.
        if 20 * (at - since) < 19 * s.flow_window_ms:
            return Sample(
                point=s.flow_point,
                at=at,
                value=flow,
                quality=Quality.UNCERTAIN,
                reason=Reason.FIRST_READING,
            )
        return Sample(point=s.flow_point, at=at, value=flow)
