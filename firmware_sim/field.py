"""The field at one instant: water, instruments and wires, and what goes wrong in them in time."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from firmware_sim.core.events import Event, Kind, Layer
from firmware_sim.core.faults import Faults
from firmware_sim.core.plant import Plant
from firmware_sim.core.reach import Reach, Station, concerns
from firmware_sim.core.scenario import Places, made
from firmware_sim.core.timeline import Timeline
from telemetry.errors import RefusedCommand
from telemetry.instant import SECOND_MS, Instant

log = logging.getLogger("mainwatch.sim")

_TOLD_TO_WIRES = (Kind.LOW_BATTERY, Kind.POWER_FAILURE)
"""What is no fault of a wire, and yet shows in registers of its own."""


class Wires(Protocol):
    """What the field asks of the lines; a history has none."""

    def begin(self, event: Event, at: Instant) -> None:
        """Spoil a line, a device or a cabinet. Raises `RefusedCommand`."""
        ...

    def finish(self, event: Event, at: Instant) -> None:
        """Put it right again."""
        ...

    def power(self, device: str, *, on: bool) -> None:
        """Cut a device's power, or give it back."""
        ...


class Witness(Protocol):
    """Who writes down what really happened."""

    def began(self, event: Event, at: Instant) -> None:
        """Note that an event has begun."""
        ...

    def ended(self, event: Event, at: Instant) -> None:
        """Note that it has ended."""
        ...


class Unwired:
    """The wires of a history: there are none."""

    def begin(self, event: Event, at: Instant) -> None:
        """Do nothing."""

    def finish(self, event: Event, at: Instant) -> None:
        """Do nothing."""

    def power(self, device: str, *, on: bool) -> None:
        """Do nothing."""


class Field:
    """Moves the plant on, and lets events begin and end exactly when they should."""

    def __init__(
        self,
        plant: Plant,
        *,
        stations: Iterable[Station],
        places: Places,
        seed: int,
        wires: Wires | None = None,
    ) -> None:
        self.plant = plant
        self.places = places
        self.faults = Faults(plant.instruments, seed=seed)
        self.reach = Reach(stations, seed=seed)
        self.witnesses: list[Witness] = []
        self.wires: Wires = wires or Unwired()
        self._timeline = Timeline()
        self._open: dict[str, Event] = {}
        self._count = 0

    @property
    def open(self) -> tuple[Event, ...]:
        """Return what goes wrong now, in the order in which it began."""
        return tuple(self._open.values())

    def schedule(self, events: Iterable[Event]) -> None:
        """Let these events happen when their time has come."""
        for event in events:
            self._timeline.add(event)

    def advance(
        self,
        to: Instant,
        *,
        step_ms: int,
        refused: Callable[[Event, RefusedCommand], None] | None = None,
    ) -> None:
        """Move to `to`, stopping where an event begins or ends.

        What cannot happen is told to `refused`; without one, `RefusedCommand` is raised.
        """
        while (turn := self._timeline.next()) is not None and turn <= to:
            self.plant.advance(turn, step_ms=step_ms)
            while (found := self._timeline.pop(turn)) is not None:
                event, begins = found
                if not begins:
                    self.finish(event)
                    continue
                try:
                    self.begin(event)
                except RefusedCommand as e:
                    if refused is None:
                        raise
                    refused(event, e)
        self.plant.advance(to, step_ms=step_ms)

    def readings(self) -> list[float]:
        """Return what every register says now, in the house unit of its point."""
        at, shown = self.plant.at, self.faults.shown
        truths = self.plant.truths()
        return [
            shown(i, truth, at) for i, truth in zip(self.plant.instruments, truths, strict=True)
        ]

    def begin(self, event: Event) -> None:
        """Let an event begin now. Raises `RefusedCommand`, and then nothing has happened."""
        at = self.plant.at
        match event.kind.layer:
            case Layer.WATER:
                self.plant.begin(event)
            case Layer.INSTRUMENT:
                self.faults.begin(event)
                self.readings()  # a frozen value is that of this instant
        if event.kind.layer is Layer.WIRE or event.kind in _TOLD_TO_WIRES:
            self.wires.begin(event, at)
        if concerns(event):
            self.reach.begin(event)
        for device in self.reach.dark(event):
            self.wires.power(device, on=False)
        if not event.kind.sheet.at_once:
            self._open[event.id] = event
        for witness in self.witnesses:
            witness.began(event, at)

    def finish(self, event: Event) -> None:
        """Put an event right now; harmless when it was put right before its time."""
        if self._open.pop(event.id, None) is None:
            return
        at = self.plant.at
        match event.kind.layer:
            case Layer.WATER:
                self.plant.finish(event)
            case Layer.INSTRUMENT:
                self.faults.finish(event)
                self.readings()
        if event.kind.layer is Layer.WIRE or event.kind in _TOLD_TO_WIRES:
            self.wires.finish(event, at)
        for device in self.reach.dark(event):
            self.wires.power(device, on=True)
        if concerns(event):
            self.reach.finish(event)
        for witness in self.witnesses:
            witness.ended(event, at)

    def do(
        self, kind: str, *, target: str, for_s: float | None, numbers: Mapping[str, float]
    ) -> Event:
        """Let something happen now, as a person asked. Raises `RefusedCommand`."""
        now = self.plant.at
        end = None if for_s is None else Instant(now + round(for_s * SECOND_MS))
        self._count += 1
        try:
            event = made(
                kind,
                id_=f"{kind}-{self._count}",
                begin=now,
                end=end,
                target=target,
                numbers=numbers,
                places=self.places,
            )
        except ValueError as e:
            raise RefusedCommand(str(e)) from None
        self.begin(event)
        self._timeline.begun(event)
        return event

    def undo(self, id_: str) -> Event:
        """Put right what goes wrong under an id. Raises `RefusedCommand` naming what does."""
        event = self._open.get(id_)
        if event is None:
            known = ", ".join(self._open) or "none"
            raise RefusedCommand(f"expected the id of something open ({known}), was {id_!r}")
        self.finish(event)
        return event


def told(event: Event) -> dict[str, Any]:
    """Return an event as a command's reply and a status show it."""
    return {
        "id": event.id,
        "kind": event.kind.value,
        "target": event.target,
        "at": event.begin,
        "until": event.end,
        **event.numbers,
    }
