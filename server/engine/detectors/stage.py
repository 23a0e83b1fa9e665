"""The second stage: events and accepted samples in, findings out when they come and go."""

from server.engine.detectors.clocks import Clocks
from server.engine.detectors.finding import Finding
from server.engine.detectors.silence import Silence
from server.engine.detectors.zone import ZoneWatch, points_of
from server.engine.effects import Accepted, Effect, GatewayChanged
from server.engine.events import Event, Imported, Linked, RegistryChanged, Started, Tick
from server.engine.registry import Registry
from telemetry.instant import Instant
from telemetry.point import PointId
from telemetry.sample import Quality


class Detectors:
    """Every detector, over the points of the registry; points in test are not looked at."""

    def __init__(self) -> None:
        self._zones: dict[str, ZoneWatch] = {}
        self._watching: dict[PointId, tuple[ZoneWatch, ...]] = {}
        self._silence = Silence()
        self._clocks = Clocks()

    def apply(self, event: Event, arrivals: list[Effect]) -> list[Finding]:
        """Take in what has arrived; judge on ticks."""
        match event:
            case RegistryChanged():
                return self._registry_changed(event.registry)
            case Imported():
                self._learn(event)
            case Started():
                self._silence.linked(event.at, is_up=True)
            case Linked():
                self._silence.linked(event.at, is_up=event.up)
            case Tick():
                findings = [f for zone in self._zones.values() for f in zone.tick(event.at)]
                return [*findings, *self._silence.tick(event.at), *self._clocks.tick(event.at)]
            case _:
                self._take(event.at, arrivals)
        return []

    def _take(self, now: Instant, arrivals: list[Effect]) -> None:
        for arrival in arrivals:
            if isinstance(arrival, GatewayChanged):
                self._silence.gateway_changed(arrival.gateway, is_online=arrival.online)
            elif isinstance(arrival, Accepted) and not arrival.is_historical:
                self._take_samples(now, arrival)

    def _take_samples(self, now: Instant, accepted: Accepted) -> None:
        for sample in accepted.samples:
            is_bad = sample.quality is Quality.BAD
            reason = sample.reason if is_bad else None
            self._silence.hear(sample.point, now=now, gateway=accepted.gateway, reason=reason)
            if sample.quality is Quality.GOOD and sample.value is not None:
                for zone in self._watching.get(sample.point, ()):
                    if zone.take(sample.point, at=sample.at, value=sample.value, now=now):
                        self._clocks.in_time(accepted.gateway)
                    else:
                        self._clocks.out_of_time(
                            accepted.gateway,
                            point=sample.point,
                            zone=zone.zone.id,
                            at=sample.at,
                            now=now,
                        )

    def _learn(self, event: Imported) -> None:
        for point, at, value, quality in event.rows:
            if value is not None and quality == Quality.GOOD:
                for zone in self._watching.get(PointId(point), ()):
                    zone.learn_past(PointId(point), at=Instant(at), value=value)

    def _registry_changed(self, registry: Registry) -> list[Finding]:
        """Begin anew in zones that changed; what was learnt about their points is kept."""
        before = self._zones
        self._zones = {}
        findings: list[Finding] = []
        for zone_id in sorted(registry.zones):
            zone = registry.zones[zone_id]
            points = points_of(zone, registry.points)
            old = before.pop(zone_id, None)
            if old is not None and (old.zone, old.points) == (zone, points):
                self._zones[zone_id] = old
                continue
            watch = self._zones[zone_id] = ZoneWatch(zone, points)
            if old is not None:
                watch.adopt(old)
                findings += old.withdraw("the zone was changed in the registry")
        for old in before.values():
            findings += old.withdraw("the zone was taken out of the registry")
        watching: dict[PointId, tuple[ZoneWatch, ...]] = {}
        for watch in self._zones.values():
            for point in watch.columns:
                watching[point] = (*watching.get(point, ()), watch)
        self._watching = watching
        self._silence.registry_changed(registry.points)
        return findings
