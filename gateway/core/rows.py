"""A scan as one compact row of the outbox: columns of instants, qualities and values, and back.

A row names no point: its layout does, once for all rows of a device that report the same points in
the same order. So a row can still be told when the configuration has changed since.
"""

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from gateway.core.device import BornMetric
from telemetry.errors import StorageError
from telemetry.instant import Instant
from telemetry.point import PointId
from telemetry.sample import Quality, Reason, Sample, TimeQuality
from telemetry.units import Quantity

# Codes on disk: add at the end, never change one.
_QUALITIES = (Quality.GOOD, Quality.UNCERTAIN, Quality.BAD)
_TIMES = (TimeQuality.SYNCHRONISED, TimeQuality.CORRECTED, TimeQuality.DOUBTFUL)
_REASONS = (
    Reason.NONE,
    Reason.TIMEOUT,
    Reason.LINE_DOWN,
    Reason.DEVICE_EXCEPTION,
    Reason.WRONG_REPLY,
    Reason.OUT_OF_RANGE,
    Reason.NOT_A_NUMBER,
    Reason.STUCK,
    Reason.FIRST_READING,
    Reason.COUNTER_RESET,
    Reason.IMPLAUSIBLE_RATE,
    Reason.UNKNOWN,
)
_QUALITY_CODES = {q: n for n, q in enumerate(_QUALITIES)}
_TIME_CODES = {t: n for n, t in enumerate(_TIMES)}
_REASON_CODES = {r: n for n, r in enumerate(_REASONS)}
assert len(_REASON_CODES) == len(Reason)

_PLAIN = b"\0"
_ZLIB = b"\1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Which points a row of a device holds, as its birth describes them, in order."""

    device: str
    metrics: tuple[BornMetric, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One scan out of the outbox; `first` is the offset of its first sample."""

    first: int
    layout: Layout
    samples: tuple[Sample, ...]

    @property
    def device(self) -> str:
        """Return the device that was scanned."""
        return self.layout.device

    @property
    def end(self) -> int:
        """Return the offset after its last sample."""
        return self.first + len(self.samples)


def pack(samples: Sequence[Sample]) -> bytes:
    """Return the samples of one scan without their points."""
    start = samples[0].at
    n = len(samples)
    columns = struct.pack(
        f">q{n}i{n}B{n}B{n}d",
        start,
        *(s.at - start for s in samples),
        *(_QUALITY_CODES[s.quality] << 4 | _TIME_CODES[s.time_quality] for s in samples),
        *(_REASON_CODES[s.reason] for s in samples),
        *(0.0 if s.value is None else s.value for s in samples),
    )
    packed = zlib.compress(columns, 1)
    return _ZLIB + packed if len(packed) < len(columns) else _PLAIN + columns


def unpack(body: bytes, points: Sequence[PointId]) -> tuple[Sample, ...]:
    """Return the samples that `pack` took. Raises `StorageError` when the bytes are damaged."""
    n = len(points)
    try:
        columns = zlib.decompress(body[1:]) if body[:1] == _ZLIB else body[1:]
        start, *cells = struct.unpack(f">q{n}i{n}B{n}B{n}d", columns)
        return tuple(
            Sample(
                point=point,
                at=Instant(start + after),
                value=None if _QUALITIES[quality >> 4] is Quality.BAD else value,
                quality=_QUALITIES[quality >> 4],
                reason=_REASONS[reason],
                time_quality=_TIMES[quality & 15],
            )
            for point, after, quality, reason, value in zip(
                points, cells[:n], cells[n : 2 * n], cells[2 * n : 3 * n], cells[3 * n :],
                strict=True,
            )
        )  # fmt: skip
    except (zlib.error, struct.error, IndexError, ValueError) as e:
        raise StorageError(f"a row of the outbox is damaged: {e}") from e


def corrected(samples: Sequence[Sample], shift_ms: int) -> tuple[Sample, ...]:
    """Return samples whose doubtful instants are moved to where they truly belong."""
    return tuple(
        replace(s, at=Instant(s.at + shift_ms), time_quality=TimeQuality.CORRECTED)
        if s.time_quality is TimeQuality.DOUBTFUL
        else s
        for s in samples
    )


def layout_to_json(layout: Layout) -> str:
    """Return the metrics of a layout as canonical JSON."""
    metrics = [asdict(m) for m in layout.metrics]
    return json.dumps(metrics, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def layout_from_json(device: str, body: str) -> Layout:
    """Return the layout whose metrics `layout_to_json` wrote."""
    metrics = [
        BornMetric(**{**m, "quantity": Quantity(m["quantity"]), "point": PointId(m["point"])})
        for m in json.loads(body)
    ]
    return Layout(device=device, metrics=tuple(metrics))


def with_retired(born: tuple[BornMetric, ...], layout: Layout) -> tuple[BornMetric, ...]:
    """Return what a device is born with, and after it what only its older rows hold.

    The name of a retired metric is lengthened until nothing else of its device has it.
    """
    found = list(born)
    for metric in layout.metrics:
        if all(m.point != metric.point for m in found):
            name = metric.name
            while any(m.name == name for m in found):
                name += "_old"
            found.append(replace(metric, name=name))
    return tuple(found)
