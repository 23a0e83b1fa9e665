"""Sets of offsets as ranges: what has arrived, what is missing, and their form on the wire."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from telemetry.errors import ContractError

RANGES_MAX = 32
"""How many ranges an acknowledgement carries at most: the lowest ones, which hold up the rest. A
range that is left out is only sent again."""

OFFSET_MAX = 2**64 - 1
"""Offsets are UInt64 on the wire."""


class Ranges:
    """A set of whole numbers as sorted half-open ranges that neither overlap nor touch.

    >>> seen = Ranges()
    >>> seen.add(0, 10)
    ((0, 10),)
    >>> seen.add(5, 12)
    ((10, 12),)
    >>> seen.add(20, 22)
    ((20, 22),)
    >>> list(seen), seen.end_of_prefix(0)
    ([(0, 12), (20, 22)], 12)
    """

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield the ranges, lowest first."""
        return zip(self._starts, self._ends, strict=True)

    def __len__(self) -> int:
        """Return how many ranges there are, not how many numbers."""
        return len(self._starts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ranges):
            return NotImplemented
        return self._starts == other._starts and self._ends == other._ends

    __hash__ = None  # type: ignore[assignment]  # it changes, so it is no key

    def __repr__(self) -> str:
        return f"Ranges({list(self)})"

    def add(self, lo: int, hi: int) -> tuple[tuple[int, int], ...]:
        """Add the numbers from `lo` up to `hi`, itself excluded; return the parts that were new."""
        if hi <= lo:
            return ()
        starts, ends = self._starts, self._ends
        if ends and lo == ends[-1]:  # the next batch of a gateway: nearly every call
            ends[-1] = hi
            return ((lo, hi),)
        first = bisect_left(ends, lo)  # the first range that reaches `lo`, by touching at least
        last = bisect_right(starts, hi)  # after the last one that begins by `hi`
        new = []
        at = lo
        for start, end in zip(starts[first:last], ends[first:last], strict=True):
            if at < start:
                new.append((at, start))
            at = max(at, end)
        if at < hi:
            new.append((at, hi))
        if first < last:
            lo, hi = min(lo, starts[first]), max(hi, ends[last - 1])
        starts[first:last] = [lo]
        ends[first:last] = [hi]
        return tuple(new)

    def remove_below(self, offset: int) -> None:
        """Forget every number below `offset`."""
        gone = bisect_right(self._ends, offset)
        del self._starts[:gone], self._ends[:gone]
        if self._starts and self._starts[0] < offset:
            self._starts[0] = offset

    def end_of_prefix(self, offset: int) -> int:
        """Return the first number from `offset` on that is missing."""
        at = bisect_right(self._starts, offset) - 1
        return max(offset, self._ends[at]) if at >= 0 else offset


def encode_ranges(ranges: Iterable[tuple[int, int]], *, base: int) -> bytes:
    """Encode the lowest ranges, at most `RANGES_MAX`, as distances counted from `base`.

    Each range is two varints: how far it begins after the end of the one before it (the first:
    after `base`), and its length. Raises `ValueError` unless they are sorted and disjoint.

    >>> encode_ranges([(105, 110), (300, 301)], base=100).hex()
    '0505be0101'
    """
    out = bytearray()
    at = base
    for n, (lo, hi) in enumerate(ranges):
        if n == RANGES_MAX:
            break
        if not at <= lo < hi <= OFFSET_MAX:
            raise ValueError(f"expected a range that begins at {at} or later, was {lo} to {hi}")
        _put_varint(out, lo - at)
        _put_varint(out, hi - lo)
        at = hi
    return bytes(out)


def decode_ranges(data: bytes, *, base: int) -> tuple[tuple[int, int], ...]:
    """Decode what `encode_ranges` wrote with the same `base`. Raises `ContractError`."""
    found: list[tuple[int, int]] = []
    position = 0
    end = base
    while position < len(data):
        if len(found) == RANGES_MAX:
            raise ContractError(f"expected at most {RANGES_MAX} ranges, were more")
        gap, position = _take_varint(data, position)
        length, position = _take_varint(data, position)
        start, end = end + gap, end + gap + length
        if length == 0 or end > OFFSET_MAX:
            raise ContractError(f"expected a range of offsets, was {start} to {end}")
        found.append((start, end))
    return tuple(found)


def _put_varint(out: bytearray, number: int) -> None:
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def _take_varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the number at `position` and the position after it."""
    number = 0
    for shift in range(0, 70, 7):
        if position == len(data):
            raise ContractError("expected whole ranges, the bytes end within one")
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
    raise ContractError("expected numbers of at most 64 bits, one was longer")
