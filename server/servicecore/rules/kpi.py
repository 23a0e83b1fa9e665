"""The figures that a utility is judged by, each with the tickets behind it.

Rule 1: an empty denominator is no figure (None, shown as n/a), never 100 %.
Rule 2: the month of a ticket is that in which it was assigned; what is still open has its column.
Rule 3: drills count nowhere. Every figure drills down to the numbers that made it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import pstdev

from telemetry.instant import HOUR_MS, Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A share with what it is made of."""

    good: tuple[str, ...]
    of: tuple[str, ...]

    @property
    def value(self) -> float | None:
        """Return the share, or None of nothing."""
        return len(self.good) / len(self.of) if self.of else None

    def meets(self, target: float) -> bool | None:
        """Say whether the target is reached; the target itself is (以上)."""
        return None if self.value is None else self.value >= target


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the figures need of a ticket."""

    number: str
    unit: str
    category: str
    cause: str
    assigned_at: Instant
    is_repair: bool
    is_complaint: bool
    settled_at: Instant | None = None
    in_time: bool | None = None  # None while its clock runs
    was_called: bool = False
    is_satisfied: bool | None = None
    is_false_alarm: bool = False
    is_telemetry: bool = False
    is_drill: bool = False
    opened_at: Instant | None = None  # of the incident
    first_contact_at: Instant | None = None
    urges: int = 0
    returns: int = 0
    transfers: int = 0
    extensions: int = 0
    reopens: int = 0
    accept_ms: int | None = None
    onsite_ms: int | None = None
    restore_ms: int | None = None


Test = Callable[[Case], bool]


def real(cases: Iterable[Case], *, start: Instant, end: Instant) -> list[Case]:
    """Return the cases assigned in [start, end) that were no drill."""
    return [c for c in cases if start <= c.assigned_at < end and not c.is_drill]


def ratio(cases: Sequence[Case], good: Test, of: Test) -> Ratio:
    """Return the share of the cases that pass `of` which pass `good` too."""
    chosen = [c for c in cases if of(c)]
    return Ratio(
        good=tuple(c.number for c in chosen if good(c)), of=tuple(c.number for c in chosen)
    )


RATIOS: dict[str, tuple[Test, Test]] = {
    # 及时处理次数 / 客户报修总次数
    "repair_timeliness": (lambda c: c.in_time is True, lambda c: c.is_repair),
    # 满意客户数 / 抽查客户总数
    "satisfaction": (lambda c: c.is_satisfied is True, lambda c: c.was_called),
    # 规定期限内办结项目数 / 交办项目总数
    "complaint_timeliness": (
        lambda c: c.settled_at is not None and c.in_time is True,
        lambda c: c.is_complaint,
    ),
    # 办结项目数 / 交办项目数
    "complaint_settled": (lambda c: c.settled_at is not None, lambda c: c.is_complaint),
    # 客户满意项目数 / 交办项目总数: a customer who was not called is not satisfied
    "complaint_satisfaction": (lambda c: c.is_satisfied is True, lambda c: c.is_complaint),
    # 用户投诉处理率
    "complaint_handled": (lambda c: c.settled_at is not None, lambda c: c.is_complaint),
    # 回访率: called back / settled
    "called_back": (lambda c: c.was_called, lambda c: c.settled_at is not None),
    # orders closed as false / orders that telemetry asked for
    "false_dispatch": (lambda c: c.is_false_alarm, lambda c: c.is_telemetry),
}


def monthly(cases: Iterable[Case], *, start: Instant, end: Instant) -> dict[str, Ratio]:
    """Return every share of the cases assigned in [start, end)."""
    chosen = real(cases, start=start, end=end)
    return {name: ratio(chosen, good, of) for name, (good, of) in RATIOS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What lies on a unit: R95 and R98."""

    open: int
    overdue: int
    arrived: int
    settled: int
    urges: int
    returns: int
    transfers: int
    extensions: int
    reopens: int

    @property
    def is_congested(self) -> bool:
        """Say whether more comes than goes while something is late: 拥堵."""
        return self.arrived > self.settled and self.overdue > 0


def loads(cases: Iterable[Case], *, start: Instant, end: Instant) -> dict[str, Load]:
    """Return the backlog of each unit at `end` and what moved in [start, end)."""
    by_unit: dict[str, list[Case]] = defaultdict(list)
    for c in cases:
        if not c.is_drill and c.assigned_at < end:
            by_unit[c.unit].append(c)
    return {unit: _load(found, start, end) for unit, found in sorted(by_unit.items())}


def _load(cases: Sequence[Case], start: Instant, end: Instant) -> Load:
    standing = [c for c in cases if c.settled_at is None or c.settled_at >= end]
    return Load(
        open=len(standing),
        overdue=sum(c.in_time is False for c in standing),
        arrived=sum(start <= c.assigned_at for c in cases),
        settled=sum(c.settled_at is not None and start <= c.settled_at < end for c in cases),
        urges=sum(c.urges for c in cases),
        returns=sum(c.returns for c in cases),
        transfers=sum(c.transfers for c in cases),
        extensions=sum(c.extensions for c in cases),
        reopens=sum(c.reopens for c in cases),
    )


def analysis(
    cases: Iterable[Case], *, start: Instant, end: Instant
) -> list[dict[str, str | int | float | None]]:
    """Return the monthly table: department, count, cause, nature, handling, percent, promise."""
    chosen = real(cases, start=start, end=end)
    groups: Counter[tuple[str, str, str]] = Counter((c.unit, c.cause, c.category) for c in chosen)
    rows: list[dict[str, str | int | float | None]] = []
    for (unit, cause, nature), count in sorted(groups.items()):
        mine = [c for c in chosen if (c.unit, c.cause, c.category) == (unit, cause, nature)]
        kept = [c for c in mine if c.in_time is not None]
        rows.append(
            {
                "department": unit,
                "count": count,
                "cause": cause,
                "nature": nature,
                "handled": sum(c.settled_at is not None for c in mine),
                "still_open": sum(c.settled_at is None for c in mine),
                "percent": count / len(chosen),
                "promise_kept": sum(c.in_time is True for c in kept) / len(kept) if kept else None,
            }
        )
    return rows


def percentile(values: Iterable[int | None], share: float) -> int | None:
    """Return the nearest-rank percentile of what there is, or None of nothing."""
    known = sorted(v for v in values if v is not None)
    if not known:
        return None
    return known[min(len(known) - 1, max(0, -(-len(known) * int(share * 1000) // 1000) - 1))]


def detection_lead_ms(cases: Iterable[Case]) -> list[int]:
    """Return how long before the first related contact each incident opened; later is negative."""
    return [
        c.first_contact_at - c.opened_at
        for c in cases
        if c.first_contact_at is not None and c.opened_at is not None and not c.is_drill
    ]


# --- pressure compliance (R02): no text defines it, so the method is the policy's -----------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """One sample of a point: how long it stands for; None is not valid."""

    at: Instant
    value_kpa: float | None
    lasts_ms: int
    excluded: str = ""  # the reason, where the policy leaves the interval out


@dataclass(frozen=True, slots=True, kw_only=True)
class Compliance:
    """A compliance with the sums behind it, so that a network is a sum and no mean of ratios."""

    good: float
    valid: float
    good_all: float
    valid_all: float
    expected: float

    @property
    def value(self) -> float | None:
        """Return the share with the exclusions applied."""
        return self.good / self.valid if self.valid else None

    @property
    def without_exclusions(self) -> float | None:
        """Return the share of everything valid; both are published, always."""
        return self.good_all / self.valid_all if self.valid_all else None

    @property
    def availability(self) -> float | None:
        """Return the share of the time for which there are valid data."""
        return self.valid_all / self.expected if self.expected else None

    def meets(self, target: float) -> bool | None:
        """Say whether the target is reached; the target itself is (不低于)."""
        return None if self.value is None else self.value >= target


def compliance(
    samples: Sequence[Pressure],
    *,
    min_kpa: float,
    method: str,
    exclude: Sequence[str],
    expected: float,
) -> Compliance:
    """Return the compliance of one point; exactly the limit is compliant (不低于).

    `expected` is in the unit of the method: samples, hours, or milliseconds.
    """
    if method == "hourly":
        parts = list(_hours(samples, min_kpa, exclude))
    else:
        parts = [
            (
                float(s.lasts_ms) if method == "time_weighted" else 1.0,
                s.value_kpa >= min_kpa,
                s.excluded in exclude if s.excluded else False,
            )
            for s in samples
            if s.value_kpa is not None
        ]
    kept = [(weight, good) for weight, good, left_out in parts if not left_out]
    return Compliance(
        good=sum(w for w, good in kept if good),
        valid=sum(w for w, _ in kept),
        good_all=sum(w for w, good, _ in parts if good),
        valid_all=sum(w for w, _, _ in parts),
        expected=expected,
    )


def network(parts: Iterable[Compliance]) -> Compliance:
    """Return the compliance of a zone or network: the sum over its points."""
    found = list(parts)
    return Compliance(
        good=sum(p.good for p in found),
        valid=sum(p.valid for p in found),
        good_all=sum(p.good_all for p in found),
        valid_all=sum(p.valid_all for p in found),
        expected=sum(p.expected for p in found),
    )


def best_possible(so_far: Compliance, *, elapsed_share: float) -> float | None:
    """Return the month's compliance if everything from now on is compliant."""
    if so_far.value is None or not 0 < elapsed_share <= 1:
        return None
    return so_far.value * elapsed_share + (1 - elapsed_share)


def steadiness(values_kpa: Iterable[float | None]) -> tuple[float, float] | None:
    """Return (standard deviation, range) of a point's valid pressures (R10), or None of none."""
    known = [v for v in values_kpa if v is not None]
    return (pstdev(known), max(known) - min(known)) if known else None


def run_hours(orders: Iterable[tuple[str, Instant]], *, end: Instant) -> tuple[float, int]:
    """Return (hours run, starts) of one unit from its executed start and stop orders (R07)."""
    total, starts, since = 0, 0, None
    for act, at in sorted(orders, key=lambda it: it[1]):
        if act == "start" and since is None:
            since, starts = at, starts + 1
        elif act == "stop" and since is not None:
            total, since = total + at - since, None
    if since is not None and end > since:
        total += end - since
    return total / HOUR_MS, starts


def _hours(
    samples: Sequence[Pressure], min_kpa: float, exclude: Sequence[str]
) -> Iterable[tuple[float, bool, bool]]:
    """Yield each valid hour: compliant when its mean is, left out when all of it is excluded."""
    by_hour: dict[int, list[Pressure]] = defaultdict(list)
    for s in samples:
        if s.value_kpa is not None:
            by_hour[s.at // HOUR_MS].append(s)
    for found in by_hour.values():
        kept = [s for s in found if not (s.excluded and s.excluded in exclude)] or found
        values = [s.value_kpa for s in kept if s.value_kpa is not None]
        mean = sum(values) / len(values)
        yield (
            1.0,
            mean >= min_kpa or _near(mean, min_kpa),
            all(bool(s.excluded) and s.excluded in exclude for s in found),
        )


def _near(mean: float, limit: float) -> bool:
    """Say whether a mean of values that all are the limit missed it by rounding alone."""
    return abs(mean - limit) <= 1e-9 * abs(limit)
