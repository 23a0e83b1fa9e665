"""The second stage: events and accepted samples in, findings out when they come and go.

Events are taken in runs. Within a run, what arrived becomes one block of arrays and is judged at
once; the findings are those of one event after another, whatever the runs.
"""

from collections.abc import Collection, Sequence

import numpy as np

from server.engine.detectors.block import TICKS_APART_MS, Block, Names, block_of
from server.engine.detectors.clocks import Clocks
from server.engine.detectors.finding import Told
from server.engine.detectors.instruments import Instruments
from server.engine.detectors.meters import Meters
from server.engine.detectors.quality import Quality
from server.engine.detectors.recovery import Recovery
from server.engine.detectors.silence import Silence
from server.engine.detectors.watch import Watch, watches_of
from server.engine.effects import Accepted, Effect, GatewayChanged
from server.engine.events import (
    Event,
    Imported,
    Linked,
    ModelPublished,
    RegistryChanged,
    Started,
    Tick,
)
from server.engine.operations import Operations, operation_of
from server.engine.registry import Registry
from telemetry.instant import Instant

ToldAlone = RegistryChanged | Imported | ModelPublished | Started | Linked
"""Events that are taken in by themselves, between the blocks before and after them."""


class Detectors:
    """Every detector, over the points of the registry; points in test are not looked at."""

    def __init__(self) -> None:
        self.operations = Operations()
        self._registry = Registry()
        self._watches: list[Watch] = []
        self._names = Names()
        self._quality = Quality()
        self._instruments = Instruments()
        self._silence = Silence()
        self._clocks = Clocks()
        self._meters = Meters()
        self._recovery = Recovery(self.operations)
        self._last_tick: Instant | None = None

    def apply(self, event: Event, arrivals: list[Effect]) -> list[Told]:
        """Take in one event and what has arrived with it."""
        return self.run([event], [arrivals])[0]

    def run(
        self,
        events: Sequence[Event],
        arrivals: Sequence[list[Effect]],
        repeated: Collection[int] = (),
    ) -> list[list[Told]]:
        """Return the findings of each event; commands at places in `repeated` came before."""
        found: list[list[Told]] = [[] for _ in events]
        ticks: list[int] = []
        taken: list[tuple[int, Accepted]] = []
        for n, (event, arrived) in enumerate(zip(events, arrivals, strict=True)):
            if isinstance(event, Tick):
                if self._is_apart(events, ticks, event.at):
                    self._judge(events, ticks, taken, found)
                ticks.append(n)
            elif isinstance(event, ToldAlone):
                self._judge(events, ticks, taken, found)
                found[n] = self._told(event)
            elif (told := operation_of(event)) is not None and n not in repeated:
                self._judge(events, ticks, taken, found)
                self.operations.tell(told, at=event.at)
            for effect in arrived:
                if isinstance(effect, GatewayChanged):
                    self._judge(events, ticks, taken, found)
                    self._silence.gateway_changed(
                        effect.gateway, is_online=effect.online, at=event.at
                    )
                elif isinstance(effect, Accepted):
                    taken.append((len(ticks), effect))
        self._judge(events, ticks, taken, found)
        return found

    def _is_apart(self, events: Sequence[Event], ticks: list[int], at: Instant) -> bool:
        last = events[ticks[-1]].at if ticks else self._last_tick
        return last is not None and at - last > TICKS_APART_MS

    def _judge(
        self,
        events: Sequence[Event],
        ticks: list[int],
        taken: list[tuple[int, Accepted]],
        found: list[list[Told]],
    ) -> None:
        """Judge the block that has come together; it is empty afterwards."""
        if ticks or taken:
            block = block_of([events[n].at for n in ticks], taken, self._names)
            for tick, finding in self.judge(block):
                found[ticks[tick]].append(finding)
        ticks.clear()
        taken.clear()

    def judge(self, block: Block) -> list[tuple[int, Told]]:
        """Return what is found in a block, with the number of the tick that brings it."""
        findings: list[tuple[int, int, Told]] = []
        judged = self._quality.run(block)
        changes = judged.changes
        good = np.flatnonzero(block.is_good & ~judged.is_unfit)
        is_watched = np.zeros(len(block.at), dtype=np.bool_)
        is_in_time = np.zeros(len(block.at), dtype=np.bool_)
        for n, watch in enumerate(self._watches):
            seen = watch.run(block, good, judged.changes)
            is_watched[seen.wanted] = True
            is_in_time[seen.wanted[seen.is_in_time]] = True
            findings += [(tick, n, f) for tick, f in seen.found]
            changes = [*changes, *seen.changes]
        n = len(self._watches)
        findings += [(tick, n, f) for tick, f in self._silence.run(block)]
        watched = np.flatnonzero(is_watched)
        late = self._clocks.run(block, watched, is_in_time[watched], self._registry.points)
        findings += [(tick, n + 1, f) for tick, f in late]
        told = self._instruments.run(block.ticks, changes)
        findings += [(tick, n + 2, f) for tick, f in told]
        findings += [(tick, n + 3, f) for tick, f in self._meters.run(block, good)]
        findings += [(tick, n + 4, f) for tick, f in self._recovery.run(block, good)]
        if len(block.ticks):
            self._last_tick = Instant(int(block.ticks[-1]))
        findings.sort(key=lambda f: f[:2])
        return [(tick, f) for tick, _, f in findings]

    def _told(self, event: ToldAlone) -> list[Told]:
        match event:
            case RegistryChanged():
                return self._registry_changed(event)
            case Imported():
                for watch in self._watches:
                    watch.learn_past(event)
                self._recovery.learn_past(event)
                self._meters.learn_past(event)
            case ModelPublished():
                return [f for watch in self._watches for f in watch.publish(event)]
            case Started():
                self._silence.linked(event.at, is_up=True)
            case Linked():
                self._silence.linked(event.at, is_up=event.up)
        return []

    def _registry_changed(self, event: RegistryChanged) -> list[Told]:
        """Begin anew in zones that changed; what was learnt about their points is kept."""
        self.operations.registry_changed(event.registry)
        before, self._watches = self._watches, watches_of(event.registry, self.operations)
        self._registry = event.registry
        self._names = Names()
        old = {watch.width_ms: watch for watch in before}
        findings: list[Told] = []
        for watch in self._watches:
            if watch.width_ms in old:
                findings += watch.adopt(old.pop(watch.width_ms))
        for watch in old.values():
            findings += watch.withdraw("the zone was taken out of the registry")
        self._silence.registry_changed(event.registry.points, at=event.at)
        findings += self._meters.registry_changed(event.registry)
        self._recovery.registry_changed(event.registry)
        self._quality.registry_changed(event.registry)
        off = [p for watch in self._watches for p in watch.loners.off]
        findings += self._instruments.registry_changed(event.registry.points, off)
        return findings
