"""The whole control room as a fold: one event in, what follows from it out.

The same events give the same effects, byte for byte (docs/determinism.md). The object may be
pickled between any two events; the pickle is a cache of the fold, never a truth of its own.
"""

from collections.abc import Sequence
from typing import Any

from server.engine.alarms import Alarms
from server.engine.commands import Keys
from server.engine.detectors.stage import Detectors
from server.engine.effects import Effect
from server.engine.essentials import number_on
from server.engine.events import Commanded, Event, ModelPublished, RegistryChanged, Started
from server.engine.hosts import Hosts
from server.engine.incidents import Incidents
from server.engine.registry import Registry


class Engine:
    """Hosts, detectors, alarms, incidents: each sees the event and what the one before said."""

    def __init__(self, host_id: str) -> None:
        self.host_id = host_id
        self.registry = Registry()
        self.models: dict[str, dict[str, Any]] = {}
        self._hosts = Hosts()
        self._detectors = Detectors()
        self._alarms = Alarms()
        self._incidents = Incidents()
        self._keys = Keys()

    def run(self, events: Sequence[Event]) -> list[list[Effect]]:
        """Return what follows from each event; how they are cut into runs changes nothing."""
        return [self.apply(event) for event in events]

    def apply(self, event: Event) -> list[Effect]:
        """Do everything the server does with one event, in order."""
        if isinstance(event, RegistryChanged):
            self.registry = event.registry
        if isinstance(event, ModelPublished):
            self.models[event.zone] = event.artefact
        if isinstance(event, Started):
            number_on(self, event.settings)
        if isinstance(event, Commanded) and not self._keys.is_new(event.key):
            return []
        arrivals = self._hosts.apply(event)
        findings = self._detectors.apply(event, arrivals)
        alarms = self._alarms.apply(event, findings, self._incidents.members_of(event))
        incidents = self._incidents.apply(event, alarms)
        return [*arrivals, *alarms, *incidents]
