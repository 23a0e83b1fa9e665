"""What of a line is due next: each poll on a fixed grid, whatever the polls themselves take.

Rule 1: a poll of high priority that is due goes before any of low priority.
Rule 2: after a probe of a dead device whatever else is due goes first: one probe at a time.
Rule 3: what cannot be done before it is due again is skipped and counted, never queued.
"""

from dataclasses import dataclass


def next_due(due_ms: int, *, start_ms: int, period_ms: int, now_ms: int) -> tuple[int, int]:
    """Return the next instant of the grid after `now_ms`, and how many were missed since `due_ms`.

    >>> next_due(2000, start_ms=0, period_ms=1000, now_ms=2300)
    (3000, 0)
    >>> next_due(2000, start_ms=0, period_ms=1000, now_ms=4300)
    (5000, 2)
    """
    ahead = start_ms + ((now_ms - start_ms) // period_ms + 1) * period_ms
    return ahead, max(0, (ahead - due_ms) // period_ms - 1)


@dataclass(slots=True, kw_only=True)
class Slot:
    """One poll in the schedule. While `is_probe` its device is taken for dead."""

    period_ms: int
    is_low: bool
    due_ms: int
    is_probe: bool = False


class Schedule:
    """The polls of one line."""

    def __init__(self, *, start_ms: int) -> None:
        self._start_ms = start_ms
        self._after_probe = False

    def first_due(self) -> int:
        """Return when a poll that is new in the schedule is due."""
        return self._start_ms

    def pick(self, slots: list[Slot], now_ms: int) -> tuple[int, int]:
        """Return the number of the poll that is next, and when it is due."""
        due = [n for n, slot in enumerate(slots) if slot.due_ms <= now_ms]
        others = [n for n in due if not slots[n].is_probe]
        if self._after_probe and others:
            due = others
        urgent = [n for n in due if not slots[n].is_low or slots[n].is_probe]
        found = urgent or due or range(len(slots))
        n = min(found, key=lambda n: (slots[n].due_ms, slots[n].period_ms, n))
        return n, slots[n].due_ms

    def done(self, slot: Slot, *, now_ms: int) -> int:
        """Put a poll back onto its grid; return how many were missed meanwhile."""
        self._after_probe = slot.is_probe
        slot.due_ms, missed = next_due(
            slot.due_ms, start_ms=self._start_ms, period_ms=slot.period_ms, now_ms=now_ms
        )
        return missed

    def overdue(self, slot: Slot, *, now_ms: int) -> int:
        """Let go of what a waiting poll of low priority has missed; return how many that were."""
        if not slot.is_low or slot.is_probe:
            return 0
        missed = max(0, (now_ms - slot.due_ms) // slot.period_ms)
        slot.due_ms += missed * slot.period_ms
        return missed

    def put_off(self, slot: Slot, *, until_ms: int) -> None:
        """Leave a poll alone until then."""
        self._after_probe = slot.is_probe
        slot.due_ms = until_ms
