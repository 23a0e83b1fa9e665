"""Modbus RTU on the wire: checksums, frames out of a stream of bytes, and how long they take."""

from dataclasses import dataclass

_FAST_BAUD = 19_200
_FAST_GAP_S = 0.00175
"""Above 19,200 baud the gap is fixed (Modbus over Serial Line V1.02, 2.5.1.1)."""

_FIXED = dict.fromkeys((1, 2, 3, 4, 5, 6), 8) | {43: 7}
"""Length of a request, with unit and checksum, by function."""

_COUNTED = (15, 16)
"""Functions whose request says at its seventh byte how many bytes follow."""

FRAME_MAX = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long things take on a line: a character has 11 bits unless parity is left out."""

    baud: int
    bits_per_char: int = 11

    @property
    def char_s(self) -> float:
        """Return how long one character takes."""
        return self.bits_per_char / self.baud

    @property
    def gap_s(self) -> float:
        """Return the silence of 3.5 characters that ends a frame."""
        return _FAST_GAP_S if self.baud > _FAST_BAUD else 3.5 * self.char_s

    def exchange_s(self, asked: int, answered: int, *, turnaround_s: float) -> float:
        """Return how long a request and its reply hold the line, both gaps with them.

        >>> round(1 / Timing(baud=9600).exchange_s(8, 9, turnaround_s=0.0), 1)
        36.4
        """
        return (asked + answered) * self.char_s + 2 * self.gap_s + turnaround_s


def checksum(octets: bytes | bytearray) -> bytes:
    """Return the CRC-16 of Modbus, low byte first.

    >>> checksum(bytes.fromhex("01030000000A")).hex()
    'c5cd'
    """
    crc = 0xFFFF
    for octet in octets:
        crc = crc >> 8 ^ _TABLE[(crc ^ octet) & 0xFF]
    return bytes((crc & 0xFF, crc >> 8))


def framed(unit: int, pdu: bytes) -> bytes:
    """Return the bytes of a frame."""
    body = bytes((unit,)) + pdu
    return body + checksum(body)


def is_whole(frame: bytes | bytearray) -> bool:
    """Say whether a frame's checksum is right."""
    return len(frame) >= 4 and checksum(frame[:-2]) == frame[-2:]


def request_length(octets: bytes | bytearray) -> int | None:
    """Return how long the request that starts so is, or None while or when nobody can know."""
    if len(octets) < 2:
        return None
    function = octets[1]
    if function in _COUNTED:
        return 9 + octets[6] if len(octets) > 6 else None
    return _FIXED.get(function)


class Requests:
    """What a master has sent, cut into requests: by their length, and by silence where that fails.

    A frame is taken as soon as its length and checksum are right, as the bytes of a pseudo-terminal
    come in lumps. What never becomes right is thrown away at the next silence.
    """

    def __init__(self) -> None:
        self._octets = bytearray()

    def __len__(self) -> int:
        return len(self._octets)

    def feed(self, octets: bytes) -> list[bytes]:
        """Take in bytes; return the whole requests, in order."""
        self._octets += octets
        found = []
        while (length := request_length(self._octets)) is not None:
            frame = bytes(self._octets[:length])
            if len(frame) < length or not is_whole(frame):
                break
            found.append(frame)
            del self._octets[:length]
        return found

    def silence(self) -> bytes | None:
        """Return what is left if it is a whole frame of a function that we do not know."""
        left = bytes(self._octets)
        self._octets.clear()
        return left if is_whole(left) and len(left) <= FRAME_MAX else None


def _table() -> tuple[int, ...]:
    found = []
    for n in range(256):
        crc = n
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
        found.append(crc)
    return tuple(found)


_TABLE = _table()
