"""Alarms as dispatchers live with them: independent axes, shelving, floods, and figures.

The axes of ISA-18.2: active, acknowledged, shelved, suppressed, out of service. The first two are
the engine's; the others are people's and never change the first two. Whether a limit is broken is
the engine's alone to say (server/engine/detectors/limits.py): its votes are the on-delay, its
margin the deadband, and no data clears nothing. Re-alarm and floods are here, and heard in
`server/servicecore/standing.py`.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from server.servicecore.rules.refusal import Refused
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS, Instant

FLOOD_COUNT = 10
"""Ten alarms or more in ten minutes are a flood (ISA-18.2)."""
FLOOD_MS = 10 * MINUTE_MS
STANDING_MS = DAY_MS
"""An alarm that has been active for more than a day stands."""
CHATTER_COUNT = 3
"""An alarm that comes so often in a minute chatters."""
CHATTER_MS = MINUTE_MS
SHELVE_MAX_H = 8
"""What a dispatcher may shelve alone where the policy does not say."""
SHELVE_LONG_H = 24 * 7


class Shown(StrEnum):
    """What a list shows of an alarm; the axes decide, in this order."""

    OUT_OF_SERVICE = "out_of_service"
    SUPPRESSED = "suppressed"
    SHELVED = "shelved"
    UNACKNOWLEDGED = "unacknowledged"
    RETURNED = "returned"
    ACKNOWLEDGED = "acknowledged"
    NORMAL = "normal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """An alarm on its five axes."""

    is_active: bool
    acknowledged_at: Instant | None = None
    shelved_until: Instant | None = None
    suppressed_by: str = ""
    is_out_of_service: bool = False


def shown(axes: Axes, *, at: Instant) -> Shown:
    """Return what a list shows at an instant; a shelf that has ended is no shelf."""
    if axes.is_out_of_service:
        return Shown.OUT_OF_SERVICE
    if axes.suppressed_by:
        return Shown.SUPPRESSED
    if is_shelved(axes, at=at):
        return Shown.SHELVED
    if axes.acknowledged_at is None:
        return Shown.UNACKNOWLEDGED if axes.is_active else Shown.RETURNED
    return Shown.ACKNOWLEDGED if axes.is_active else Shown.NORMAL


def is_shelved(axes: Axes, *, at: Instant) -> bool:
    """Say whether somebody has put the alarm aside until later than `at`."""
    return axes.shelved_until is not None and at < axes.shelved_until


def sounds(axes: Axes, *, at: Instant, decided: bool, realarm_ms: int | None) -> bool:
    """Say whether an alarm is heard: unseen, or seen and still undecided for too long."""
    state = shown(axes, at=at)
    if state is Shown.UNACKNOWLEDGED:
        return True
    if state is not Shown.ACKNOWLEDGED or decided or realarm_ms is None:
        return False
    assert axes.acknowledged_at is not None
    return at - axes.acknowledged_at >= realarm_ms


def sounding(
    heard: Mapping[str, int | None],
    *,
    incidents: Mapping[str, str],
    is_flood: bool,
    together: Collection[str] = (),
) -> dict[str, str]:
    """Return which sound stands for each alarm that is heard; a console sounds once for each.

    `heard` says of each alarm when it was acknowledged: one that is still undecided long after goes
    by another name, so it sounds again. In a flood one sound stands for all alarms of an incident,
    and for those of a failure of supply (`together`) at all times, however many points fall: what
    of them was heard before it was known to be one is not heard again.
    """
    found = {}
    for alarm, acknowledged_at in heard.items():
        name = alarm if acknowledged_at is None else f"{alarm}+{acknowledged_at}"
        incident = incidents.get(alarm, name)
        found[name] = incident if is_flood or incident in together else name
    return found


def shelve(
    axes: Axes, subject: str, *, until: Instant, at: Instant, max_h: float, reason: str
) -> Axes:
    """Put an alarm aside, with a reason and an end. Raises `Refused`."""
    if not reason.strip():
        raise Refused("text_missing", step="shelve", ticket=subject)
    if not at < until <= at + max_h * HOUR_MS:
        raise Refused("shelve_range", limit=f"{max_h:g}")
    return replace(axes, shelved_until=until)


def unshelve(axes: Axes, subject: str, *, at: Instant) -> Axes:
    """Take an alarm back before its time. Raises `Refused` when it is not shelved."""
    if not is_shelved(axes, at=at):
        raise Refused("not_shelved", subject=subject)
    return replace(axes, shelved_until=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """One annunciation, for the figures."""

    alarm: str
    at: Instant
    cleared_at: Instant | None
    severity: int
    is_drill: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How the alarm system treats its dispatchers; None where nothing can be said."""

    per_dispatcher_day: float | None
    per_dispatcher_10min_max: int
    flood_share: float | None
    floods: int
    top10_share: float | None
    chattering: tuple[str, ...]
    standing: tuple[str, ...]
    shelved: int
    severity_shares: dict[int, float]


def figures(
    raised: Iterable[Raised], *, start: Instant, end: Instant, dispatchers: int, shelved: int
) -> Figures:
    """Return the figures of [start, end); drills count in none of them."""
    real = sorted((r for r in raised if not r.is_drill and r.at < end), key=lambda r: r.at)
    inside = [r for r in real if r.at >= start]
    spans = floods([r.at for r in inside], end=end)
    counts = Counter(r.alarm for r in inside)
    days = (end - start) / DAY_MS
    total = len(inside)
    return Figures(
        per_dispatcher_day=total / dispatchers / days if dispatchers and days > 0 else None,
        per_dispatcher_10min_max=_most_in_ten_minutes(inside) // max(dispatchers, 1),
        flood_share=sum(b - a for a, b in spans) / (end - start) if end > start else None,
        floods=len(spans),
        top10_share=sum(n for _, n in counts.most_common(10)) / total if total else None,
        chattering=_chattering(inside),
        standing=tuple(
            sorted(
                {
                    r.alarm
                    for r in real
                    if (end if r.cleared_at is None else min(r.cleared_at, end)) - r.at
                    > STANDING_MS
                    and (r.cleared_at is None or r.cleared_at >= start)
                }
            )
        ),
        shelved=shelved,
        severity_shares={
            s: n / total for s, n in sorted(Counter(r.severity for r in inside).items())
        },
    )


def floods(instants: Sequence[Instant], *, end: Instant) -> list[tuple[Instant, Instant]]:
    """Return the stretches of flood: ten minutes from each first of ten alarms within them."""
    spans: list[tuple[Instant, Instant]] = []
    for first, tenth in zip(instants, instants[FLOOD_COUNT - 1 :], strict=False):
        if tenth - first > FLOOD_MS:
            continue
        until = Instant(min(first + FLOOD_MS, end))
        if spans and first <= spans[-1][1]:
            spans[-1] = (spans[-1][0], until)
        else:
            spans.append((first, until))
    return spans


def in_flood(instants: Sequence[Instant], *, at: Instant) -> bool:
    """Say whether it is a flood now: lists then gather by incident and one sound stands for all."""
    return sum(at - FLOOD_MS < t <= at for t in instants) >= FLOOD_COUNT


def _most_in_ten_minutes(raised: Sequence[Raised]) -> int:
    best, first = 0, 0
    for last, item in enumerate(raised):
        while item.at - raised[first].at >= FLOOD_MS:
            first += 1
        best = max(best, last - first + 1)
    return best


def _chattering(raised: Sequence[Raised]) -> tuple[str, ...]:
    by_alarm: dict[str, list[Instant]] = {}
    for r in raised:
        by_alarm.setdefault(r.alarm, []).append(r.at)
    return tuple(
        sorted(
            name
            for name, times in by_alarm.items()
            if any(
                last - first <= CHATTER_MS
                for first, last in zip(times, times[CHATTER_COUNT - 1 :], strict=False)
            )
        )
    )
