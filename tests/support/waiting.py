"""Waits for what another process does, and never longer than said."""

import threading
from collections.abc import Callable
from typing import TypeVar

from mainwatch.wall_clock import WallClock

Found = TypeVar("Found")

LOOK_S = 0.2


def until(look: Callable[[], Found], timeout_s: float) -> Found:
    """Return what `look` finds once it finds something; fail after the timeout."""
    clock, pause = WallClock(), threading.Event()
    end = clock.monotonic_ms() + timeout_s * 1000
    while True:
        found = look()
        if found:
            return found
        assert clock.monotonic_ms() < end, f"{look} found nothing within {timeout_s:g} s"
        pause.wait(LOOK_S)
