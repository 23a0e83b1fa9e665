"""Pulses and contacts of one GPIO chip to scans of samples.

Rule 1: pulses are counted by the kernel's sequence number of the line, never by the events that we
happen to read: a process that stalls loses none, and a full event buffer only costs timestamps.
Rule 2: a total goes on from where the disk has it. What the meter turned while nobody counted is
unknown, so the first total after a start is uncertain.
"""

from collections.abc import Sequence
from dataclasses import replace

from gateway.core.device import BornMetric, Scan
from gateway.core.pulse import Counter, CounterSettings, CounterState
from gateway.site_config import GpioSection, PulseSection
from telemetry.instant import SECOND_MS, Instant
from telemetry.point import PointId
from telemetry.sample import Quality, Reason, Sample
from telemetry.units import Quantity

SEQNO_TURN = 2**32
"""The kernel's sequence number is a `__u32`."""

NEVER_ROLLS_OVER = 2**62


class PulsePin:
    """One pulse contact: the kernel's sequence numbers to a total that only grows."""

    def __init__(
        self, settings: CounterSettings, state: CounterState | None, *, start: int, at: Instant
    ) -> None:
        """Go on from `state`, or begin at `start` counts."""
        self._is_gap = state is not None
        base = start if state is None else state.base + state.raw
        since = at if state is None else state.at
        begun = CounterState(point=settings.point, base=base, raw=0, at=since)
        self._counter = Counter(settings, begun)
        self._counted = 0
        self._seqno = 0

    @property
    def state(self) -> CounterState | None:
        """Return where the total stands, for the disk."""
        return self._counter.state

    def reopened(self) -> None:
        """Take note that the kernel counts from 1 again."""
        self._seqno = 0

    def event(self, seqno: int) -> None:
        """Take the sequence number of an edge: those skipped were edges too."""
        self._counted += (seqno - self._seqno) % SEQNO_TURN
        self._seqno = seqno

    def samples(self, at: Instant) -> list[Sample]:
        """Return the total and the flow, if wanted, as they are at `at`."""
        found = self._counter.update(self._counted, at)
        if self._is_gap and found[0].quality is Quality.GOOD:
            self._is_gap = False
            found[0] = replace(found[0], quality=Quality.UNCERTAIN, reason=Reason.COUNTER_RESET)
        return found

    def bad(self, at: Instant, reason: Reason) -> list[Sample]:
        """Return the samples of a pin that cannot be read."""
        return self._counter.bad(at, reason)


class ContactPin:
    """One contact: 1 while it is active, said when it changes and after a while of silence."""

    def __init__(self, point: PointId, *, silence_max_ms: int) -> None:
        self.point = point
        self._silence_max_ms = silence_max_ms
        self._said: bool | None = None
        self._is_said = False
        self._said_ms = 0

    def sample(self, *, active: bool | None, at: Instant, monotonic_ms: int) -> list[Sample]:
        """Return the sample of a state, None when the pin cannot be read; empty when it is old."""
        is_old = self._is_said and active is self._said
        if is_old and monotonic_ms - self._said_ms < self._silence_max_ms:
            return []
        self._is_said, self._said, self._said_ms = True, active, monotonic_ms
        if active is None:
            return [Sample.bad(self.point, at, Reason.LINE_DOWN)]
        return [Sample(point=self.point, at=at, value=float(active))]


def scan_of(device: str, samples: Sequence[Sample], pulses: Sequence[PulsePin]) -> Scan:
    """Return the scan of a chip with the totals that go to the disk together with it."""
    counters = tuple(p.state for p in pulses if p.state is not None)
    return Scan(device=device, samples=tuple(samples), counters=counters)


def counter_of(section: GpioSection, pulse: PulseSection) -> CounterSettings:
    """Return what is known of a pulse contact as a counter."""
    return CounterSettings(
        point=PointId(pulse.point),
        count_m3=pulse.pulse_m3,
        rolls_over_at=NEVER_ROLLS_OVER,
        period_ms=round(section.period_s * SECOND_MS),
        flow_max_m3h=pulse.flow_max_m3h,
        flow_point=None if pulse.flow_point is None else PointId(pulse.flow_point),
        flow_window_ms=round(pulse.flow_window_s * SECOND_MS),
    )


def births_of(section: GpioSection) -> tuple[BornMetric, ...]:
    """Return what the birth of the chip says of its points."""
    period_ms = round(section.period_s * SECOND_MS)
    silence_ms = round(section.silence_max_s * SECOND_MS)
    born: list[BornMetric] = []

    def add(
        point: str, quantity: Quantity, *, maximum: float | None, resolution: float, period_ms: int
    ) -> None:
        name = point.rpartition("/")[2]
        while any(m.name == name for m in born):
            name += "_"
        born.append(
            BornMetric(
                name=name,
                point=PointId(point),
                quantity=quantity,
                zone=section.zone,
                place=section.place,
                period_ms=period_ms,
                minimum=0.0,
                maximum=maximum,
                resolution=resolution,
            )
        )

    for pulse in section.pulse:
        settings = counter_of(section, pulse)
        volume, top, step = pulse.pulse_m3, pulse.flow_max_m3h, settings.flow_resolution_m3h
        add(pulse.point, Quantity.VOLUME, maximum=None, resolution=volume, period_ms=period_ms)
        if pulse.flow_point is not None:
            add(pulse.flow_point, Quantity.FLOW, maximum=top, resolution=step, period_ms=period_ms)
    for contact in section.contact:
        add(contact.point, Quantity.STATE, maximum=1.0, resolution=1.0, period_ms=silence_ms)
    return tuple(born)
