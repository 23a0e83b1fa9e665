"""The loop of a replay: a recording or a journal in, what the engine makes of it out.

A recording runs as a live server would have heard it: the registry, the server's start, then
samples in the order of their arrival and a tick each second. Where a recording does not tell its
gateways, all samples are those of one.
"""

import pickle
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice, pairwise

import numpy as np

from server.engine import essentials
from server.engine.commands import ACKNOWLEDGE_INCIDENT, TELL_OPERATION
from server.engine.detectors.block import Block
from server.engine.effects import (
    Effect,
    IncidentClosed,
    IncidentOpened,
    IncidentUpdated,
    is_recorded,
    to_record,
)
from server.engine.engine import Engine
from server.engine.events import Commanded, Event, Linked, RegistryChanged, Started
from server.engine.operations import Operation, note_of
from server.engine.registry import Point, Registry
from server.engine.training import READ_DAYS
from server.history import labels
from server.history.recording import Recording
from server.history.stretch import NO_GATEWAY, Int64s, Stretch, filled
from server.intake.journal_reader import JournalReader
from server.learning.bands import banded
from server.learning.past import BRIEF_H, PlayedPast
from server.learning.trainer import Trainer
from server.replay.speaking import GATEWAY
from server.replay.verify import Numbered
from telemetry.errors import StorageError
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Instant
from telemetry.point import PointId

HOST_ID = "mainwatch"

CELLS_MAX = 4_000_000
"""Bins times points that the engine is given together: bounds the memory, some 300 MB."""

PIECE_MAX_MS = 8 * DAY_MS

STEP = 2_000
"""Events of a journal that the engine is given together: bounds the memory."""

CHOSEN_H = 24 * (READ_DAYS + 8)
"""Hours of every point that are remembered where a period may be chosen, as far back as is read."""

Progress = Callable[[Instant, int], None]
"""Is told how far a replay is: the instant, and how many samples have been played."""


def run_recording(
    recording: Recording,
    registry: Registry,
    *,
    start: Instant | None = None,
    end: Instant | None = None,
    points: Collection[str] | None = None,
    trainer: Trainer | None = None,
    operations: Sequence[Commanded] = (),
    looked_every_ms: int | None = None,
    training: Sequence[Commanded] = (),
    progress: Progress = lambda _at, _samples: None,
) -> Iterator[tuple[Instant, Effect]]:
    """Yield what the engine says of the samples read in [start, end), and the instant of each.

    A `trainer` is called at the instants at which it is in service, on what was played until then.
    `operations` are told at their instants, in that order, if the samples go on so long; so are
    `training`, commands that choose the days that zones are learnt from. So often somebody
    acknowledges all incidents that are new or have news; None is nobody.
    """
    attendant = _Attendant(looked_every_ms)
    stream = _run(
        recording,
        registry,
        start=start,
        end=end,
        points=points,
        trainer=trainer,
        commands=sorted((*operations, *training), key=lambda told: told.at),
        brief_h=CHOSEN_H if training else BRIEF_H,
        attendant=attendant,
        progress=progress,
    )
    for at, effect in stream:
        attendant.heard(effect)
        yield at, effect


def _run(
    recording: Recording,
    registry: Registry,
    *,
    start: Instant | None,
    end: Instant | None,
    points: Collection[str] | None,
    trainer: Trainer | None,
    commands: Sequence[Commanded],
    brief_h: int,
    attendant: "_Attendant",
    progress: Progress,
) -> Iterator[tuple[Instant, Effect]]:
    engine = Engine(HOST_ID)
    now = Instant((start if start is not None else recording.begin) - SECOND_MS)
    opening: list[Event] = [
        RegistryChanged(at=now, registry=registry),
        Started(at=now, version="replay", settings={"host_id": HOST_ID}),
        Linked(at=now, up=True),
    ]
    opening += [replace(told, at=now) for told in commands if told.at <= now]
    waiting = [told for told in commands if told.at > now]
    for event in opening:
        yield from ((event.at, effect) for effect in engine.apply(event))
    numbers = _Numbers(recording.points, registry)
    lessons = _Lessons(trainer, recording, registry, now, brief_h=brief_h)
    attendant.begin(now, lessons.due)
    played = 0
    for stretch in recording.stretches(start, end, points):
        known = stretch.take(numbers.is_known[stretch.point])
        for whole in _pieces(known, numbers.piece_ms):
            for piece, last in _cut(whole, lessons, attendant):
                rest = piece
                while waiting and waiting[0].at < last:
                    told = waiting.pop(0)
                    count = int(np.searchsorted(rest.arrived_at, told.at, side="left"))
                    ticks = np.arange(now + SECOND_MS, told.at, SECOND_MS, dtype=np.int64)
                    yield from engine.play(_block(rest.take(slice(0, count)), ticks, numbers))
                    yield from ((told.at, effect) for effect in engine.apply(told))
                    now = Instant(int(ticks[-1]) if len(ticks) else now)
                    rest = rest.take(slice(count, len(rest)))
                ticks = np.arange(now + SECOND_MS, last, SECOND_MS, dtype=np.int64)
                yield from engine.play(_block(rest, ticks, numbers))
                now = Instant(int(ticks[-1]) if len(ticks) else now)
                for act in attendant.acts(now):
                    yield from ((act.at, effect) for effect in engine.apply(act))
                for event, effects in lessons.after(piece, engine, now=now):
                    yield from ((event.at, effect) for effect in effects)
                played += len(piece)
                progress(now, played)
    over = np.arange(1, after_ms(registry) // SECOND_MS + 1, dtype=np.int64) * SECOND_MS + now
    none = np.zeros(0, dtype=np.int64)
    yield from engine.play(_block(_NOTHING.take(none), over, numbers))


class _Lessons:
    """When the trainer is called in the middle of a recording, and what it may see then."""

    def __init__(
        self,
        trainer: Trainer | None,
        recording: Recording,
        registry: Registry,
        now: Instant,
        *,
        brief_h: int,
    ) -> None:
        self._trainer, self._registry = trainer, registry
        zones = registry.zones.values()
        wanted = {i.point for z in zones for i in z.inflow}
        wanted |= {s.point for z in zones for s in z.storage}
        kept = {p for z in zones for p in banded(z, registry.points)} - wanted
        self._past = PlayedPast(
            recording.points, sorted(wanted), now, sorted(kept), brief_h=brief_h
        )
        self.due = None if trainer is None else trainer.due(registry, now)

    def after(
        self, piece: Stretch, engine: Engine, *, now: Instant
    ) -> list[tuple[Event, list[Effect]]]:
        """Take in what was played until now; train if it is time, and let the engine apply it."""
        if self._trainer is None:
            return []
        self._past.add(piece)
        if self.due is None or now + SECOND_MS <= self.due:
            return []
        clean = engine.training.clean
        events = self._trainer.train(self._registry, self._past, at=self.due, clean=clean)
        self.due = self._trainer.due(self._registry, self.due)
        return list(zip(events, engine.run(events), strict=True))


class _Attendant:
    """Somebody who looks from time to time, and acknowledges what is new."""

    def __init__(self, every_ms: int | None) -> None:
        self.due: Instant | None = None
        self._every_ms = every_ms
        self._news: dict[str, None] = {}
        self._acts = 0

    def begin(self, now: Instant, lesson: Instant | None) -> None:
        """Come on duty; the looks fall together with the lessons, as far as they can."""
        if self._every_ms is not None:
            first = now + self._every_ms if lesson is None else lesson
            self.due = Instant(first - max(0, first - now - 1) // self._every_ms * self._every_ms)

    def heard(self, effect: Effect) -> None:
        """Take note of what an incident tells."""
        if isinstance(effect, IncidentOpened | IncidentUpdated):
            self._news[effect.incident] = None
        elif isinstance(effect, IncidentClosed):
            self._news.pop(effect.incident, None)

    def acts(self, now: Instant) -> list[Commanded]:
        """Return what is done now."""
        if self.due is None or self._every_ms is None or now + SECOND_MS <= self.due:
            return []
        self.due = Instant(self.due + self._every_ms)
        news, self._news = list(self._news), {}
        first, self._acts = self._acts, self._acts + len(news)
        return [
            Commanded(
                at=now,
                key=f"acknowledged {n}",
                actor="replay",
                verb=ACKNOWLEDGE_INCIDENT,
                subject=incident,
                note="",
            )
            for n, incident in enumerate(news, first)
        ]


def _cut(piece: Stretch, lessons: _Lessons, attendant: _Attendant) -> Iterator[tuple[Stretch, int]]:
    """Yield a piece cut at the instants at which something is to do, with the end of its ticks."""
    first, last = 0, int(piece.arrived_at[-1])
    while (due := min(filter(None, (lessons.due, attendant.due)), default=last)) < last:
        beyond = int(np.searchsorted(piece.arrived_at, due, side="right"))
        yield piece.take(slice(first, beyond)), due + 1
        first = beyond
    yield piece.take(slice(first, len(piece))), last


def told_of(rows: Iterable[labels.Operation]) -> list[Commanded]:
    """Return the commands that tell the engine of operations, when each became known."""
    commands = []
    for row in rows:
        operation = Operation(
            id=row.id,
            kind=row.kind,
            zone=row.zone,
            begin=Instant(row.begin),
            end=None if row.end is None else Instant(row.end),
            points=row.points,
            m3h=row.m3h,
            note=row.note,
        )
        at = row.begin if row.told_at is None else min(row.told_at, row.begin)
        commands.append(
            Commanded(
                at=Instant(at),
                key=f"operation {row.id}",
                actor=row.ordered_by,
                verb=TELL_OPERATION,
                subject=row.id,
                note=note_of(operation),
            )
        )
    return sorted(commands, key=lambda told: told.at)


class _Numbers:
    """Which points of a recording are in the registry, and how much of it is played in one go."""

    def __init__(self, points: Sequence[str], registry: Registry) -> None:
        self.points = tuple(PointId(name) for name in points)
        self.is_known = np.array([p in registry.points for p in self.points], dtype=np.bool_)
        finest = min((p.period_ms for p in registry.points.values()), default=SECOND_MS)
        wanted = CELLS_MAX * max(finest, SECOND_MS) // max(1, len(registry.points))
        self.piece_ms = max(HOUR_MS, min(PIECE_MAX_MS, wanted))


_NOTHING = Stretch(
    at=np.zeros(0, dtype=np.int64),
    point=np.zeros(0, dtype=np.int32),
    value=np.zeros(0),
    quality=np.zeros(0, dtype=np.uint8),
    arrived_at=np.zeros(0, dtype=np.int64),
)


def _pieces(stretch: Stretch, piece_ms: int) -> Iterator[Stretch]:
    """Yield a stretch cut by time of arrival, so that memory is bounded whatever the recording."""
    if not len(stretch):
        return
    pieces = stretch.arrived_at // piece_ms
    cuts = [0, *(np.flatnonzero(np.diff(pieces)) + 1).tolist(), len(stretch)]
    for first, beyond in pairwise(cuts):
        yield stretch.take(slice(first, beyond))


def _block(piece: Stretch, ticks: Int64s, numbers: _Numbers) -> Block:
    """Return samples as the engine plays them: those of one instant come before its tick."""
    arrived = piece.arrived_at.astype(np.int64)
    gateway = filled(piece, "gateway").astype(np.int64)
    return Block(
        ticks=ticks,
        points=numbers.points,
        gateways=(*piece.gateways, GATEWAY),
        after=_ticks_before(ticks, arrived),
        now=arrived,
        at=piece.at.astype(np.int64),
        point=piece.point.astype(np.int64),
        gateway=np.where(gateway == NO_GATEWAY, len(piece.gateways), gateway),
        value=piece.value,
        quality=piece.quality.astype(np.int64),
        reason=filled(piece, "reason").astype(np.int64),
    )


def _ticks_before(ticks: Int64s, arrived: Int64s) -> Int64s:
    """Return how many of the ticks, one each second, lie before each instant."""
    if not len(ticks):
        return np.zeros(len(arrived), dtype=np.int64)
    seconds = -((int(ticks[0]) - arrived) // SECOND_MS)
    return np.clip(seconds, 0, len(ticks))


def after_ms(registry: Registry) -> int:
    """Return how long the clock goes on after the last sample: until the last bins are closed."""
    finest: dict[str, int] = {}
    for point in registry.points.values():
        finest[point.zone] = min(point.period_ms, finest.get(point.zone, point.period_ms))
    width = max(SECOND_MS, *finest.values(), 0)
    return width + min(MINUTE_MS, max(2 * SECOND_MS, width // 5)) + SECOND_MS


def run_events(
    events: Iterable[tuple[int, Event]],
    *,
    engine: Engine,
    registry: Registry | None = None,
    progress: Progress = lambda _at, _samples: None,
) -> Iterator[tuple[int, Instant, Effect]]:
    """Yield what the engine makes of a journal's events, with their sequences.

    `registry` stands for whatever registry the journal tells of.
    """
    for step in _steps(events):
        told = [
            replace(event, registry=registry)
            if registry is not None and isinstance(event, RegistryChanged)
            else event
            for _, event in step
        ]
        for (seq, event), effects in zip(step, engine.run(told), strict=True):
            yield from ((seq, event.at, effect) for effect in effects)
        progress(step[-1][1].at, step[-1][0])


def engine_of(journal: JournalReader, *, with_state: bool) -> tuple[int, Engine]:
    """Return the engine with which what is kept of a journal begins, and the event before it.

    Where older events are gone it begins with the oldest snapshot: with its state, which is only to
    be taken from a journal of one's own, or with what of it is plain values.
    """
    engine = Engine(HOST_ID)
    oldest = journal.oldest()
    if oldest is None or oldest.seq == 0:
        return 0, engine
    if with_state:
        try:
            state: Engine = pickle.loads(oldest.engine)  # noqa: S301  asked for, our own journal
        except (pickle.UnpicklingError, AttributeError, ImportError, EOFError) as e:
            raise StorageError(
                f"the journal after event {oldest.seq}: its snapshot is of {oldest.code},"
                f" which this version cannot begin with: {e}"
            ) from e
        return oldest.seq, state
    try:
        essentials.read(oldest.essentials, engine, at=oldest.at)
    except (ValueError, KeyError, TypeError) as e:
        raise StorageError(
            f"the journal before event {oldest.seq + 1} was kept by newer code than this: {e}"
        ) from e
    return oldest.seq, engine


def _steps(events: Iterable[tuple[int, Event]]) -> Iterator[list[tuple[int, Event]]]:
    waiting = iter(events)
    while step := list(islice(waiting, STEP)):
        yield step


def derived(effects: Iterable[tuple[int, Instant, Effect]]) -> Iterator[Numbered]:
    """Yield recorded effects as a journal keeps them: sequence, number, kind and body."""
    now, n = 0, 0
    for seq, _, effect in effects:
        if seq != now:
            now, n = seq, 0
        if is_recorded(effect):
            yield (seq, n, *to_record(effect))
            n += 1


def narrowed(
    registry: Registry, *, zones: Collection[str] = (), points: Collection[str] = ()
) -> Registry:
    """Return a registry of some zones, with the meters at their edges, and of some points alone."""
    kept = {z: zone for z, zone in registry.zones.items() if not zones or z in zones}
    edges = {i.point for z in kept.values() for i in z.inflow}
    edges |= {s.point for z in kept.values() for s in z.storage}
    found = {
        name: point
        for name, point in registry.points.items()
        if (point.zone in kept or name in edges) and (not points or name in points)
    }
    if points:
        used = {p.zone for p in found.values()}
        kept = {name: zone for name, zone in kept.items() if name in used}
    return Registry(zones=kept, points=found)


def at_cadence(registry: Registry, recording: Registry) -> Registry:
    """Return a registry whose points speak no oftener than they did when they were recorded."""

    def slowed(name: PointId, point: Point) -> Point:
        known = recording.points.get(name)
        if known is None:
            return point
        return replace(point, period_ms=max(point.period_ms, known.period_ms))

    points = {name: slowed(name, point) for name, point in registry.points.items()}
    return replace(registry, points=points)
