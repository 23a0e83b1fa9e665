"""Every sample that the historian keeps, in the order of its instants, as stretches."""

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from server.history.historian import IMPORT_SOURCE
from server.history.stretch import NO_GATEWAY, REASONS, TIME_QUALITIES, Stretch
from telemetry.errors import ConfigError
from telemetry.instant import Instant
from telemetry.sample import Reason, TimeQuality

ROWS_AT_ONCE = 100_000

_SCAN = """
SELECT point.id, at, value, quality, reason, time_quality, arrived_at, gateway, epoch, offset
FROM sample JOIN point ON point.number = sample.point JOIN source ON source.number = sample.source
WHERE at >= ? AND at < ? ORDER BY at, sample.point, sample.source, offset
"""


def stretches(
    path: Path,
    numbering: Sequence[str],
    start: Instant | None,
    end: Instant | None,
    points: Collection[str],
) -> Iterator[Stretch]:
    """Yield what was read in [start, end) of some points, numbered by `numbering`.

    The file is opened read-only, so a server may go on writing. Raises `ConfigError`.
    """
    numbers = {name: n for n, name in enumerate(numbering) if name in points}
    bounds = (-(2**62) if start is None else start, 2**62 if end is None else end)
    try:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        cursor = db.execute(_SCAN, bounds)
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            if kept := [row for row in rows if row[0] in numbers]:
                yield _stretch(kept, numbers)
        db.close()
    except sqlite3.Error as e:
        raise ConfigError(f"{path}: cannot be read as the historian: {e}") from e


def _stretch(rows: list[tuple[object, ...]], numbers: dict[str, int]) -> Stretch:
    columns = list(zip(*rows, strict=True))
    names, at, value, quality, reason, time_quality, arrived, gateway, epoch, offset = columns
    reasons = {r.value: n for n, r in enumerate(REASONS)}
    times = {t.value: n for n, t in enumerate(TIME_QUALITIES)}
    sure = TIME_QUALITIES.index(TimeQuality.SYNCHRONISED)
    none = REASONS.index(Reason.NONE)
    gateways = tuple(str(g) for g in dict.fromkeys(gateway) if g != IMPORT_SOURCE)
    places = {g: n for n, g in enumerate(gateways)}
    was_imported = np.array([g == IMPORT_SOURCE for g in gateway])
    epochs = [
        NO_GATEWAY if g == IMPORT_SOURCE else int(str(e))
        for g, e in zip(gateway, epoch, strict=True)
    ]
    instants = np.array(at, dtype=np.int64)
    return Stretch(
        at=instants,
        point=np.array([numbers[str(n)] for n in names], dtype=np.int32),
        value=np.array(value, dtype=np.float64),
        quality=np.array(quality, dtype=np.uint8),
        arrived_at=np.where(was_imported, instants, np.array(arrived, dtype=np.int64)),
        reason=np.array([reasons.get(str(r), none) for r in reason], dtype=np.uint8),
        time_quality=np.array([times.get(str(t), sure) for t in time_quality], dtype=np.uint8),
        gateway=np.array([places.get(str(g), NO_GATEWAY) for g in gateway], dtype=np.int32),
        epoch=np.array(epochs, dtype=np.int64),
        offset=np.where(was_imported, NO_GATEWAY, np.array(offset, dtype=np.int64)),
        gateways=gateways,
    )
