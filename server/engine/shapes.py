"""Scans that look like one seen before are read in one go, exactly as the codec would read them.

A gateway's scans of one device differ in their instants, offset, sequence and values only; every
other byte, lengths included, stays. A `Shape` is such a scan with those places left open. Where all
other bytes are equal and each varint keeps its width, protobuf cannot read anything else from it:
so what a shape reads is what `telemetry.sparkplug.decode` reads, and what it does not take goes
there. Shapes are a cache: they are learnt again after a restart and change nothing.
"""

import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from server.engine.samples import Samples
from telemetry import extension
from telemetry.instant import Instant
from telemetry.point import PointId
from telemetry.sample import Quality, Reason, TimeQuality
from telemetry.sparkplug import Payload

SHAPES_MAX = 16
"""Shapes of one device; a further one takes the place of the oldest."""

MISSES_MAX = 32
"""Shapes learnt in a row without a scan that had one: such a device is not learnt any more."""

_SHORT = rb"([\x00-\x7f]|[\x80-\xff][\x00-\x7f])"
_INSTANT = rb"([\x80-\xff]{5}[\x00-\x7f])"
_COUNT = rb"([\x80-\xff]{0,8}[\x00-\x7f])"
_HEAD = re.compile(
    rb"\x08" + _INSTANT
    + rb"\x12([\x00-\x7f])\x0a\x08mw/epoch\x18" + _INSTANT + rb"\x58([\x80-\xff]{0,9}[\x00-\x7f])"
    + rb"\x12([\x00-\x7f])\x0a\x09mw/offset\x18" + _INSTANT + rb"\x58" + _COUNT,
    re.DOTALL,
)  # fmt: skip
_NAME = re.compile(rb"\x12" + _SHORT + rb"\x0a([\x00-\x7f])")
_READ_AT = re.compile(rb"\x18" + _INSTANT + rb"(?:\x28\x01)?\x69")
_SEQ = re.compile(rb"\x18" + _SHORT)
_DOUBLE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What a message says that has a known shape: good values of one device, all of them finite."""

    shape: "Shape"
    seq: int
    first: int
    at: tuple[Instant, ...]
    values: tuple[float, ...]

    def samples(self, lo: int, hi: int) -> Samples:
        """Return the samples from `lo` up to `hi`, itself excluded."""
        shape = self.shape
        return Samples(
            points=shape.points[lo:hi],
            at=self.at[lo:hi],
            values=self.values[lo:hi],
            qualities=shape.qualities[lo:hi],
            reasons=shape.reasons[lo:hi],
            time_qualities=shape.time_qualities[lo:hi],
        )


class Shape:
    """One look of a device's scans."""

    def __init__(
        self, fields: struct.Struct, like: tuple[bytes, ...], suffix: bytes, epoch: int
    ) -> None:
        self._fields = fields
        self._fixed = like
        self._suffix = suffix
        self.epoch = epoch
        self.is_historical = suffix != b"\x69"
        self.points: tuple[PointId, ...] = ()
        self.qualities: tuple[Quality, ...] = ()
        self.reasons: tuple[Reason, ...] = ()
        self.time_qualities: tuple[TimeQuality, ...] = ()

    def of(self, points: tuple[PointId, ...]) -> "Shape":
        """Return this shape as one of a device whose metrics are these points, in their order."""
        n = len(points)
        self.points = points
        self.qualities = (Quality.GOOD,) * n
        self.reasons = (Reason.NONE,) * n
        self.time_qualities = (TimeQuality.SYNCHRONISED,) * n
        return self

    def read(self, data: bytes) -> Scan | None:
        """Return what a message of the right length says, or nothing when it looks otherwise."""
        found = self._fields.unpack(data)
        fixed = (*found[0:7:2], *found[8:-2:3], found[-2])
        if fixed != self._fixed:
            return None
        first, seq = _number(found[7]), _number(found[-1])
        if first is None or seq is None or seq > 255:
            return None
        if None in map(_number, {found[1], found[3], found[5]}):
            return None
        at = self._instants(found[9:-2:3])
        if at is None:
            return None
        return Scan(shape=self, seq=seq, first=first, at=at, values=found[10:-2:3])

    def _instants(self, stamps: tuple[bytes, ...]) -> tuple[Instant, ...] | None:
        known: dict[bytes, Instant] = {}
        for stamp in set(stamps):
            at = _number(stamp[:6])
            if at is None or stamp[6:] != self._suffix:
                return None
            known[stamp] = Instant(at)
        if len(known) == 1:
            return (known[stamps[0]],) * len(stamps)
        return tuple([known[stamp] for stamp in stamps])


class Shapes:
    """The looks of one device's scans, by the length of the message."""

    __slots__ = ("_by_length", "_misses")

    def __init__(self) -> None:
        self._by_length: dict[int, list[Shape]] = {}
        self._misses = 0

    def __reduce__(self) -> tuple[type["Shapes"], tuple[()]]:
        return Shapes, ()

    def read(self, data: bytes, *, value_max: float) -> Scan | None:
        """Return what a message says when its shape is known and its values are plainly good."""
        for shape in self._by_length.get(len(data), ()):
            scan = shape.read(data)
            if scan is None:
                continue
            values = scan.values
            # A sum is finite only if every number is.
            if not math.isfinite(sum(values)):
                return None
            if not -value_max <= min(values) <= max(values) <= value_max:
                return None
            self._misses = 0
            return scan
        return None

    def learn(self, data: bytes, payload: Payload, points: Sequence[PointId]) -> None:
        """Remember how a message looks that was read in full, if it is one that may come again."""
        if self._misses >= MISSES_MAX or not points:
            return
        shape = _shape_of(data, len(points))
        if shape is None or not _agrees(shape.of(tuple(points)).read(data), payload):
            return
        self._misses += 1
        if sum(map(len, self._by_length.values())) >= SHAPES_MAX:
            del self._by_length[next(iter(self._by_length))]
        self._by_length.setdefault(len(data), []).append(shape)

    def forget(self) -> None:
        """Begin anew: a birth may have changed what the metrics are."""
        self._by_length = {}
        self._misses = 0


def _shape_of(data: bytes, count: int) -> Shape | None:
    """Return the look of a message with so many samples, or nothing when it is not the plain one.

    The fields, in order: four fixed parts of the head, each with an open place after it; for each
    sample a fixed part, its instant with what follows it, its value; the tag of `seq`, and `seq`.
    """
    head = _HEAD.match(data)
    if head is None or not _is_as_long(head):
        return None
    form = ["<"]
    fixed = []
    start = 0
    for group in (1, 3, 6, 7):
        fixed.append(data[start : head.start(group)])
        form.append(f"{len(fixed[-1])}s{head.end(group) - head.start(group)}s")
        start = head.end(group)
    suffix = b""
    for _ in range(count):
        sample = _sample(data, start)
        if sample is None or (suffix and sample[1] != suffix):
            return None
        size, suffix = sample
        fixed.append(data[start : start + size])
        form.append(f"{size}s{6 + len(suffix)}sd")
        start += size + 6 + len(suffix) + _DOUBLE
    seq = _SEQ.fullmatch(data, start)
    epoch = _number(head[4])
    if seq is None or epoch is None:
        return None
    fixed.append(b"\x18")
    form.append(f"1s{len(seq[1])}s")
    return Shape(struct.Struct("".join(form)), tuple(fixed), suffix, epoch)


def _is_as_long(head: re.Match[bytes]) -> bool:
    """Say whether the first two metrics end where they say that they do."""
    epoch, offset = head[2][0], head[5][0]
    return epoch == head.end(4) - head.end(2) and offset == head.end(7) - head.end(5)


def _sample(data: bytes, start: int) -> tuple[int, bytes] | None:
    """Return how many fixed bytes a sample begins with, and what stands after its instant."""
    name = _NAME.match(data, start)
    if name is None:
        return None
    read_at = _READ_AT.match(data, name.end() + name[2][0])
    if read_at is None or _number(name[1]) != read_at.end() + _DOUBLE - name.end(1):
        return None
    return read_at.start(1) - start, data[read_at.end(1) : read_at.end()]


def _agrees(scan: Scan | None, payload: Payload) -> bool:
    """Say whether a shape reads from its own message what the codec read."""
    if scan is None or payload.seq != scan.seq or len(payload.metrics) != 2 + len(scan.values):
        return False
    epoch, offset, *samples = payload.metrics
    return (
        (epoch.name, epoch.value) == (extension.EPOCH, scan.shape.epoch)
        and (offset.name, offset.value) == (extension.OFFSET, scan.first)
        and all(
            (m.timestamp, m.value, m.is_historical) == (at, value, scan.shape.is_historical)
            for m, at, value in zip(samples, scan.at, scan.values, strict=True)
        )
    )


def _number(varint: bytes) -> int | None:
    """Return the number of a varint, or nothing when these bytes are not exactly one."""
    number = shift = 0
    for byte in varint[:-1]:
        if byte < 0x80:
            return None
        number |= (byte & 0x7F) << shift
        shift += 7
    last = varint[-1]
    return None if last >= 0x80 else number | last << shift
