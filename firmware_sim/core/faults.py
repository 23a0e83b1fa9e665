"""Instruments that fail on command: what they show instead of what they should."""

from collections.abc import Callable, Iterable

from firmware_sim.core.encode import Words, counter_words, number, words
from firmware_sim.core.events import Event, Kind, Layer
from firmware_sim.core.instruments import Instrument
from firmware_sim.core.names import known
from firmware_sim.core.noise import Key, bell, key_of, uniform
from telemetry.errors import RefusedCommand
from telemetry.instant import DAY_MS, SECOND_MS, Instant
from telemetry.point import PointId
from telemetry.units import Quantity, to_house

_SETS_COUNTER = (Kind.COUNTER_RESET, Kind.COUNTER_NEAR_ROLLOVER, Kind.METER_REPLACED)
_ONLY_COUNTERS = (*_SETS_COUNTER, Kind.FROZEN_COUNTER)
_NEVER_COUNTERS = (Kind.OFFSET, Kind.DRIFT, Kind.SPIKES, Kind.NOISE)
_ONLY_FLOWS = (Kind.REVERSE_FLOW,)

_BROWN_OUT = 0.05
"""The share of readings that a transmitter with a low battery gives as its lowest value."""


class Faults:
    """What is wrong with which instrument now; those without a fault cost nothing."""

    def __init__(self, instruments: Iterable[Instrument], *, seed: int) -> None:
        self._instruments = tuple(instruments)
        self._seed = seed
        self._faulty: dict[PointId, _Faulty] = {}

    def touched(self, event: Event) -> tuple[Instrument, ...]:
        """Return the instruments that an event is about. Raises `RefusedCommand` for none."""
        named = [i for i in self._instruments if event.target in {i.point, i.device}]
        if not named:
            names = [*dict.fromkeys(i.device for i in self._instruments)]
            names += [i.point for i in self._instruments]
            try:
                known(event.target, names, what="a point or a device")
            except ValueError as e:
                raise RefusedCommand(f"{event.kind}: {e}") from None
        found = tuple(i for i in named if _can(event.kind, i))
        if not found:
            able = [i.point for i in self._instruments if _can(event.kind, i)]
            raise RefusedCommand(
                f"{event.kind}: {event.target} has nothing that it could happen to;"
                f" expected one of {', '.join(able[:5]) or 'none here'}"
            )
        return found

    def begin(self, event: Event) -> None:
        """Spoil what an event is about. Raises `RefusedCommand` when it cannot happen there."""
        assert event.kind.layer is Layer.INSTRUMENT
        for i in self.touched(event):
            if i.point not in self._faulty:
                self._faulty[i.point] = _Faulty(i, key_of(self._seed, f"fault {i.point}"))
            self._faulty[i.point].begin(event)

    def finish(self, event: Event) -> None:
        """Put right what an event spoilt; totals go on from where they are."""
        for i in self.touched(event):
            if i.point in self._faulty:
                self._faulty[i.point].finish(event)

    def shown(self, instrument: Instrument, truth: float, at: Instant) -> float:
        """Return what its register says at `at`, in the house unit; not always a finite number."""
        faulty = self._faulty.get(instrument.point)
        if faulty is not None:
            return faulty.shown(truth, at)
        if instrument.counts:
            return instrument.total(truth)
        return instrument.reading(truth, at)

    def reading(self, instrument: Instrument, truth: float, at: Instant) -> Words:
        """Return the words in its register at `at`."""
        faulty = self._faulty.get(instrument.point)
        if faulty is not None:
            return faulty.words(truth, at)
        return instrument.words(truth, at)

    def is_faulty(self, point: PointId) -> bool:
        """Say whether a point was ever spoilt, so that what it says may be out of range."""
        return point in self._faulty


class _Faulty:
    """One instrument's faults. Its counter shows `base + rate * (truth - anchor)`."""

    def __init__(self, instrument: Instrument, key: Key) -> None:
        self._instrument = instrument
        self._key = key
        self._open: dict[str, Event] = {}
        self._held: float | None = None
        self._base, self._anchor, self._rate = 0.0, 0.0, 1.0
        self._is_anchored = True
        self._set_to: float | None = None

    def begin(self, event: Event) -> None:
        if event.kind in _SETS_COUNTER:
            self._set_to = _new_total(event, self._instrument)
        else:
            self._open[event.id] = event
        self._is_anchored = False

    def finish(self, event: Event) -> None:
        self._open.pop(event.id, None)
        self._is_anchored = False
        if not any(e.kind is Kind.FLAT for e in self._open.values()):
            self._held = None

    def shown(self, truth: float, at: Instant) -> float:
        i = self._instrument
        if self._is_swapped():
            return number(self.words(truth, at), i.register)
        return i.total(self._total(truth)) if i.counts else self._moment(truth, at)

    def words(self, truth: float, at: Instant) -> Words:
        i = self._instrument
        if i.counts:
            found = counter_words(self._total(truth), i.register)
        else:
            found = words(self._moment(truth, at), i.register)
        return found[::-1] if self._is_swapped() else found

    def _is_swapped(self) -> bool:
        return any(e.kind is Kind.SWAPPED_WORDS for e in self._open.values())

    def _total(self, truth: float) -> float:
        if not self._is_anchored:
            total = self._base + self._rate * (truth - self._anchor)
            self._base = total if self._set_to is None else self._set_to
            self._anchor, self._set_to, self._is_anchored = truth, None, True
            self._rate = 1.0
            for event in self._open.values():
                self._rate *= _rate(event)
        return self._base + self._rate * (truth - self._anchor)

    def _moment(self, truth: float, at: Instant) -> float:
        if self._held is not None:
            return self._held
        i = self._instrument
        value, is_flat = truth, False
        for event in self._open.values():
            is_flat = is_flat or event.kind is Kind.FLAT
            value = _SPOILT.get(event.kind, _left_alone)(value, event, at, self._key)
        shown = i.reading(value, at)
        if any(e.kind is Kind.LOW_BATTERY for e in self._open.values()) and (
            uniform(self._key, at // SECOND_MS) < _BROWN_OUT
        ):
            shown = to_house(i.register.minimum or 0.0, i.register.unit)
        if is_flat:
            self._held = shown
        return shown


def _can(kind: Kind, instrument: Instrument) -> bool:
    if kind in _ONLY_FLOWS:
        return instrument.register.quantity in {Quantity.FLOW, Quantity.VOLUME}
    if kind is Kind.SWAPPED_WORDS:
        return instrument.register.form.words > 1
    return kind not in (_NEVER_COUNTERS if instrument.counts else _ONLY_COUNTERS)


def _rate(event: Event) -> float:
    match event.kind:
        case Kind.FROZEN_COUNTER | Kind.FLAT:
            return 0.0
        case Kind.REVERSE_FLOW:
            return -1.0
        case Kind.SCALE:
            return event.numbers["factor"]
        case _:
            return 1.0


def _new_total(event: Event, instrument: Instrument) -> float:
    """Return the volume, in m³, that a counter is set to."""
    if event.kind is not Kind.COUNTER_NEAR_ROLLOVER:
        return event.numbers["m3"]
    r = instrument.register
    counts = (r.rolls_over_at or 1 << 16 * r.form.words) - event.numbers["counts"]
    return to_house(counts * r.scale, r.unit)


_Spoil = Callable[[float, Event, Instant, Key], float]


def _left_alone(value: float, _event: Event, _at: Instant, _key: Key) -> float:
    return value


def _drifted(value: float, event: Event, at: Instant, _key: Key) -> float:
    return value + event.numbers["per_day"] * (at - event.begin) / DAY_MS


def _spiked(value: float, event: Event, at: Instant, key: Key) -> float:
    second = at // SECOND_MS
    if uniform(key, second) * 3600 >= event.numbers["per_hour"]:
        return value
    return value + event.numbers["size"] * (1.0 if uniform(key, -second) < 0.5 else -1.0)


_SPOILT: dict[Kind, _Spoil] = {
    Kind.OFFSET: lambda value, event, _at, _key: value + event.numbers["by"],
    Kind.SCALE: lambda value, event, _at, _key: value * event.numbers["factor"],
    Kind.REVERSE_FLOW: lambda value, _event, _at, _key: -value,
    Kind.NOISE: lambda value, event, at, key: value + event.numbers["sd"] * bell(key, at),
    Kind.DRIFT: _drifted,
    Kind.SPIKES: _spiked,
}
"""What each kind makes of the truth of a moment, in the order in which they began."""
