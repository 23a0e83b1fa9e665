"""What the intake is doing, in a small file that needs no room: `intake.state`.

It is made whole at the start and written over in place, so that a full disk can still be told of.
The desk reads it when the door does not answer and shows it on every page.
"""

import json
import os
from pathlib import Path

from telemetry.errors import MainwatchError, StorageError, is_disk_full
from telemetry.instant import Instant

NAME = "intake.state"
SIZE = 1024

SERVING = "serving"
ENDED = "ended"
DISK_FULL = "disk_full"
FAILED = "failed"


class StateFile:
    """The one writer of that file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        """What was said last stays until there is something new: a start that fails is no news."""

    def make(self, *, at: Instant) -> None:
        """Take the room that it needs, if it has not. Raises `StorageError`."""
        if not self._path.exists():
            self.say(ENDED, at=at)

    def say(self, state: str, *, at: Instant, because: str = "") -> None:
        """Write a state over the one before. Raises `StorageError`."""
        body = {"state": state, "at": at, "because": because[: SIZE // 4]}
        text = json.dumps(body).encode()[: SIZE - 1]
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.pwrite(handle, text.ljust(SIZE - 1) + b"\n", 0)
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as e:
            raise StorageError(f"{self._path}: cannot be written: {e}") from e

    def fell(self, error: BaseException, *, at: Instant) -> None:
        """Write down what the intake ended with; that it cannot be written changes nothing."""
        cause = _ours(error)
        state = DISK_FULL if is_disk_full(cause) else FAILED
        try:
            self.say(state, at=at, because=str(cause))
        except StorageError:
            return


def _ours(error: BaseException) -> BaseException:
    """Return the error to tell of out of a group: ours before any other."""
    flat, waiting = [], [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        else:
            flat.append(one)
    return next((e for e in flat if isinstance(e, MainwatchError)), flat[0])
