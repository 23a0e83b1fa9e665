"""The one file that reads the machine's clock."""

import asyncio
import ctypes
import time
from pathlib import Path

from telemetry.instant import Instant

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_STA_UNSYNC = 0x40


class _Timex(ctypes.Structure):
    """The beginning of the kernel's `struct timex`, the same on 32 and 64 bits, and room for it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


class WallClock:
    """The machine's own time, in UTC."""

    def now(self) -> Instant:
        """Return the present instant."""
        return Instant(time.time_ns() // 1_000_000)

    def monotonic_ms(self) -> int:
        """Return milliseconds since the machine started, never going backwards."""
        return time.monotonic_ns() // 1_000_000

    async def sleep_until(self, at: Instant) -> None:
        """Return when `at` has come; at once when it has passed."""
        await asyncio.sleep(max(0, at - self.now()) / 1000)

    def boot_id(self) -> str:
        """Return what names this start of the machine; the monotonic clock counts from it."""
        return _BOOT_ID.read_text(encoding="ascii").strip()

    def is_synchronised(self) -> bool:
        """Say whether the kernel's clock is disciplined: NTP, PTP or GPS, whoever does it."""
        asked = _Timex(modes=0)
        said = ctypes.CDLL(None).adjtimex(ctypes.byref(asked))
        return said >= 0 and not asked.status & _STA_UNSYNC
