"""Samples on their way from the engine to the historian: a bounded queue and one thread.

The historian is a projection with a cursor of its own, and nobody waits for it: an acknowledgement
needs the journal alone, from which everything that was not written yet is derived again. While one
group is being written the next one gathers, so a slow disk makes larger groups. At the bound
whoever has samples waits, and with it the door.
"""

from collections import deque
from threading import Condition, Thread

from server.engine.effects import Accepted
from server.engine.events import Imported
from server.history.historian import Historian, Part
from telemetry.errors import StorageError

SAMPLES_MAX = 500_000
"""Samples that wait, some 5 s of the most that a server takes in."""

GROUP_MAX = 100_000
"""Samples that are written in one transaction, and a part more."""


class HistoryFeed:
    """The only one who calls the historian, from a thread of its own."""

    def __init__(self, historian: Historian) -> None:
        self._historian = historian
        self._through = historian.through
        self._waiting: deque[tuple[list[Part], int, int]] = deque()
        self._samples = 0
        self._is_closing = False
        self._error: Exception | None = None
        self._changed = Condition()
        self._thread = Thread(target=self._run, name="history feed", daemon=True)
        self._thread.start()

    @property
    def through(self) -> int:
        """Return the sequence of the journal up to which samples are on disk."""
        return self._through

    def put(self, parts: list[Part], *, through: int) -> None:
        """Hand over what came up to a sequence; wait while too much is under way.

        Raises `StorageError` when what was handed over before could not be written.
        """
        size = sum(_size(part) for part in parts)
        with self._changed:
            self._changed.wait_for(lambda: self._error or self._samples < SAMPLES_MAX)
            self._raise_if_failed()
            self._waiting.append((parts, through, size))
            self._samples += size
            self._changed.notify_all()

    def wait_for(self, through: int) -> None:
        """Return once everything up to a sequence is on disk. Raises `StorageError`."""
        with self._changed:
            self._changed.wait_for(lambda: self._error or self._through >= through)
            self._raise_if_failed()

    def close(self) -> None:
        """Write what waits, and close the historian; what cannot be written is derived again."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join()
        self._historian.close()

    def _raise_if_failed(self) -> None:
        if isinstance(self._error, StorageError):
            raise StorageError(str(self._error)) from self._error
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while (group := self._next_group()) is not None:
                parts, through = group
                self._historian.write(parts, through=through)
                with self._changed:
                    self._through = through
                    self._samples -= sum(_size(part) for part in parts)
                    self._changed.notify_all()
        except Exception as e:  # noqa: BLE001  it is raised where somebody waits
            with self._changed:
                self._error = e
                self._changed.notify_all()

    def _next_group(self) -> tuple[list[Part], int] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing)
            if not self._waiting:
                return None
            parts: list[Part] = []
            through = samples = 0
            while self._waiting and samples < GROUP_MAX:
                more, through, size = self._waiting.popleft()
                parts += more
                samples += size
            return parts, through


def _size(part: Part) -> int:
    match part:
        case Accepted():
            return len(part.samples)
        case Imported():
            return len(part.rows)
        case _:
            return 0
