"""A sleep that ends on time: the kernel's own timer, as a file that the event loop watches.

The loop's timers are whole milliseconds, rounded up; a silence between two frames is 1.75 ms. To
wait for the rest without a timer would keep a core busy for as long as the line is.
"""

import asyncio
import contextlib
import ctypes
import os
import time

_AT_AN_INSTANT = 1
"""TFD_TIMER_ABSTIME: not a span but an instant of the clock, which is the loop's."""

_NANOSECONDS = 1_000_000_000


class _Setting(ctypes.Structure):
    """The kernel's `struct itimerspec`."""

    _fields_ = (
        ("every_s", ctypes.c_long),
        ("every_ns", ctypes.c_long),
        ("at_s", ctypes.c_long),
        ("at_ns", ctypes.c_long),
    )


class PreciseSleep:
    """One timer, for one task at a time."""

    def __init__(self) -> None:
        """Take a timer of the kernel. Raises `OSError` when it has none left."""
        self._loop = asyncio.get_running_loop()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._waiter: asyncio.Future[None] | None = None
        self._file = self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "no timer")
        self._loop.add_reader(self._file, self._fired)

    async def until(self, at_s: float) -> None:
        """Return when `at_s` of the loop's time has come; at once when it is closed meanwhile."""
        whole_s = int(at_s)
        setting = _Setting(at_s=whole_s, at_ns=int((at_s - whole_s) * _NANOSECONDS))
        self._waiter = self._loop.create_future()
        self._libc.timerfd_settime(self._file, _AT_AN_INSTANT, ctypes.byref(setting), None)
        await self._waiter

    def close(self) -> None:
        """Give the timer back."""
        if self._file >= 0:
            self._loop.remove_reader(self._file)
            os.close(self._file)
            self._file = -1
        self._wake()

    def _fired(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it was set anew meanwhile
            os.read(self._file, 8)
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
