"""One replay from what was asked to what it said, for a recording and for a journal alike."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.engine import effects
from server.engine.effects import Accepted, AlarmKind, Effect, ModelApplied
from server.engine.events import Commanded, Event, RegistryChanged, from_record
from server.engine.registry import Registry
from server.history import labels
from server.history.recording import Recording
from server.history.recording_toml import told_instant
from server.intake.journal_reader import JournalReader
from server.learning.trainer import Trainer
from server.replay.network import read_network
from server.replay.runner import (
    Progress,
    at_cadence,
    derived,
    engine_of,
    narrowed,
    run_events,
    run_recording,
    told_of,
)
from server.replay.said import Said, Teller, tell
from server.replay.score import Score, score
from server.replay.trends import Trends
from server.replay.verify import Verified, verify
from telemetry.errors import ConfigError
from telemetry.instant import DAY_MS, MINUTE_MS, Instant
from telemetry.units import Quantity

TOLD = ("AlarmRaised", "AlarmCleared", "IncidentOpened", "IncidentUpdated", "IncidentClosed",
        "DispatchRequested")  # fmt: skip
"""Recorded effects that say something to people."""

LOOKED_EVERY_MS = DAY_MS
"""So often somebody looks: what is over by then is closed, and told anew if it returns."""

ALL_OF_IT = 2**31
"""More effects than one event ever has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which part of it: instants in [start, end), some zones, some points; empty means all."""

    start: Instant | None = None
    end: Instant | None = None
    zones: tuple[str, ...] = ()
    points: tuple[str, ...] = ()

    def refuse_unknown(self, registry: Registry, where: Path) -> None:
        """Raise `ConfigError` where a zone or a point is asked for that is not there."""
        for option, names, known in (
            ("--zone", self.zones, registry.zones),
            ("--point", self.points, registry.points),
        ):
            for name in names:
                if name not in known:
                    there = ", ".join(sorted(known)[:12]) or "none"
                    raise ConfigError(
                        f"{option}: expected one of {where.name}'s, such as {there}, was {name}"
                    )
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ConfigError(
                f"--to: expected an instant after {told_instant(self.start)},"
                f" was {told_instant(self.end)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What a replay said, of how many samples, in which span and with which registry.

    `models` are those that a trainer published meanwhile.
    """

    said: tuple[Said, ...]
    samples: int
    begin: int
    end: int
    registry: Registry
    models: tuple[ModelApplied, ...] = ()


def play_recording(
    recording: Recording,
    asked: Asked,
    *,
    other: Registry | None,
    progress: Progress,
    trainer: Trainer | None = None,
    training: Sequence[Commanded] = (),
    looked_every_ms: int | None = LOOKED_EVERY_MS,
) -> Played:
    """Run a recording; `other` is another registry than its own.

    `training` are commands that choose the days that zones are learnt from. So often somebody
    acknowledges what is new; None is nobody, and what has cleared stays open.
    """
    own = recording.registry()
    asked.refuse_unknown(own, recording.folder)
    chosen = own if other is None else at_cadence(other, own)
    registry = narrowed(chosen, zones=asked.zones, points=asked.points)
    begin, end = span_of(recording, asked)
    counted = _Counter(progress)
    stream = run_recording(
        recording,
        registry,
        start=None if asked.start is None else begin,
        end=asked.end,
        points=frozenset(registry.points),
        trainer=trainer,
        operations=told_of(labels.operations(recording.folder)),
        training=training,
        looked_every_ms=looked_every_ms,
        progress=counted,
    )
    models: list[ModelApplied] = []
    said = tuple(tell(_noting(models, (effect for _, effect in stream))))
    return Played(
        said=said,
        samples=counted.samples,
        begin=begin,
        end=end,
        registry=registry,
        models=tuple(models),
    )


def span_of(recording: Recording, asked: Asked) -> tuple[Instant, Instant]:
    """Return which part of a recording is played. Raises `ConfigError` where it is none."""
    begin = recording.begin if asked.start is None else max(asked.start, recording.begin)
    end = recording.end if asked.end is None else min(asked.end, recording.end)
    if begin > end:
        raise ConfigError(
            f"--from, --to: expected a part of {told_instant(recording.begin)} to"
            f" {told_instant(recording.end)}, was none of it"
        )
    return begin, end


def _noting(models: list[ModelApplied], effects: Iterable[Effect]) -> Iterator[Effect]:
    """Yield effects, and remember which models were applied."""
    for effect in effects:
        if isinstance(effect, ModelApplied):
            models.append(effect)
        yield effect


def judged(recording: Recording, asked: Asked, said: tuple[Said, ...]) -> Played:
    """Return what somebody else said of a recording, as if we had played it."""
    asked.refuse_unknown(recording.registry(), recording.folder)
    registry = narrowed(recording.registry(), zones=asked.zones, points=asked.points)
    begin = recording.begin if asked.start is None else max(asked.start, recording.begin)
    end = recording.end if asked.end is None else min(asked.end, recording.end)
    looked_at = (s for s in said if begin <= s.at and s.zone in registry.zones)
    return Played(said=tuple(looked_at), samples=0, begin=begin, end=end, registry=registry)


def score_recording(recording: Recording, played: Played, trends: Trends | None) -> Score:
    """Return how right a replay was by the recording's own labels."""
    path = recording.folder / "truth.jsonl"
    if not path.exists():
        raise ConfigError(f"{path}: expected labels to score against, found none")
    inflow = None if trends is None else mean_inflows(played.registry, trends)
    return score(
        played.said,
        labels.truth(recording.folder),
        begin=played.begin,
        end=played.end,
        zones=tuple(played.registry.zones),
        network=None if recording.network is None else read_network(recording.network),
        flow=labels.truth_flow(recording.folder),
        inflow_m3h=inflow,
    )


def trends_of(recording: Recording, asked: Asked, played: Played) -> Trends:
    """Return a recording's curves over the span that was played."""
    trends = Trends(
        recording.points, begin=played.begin, end=played.end, cadence_ms=recording.cadence_ms
    )
    for stretch in recording.stretches(asked.start, asked.end, frozenset(played.registry.points)):
        trends.add(stretch)
    return trends


def mean_inflows(registry: Registry, trends: Trends) -> dict[str, float]:
    """Return the mean net inflow of each zone in m³/h, where it is measured."""
    found = {}
    for zone in registry.zones.values():
        net = [v for v in trends.net([(i.point, i.sign) for i in zone.inflow]) if v is not None]
        if net:
            found[str(zone.id)] = sum(net) / len(net)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a journal holds, found in one reading: its file, its span and its last registry."""

    path: Path
    reader: JournalReader
    events: int
    begin: int
    end: int
    registry: Registry


def survey(path: Path) -> Survey:
    """Read through a journal. Raises `StorageError` naming what is not as it was written."""
    reader = JournalReader(path)
    engine = engine_of(reader, with_state=False)[1]
    registry, events, begin, end = engine.registry, 0, 0, 0
    for seq, at, kind, body in reader.rows():
        begin, end, events = begin or at, at, seq
        if kind == "registry_changed":
            event = from_record(kind, Instant(at), body)
            assert isinstance(event, RegistryChanged)
            registry = event.registry
    return Survey(path=path, reader=reader, events=events, begin=begin, end=end, registry=registry)


def play_journal(
    journal: Survey,
    asked: Asked,
    *,
    other: Registry | None,
    progress: Progress,
    with_trends: bool = False,
) -> tuple[Played, Trends | None]:
    """Run a journal from where it begins; what was said before `start` is not told."""
    asked.refuse_unknown(journal.registry, journal.path)
    chosen = journal.registry if other is None else other
    registry = narrowed(chosen, zones=asked.zones, points=asked.points)
    is_other = other is not None or asked.zones or asked.points
    begin = max(journal.begin, asked.start or journal.begin)
    end = min(journal.end, asked.end or journal.end)
    trends = None
    if with_trends:
        periods = [p.period_ms for p in registry.points.values()]
        cadence_ms = min(periods, default=MINUTE_MS)
        trends = Trends(tuple(registry.points), begin=begin, end=end, cadence_ms=cadence_ms)
    before, engine = engine_of(journal.reader, with_state=False)
    if before and is_other:
        opening = RegistryChanged(at=Instant(journal.begin), registry=registry)
        engine.apply(opening)
    samples = 0
    stream = run_events(
        _until(journal.reader.read(after=before), asked.end),
        engine=engine,
        registry=registry if is_other else None,
        progress=lambda at, _seq: progress(at, samples),
    )
    teller, said = Teller(), []
    for _, at, effect in stream:
        line = teller.tell(effect)
        if line is not None and at >= begin:
            said.append(line)
        if isinstance(effect, Accepted) and at >= begin:
            samples += len(effect.samples)
            if trends is not None:
                trends.hear(effect)
    played = Played(said=tuple(said), samples=samples, begin=begin, end=end, registry=registry)
    return played, trends


def recorded_said(journal: Survey, played: Played) -> tuple[Said, ...]:
    """Return what the live server said in the span and the zones of a replay."""
    told = tell(
        _effect_of(kind, body) for _, _, kind, body in journal.reader.recorded() if kind in TOLD
    )
    return tuple(
        line
        for line in told
        if played.begin <= line.at <= played.end and line.zone in played.registry.zones
    )


def verify_journal(journal: Survey, asked: Asked, *, progress: Progress) -> Verified:
    """Derive a journal's effects anew and compare them with the recorded ones."""
    reader = journal.reader
    before, engine = engine_of(reader, with_state=True)
    last = reader.recorded_through()
    if asked.end is not None:
        rows = reader.rows(after=before)
        last = min(last, max((seq for seq, at, _, _ in rows if at < asked.end), default=before))
    known = max((before, ALL_OF_IT), reader.effects_pruned())
    recorded = (one for one in reader.recorded(after=known) if one[0] <= last)
    events = _through(reader.read(after=before), last)
    found = derived(run_events(events, engine=engine, progress=progress))
    return verify(recorded, (one for one in found if one[:2] > known))


def counts_of(said: tuple[Said, ...]) -> dict[str, dict[str, int]]:
    """Return how many lines of each event and kind there are."""
    counts: dict[str, dict[str, int]] = {}
    for line in said:
        kinds = counts.setdefault(line.event, {})
        kinds[line.kind] = kinds.get(line.kind, 0) + 1
    return counts


def is_drawn(quantity: Quantity) -> bool:
    """Say whether curves of a quantity tell a reader something of the water."""
    return quantity in (Quantity.PRESSURE, Quantity.FLOW, Quantity.LEVEL)


class _Counter:
    """Remembers how many samples were played, and hands the progress on."""

    def __init__(self, progress: Progress) -> None:
        self.samples = 0
        self._progress = progress

    def __call__(self, at: Instant, samples: int) -> None:
        self.samples = samples
        self._progress(at, samples)


def _until(events: Iterator[tuple[int, Event]], end: Instant | None) -> Iterator[tuple[int, Event]]:
    for seq, event in events:
        if end is not None and event.at >= end:
            return
        yield seq, event


def _through(events: Iterator[tuple[int, Event]], last: int) -> Iterator[tuple[int, Event]]:
    for seq, event in events:
        if seq > last:
            return
        yield seq, event


def _effect_of(kind: str, body: str) -> Effect:
    """Return the effect that a journal recorded."""
    fields: dict[str, Any] = effects.fields_of(body)
    if "kind" in fields:
        fields["kind"] = AlarmKind(fields["kind"])
    whole = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    made: Effect = getattr(effects, kind)(**whole)
    return made
