"""Who has fallen silent, and which instruments give only bad readings.

Input: when each point of the registry last sent a live sample, judged on ticks. Silence of the
server's own link explains every other; that of a gateway explains its points; that of over 30 % of
a zone is told once for the zone. No silence clears another finding. Backfill is no sign of life.

Source: our own. That one cause is told once follows what EEMUA 191 says of floods of alarms.
"""

from dataclasses import dataclass

import numpy as np

from server.engine.detectors.block import REASONS, Block
from server.engine.detectors.finding import Board, Finding
from server.engine.detectors.grid import Bools, Ints, awake, order_of
from server.engine.detectors.hearings import Hearings, crossings
from server.engine.effects import AlarmKind
from server.engine.registry import Point
from telemetry.instant import SECOND_MS, Instant
from telemetry.point import PointId
from telemetry.sample import Quality, Reason

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

AWAKE_MS = HOLD_MS + LONE_MS + 6 * SECOND_MS
"""After each moment at which something may change, every tick is looked at for so long."""

GATEWAY_EARLIER_MS = 3 * SECOND_MS
"""A gateway is silent by so much sooner than the quickest of its points."""

NEVER = -(2**62)
FOREVER_MS = 2**60
_MOVE, _TURN = 0, 1

LINK_SEVERITY, MANY_SEVERITY, POINT_SEVERITY = 2, 3, 4


@dataclass(slots=True, kw_only=True)
class _Heard:
    """What was last heard of a point of the registry; `number` is its place in `_last_at`."""

    point: Point
    number: int
    gateway: str = ""
    bad_since: Instant | None = None
    reason: Reason = Reason.NONE

    @property
    def threshold_ms(self) -> int:
        return max(PERIODS * self.point.period_ms, SILENT_MIN_MS)


class Silence:
    """The signs of life of every point of the registry.

    >>> from server.engine.detectors.block import Names, block_of
    >>> from telemetry.units import Quantity
    >>> street = Point(
    ...     id="street/pressure",
    ...     zone="north",
    ...     quantity=Quantity.PRESSURE,
    ...     name_zh="",
    ...     name_en="",
    ...     period_ms=1_000,
    ... )
    >>> silence = Silence()
    >>> silence.registry_changed({street.id: street}, at=1_000)
    >>> silence.linked(1_000, is_up=True)
    >>> ticks = range(1_000, 90_000, 1_000)
    >>> [(tick, found.because) for tick, found in silence.run(block_of(ticks, [], Names()))]
    [(65, ('street/pressure has never been heard',))]
    """

    def __init__(self) -> None:
        self._heard: dict[PointId, _Heard] = {}
        self._order: list[_Heard] = []
        self._last_at = np.zeros(0, dtype=np.int64)
        self._thresholds = np.zeros(0, dtype=np.int64)
        self._gateways: dict[str, bool] = {}
        self._since: Instant | None = None
        self._down_since: Instant | None = None
        self._board = Board(hold_ms=HOLD_MS)
        self._awake_until = Instant(0)
        self._last_tick = Instant(0)
        self._codes: dict[str, int] = {}
        self._gateway_of = np.zeros(0, dtype=np.int64)
        self._was_bad = np.zeros(0, dtype=np.bool_)
        self._numbers = np.zeros(0, dtype=np.int64)
        self._names: tuple[PointId, ...] = ()

    def registry_changed(self, points: dict[PointId, Point], *, at: Instant) -> None:
        """Watch these points from now on."""
        before = self._heard
        last = [
            int(self._last_at[before[p].number]) if p in before else NEVER for p in sorted(points)
        ]
        self._heard = {}
        for number, p in enumerate(sorted(points)):
            known = before.get(p) or _Heard(point=points[p], number=number)
            known.point, known.number = points[p], number
            self._heard[p] = known
        self._order = list(self._heard.values())
        self._last_at = np.array(last, dtype=np.int64)
        thresholds = [h.threshold_ms for h in self._order]
        self._thresholds = np.array(thresholds, dtype=np.int64)
        codes = [self._codes.get(h.gateway, -1) for h in self._order]
        self._gateway_of = np.array(codes, dtype=np.int64)
        self._was_bad = np.array([h.bad_since is not None for h in self._order], dtype=np.bool_)
        self._names = ()
        self._wake(at)

    def linked(self, at: Instant, *, is_up: bool) -> None:
        """Note that our own link came up or went down."""
        if is_up:
            self._since, self._down_since = at, None
        elif self._down_since is None:
            self._down_since = at
        self._wake(at)

    def gateway_changed(self, gateway: str, *, is_online: bool, at: Instant) -> None:
        """Note a birth or a death."""
        self._gateways[gateway] = is_online
        self._wake(at)

    def _wake(self, at: Instant, *, for_ms: int = START_MS + AWAKE_MS) -> None:
        """Look at every tick for a while: something may change."""
        self._awake_until = Instant(max(self._awake_until, at + for_ms))

    def run(self, block: Block) -> list[tuple[int, Finding]]:
        """Hear a block, and look at those ticks at which something may change.

        Findings come with the number of their tick.
        """
        if self._since is None and len(block.ticks):
            self._since = Instant(int(block.ticks[0]))
            self._wake(self._since)
        number = self._numbers_of(block.points)[block.point]
        hearings = Hearings(
            after=block.after,
            now=block.now,
            number=number,
            gateway=self._codes_of(block.gateways)[block.gateway],
            is_bad=self._is_bad(block),
            reason=block.reason,
        )
        is_known = number >= 0
        if not is_known.all():
            hearings = hearings.part(is_known)
        changes = sorted([*self._moves(hearings), *self._turns(hearings)])
        is_awake = self._awake(block.ticks, hearings, changes)
        return self._look(block.ticks, hearings, changes, is_awake)

    def _numbers_of(self, points: tuple[PointId, ...]) -> Ints:
        """Return our numbers of a block's points, -1 for those of no registry."""
        if self._names is not points:
            self._names = points
            known = [h.number if (h := self._heard.get(p)) else -1 for p in points]
            self._numbers = np.array(known, dtype=np.int64)
        return self._numbers

    def _codes_of(self, gateways: tuple[str, ...]) -> Ints:
        """Return our numbers of a block's gateways."""
        codes = self._codes
        return np.array([codes.setdefault(g, len(codes)) for g in gateways], dtype=np.int64)

    def _is_bad(self, block: Block) -> Bools:
        is_first = block.reason == REASONS.index(Reason.FIRST_READING)
        is_bad: Bools = (block.quality == int(Quality.BAD)) & ~is_first
        return is_bad

    def _moves(self, heard: Hearings) -> list[tuple[int, int]]:
        """Return the places at which a point speaks through another gateway than before."""
        before = self._gateway_of
        if (heard.gateway == before[heard.number]).all():
            return []
        order = order_of(heard.number)
        number, gateway = heard.number[order], heard.gateway[order]
        previous = np.concatenate([[-1], gateway[:-1]])
        is_first = np.concatenate([[True], number[1:] != number[:-1]])[: len(number)]
        previous = np.where(is_first, before[number], previous[: len(number)])
        return [(int(p), _MOVE) for p in order[gateway != previous]]

    def _turns(self, heard: Hearings) -> list[tuple[int, int]]:
        """Return the places at which a point's readings turn bad, or good again."""
        was_bad = self._was_bad
        if not heard.is_bad.any() and not was_bad.any():
            return []
        order = order_of(heard.number)
        number, is_bad = heard.number[order], heard.is_bad[order]
        is_first = np.concatenate([[True], number[1:] != number[:-1]])[: len(number)]
        previous = np.concatenate([[False], is_bad[:-1]])[: len(number)]
        previous = np.where(is_first, was_bad[number], previous)
        return [(int(p), _TURN) for p in order[is_bad != previous]]

    def _awake(self, ticks: Ints, heard: Hearings, changes: list[tuple[int, int]]) -> Bools:
        """Return the ticks to look at: after each moment at which somebody may be told or excused.

        To look at more of them than needed changes nothing.
        """
        is_awake = awake(ticks, self._last_tick, self._awake_until)
        moments = [int(heard.now[place]) for place, _ in changes]
        moments += [m + FAULT_MS for m in moments]
        bad = np.flatnonzero(self._was_bad).tolist()
        moments += [
            since + FAULT_MS for n in bad if (since := self._order[n].bad_since) is not None
        ]
        start = (self._since or Instant(0)) + START_MS
        last = np.maximum(self._last_at, start - self._thresholds)
        if changes or self._may_be_silent(heard, last, ticks):
            moments += crossings(
                heard.number,
                heard.now,
                last,
                self._thresholds,
                ticks,
                since=self._last_tick - AWAKE_MS,
            )
            moments += self._gateway_crossings(heard, last, ticks)
        for moment in moments:
            lo, hi = np.searchsorted(ticks, [moment, moment + AWAKE_MS + 1]).tolist()
            is_awake[lo : hi + 1] = True  # ticks may be far apart: the first after it counts too
        reached = max([*ticks[-1:].tolist(), *heard.now[-1:].tolist()], default=0)
        past = [m for m in moments if m <= reached]
        self._wake(Instant(max(past, default=0)), for_ms=AWAKE_MS)
        return is_awake

    def _may_be_silent(self, heard: Hearings, last: Ints, ticks: Ints) -> bool:
        """Say whether anybody, or a gateway, can be silent for long in a block, or was before it.

        While none was, and the block is shorter than their patience, nobody is looked at closely.
        """
        begin = int(heard.now.min(initial=FOREVER_MS))
        end = max(int(heard.now.max(initial=0)), *ticks[-1:].tolist(), 0)
        patience = self._thresholds - GATEWAY_EARLIER_MS
        return bool((end - np.minimum(last, begin) >= patience).any())

    def _gateway_crossings(self, heard: Hearings, last: Ints, ticks: Ints) -> list[int]:
        count = len(self._codes)
        latest = np.full(count, NEVER)
        shortest = np.full(count, FOREVER_MS)
        is_known = self._gateway_of >= 0
        np.maximum.at(latest, self._gateway_of[is_known], last[is_known])
        np.minimum.at(shortest, self._gateway_of[is_known], self._thresholds[is_known])
        np.minimum.at(shortest, heard.gateway, self._thresholds[heard.number])
        patience = shortest - GATEWAY_EARLIER_MS
        since = self._last_tick - AWAKE_MS
        return crossings(heard.gateway, heard.now, latest, patience, ticks, since=since)

    def _look(
        self,
        ticks: Ints,
        heard: Hearings,
        changes: list[tuple[int, int]],
        is_awake: Bools,
    ) -> list[tuple[int, Finding]]:
        findings: list[tuple[int, Finding]] = []
        waiting = iter(changes)
        change = next(waiting, None)
        done = 0
        for n in np.flatnonzero(is_awake).tolist():
            if n:
                self._board.hold(Instant(int(ticks[n - 1])))
            end = int(np.searchsorted(heard.after, n, side="right"))
            self._last_at[heard.number[done:end]] = heard.now[done:end]
            while change is not None and change[0] < end:
                self._change(heard, *change)
                change = next(waiting, None)
            done = end
            findings += [(n, f) for f in self._tick(Instant(int(ticks[n])))]
        self._last_at[heard.number[done:]] = heard.now[done:]
        while change is not None:
            self._change(heard, *change)
            change = next(waiting, None)
        if len(ticks):
            self._last_tick = Instant(int(ticks[-1]))
            if not is_awake[-1]:
                self._board.hold(self._last_tick)
        return findings

    def _change(self, heard: Hearings, place: int, what: int) -> None:
        number = int(heard.number[place])
        one = self._order[number]
        if what == _MOVE:
            code = int(heard.gateway[place])
            one.gateway = list(self._codes)[code]
            self._gateway_of[number] = code
        elif heard.is_bad[place]:
            one.bad_since = Instant(int(heard.now[place]))
            one.reason = REASONS[int(heard.reason[place])]
            self._was_bad[number] = True
        else:
            one.bad_since = None
            self._was_bad[number] = False

    def _said_at(self, heard: _Heard) -> Instant | None:
        at = int(self._last_at[heard.number])
        return None if at == NEVER else Instant(at)

    def _tick(self, now: Instant) -> list[Finding]:
        if self._since is None:
            self._since = now
        if self._down_since is not None:
            return self._link_down(now, self._down_since)
        silent = self._silent_gateways(now)
        rest = [h for h in self._order if h.gateway not in silent]
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
        said = [self._said_at(h) for h in found]
        return not found or any(at is not None and at >= since for at in said)

    def _last(self, heard: _Heard, now: Instant) -> Instant:
        """Return the instant from which silence counts; starting up is forgiven."""
        start = Instant((self._since or now) + START_MS)
        patience = Instant(start - heard.threshold_ms)
        at = self._said_at(heard)
        return patience if at is None else max(at, patience)

    def _silent_gateways(self, now: Instant) -> dict[str, list[_Heard]]:
        by_gateway: dict[str, list[_Heard]] = {}
        for heard in self._order:
            if heard.gateway:
                by_gateway.setdefault(heard.gateway, []).append(heard)
        silent = {}
        for gateway, all_heard in by_gateway.items():
            last = max(self._last(h, now) for h in all_heard)
            shortest = min(h.threshold_ms for h in all_heard)
            is_offline = not self._gateways.get(gateway, True)
            is_silent = now - last >= shortest - GATEWAY_EARLIER_MS
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
            if self._said_at(h) is None:
                because = f"{h.point.id} has never been heard"
            point = h.point
            holding.append(
                _finding(point.zone, point.id, [point.id], last, [because], POINT_SEVERITY)
            )
        return holding

    def _zones_with_many(self, chosen: list[_Heard]) -> dict[str, list[_Heard]]:
        sizes: dict[str, int] = {}
        for h in self._order:
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
            for h in self._order
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
