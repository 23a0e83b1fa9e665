"""Does a repeated message change what is said? The first days of a tape over Sparkplug, and plain.

The wire way speaks for the recording's gateways, each sample under its offset, and says some of the
messages again later, as a gateway does that missed an acknowledgement. The plain way is that of a
replay, behind the hosts. Both must take in every sample once and say the same.
"""

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.tape import Disturbance, Tape
from server.engine.effects import Accepted, Effect
from server.engine.engine import Engine
from server.engine.events import Arrived, Event, Linked, RegistryChanged, Started, Tick
from server.replay.runner import HOST_ID, after_ms, run_events
from server.replay.said import tell
from server.replay.session import Asked, play_recording
from server.replay.speaking import Message, scans_of, speakers_of
from telemetry.instant import DAY_MS, HOUR_MS, SECOND_MS, Instant


@dataclass(slots=True, kw_only=True)
class _Count:
    messages: int = 0
    repeated: int = 0
    samples: int = 0
    last: int = 0


def figures(tape: Tape, how: Disturbance, *, days: int) -> dict[str, Any]:
    """Return what was said again, what was taken in, and whether both ways said the same."""
    until = Instant(min(tape.begin + days * DAY_MS, tape.end))
    played = play_recording(
        tape,
        Asked(end=until),
        other=None,
        progress=lambda _at, _samples: None,
        looked_every_ms=None,  # nobody is on the wire either
    )
    count = _Count()
    events = enumerate(_events(tape, until, how, count), 1)
    taken = 0
    effects: list[Effect] = []
    for _, _, effect in run_events(events, engine=Engine(HOST_ID)):
        effects.append(effect)
        if isinstance(effect, Accepted):
            taken += len(effect.samples)
    said = tuple(tell(effects))
    return {
        "days": days,
        "messages": count.messages,
        "messages_repeated": count.repeated,
        "samples_spoken": count.samples,
        "samples_taken_in": taken,
        "said": len(said),
        "is_same": said == played.said and taken == count.samples,
    }


def _events(tape: Tape, until: Instant, how: Disturbance, count: _Count) -> Iterator[Event]:
    """Yield what a server would hear, and its ticks; what comes with a tick comes before it."""
    registry = tape.registry()
    begin = Instant(tape.begin - SECOND_MS)
    yield RegistryChanged(at=begin, registry=registry)
    yield Started(at=begin, version="replay", settings={"host_id": HOST_ID})
    yield Linked(at=begin, up=True)
    waiting = _messages(tape, begin, until, how, count)
    message = next(waiting, None)
    tick = tape.begin
    while message is not None:
        at, one = message
        while tick < at:
            yield Tick(at=Instant(tick))
            tick = Instant(tick + SECOND_MS)
        yield Arrived(at=Instant(at), topic=one.topic, payload=one.payload)
        message = next(waiting, None)
    over = (count.last - 1) // SECOND_MS * SECOND_MS + after_ms(registry)
    while tick <= over:
        yield Tick(at=Instant(tick))
        tick = Instant(tick + SECOND_MS)


def _messages(
    tape: Tape, begin: Instant, until: Instant, how: Disturbance, count: _Count
) -> Iterator[tuple[int, Message]]:
    """Yield births, data, and data again minutes to hours later, by instant."""
    chance = random.Random(how.seed)
    registry = tape.registry()
    speakers = speakers_of(tape, registry, group="bench", epoch=1)
    for speaker in speakers:
        yield from ((begin, message) for message in speaker.births(begin))
    again: list[tuple[int, int, Message]] = []
    for stretch in tape.stretches(None, until):
        for at, rows in scans_of(stretch, tape.points, registry.points):
            while again and again[0][0] <= at:
                then, _, message = heapq.heappop(again)
                yield then, message
            count.last = at
            count.samples += len(rows)
            for speaker in speakers:
                for message in speaker.say(rows, at=Instant(at)):
                    yield at, message
                    count.messages += 1
                    if chance.random() < how.repeated:
                        count.repeated += 1
                        later = at + chance.randrange(SECOND_MS, HOUR_MS, SECOND_MS)
                        heapq.heappush(again, (later, count.messages, message))
