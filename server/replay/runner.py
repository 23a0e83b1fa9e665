"""The loop of a replay: a recording or a journal in, what the engine makes of it out.

A recording runs as the live server would have heard it: the registry, the server's start, births,
then samples in the order of their arrival, and a tick each second.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace

from server.engine.effects import Effect, is_recorded, to_record
from server.engine.engine import Engine
from server.engine.events import Arrived, Event, Linked, RegistryChanged, Started, Tick
from server.engine.registry import Point, Registry
from server.history.recording import Recording
from server.replay.speaking import Message, scans_of, speakers_of
from server.replay.verify import Numbered
from telemetry.instant import MINUTE_MS, SECOND_MS, Instant
from telemetry.point import PointId

HOST_ID = "mainwatch"
GROUP = "replay"
EPOCH = 1

Progress = Callable[[Instant, int], None]
"""Is told how far a replay is: the instant, and how many samples have been played."""


def run_recording(
    recording: Recording,
    registry: Registry,
    *,
    start: Instant | None = None,
    end: Instant | None = None,
    points: Collection[str] | None = None,
    progress: Progress = lambda _at, _samples: None,
) -> Iterator[tuple[Instant, Effect]]:
    """Yield what the engine says of the samples read in [start, end), and the instant of each."""
    engine = Engine(HOST_ID)
    now = Instant((start if start is not None else recording.begin) - SECOND_MS)
    played = 0
    speakers = speakers_of(registry, group=GROUP, epoch=EPOCH)
    opening: list[Event] = [
        RegistryChanged(at=now, registry=registry),
        Started(at=now, version="replay", settings={"host_id": HOST_ID}),
        Linked(at=now, up=True),
    ]
    opening += [_arrived(m, now) for s in speakers.values() for m in s.births(now)]
    for event in opening:
        yield from ((event.at, effect) for effect in engine.apply(event))
    for stretch in recording.stretches(start, end, points):
        for came, rows in scans_of(stretch, recording.points, registry.points):
            while now + SECOND_MS < came:
                now = Instant(now + SECOND_MS)
                yield from ((now, effect) for effect in engine.apply(Tick(at=now)))
            for speaker in speakers.values():
                for message in speaker.say(rows, at=Instant(came)):
                    event = _arrived(message, Instant(came))
                    yield from ((event.at, effect) for effect in engine.apply(event))
                speaker.acknowledged(EPOCH, speaker.offset)
        played += len(stretch)
        progress(now, played)
    for _ in range(after_ms(registry) // SECOND_MS):
        now = Instant(now + SECOND_MS)
        yield from ((now, effect) for effect in engine.apply(Tick(at=now)))


def after_ms(registry: Registry) -> int:
    """Return how long the clock goes on after the last sample: until the last bins are closed."""
    slowest = max((p.period_ms for p in registry.points.values()), default=SECOND_MS)
    return min(MINUTE_MS, max(2 * SECOND_MS, slowest // 5)) + SECOND_MS


def run_events(
    events: Iterable[tuple[int, Event]],
    *,
    host_id: str = HOST_ID,
    registry: Registry | None = None,
    progress: Progress = lambda _at, _samples: None,
) -> Iterator[tuple[int, Instant, Effect]]:
    """Yield what the engine makes of a journal's events, with their sequences.

    `registry` stands for whatever registry the journal tells of.
    """
    engine = Engine(host_id)
    for seq, told in events:
        event = told
        if registry is not None and isinstance(event, RegistryChanged):
            event = replace(event, registry=registry)
        for effect in engine.apply(event):
            yield seq, event.at, effect
        progress(event.at, seq)


def derived(effects: Iterable[tuple[int, Instant, Effect]]) -> Iterator[Numbered]:
    """Yield recorded effects as a journal keeps them: sequence, number, kind and body."""
    now, n = 0, 0
    for seq, _, effect in effects:
        if seq != now:
            now, n = seq, 0
        if is_recorded(effect):
            yield (seq, n, *to_record(effect))  # type: ignore[arg-type]  # it is a recorded one
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


def _arrived(message: Message, at: Instant) -> Arrived:
    return Arrived(at=at, topic=message.topic, payload=message.payload)
