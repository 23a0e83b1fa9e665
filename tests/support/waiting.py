"""Waits for what another process does, and never longer than said."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

LOOK_S = 0.2


def until(look: Callable[[], Found], timeout_s: float) -> Found:
    """Return what `look` finds once it finds something; fail after the timeout."""
    end, pause = time.monotonic() + timeout_s, threading.Event()
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"{look} found nothing within {timeout_s:g} s"
        pause.wait(LOOK_S)
