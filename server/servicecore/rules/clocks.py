"""The clocks of a ticket, read from its events whenever somebody looks; nothing is counted down.

Rule 1: a reading is a function of events, facts, policy and calendar. There is no stored counter.
Rule 2: what is not known yet never loosens a limit: a clock that may apply runs, and of the limits
that may hold the shortest does.
Rule 3: bounds include their number: done exactly at the limit is in time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from server.servicecore.rules.calendar import Due, WorkCalendar, civil, day_of
from server.servicecore.rules.policy_form import ClockRule, LadderStep, Limit, Mode, When, limit_of
from telemetry.instant import DAY_MS, Instant

REPEATABLE_STOPS = frozenset({"replied", "restored"})
"""A reopened ticket must be restored and replied again: what came before does not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One event of a ticket: its name, when the server took it, and a code where it has one."""

    at: Instant
    name: str
    code: str = ""
    due: Instant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a case; None is not known yet."""

    liability: str | None = None
    place: str | None = None
    dn_mm: int | None = None
    night: bool | None = None
    stage: str | None = None


class Verdict(StrEnum):
    """How a clock stands."""

    RUNNING = "running"
    PAUSED = "paused"
    OVERDUE = "overdue"
    MET = "met"
    MISSED = "missed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A clock at an instant. `left_ms` is of the wall, negative when overdue, for the queue."""

    clock: str
    started_at: Instant
    due: Instant
    stopped_at: Instant | None
    verdict: Verdict
    is_provisional: bool
    is_extended: bool
    left_ms: int
    tell: tuple[str, ...]


def read(
    rule: ClockRule,
    events: Sequence[Happening],
    *,
    facts: Facts,
    calendar: WorkCalendar,
    now: Instant,
) -> Reading | None:
    """Return how a clock stands, or None when it does not run for this case."""
    if matches(rule.when, facts) is False:
        return None
    started = next((e.at for e in events if e.name == rule.start), None)
    if started is None or started > now:
        return None
    limit = limit_for(rule, facts)
    if limit is None:
        return None
    stopped = _stop(rule, events, started)
    due = due_at(rule, limit, started, calendar=calendar)
    pauses = list(_pauses(rule, events, started, stopped if stopped is not None else now))
    for begin, end in pauses:
        if begin < due.at:
            due = _moved(rule, due, begin, end, calendar)
    granted = _granted(rule, events)
    if granted is not None:
        due = Due(granted, due.is_provisional)
    until = stopped if stopped is not None else now
    is_paused = stopped is None and _is_open(rule, events)
    return Reading(
        clock=rule.id,
        started_at=started,
        due=due.at,
        stopped_at=stopped,
        verdict=_verdict(due.at, stopped, now, is_paused=is_paused),
        is_provisional=due.is_provisional,
        is_extended=granted is not None,
        left_ms=due.at - until,
        tell=_told(rule.steps, started, due.at, until, is_paused=is_paused),
    )


def due_at(rule: ClockRule, limit: Limit, start: Instant, *, calendar: WorkCalendar) -> Due:
    """Return when a limit that starts at `start` ends, without pauses."""
    match rule.mode:
        case Mode.WALL:
            return Due(Instant(start + limit.amount), is_provisional=False)
        case Mode.BUSINESS:
            return calendar.after_business(start, limit.amount)
        case Mode.WORKING_DAYS:
            return calendar.after_working_days(start, limit.amount, counts_first=rule.counts_first)
        case Mode.MONTH:
            year, month, _ = civil(calendar.day(start))
            after = day_of(year + month // 12, month % 12 + 1, 1)
            return Due(calendar.instant(after, 0), is_provisional=False)


def limit_for(rule: ClockRule, facts: Facts) -> Limit | None:
    """Return the shortest limit that may hold: of the variants that match, else the clock's own."""
    known = [v for v in rule.variant if matches(v.when, facts) is True]
    open_ones = [v for v in rule.variant if matches(v.when, facts) is None]
    texts = [v.limit for v in (*known, *open_ones)]
    if not known and rule.limit is not None:
        texts.append(rule.limit)
    limits = [limit_of(t) for t in texts]
    return min(limits, key=lambda it: it.amount) if limits else None


def matches(when: When, facts: Facts) -> bool | None:
    """Say whether a case is meant; None when a fact that decides is not known."""
    answers: list[bool | None] = []
    for name in ("liability", "place", "night", "stage"):
        wanted = getattr(when, name)
        if wanted is not None:
            fact = getattr(facts, name)
            answers.append(None if fact is None else fact == wanted)
    if when.dn_mm_min is not None:
        answers.append(None if facts.dn_mm is None else facts.dn_mm >= when.dn_mm_min)
    if when.dn_mm_max is not None:
        answers.append(None if facts.dn_mm is None else facts.dn_mm <= when.dn_mm_max)
    if False in answers:
        return False
    return None if None in answers else True


def is_night(at: Instant, hours: Sequence[int], *, calendar: WorkCalendar) -> bool | None:
    """Say whether an instant is in the night (begin, end) of the policy; None without one."""
    if len(hours) != 2:
        return None
    begin, end = hours
    time = calendar.time_of_day(at)
    return begin <= time < end if begin <= end else time >= begin or time < end


def most_urgent(readings: Iterable[Reading]) -> Reading | None:
    """Return the running clock with the least time left."""
    live = [r for r in readings if r.verdict in (Verdict.RUNNING, Verdict.OVERDUE)]
    return min(live, key=lambda r: (r.left_ms, r.clock)) if live else None


def queue_key(priority: int, readings: Iterable[Reading]) -> tuple[int, int]:
    """Return where a ticket stands in the queue: by priority, then by time left, never by age."""
    urgent = most_urgent(readings)
    return priority, urgent.left_ms if urgent else DAY_MS * 36_500


def _stop(rule: ClockRule, events: Sequence[Happening], start: Instant) -> Instant | None:
    since = start
    if rule.stop in REPEATABLE_STOPS:
        since = max([start, *(e.at for e in events if e.name == "reopened")])
    return next((e.at for e in events if e.name == rule.stop and e.at >= since), None)


def _pauses(
    rule: ClockRule, events: Sequence[Happening], start: Instant, until: Instant
) -> Iterable[tuple[Instant, Instant]]:
    """Yield the stretches in which the clock stood still, up to `until`."""
    begin: Instant | None = None
    for e in events:
        if e.name == "waiting" and e.code in rule.pauses and begin is None:
            begin = max(e.at, start)
        elif e.name == "resumed" and begin is not None:
            if begin < min(e.at, until):
                yield begin, min(e.at, until)
            begin = None
    if begin is not None and begin < until:
        yield begin, until


def _is_open(rule: ClockRule, events: Sequence[Happening]) -> bool:
    last = [e for e in events if e.name in ("waiting", "resumed")][-1:]
    return bool(last) and last[0].name == "waiting" and last[0].code in rule.pauses


def _moved(rule: ClockRule, due: Due, begin: Instant, end: Instant, calendar: WorkCalendar) -> Due:
    match rule.mode:
        case Mode.WALL | Mode.MONTH:
            return Due(Instant(due.at + end - begin), due.is_provisional)
        case Mode.BUSINESS:
            later = calendar.after_business(due.at, calendar.business_between(begin, end))
        case Mode.WORKING_DAYS:
            days = calendar.working_days_between(begin, end)
            if not days:
                return due
            later = calendar.after_working_days(due.at, days, counts_first=False)
    return Due(later.at, later.is_provisional or due.is_provisional)


def _granted(rule: ClockRule, events: Sequence[Happening]) -> Instant | None:
    """Return the limit that a leader last set instead: a granted extension or an expedite."""
    set_by = [e.due for e in events if e.due is not None and e.code == rule.id]
    return set_by[-1] if set_by else None


def _verdict(due: Instant, stopped: Instant | None, now: Instant, *, is_paused: bool) -> Verdict:
    if stopped is not None:
        return Verdict.MET if stopped <= due else Verdict.MISSED
    if now > due:
        return Verdict.OVERDUE
    return Verdict.PAUSED if is_paused else Verdict.RUNNING


def _told(
    steps: Sequence[LadderStep], start: Instant, due: Instant, until: Instant, *, is_paused: bool
) -> tuple[str, ...]:
    """Return who must have been told by `until`, in the order of the ladder."""
    if is_paused:
        return ()
    reached = [
        (at, who)
        for step in steps
        if (at := step_at(step, start, due)) <= until
        for who in step.tell
    ]
    return tuple(dict.fromkeys(who for _, who in sorted(reached, key=lambda it: it[0])))


def step_at(step: LadderStep, start: Instant, due: Instant) -> Instant:
    """Return when a step of the ladder is reached: a share of the limit, or so long after it."""
    if step.at.endswith("%"):
        return Instant(start + (due - start) * int(step.at[:-1]) // 100)
    return Instant(due + limit_of(step.at[1:]).amount)


def facts_from(known: Mapping[str, object]) -> Facts:
    """Return the facts that a ticket's data holds; what is of another form is not known."""
    dn, night = known.get("dn_mm"), known.get("night")

    def text(name: str) -> str | None:
        found = known.get(name)
        return found if isinstance(found, str) and found else None

    return Facts(
        liability=text("liability"),
        place=text("place"),
        dn_mm=dn if isinstance(dn, int) else None,
        night=night if isinstance(night, bool) else None,
        stage=text("stage"),
    )
