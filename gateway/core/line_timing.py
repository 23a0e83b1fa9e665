"""How long things take on a line: characters, the silence between frames, a whole exchange.

Modbus over Serial Line V1.02, 2.5.1.1: frames are parted by 3.5 characters, fixed at 1.75 ms above
19,200 baud.
"""

from dataclasses import dataclass

from telemetry.register_map import Table

FAST_BAUD = 19_200
FAST_GAP_S = 0.00175

REQUEST_OCTETS = 8
REPLY_OCTETS = 5
"""Unit, function, byte count and checksum, around what was asked for."""

NETWORK_BAUD = 10_000_000
"""What a network line counts as: a register more costs next to nothing there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineTiming:
    """The speed of a line. A network line has no gaps, unless a serial one is behind it."""

    baud: int
    char_bits: int
    has_gaps: bool

    @property
    def char_s(self) -> float:
        """Return how long one character takes."""
        return self.char_bits / self.baud

    @property
    def gap_s(self) -> float:
        """Return the silence that parts two frames."""
        if not self.has_gaps:
            return 0.0
        return FAST_GAP_S if self.baud > FAST_BAUD else 3.5 * self.char_s

    def wire_s(self, table: Table, count: int) -> float:
        """Return how long request and reply of a read take to pass, without any wait.

        >>> line = LineTiming(baud=9600, char_bits=11, has_gaps=True)
        >>> round(1 / (line.wire_s(Table.HOLDING, 2) + 2 * line.gap_s), 1)
        36.4
        """
        return (REQUEST_OCTETS + REPLY_OCTETS + reply_octets(table, count)) * self.char_s


def reply_octets(table: Table, count: int) -> int:
    """Return how many octets carry what was asked for."""
    return (count + 7) // 8 if table.is_of_bits else 2 * count
