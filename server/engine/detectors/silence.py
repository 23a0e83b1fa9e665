"""Who has fallen silent, and which instruments give only bad readings.

Input: when each point of the registry last sent a live sample, judged on ticks. Silence of the
server's own link explains every other; that of a gateway explains its points; that of over 30 % of
a zone is told once for the zone. No silence clears another finding. Backfill is no sign of life.
"""

from dataclasses import dataclass

from server.engine.detectors.finding import Board, Finding
from server.engine.effects import AlarmKind
from server.engine.registry import Point
from telemetry.instant import SECOND_MS, Instant
from telemetry.point import PointId
from telemetry.sample import Reason

SILENT_MIN_MS = 15 * SECOND_MS
PERIODS = 3
LONE_MS = 5 * SECOND_MS
"""A point alone waits longer than its zone, and a gateway less: the widest speaks first."""

START_MS = 60 * SECOND_MS
"""After the link has come up gateways need time to connect and to be born."""

FAULT_MS = 60 * SECOND_MS
HOLD_MS = 30 * SECOND_MS
ZONE_PART = 0.3
ZONE_MIN = 3

LINK_SEVERITY, MANY_SEVERITY, POINT_SEVERITY = 2, 3, 4


@dataclass(slots=True, kw_only=True)
class _Heard:
    """What was last heard of a point of the registry."""

    point: Point
    gateway: str = ""
    at: Instant | None = None
    bad_since: Instant | None = None
    reason: Reason = Reason.NONE

    @property
    def threshold_ms(self) -> int:
        return max(PERIODS * self.point.period_ms, SILENT_MIN_MS)


class Silence:
    """The signs of life of every point of the registry."""

    def __init__(self) -> None:
        self._heard: dict[PointId, _Heard] = {}
        self._gateways: dict[str, bool] = {}
        self._since: Instant | None = None
        self._down_since: Instant | None = None
        self._board = Board(hold_ms=HOLD_MS)

    def registry_changed(self, points: dict[PointId, Point]) -> None:
        """Watch these points from now on."""
        before = self._heard
        self._heard = {}
        for p in sorted(points):
            known = before.get(p) or _Heard(point=points[p])
            known.point = points[p]
            self._heard[p] = known

    def linked(self, at: Instant, *, is_up: bool) -> None:
        """Note that our own link came up or went down."""
        if is_up:
            self._since, self._down_since = at, None
        elif self._down_since is None:
            self._down_since = at

    def gateway_changed(self, gateway: str, *, is_online: bool) -> None:
        """Note a birth or a death."""
        self._gateways[gateway] = is_online

    def hear(self, point: PointId, *, now: Instant, gateway: str, reason: Reason | None) -> None:
        """Note a live sample; `reason` says why it is bad, None that it is not."""
        heard = self._heard.get(point)
        if heard is None:
            return
        heard.at = now
        heard.gateway = gateway
        if reason is None or reason is Reason.FIRST_READING:
            heard.bad_since = None
        elif heard.bad_since is None:
            heard.bad_since, heard.reason = now, reason

    def tick(self, now: Instant) -> list[Finding]:
        """Look who is silent."""
        if self._since is None:
            self._since = now
        if self._down_since is not None:
            return self._link_down(now, self._down_since)
        silent = self._silent_gateways(now)
        rest = [h for h in self._heard.values() if h.gateway not in silent]
        holding = [self._gateway(name, heard, now) for name, heard in silent.items()]
        holding += self._points(rest, now)
        holding += self._faults(now)
        holding += self._unanswered(now)
        return self._board.update(holding, at=now, because="it is heard again, or not looked at")

    def _link_down(self, now: Instant, since: Instant) -> list[Finding]:
        if now - since < SILENT_MIN_MS:
            return []
        because = f"the server's own link to the broker has been down for {_s(now - since)} s"
        finding = _finding("", "server link", [], since, [because], LINK_SEVERITY)
        return self._board.update([*self._board.present(), finding], at=now, because="")

    def _unanswered(self, now: Instant) -> list[Finding]:
        """Return the findings that our own absence must not clear: nobody was heard since."""
        since = self._since
        if since is None or now - since >= START_MS:
            return []
        return [f for f in self._board.present() if f.points and not self._is_heard(f, since)]

    def _is_heard(self, finding: Finding, since: Instant) -> bool:
        found = [self._heard[p] for p in map(PointId, finding.points) if p in self._heard]
        return not found or any(h.at is not None and h.at >= since for h in found)

    def _last(self, heard: _Heard, now: Instant) -> Instant:
        """Return the instant from which silence counts; starting up is forgiven."""
        start = Instant((self._since or now) + START_MS)
        patience = Instant(start - heard.threshold_ms)
        return patience if heard.at is None else max(heard.at, patience)

    def _silent_gateways(self, now: Instant) -> dict[str, list[_Heard]]:
        by_gateway: dict[str, list[_Heard]] = {}
        for heard in self._heard.values():
            if heard.gateway:
                by_gateway.setdefault(heard.gateway, []).append(heard)
        silent = {}
        for gateway, all_heard in by_gateway.items():
            last = max(self._last(h, now) for h in all_heard)
            shortest = min(h.threshold_ms for h in all_heard)
            is_offline = not self._gateways.get(gateway, True)
            is_silent = now - last >= shortest - 3 * SECOND_MS
            if is_silent and (is_offline or len(all_heard) > 1):
                silent[gateway] = all_heard
        return silent

    def _gateway(self, gateway: str, heard: list[_Heard], now: Instant) -> Finding:
        zones = list(dict.fromkeys(h.point.zone for h in heard))
        last = max(self._last(h, now) for h in heard)
        because = [f"gateway {gateway} has sent nothing for {_s(now - last)} s"]
        if not self._gateways.get(gateway, True):
            because.append("its connection to the broker is lost")
        points = [h.point.id for h in heard]
        zone = zones[0] if len(zones) == 1 else ""
        return _finding(zone, f"gateway {gateway}", points, last, because, MANY_SEVERITY)

    def _points(self, heard: list[_Heard], now: Instant) -> list[Finding]:
        silent = [h for h in heard if now - self._last(h, now) >= h.threshold_ms]
        if not silent:
            return []
        holding = []
        zones = self._zones_with_many(silent)
        for zone, members in zones.items():
            last = max(self._last(h, now) for h in members)
            because = f"{len(members)} points of zone {zone} have sent nothing for 15 s or more"
            points = [h.point.id for h in members]
            holding.append(_finding(zone, "zone", points, last, [because], MANY_SEVERITY))
        for h in silent:
            last = self._last(h, now)
            if h.point.zone in zones or now - last < h.threshold_ms + LONE_MS:
                continue
            because = f"{h.point.id} has sent nothing for {_s(now - last)} s"
            if h.at is None:
                because = f"{h.point.id} has never been heard"
            point = h.point
            holding.append(
                _finding(point.zone, point.id, [point.id], last, [because], POINT_SEVERITY)
            )
        return holding

    def _zones_with_many(self, chosen: list[_Heard]) -> dict[str, list[_Heard]]:
        sizes: dict[str, int] = {}
        for h in self._heard.values():
            sizes[h.point.zone] = sizes.get(h.point.zone, 0) + 1
        by_zone: dict[str, list[_Heard]] = {}
        for h in chosen:
            by_zone.setdefault(h.point.zone, []).append(h)
        return {
            zone: members
            for zone, members in by_zone.items()
            if len(members) >= ZONE_MIN and len(members) > ZONE_PART * sizes[zone]
        }

    def _faults(self, now: Instant) -> list[Finding]:
        """Find instruments that answer with nothing good for a minute."""
        bad = [
            (h, h.bad_since)
            for h in self._heard.values()
            if h.bad_since is not None and now - h.bad_since >= FAULT_MS
        ]
        zones = self._zones_with_many([h for h, _ in bad]) if bad else {}
        fault = AlarmKind.SENSOR_FAULT
        holding = []
        for zone, members in zones.items():
            since = min(since for h, since in bad if h.point.zone == zone)
            because = f"{len(members)} points of zone {zone} give only bad readings"
            points = [h.point.id for h in members]
            holding.append(
                _finding(zone, "zone", points, since, [because], MANY_SEVERITY, kind=fault)
            )
        for h, since in bad:
            point = h.point
            if point.zone not in zones:
                because = f"{point.id} gives only bad readings ({h.reason}) for {_s(now - since)} s"
                holding.append(
                    _finding(
                        point.zone,
                        point.id,
                        [point.id],
                        since,
                        [because],
                        POINT_SEVERITY,
                        kind=fault,
                    )
                )
        return holding


def _finding(
    zone: str,
    subject: str,
    points: list[PointId],
    onset: Instant,
    because: list[str],
    severity: int,
    *,
    kind: AlarmKind = AlarmKind.SILENT,
) -> Finding:
    return Finding(
        kind=kind,
        zone=zone,
        subject=subject,
        points=tuple(points),
        is_present=True,
        severity=severity,
        onset=onset,
        because=tuple(because),
    )


def _s(ms: int) -> int:
    return ms // SECOND_MS
