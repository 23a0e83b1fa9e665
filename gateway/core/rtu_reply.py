"""What was heard after a request on a serial line: the reply to it, or something else.

Rule 1: a reply has our unit, our function, the byte count that was asked for and a right checksum,
and nothing follows it. Rule 2: before it there may be our own echo and a few stray octets of a
converter that switches its direction, but no room for a frame of somebody's.
"""

from dataclasses import dataclass
from enum import Enum, auto

STRAY_MAX = 3
"""The shortest frame has four octets, so fewer than that are noise and nobody's reply."""

_FRAME_MAX = 256
_READS_BITS = (1, 2)
_IDENTIFY = 43


class Heard(Enum):
    """What the octets are so far."""

    NOTHING = auto()
    """Nothing, or the beginning of what may still become the reply."""
    REPLY = auto()
    FOREIGN = auto()
    """A whole frame of another unit."""
    OTHER = auto()
    """A whole frame of our unit that answers another question."""
    NOISE = auto()
    """More octets than the reply could have, and no frame that we know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What was heard; the frame when it is one, and whether our own request came back first."""

    heard: Heard
    frame: bytes = b""
    echoed: bool = False


def judge(asked: bytes, octets: bytes) -> Judgement:
    """Return what the octets heard since `asked` was sent are.

    >>> asked = bytes.fromhex("010300000002c40b")
    >>> judge(asked, bytes.fromhex("01030404d204d3d86b")).heard.name
    'REPLY'
    >>> judge(asked, bytes.fromhex("01030204d23ad9")).heard.name
    'OTHER'
    """
    reply = reply_in(asked, octets)
    if reply is not None:
        return reply
    echoed, rest = _after_echo(asked, octets)
    frame = _some_frame(rest)
    if frame and frame != asked:
        heard = Heard.OTHER if frame[0] == asked[0] else Heard.FOREIGN
        return Judgement(heard=heard, frame=frame, echoed=echoed)
    if len(rest) > _length(asked) + STRAY_MAX:
        return Judgement(heard=Heard.NOISE, echoed=echoed)
    return Judgement(heard=Heard.NOTHING, echoed=echoed)


def reply_in(asked: bytes, octets: bytes) -> Judgement | None:
    """Return the reply to `asked` as soon as it is whole; None while there is none."""
    echoed, rest = _after_echo(asked, octets)
    for stray in range(min(STRAY_MAX, len(rest)) + 1):
        frame = rest[stray:]
        if _answers(asked, frame):
            return Judgement(heard=Heard.REPLY, frame=frame, echoed=echoed)
    return None


def checksum(octets: bytes) -> bytes:
    """Return the CRC-16 of Modbus, low octet first."""
    crc = 0xFFFF
    for octet in octets:
        crc = crc >> 8 ^ _TABLE[(crc ^ octet) & 0xFF]
    return bytes((crc & 0xFF, crc >> 8))


def _after_echo(asked: bytes, octets: bytes) -> tuple[bool, bytes]:
    """Say whether our own request came back first, and return what came after it."""
    echoed = octets.startswith(asked)
    return echoed, octets[len(asked) :] if echoed else octets


def _answers(asked: bytes, frame: bytes) -> bool:
    """Say whether a frame is the reply to `asked`, data or refusal, whole and alone."""
    if len(frame) < 5 or frame[0] != asked[0] or frame[1] & 0x7F != asked[1]:
        return False
    if frame[1] & 0x80:
        right = len(frame) == 5
    elif asked[1] == _IDENTIFY:
        right = frame[2:4] == asked[2:4]
    else:
        right = len(frame) == _length(asked) and frame[2] == len(frame) - 5
    return right and checksum(frame[:-2]) == frame[-2:]


def _some_frame(octets: bytes) -> bytes:
    """Return the whole reply, to whatever question, at the end of the octets; b"" for none."""
    for start in range(max(0, len(octets) - _FRAME_MAX), len(octets) - 4):
        head = octets[start : start + 3]
        left = len(octets) - start
        is_one = left == 5 if head[1] & 0x80 else left == head[2] + 5
        if is_one and checksum(octets[start:-2]) == octets[-2:]:
            return octets[start:]
    return b""


def _length(asked: bytes) -> int:
    """Return how many octets the reply with data has."""
    if asked[1] == _IDENTIFY:
        return _FRAME_MAX
    count = int.from_bytes(asked[4:6], "big")
    return 5 + ((count + 7) // 8 if asked[1] in _READS_BITS else 2 * count)


def _table() -> tuple[int, ...]:
    found = []
    for n in range(256):
        crc = n
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
        found.append(crc)
    return tuple(found)


_TABLE = _table()
