"""Every sample that the historian keeps, by instant, as stretches; and its quality marks."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from server.history.columns import Columns
from server.history.days import EVER
from server.history.names import IMPORT_SOURCE
from server.history.reader import Reader
from server.history.recording_toml import told_instant
from server.history.stretch import NO_GATEWAY, REASONS, TIME_QUALITIES, Int32s, Stretch
from telemetry.instant import Instant
from telemetry.sample import Quality, Reason, TimeQuality


def stretches(
    path: Path,
    numbering: Sequence[str],
    start: Instant | None,
    end: Instant | None,
    points: Collection[str],
    *,
    left_out: set[str],
) -> Iterator[Stretch]:
    """Yield what was read in [start, end) of some points as it was measured, by `numbering`.

    Points without a number are added to `left_out`. A server may go on writing. Raises
    `StorageError` naming the file that cannot be read.
    """
    numbers = {name: n for n, name in enumerate(numbering) if name in points}
    reader = Reader(path)
    try:
        first = Instant(EVER[0]) if start is None else start
        last = Instant(EVER[1]) if end is None else end
        left_out |= set(reader.points().values()) - set(numbering)
        for found in reader.scan(first, last, marked=False):
            place = _by_number({n: numbers.get(p, -1) for n, p in reader.points().items()}, -1)
            kept = found.take(place[found.point] >= 0)
            if len(kept):
                yield _stretch(kept, place[kept.point], reader)
    finally:
        reader.close()


def marks(path: Path) -> list[dict[str, Any]]:
    """Return the historian's quality marks as rows of marks.jsonl."""
    reader = Reader(path)
    try:
        return [
            {
                "revision": n,
                "point": m.point,
                "quality": m.quality,
                "reason": m.reason,
                "from": told_instant(m.start),
                "to": told_instant(m.end),
                "author": m.author,
                "at": told_instant(m.at),
            }
            for n, m in enumerate(reader.marks(), 1)
        ]
    finally:
        reader.close()


def _stretch(found: Columns, point: Int32s, reader: Reader) -> Stretch:
    sources, labels = reader.sources(), reader.labels()
    logs = {n: s for n, s in sources.items() if s[0] != IMPORT_SOURCE}
    gateways = tuple(sorted({gateway for gateway, _ in logs.values()}))
    gateway = _by_number({n: gateways.index(s[0]) for n, s in logs.items()}, NO_GATEWAY)
    epoch = _by_number({n: int(s[1]) for n, s in logs.items()}, NO_GATEWAY, kind=np.int64)
    reasons, times = list(map(str, REASONS)), list(map(str, TIME_QUALITIES))
    none, sure = REASONS.index(Reason.NONE), TIME_QUALITIES.index(TimeQuality.SYNCHRONISED)
    reason = {n: reasons.index(a) if a in reasons else none for n, (a, _) in labels.items()}
    time = {n: times.index(b) if b in times else sure for n, (_, b) in labels.items()}
    held = found.source if logs else np.full(len(found), -1)
    is_ours = np.isin(held, list(logs))
    held = np.where(is_ours, held, -1)
    is_bad = np.isnan(found.value) | (found.quality == Quality.BAD)
    return Stretch(
        at=found.at,
        point=point,
        value=np.where(is_bad, np.nan, found.value),
        quality=np.where(is_bad, int(Quality.BAD), found.quality).astype(np.uint8),
        arrived_at=np.where(is_ours, found.arrived_at, found.at),
        reason=_by_number(reason, none)[found.label].astype(np.uint8),
        time_quality=_by_number(time, sure)[found.label].astype(np.uint8),
        gateway=gateway[held],
        epoch=epoch[held],
        offset=np.where(is_ours, found.offset.astype(np.int64), NO_GATEWAY),
        gateways=gateways,
    )


def _by_number(meaning: dict[int, int], absent: int, *, kind: type[Any] = np.int32) -> Any:
    """Return a table of what numbers mean; the last entry is for -1, which none of them is."""
    table = np.full(max(meaning, default=0) + 2, absent, dtype=kind)
    table[list(meaning)] = list(meaning.values())
    return table
