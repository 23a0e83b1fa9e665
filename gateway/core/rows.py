"""Scans of a device as one compact row of the outbox: columns of instants, qualities and values.

A row names no point: its layout does, once for all rows of a device that report the same points in
the same order. So a row can still be told when the configuration has changed since.
"""

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from gateway.core.device import BornMetric, Scan
from telemetry.errors import StorageError
from telemetry.instant import Instant
from telemetry.point import PointId
from telemetry.sample import Quality, Reason, Sample, TimeQuality, good_samples
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

ROW_SAMPLES = 300
"""Scans of one commit share a row up to this: with the longest names it is still one message."""

_PLAIN = b"\0"
_ZLIB = b"\1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Which points a scan of a device holds, as its birth describes them, in order."""

    device: str
    metrics: tuple[BornMetric, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Scans out of the outbox, one or several; `first` is the offset of the first sample."""

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


def merged(scans: Sequence[Scan]) -> list[Scan]:
    """Return scans with those that can share a row put together, each device's in their order.

    They report the same points and doubt the same clock. One that ends or begins a silence, or has
    nothing to say, is alone: what follows it must come after it.
    """
    batches: list[list[Scan]] = []
    last: dict[str, list[Scan]] = {}
    for scan in scans:
        batch = last.get(scan.device)
        if batch is not None and _continues(batch, scan):
            batch.append(scan)
        else:
            last[scan.device] = batch = [scan]
            batches.append(batch)
    return [batch[0] if len(batch) == 1 else _joined(batch) for batch in batches]


def _joined(batch: list[Scan]) -> Scan:
    counters = {c.point: c for scan in batch for c in scan.counters}
    samples = tuple([s for scan in batch for s in scan.samples])
    return replace(batch[0], samples=samples, counters=tuple(counters.values()), polls=len(batch))


def _continues(batch: list[Scan], scan: Scan) -> bool:
    first = batch[0]
    ours, theirs = first.samples, scan.samples
    if first.polls > 1 or scan.polls > 1:  # put together before, and not yet stored
        return False
    if not ours or len(ours) != len(theirs) or (len(batch) + 1) * len(ours) > ROW_SAMPLES:
        return False
    if first.alive is not None or scan.alive is not None:
        return False
    doubtful = TimeQuality.DOUBTFUL in (ours[0].time_quality, theirs[0].time_quality)
    if doubtful and (first.base_ms, ours[0].time_quality) != (scan.base_ms, theirs[0].time_quality):
        return False
    return all([a.point == b.point for a, b in zip(ours, theirs, strict=True)])  # noqa: C419  twice as fast


def pack(samples: Sequence[Sample]) -> bytes:
    """Return the samples of one row without their points."""
    start = samples[0].at
    n = len(samples)
    qualities = reasons = bytes(n)
    good, right = Quality.GOOD, TimeQuality.SYNCHRONISED
    if not all([s.quality is good and s.time_quality is right for s in samples]):  # noqa: C419  twice as fast
        codes = [_QUALITY_CODES[s.quality] << 4 | _TIME_CODES[s.time_quality] for s in samples]
        qualities = bytes(codes)
        reasons = bytes([_REASON_CODES[s.reason] for s in samples])
    columns = struct.pack(
        f">q{n}i{n}s{n}s{n}d",
        start,
        *[s.at - start for s in samples],
        qualities,
        reasons,
        *[0.0 if s.value is None else s.value for s in samples],
    )
    packed = zlib.compress(columns, 1)
    return _ZLIB + packed if len(packed) < len(columns) else _PLAIN + columns


def unpack(body: bytes, points: Sequence[PointId]) -> tuple[Sample, ...]:
    """Return the samples that `pack` took. Raises `StorageError` when the bytes are damaged."""
    n = len(points)
    try:
        columns = zlib.decompress(body[1:]) if body[:1] == _ZLIB else body[1:]
        start, *cells = struct.unpack(f">q{n}i{n}B{n}B{n}d", columns)
        if not any(cells[n : 3 * n]):  # good, without a reason, synchronised: nearly every row
            instants = [Instant(start + after) for after in cells[:n]]
            return good_samples(points, instants, cells[3 * n :])
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
