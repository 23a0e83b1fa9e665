"""What a gateway's log has brought us: a contiguous prefix, and islands beyond it.

The identity of a sample is (gateway, epoch, offset). `Cursor.take` answers which offsets of a
message are new, and never answers the same offset twice.
"""

from typing import Any

from telemetry.errors import ContractError
from telemetry.ranges import RANGES_MAX, Ranges

EPOCHS_MAX = 8
"""Logs that are remembered for one gateway; a ninth makes us forget the one unheard of longest."""

HOLES_MAX = 1_000
"""Islands beyond the prefix. A message that would make one more is refused and comes again, once
the gateway has gone back to the prefix."""


class Cursor:
    """The offsets of one log that have been taken in; everything below `offset` has."""

    __slots__ = ("_beyond", "offset")

    def __init__(self) -> None:
        self.offset = 0
        self._beyond = Ranges()

    def take(self, lo: int, hi: int) -> tuple[tuple[int, int], ...]:
        """Take in the offsets from `lo` up to `hi`, itself excluded; return those that were new."""
        lo = max(lo, self.offset)
        if hi <= lo:
            return ()
        if lo > self.offset and len(self._beyond) >= HOLES_MAX:
            raise ContractError(
                f"expected at most {HOLES_MAX} holes in the log, offset {lo} would make another"
            )
        new = self._beyond.add(lo, hi)
        self.offset = self._beyond.end_of_prefix(self.offset)
        self._beyond.remove_below(self.offset)
        return new

    def skip_to(self, tail: int) -> int:
        """Give up what is missing below `tail`; return how many samples that were."""
        return sum(hi - lo for lo, hi in self.take(self.offset, tail))

    def islands(self) -> tuple[tuple[int, int], ...]:
        """Return what was taken in beyond the prefix, as far as one acknowledgement can say it."""
        if not len(self._beyond):
            return ()
        return tuple(self._beyond)[:RANGES_MAX]

    def to_json(self) -> dict[str, Any]:
        """Return what was taken in, as plain values."""
        return {"offset": self.offset, "beyond": list(self._beyond)}

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> "Cursor":
        """Return the cursor that `to_json` wrote."""
        cursor = cls()
        cursor.offset = body["offset"]
        for lo, hi in body["beyond"]:
            cursor._beyond.add(lo, hi)
        return cursor


class Cursors:
    """The cursors of one gateway, one for each of its logs."""

    def __init__(self) -> None:
        self._by_epoch: dict[int, Cursor] = {}

    def of(self, epoch: int) -> Cursor:
        """Return the cursor of a log, begun at 0 when the log is new."""
        cursor = self._by_epoch.pop(epoch, None) or Cursor()
        self._by_epoch[epoch] = cursor  # the last in order is the one last heard of
        if len(self._by_epoch) > EPOCHS_MAX:
            del self._by_epoch[next(iter(self._by_epoch))]
        return cursor

    def to_json(self) -> list[tuple[int, dict[str, Any]]]:
        """Return the logs, the one last heard of at the end, as plain values."""
        return [(epoch, cursor.to_json()) for epoch, cursor in self._by_epoch.items()]

    @classmethod
    def from_json(cls, body: list[tuple[int, dict[str, Any]]]) -> "Cursors":
        """Return the cursors that `to_json` wrote."""
        cursors = cls()
        cursors._by_epoch = {epoch: Cursor.from_json(cursor) for epoch, cursor in body}
        return cursors
