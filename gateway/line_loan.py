"""A line is lent: a fitter's tool takes it from a running gateway and gives it back.

Two locks of the kernel in the gateway's data folder for each line, free at once when their holder
dies. `held` is the gateway's while it uses the line, `wanted` the tool's while it wants it. Two
masters on one serial line would destroy each other's frames, so nobody shares; a Modbus TCP
converter takes several connections and is never lent.
"""

import asyncio
import fcntl
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from gateway.line_config import LineSection
from telemetry.errors import RefusedCommand
from telemetry.instant import Clock

log = logging.getLogger("mainwatch.gateway.loan")

LOOK_MS = 300
"""How often the gateway looks whether somebody wants a line."""

PATIENCE_S = 30.0
"""How long a tool waits for a gateway that is in the middle of a read."""


class Loan:
    """The gateway's side of one line."""

    def __init__(self, folder: Path, line: str) -> None:
        self._line = line
        self._held_path, self._wanted_path = _paths(folder, line)
        self._held: IO[bytes] | None = None
        self._looked_ms = -LOOK_MS

    async def before_use(self, clock: Clock, *, close: Callable[[], None]) -> None:
        """Return when the line is ours; if a tool wants it, `close` it and wait."""
        now_ms = clock.monotonic_ms()
        if self._held is not None and now_ms - self._looked_ms < LOOK_MS:
            return
        self._looked_ms = now_ms
        if self._held is not None and not _is_locked(self._wanted_path):
            return
        if self._held is not None:
            log.warning("line %s is lent to a fitter's tool: its polls wait", self._line)
            close()
            self.release()
        while _is_locked(self._wanted_path) or not self._take():
            clock.monotonic_ms()  # we are alive
            await asyncio.sleep(LOOK_MS / 1000)
        log.info("line %s is ours", self._line)

    def release(self) -> None:
        """Let the line go."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def _take(self) -> bool:
        self._held = _lock(self._held_path)
        return self._held is not None


def loan_of(section: LineSection, folder: Path) -> Loan | None:
    """Return the loan of a line that cannot be shared, None for one that can."""
    return None if section.kind == "tcp" else Loan(folder, section.name)


@asynccontextmanager
async def borrowed(
    section: LineSection, folder: Path, *, tell: Callable[[str], None]
) -> AsyncIterator[None]:
    """Hold a line while the context lasts, and tell when a gateway has to wait for it.

    Raises `RefusedCommand` when another tool has it or the gateway does not let go.
    """
    if section.kind == "tcp" or not folder.is_dir():
        yield
        return
    held_path, wanted_path = _paths(folder, section.name)
    wanted = _lock(wanted_path)
    if wanted is None:
        raise RefusedCommand(f"line {section.name}: expected it free, another tool has it")
    with wanted:
        held = _lock(held_path)
        if held is None:
            tell(f"line {section.name} is taken from the running gateway: its polls wait")
            try:
                async with asyncio.timeout(PATIENCE_S):
                    while (held := _lock(held_path)) is None:  # noqa: ASYNC110  a lock of another process
                        await asyncio.sleep(LOOK_MS / 1000)
            except TimeoutError:
                raise RefusedCommand(
                    f"line {section.name}: expected the gateway to let go within"
                    f" {PATIENCE_S:.0f} s, it did not"
                ) from None
        with held:
            yield


def _paths(folder: Path, line: str) -> tuple[Path, Path]:
    return folder / f"line-{line}.held", folder / f"line-{line}.wanted"


def _lock(path: Path) -> IO[bytes] | None:
    """Return the lock of a file, None when somebody has it."""
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def _is_locked(path: Path) -> bool:
    lock = _lock(path)
    if lock is None:
        return True
    lock.close()
    return False
