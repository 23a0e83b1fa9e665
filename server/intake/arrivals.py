"""What a journal holds of samples: its messages, decoded by the engine's own first stage again."""

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from server.engine import essentials, events
from server.engine.effects import Accepted
from server.engine.events import Imported, RegistryChanged
from server.engine.hosts import Hosts
from server.engine.registry import Registry
from server.history.stretch import REASONS, TIME_QUALITIES, Stretch, joined
from server.intake.journal_reader import JournalReader
from telemetry.errors import ConfigError, StorageError
from telemetry.instant import Instant
from telemetry.sample import Quality

ROWS_AT_ONCE = 100_000


def registry_in(path: Path) -> Registry:
    """Return the newest registry of a journal. Raises `ConfigError` when there is none."""
    found = None
    reader = _reader(path)
    oldest = reader.oldest()
    if oldest is not None and oldest.essentials:
        found, _ = essentials.field_of(oldest.essentials)
    for _, at, kind, body in reader.rows(after=0 if oldest is None else oldest.seq):
        if kind == "registry_changed":
            event = events.from_record(kind, Instant(at), body)
            assert isinstance(event, RegistryChanged)
            found = event.registry
    if found is None:
        raise ConfigError(f"{path}: expected a journal with a registry, found none")
    return found


def stretches(
    path: Path,
    numbering: Sequence[str],
    start: Instant | None,
    end: Instant | None,
    points: Collection[str],
    *,
    left_out: set[str],
) -> Iterator[Stretch]:
    """Yield what was read in [start, end) of some points, in the order of arrival.

    Points without a number are added to `left_out`. A server may go on writing. Raises
    `StorageError` naming what is not as it was written.
    """
    numbers = {name: n for n, name in enumerate(numbering) if name in points}
    waiting: list[Stretch] = []
    known = set(numbering)
    for part in _parts(path):
        left_out |= _names(part) - known
        found = _stretch(part, numbers)
        within = np.ones(len(found), dtype=np.bool_)
        within &= True if start is None else found.at >= start
        within &= True if end is None else found.at < end
        found = found.take(within)
        if len(found):
            waiting.append(found)
        if sum(map(len, waiting)) >= ROWS_AT_ONCE:
            yield joined(waiting)
            waiting = []
    if waiting:
        yield joined(waiting)


def _parts(path: Path) -> Iterator[Accepted | Imported]:
    """Yield what the first stage takes in, from the oldest event that is still kept."""
    reader, hosts, after = _reader(path), Hosts(), 0
    oldest = reader.oldest()
    if oldest is not None and oldest.essentials:
        _, hosts = essentials.field_of(oldest.essentials)
        after = oldest.seq
    for _, event in reader.read(after=after):
        if isinstance(event, Imported):
            yield event
        for effect in hosts.apply(event):
            if isinstance(effect, Accepted):
                yield effect


def _reader(path: Path) -> JournalReader:
    try:
        return JournalReader(path)
    except (sqlite3.Error, StorageError) as e:
        raise ConfigError(f"{path}: cannot be read as a journal: {e}") from e


def _names(part: Accepted | Imported) -> set[str]:
    if isinstance(part, Imported):
        return {row[0] for row in part.rows}
    return set(part.samples.points)


def _stretch(part: Accepted | Imported, numbers: dict[str, int]) -> Stretch:
    if isinstance(part, Imported):
        rows = [row for row in part.rows if row[0] in numbers]
        at = np.array([r[1] for r in rows], dtype=np.int64)
        return Stretch(
            at=at,
            point=np.array([numbers[r[0]] for r in rows], dtype=np.int32),
            value=np.array([r[2] for r in rows], dtype=np.float64),
            quality=np.array([Quality.BAD if r[2] is None else r[3] for r in rows], dtype=np.uint8),
            arrived_at=at,
        )
    samples = part.samples
    keep = [n for n, name in enumerate(samples.points) if name in numbers]
    count = len(keep)
    at = np.array([samples.at[n] for n in keep], dtype=np.int64)
    reasons = [REASONS.index(samples.reasons[n]) for n in keep]
    times = [TIME_QUALITIES.index(samples.time_qualities[n]) for n in keep]
    return Stretch(
        at=at,
        point=np.array([numbers[samples.points[n]] for n in keep], dtype=np.int32),
        value=np.array([samples.values[n] for n in keep], dtype=np.float64),
        quality=np.array([samples.qualities[n] for n in keep], dtype=np.uint8),
        arrived_at=np.full(count, part.at, dtype=np.int64),
        reason=np.array(reasons, dtype=np.uint8),
        time_quality=np.array(times, dtype=np.uint8),
        gateway=np.zeros(count, dtype=np.int32),
        epoch=np.full(count, part.epoch, dtype=np.int64),
        offset=np.array([part.first_offset + n for n in keep], dtype=np.int64),
        gateways=(part.gateway,),
    )
