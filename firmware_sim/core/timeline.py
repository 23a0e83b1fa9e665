"""The order in which events begin and end, whatever the steps of those who ask."""

import heapq
from collections.abc import Iterable

from firmware_sim.core.events import Event
from telemetry.instant import Instant

_END, _BEGIN = 0, 1
"""What ends at an instant ends before anything else begins there."""


class Timeline:
    """Turning points still to come; a live command adds more."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._coming: list[tuple[Instant, int, int, Event]] = []
        self._count = 0
        for event in events:
            self.add(event)

    def add(self, event: Event) -> None:
        """Let an event begin, and end if it is known when."""
        self._push(event.begin, _BEGIN, event)

    def begun(self, event: Event) -> None:
        """Let an event end that has begun without the timeline."""
        if event.end is not None and not event.kind.sheet.at_once:
            self._push(event.end, _END, event)

    def next(self) -> Instant | None:
        """Return the next turning point."""
        return self._coming[0][0] if self._coming else None

    def pop(self, at: Instant) -> tuple[Event, bool] | None:
        """Return the next event that turns at `at` or before, and whether it begins."""
        if not self._coming or self._coming[0][0] > at:
            return None
        _, turn, _, event = heapq.heappop(self._coming)
        if turn == _BEGIN:
            self.begun(event)
        return event, turn == _BEGIN

    def _push(self, at: Instant, turn: int, event: Event) -> None:
        self._count += 1
        heapq.heappush(self._coming, (at, turn, self._count, event))
