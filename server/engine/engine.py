"""The whole control room as a fold: one event in, what follows from it out.

The same events give the same effects, byte for byte (docs/determinism.md). The object may be
pickled between any two events; the pickle is a cache of the fold, never a truth of its own.
"""

from collections.abc import Sequence
from typing import Any

from server.engine.alarms import Alarms
from server.engine.commands import Keys
from server.engine.detectors.block import Block
from server.engine.detectors.finding import Finding, Told
from server.engine.detectors.stage import Detectors
from server.engine.effects import Effect, QualityMarked
from server.engine.essentials import number_on
from server.engine.events import Commanded, Event, ModelPublished, RegistryChanged, Started, Tick
from server.engine.explaining import Explaining
from server.engine.hosts import Hosts
from server.engine.incidents import Incidents
from server.engine.marking import marked
from server.engine.registry import Registry
from server.engine.training import Training
from telemetry.instant import Instant


class Engine:
    """Hosts, detectors, explaining, alarms, incidents: each sees what the one before said."""

    def __init__(self, host_id: str) -> None:
        self.host_id = host_id
        self.registry = Registry()
        self.models: dict[str, dict[str, Any]] = {}
        self._hosts = Hosts()
        self._detectors = Detectors()
        self._explaining = Explaining()
        self._alarms = Alarms()
        self._incidents = Incidents()
        self._keys = Keys()
        self.training = Training()

    def apply(self, event: Event) -> list[Effect]:
        """Do everything the server does with one event, in order."""
        return self.run([event])[0]

    def play(self, block: Block) -> list[tuple[Instant, Effect]]:
        """Return what follows from a block of samples that came without messages, and when.

        It is what the same samples bring live: a recording has neither births nor deaths.
        """
        effects: list[tuple[Instant, Effect]] = []
        found = self._detectors.judge(block)
        for tick, told in self._explaining.over(block.ticks, found):
            event = Tick(at=Instant(int(block.ticks[tick])))
            all_of_it = self._follow(event, told, ())
            effects += [(event.at, effect) for effect in all_of_it]
        return effects

    def run(self, events: Sequence[Event]) -> list[list[Effect]]:
        """Return what follows from each event; how they are cut into runs changes nothing."""
        is_new = [not isinstance(e, Commanded) or self._keys.is_new(e.key) for e in events]
        arrivals = [
            self._hosts.apply(e) if new else [] for e, new in zip(events, is_new, strict=True)
        ]
        repeated = {n for n, new in enumerate(is_new) if not new}
        findings = self._detectors.run(events, arrivals, repeated)
        effects = []
        for event, new, arrived, told in zip(events, is_new, arrivals, findings, strict=True):
            self._note(event)
            found = self._explaining.apply(event, told) if new else told
            if not found and not (new and isinstance(event, Commanded | ModelPublished)):
                effects.append(arrived)
                continue
            followed = self._follow(event, found, self._incidents.members_of(event))
            effects.append([*arrived, *followed])
        return effects

    def _follow(self, event: Event, told: list[Told], members: tuple[str, ...]) -> list[Effect]:
        """Return what follows from what the detectors tell and a person does: marks come first."""
        marks = [t for t in told if isinstance(t, QualityMarked)]
        findings = [t for t in told if isinstance(t, Finding)]
        alarms = self._alarms.apply(event, findings, members)
        incidents = self._incidents.apply(event, alarms)
        others = [*self.training.apply(event, self.registry), *marked(event, self.registry)]
        return [*marks, *alarms, *incidents, *others]

    def _note(self, event: Event) -> None:
        match event:
            case RegistryChanged():
                self.registry = event.registry
            case ModelPublished():
                self.models[event.zone] = event.artefact
            case Started():
                number_on(self, event.settings)
            case _:
                pass
