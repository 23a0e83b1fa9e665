"""Plays what a detector hears through the stage of detectors, cut and restarted anywhere."""

import pickle
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from server.engine.detectors.block import REASONS, TICKS_APART_MS, Block
from server.engine.detectors.stage import Detectors
from server.engine.events import Event, Linked, RegistryChanged
from server.engine.registry import Registry
from telemetry.sample import Quality, Reason
from tests.scenarios.town_stream import START

ARRAYS = ("ticks", "after", "now", "at", "point", "gateway", "value", "quality", "reason")


class Heard(NamedTuple):
    """A live sample: when it came and was read; without a value it is bad."""

    now: int
    at: int
    point: str
    value: float | None
    gateway: str = "gw-01"


@dataclass(frozen=True, kw_only=True)
class Story:
    """What is heard in the order of arrival, events by instant, and ticks until the end."""

    registry: Registry
    heard: list[Heard]
    seconds: int
    tick_s: int = 1
    events: tuple[Event, ...] = ()

    def items(self):
        """Return everything in the order in which it happens: events, samples, then the tick."""
        assert 1000 * self.tick_s <= TICKS_APART_MS
        ticks = [(START + 1000 * s, 2, s, None) for s in range(0, self.seconds, self.tick_s)]
        heard = [(h.now, 1, n, h) for n, h in enumerate(self.heard)]
        events = [(e.at, 0, n, e) for n, e in enumerate(self.events)]
        return sorted([*ticks, *heard, *events], key=lambda item: item[:3])

    def with_heard(self, heard):
        return replace(self, heard=list(heard))


def play(story, *, lengths=None, is_restarted=lambda: False, watch=lambda block: None):
    """Return what is told with its instants; `lengths` yields how many items the next block holds.

    `watch` is shown each block before it is judged, and what it returns is called afterwards.
    """
    stage = Detectors()
    opening = [RegistryChanged(at=START, registry=story.registry), Linked(at=START, up=True)]
    found = [(START, f) for told in stage.run(opening, [[], []]) for f in told]
    names = tuple(dict.fromkeys(h.point for h in story.heard))
    gateways = tuple(dict.fromkeys(h.gateway for h in story.heard))
    items, n = story.items(), 0
    while n < len(items):
        length = 10_000 if lengths is None else next(lengths)
        part = items[n : n + length]
        first_event = next((i for i, item in enumerate(part) if item[1] == 0), None)
        if first_event == 0:
            event = part[0][3]
            found += [(event.at, f) for f in stage.run([event], [[]])[0]]
            n += 1
            continue
        part = part[:first_event]
        block = block_of(part, names, gateways)
        then = watch(block)
        found += [(int(block.ticks[tick]), f) for tick, f in stage.judge(block)]
        if then is not None:
            then()
        if is_restarted():
            stage = pickle.loads(pickle.dumps(stage))
        n += len(part)
    return found


def block_of(items, names, gateways):
    """Return the block of some items."""
    ticks, heard, after = [], [], []
    for now, kind, _, what in items:
        if kind == 2:
            ticks.append(now)
        else:
            heard.append(what)
            after.append(len(ticks))
    is_bad = [h.value is None for h in heard]
    return Block(
        ticks=np.array(ticks, dtype=np.int64),
        points=names,
        gateways=gateways,
        after=np.array(after, dtype=np.int64),
        now=np.array([h.now for h in heard], dtype=np.int64),
        at=np.array([h.at for h in heard], dtype=np.int64),
        point=np.array([names.index(h.point) for h in heard], dtype=np.int64),
        gateway=np.array([gateways.index(h.gateway) for h in heard], dtype=np.int64),
        value=np.array([np.nan if h.value is None else h.value for h in heard]),
        quality=np.where(is_bad, int(Quality.BAD), int(Quality.GOOD)).astype(np.int64),
        reason=np.where(is_bad, REASONS.index(Reason.TIMEOUT), REASONS.index(Reason.NONE)).astype(
            np.int64
        ),
    )


def size_after(hours, registry, *, seed=7):
    """Return the bytes of the stage after hours of a steady town with noise, a sample each 10 s."""
    stage = Detectors()
    stage.run([RegistryChanged(at=START, registry=registry), Linked(at=START, up=True)], [[], []])
    chance = np.random.default_rng(seed)
    names = tuple(registry.points)
    scans = 360  # of an hour
    for n in range(hours):
        begin = START + 10_000 * scans * n
        at = begin + 10_000 * np.repeat(np.arange(scans, dtype=np.int64), len(names))
        ticks = begin + 1_000 * np.arange(10 * scans, dtype=np.int64)
        zero = np.zeros(len(at), dtype=np.int64)
        stage.judge(
            Block(
                ticks=ticks,
                points=names,
                gateways=("gw-01",),
                after=np.searchsorted(ticks, at, side="left"),
                now=at,
                at=at,
                point=np.tile(np.arange(len(names), dtype=np.int64), scans),
                gateway=zero,
                value=300.0 + chance.normal(0, 0.3, len(at)),
                quality=zero + int(Quality.GOOD),
                reason=zero,
            )
        )
    return len(pickle.dumps(stage))
