"""How right a replay was: what it said against what really happened. The product's only scorer.

Pure: objects of `events.jsonl` and labels in, one frozen score out; `matching` decides which
belongs to which. A burst's time to detect is that of its alarm, a leak's that of the proposal.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import ceil, inf
from statistics import median
from typing import Any

import numpy as np

from server.history.labels import Truth, TruthFlow, TruthKind
from server.history.recording_toml import told_instant
from server.replay.matching import (
    CLAIMS,
    LOSS,
    Ground,
    Outcome,
    Verdict,
    match,
    proposals_of,
    window_ms,
)
from server.replay.network import Network
from server.replay.poisson import Rate, rate
from server.replay.said import Said
from telemetry.instant import DAY_MS, HOUR_MS

YEAR_MS = 365.25 * DAY_MS
LOSS_CLAIMS = tuple(kind for kind, claims in CLAIMS.items() if set(LOSS) <= set(claims))
"""Kinds of proposals that send a crew to look for escaping water."""

_FAULT_CLAIMS = ("sensor_fault", "meter_fault")
_SIZES_M3H = (2.0, 5.0, 10.0)
_SHARES = (0.02, 0.05, 0.10)


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthScore:
    """What became of one truth. Volumes are unknown where nobody wrote down what it let out.

    Alarms are told of bursts alone: in months of a leak its zone has others.
    """

    truth: Truth
    outcome: Outcome
    by: str | None
    mode: str | None
    alarm_at: int | None
    dispatch_at: int | None
    detect_ms: int | None
    distance_m: float | None
    is_in_radius: bool | None
    lost_before_m3: float | None
    lost_after_m3: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Truths of a kind or size: how many were found, how soon and how near."""

    name: str
    truths: int
    found: int
    late: int
    missed: int
    detect_h_median: float | None
    detect_h_p90: float | None
    distance_m_median: float | None
    distance_m_p90: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KindScore:
    """Proposals of one kind, and what became of them."""

    kind: str
    proposals: int
    found: int
    late: int
    repeat: int
    false: int
    not_judged: int
    false_per_zone_year: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Faults of instruments taken for leaks, and leaks taken for faults of instruments."""

    faults: int
    faults_called_leak: int
    leaks: int
    leaks_called_fault: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The whole result; its figures are of bursts and leaks. Verdicts number the `truths`."""

    begin: int
    end: int
    zones: tuple[str, ...]
    zone_years: float
    found: int
    missed: int
    late: int
    repeats: int
    older: int
    proposals: int
    false: Rate
    false_auto: Rate
    false_confirm: Rate
    lost_before_m3: float | None
    lost_after_m3: float | None
    lost_m3: float | None
    groups: tuple[Group, ...]
    kinds: tuple[KindScore, ...]
    confusion: Confusion
    truths: tuple[TruthScore, ...]
    verdicts: tuple[Verdict, ...]


def score(
    said: Iterable[Said],
    truths: Iterable[Truth],
    *,
    begin: int,
    end: int,
    zones: Sequence[str],
    network: Network | None = None,
    flow: TruthFlow | None = None,
    inflow_m3h: Mapping[str, float] | None = None,
) -> Score:
    """Return how right it was in [begin, end] in some zones; other truths are not looked at."""
    lines = tuple(s for s in said if begin <= s.at)
    wanted = [t for t in truths if _is_looked_at(t, begin=begin, end=end, zones=zones)]
    verdicts = match(proposals_of(lines), wanted, Ground(network))
    claimed = {v.truth: v for v in verdicts if v.outcome in (Outcome.FOUND, Outcome.LATE)}
    water = _Water(flow)
    scored = [
        _truth_score(t, claimed.get(n), lines, water, begin=begin, end=end)
        for n, t in enumerate(wanted)
    ]
    losses = tuple(s for s in scored if s.truth.kind in LOSS)
    looking = [v for v in verdicts if v.by.kind in LOSS_CLAIMS]
    years = len(zones) * (end - begin) / YEAR_MS
    wrong = [v for v in looking if v.outcome is Outcome.FALSE]
    autos = [v for v in wrong if v.proposal.is_auto]
    before = _total([s.lost_before_m3 for s in losses])
    after = _total([s.lost_after_m3 for s in losses])
    return Score(
        begin=begin,
        end=end,
        zones=tuple(zones),
        zone_years=years,
        found=_count(losses, Outcome.FOUND),
        missed=_count(losses, Outcome.MISSED),
        late=_count(losses, Outcome.LATE),
        repeats=sum(v.outcome is Outcome.REPEAT for v in looking),
        older=_count(losses, Outcome.OLDER),
        proposals=len(looking),
        false=rate(len(wrong), years=years),
        false_auto=rate(len(autos), years=years),
        false_confirm=rate(len(wrong) - len(autos), years=years),
        lost_before_m3=before,
        lost_after_m3=after,
        lost_m3=None if before is None or after is None else before + after,
        groups=_groups(losses, inflow_m3h),
        kinds=_kinds(verdicts, years=years),
        confusion=_confusion(wanted, verdicts),
        truths=tuple(scored),
        verdicts=tuple(verdicts),
    )


def summary_of(score: Score) -> dict[str, Any]:
    """Return the score as plain values, as `summary.json` has it; instants as ISO 8601."""
    plain = asdict(score)
    plain |= {"begin": told_instant(score.begin), "end": told_instant(score.end)}
    plain["truths"] = [_plain_truth(s) for s in score.truths]
    names = [s.truth.id for s in score.truths]
    plain["verdicts"] = [_plain_verdict(v, names) for v in score.verdicts]
    return plain


def _is_looked_at(truth: Truth, *, begin: int, end: int, zones: Sequence[str]) -> bool:
    is_then = truth.begin <= end and (truth.end is None or truth.end > begin)
    return is_then and (not truth.zone or truth.zone in zones)


def _truth_score(
    truth: Truth,
    verdict: Verdict | None,
    lines: Sequence[Said],
    water: "_Water",
    *,
    begin: int,
    end: int,
) -> TruthScore:
    over = end if truth.end is None else min(truth.end, end)
    by = None if verdict is None else verdict.by
    until = over if by is None else by.at
    alarm_at = None
    if truth.kind is TruthKind.BURST:
        alarm_at = _alarm_at(truth, lines, until=min(until, truth.begin + window_ms(truth)))
    detected = until if alarm_at is None else alarm_at
    outcome = Outcome.OLDER if truth.begin < begin else Outcome.MISSED
    if verdict is not None:
        outcome = verdict.outcome
    distance = None if verdict is None else verdict.distance_m
    radius = None if by is None or distance is None else by.radius_m
    return TruthScore(
        truth=truth,
        outcome=outcome,
        by=None if by is None else by.id,
        mode=None if by is None else by.mode,
        alarm_at=alarm_at,
        dispatch_at=None if by is None else by.at,
        detect_ms=None if by is None else detected - truth.begin,
        distance_m=distance,
        is_in_radius=None if radius is None or distance is None else distance <= radius,
        lost_before_m3=water.between(truth.id, max(begin, truth.begin), min(until, over)),
        lost_after_m3=water.between(truth.id, min(until, over), over),
    )


def _alarm_at(truth: Truth, lines: Sequence[Said], *, until: int) -> int | None:
    """Return the first alarm of its kind in its zone, from its onset on."""
    for line in lines:
        if line.event != "alarm" or line.explained_by or not truth.begin <= line.at <= until:
            continue
        claims = CLAIMS.get(line.kind, ())
        if truth.kind in claims and (not truth.zone or truth.zone == line.zone):
            return line.at
    return None


class _Water:
    """What each labelled leak let out, from its recorded flow: a row holds until the next one."""

    def __init__(self, flow: TruthFlow | None) -> None:
        self._flow = flow

    def between(self, name: str, begin: int, end: int) -> float | None:
        """Return m³ in [begin, end); None where nobody wrote it down."""
        flow = self._flow
        if flow is None or name not in flow.ids:
            return None
        rows = flow.label == flow.ids.index(name)
        order = np.argsort(flow.at[rows], kind="stable")
        at, m3h = flow.at[rows][order], flow.m3h[rows][order]
        if not len(at):
            return 0.0
        steps = np.diff(at)
        usual = int(np.median(steps)) if len(steps) else HOUR_MS
        lasts = np.append(np.minimum(steps, usual), usual)
        inside = np.minimum(at + lasts, end) - np.maximum(at, begin)
        return float(np.sum(m3h * np.maximum(inside, 0)) / HOUR_MS)


def _groups(
    losses: Sequence[TruthScore], inflow_m3h: Mapping[str, float] | None
) -> tuple[Group, ...]:
    def is_of(kind: str) -> list[TruthScore]:
        return [s for s in losses if _type(s.truth) == kind]

    abrupt = is_of("abrupt")
    groups = [
        _group("all", losses),
        _group("burst", is_of("burst")),
        _group("abrupt", abrupt),
        _group("abrupt >= 5 m3/h", [s for s in abrupt if (s.truth.peak_m3h or 0.0) >= 5.0]),
        _group("incipient", is_of("incipient")),
    ]
    groups += _by_size(losses, [s.truth.peak_m3h for s in losses], _SIZES_M3H, "{} m3/h")
    if inflow_m3h is not None:
        shares = [_share(s.truth, inflow_m3h) for s in losses]
        groups += _by_size(losses, shares, _SHARES, "{:.0%} of inflow")
    return tuple(g for g in groups if g.truths or g.name == "all")


def _type(truth: Truth) -> str:
    if truth.kind is TruthKind.BURST:
        return "burst"
    return truth.type or "incipient"


def _share(truth: Truth, inflow_m3h: Mapping[str, float]) -> float | None:
    inflow = inflow_m3h.get(truth.zone, 0.0)
    return None if truth.peak_m3h is None or inflow <= 0 else truth.peak_m3h / inflow


def _by_size(
    losses: Sequence[TruthScore],
    sizes: Sequence[float | None],
    edges: Sequence[float],
    unit: str,
) -> list[Group]:
    groups = []
    bounds = [0.0, *edges, inf]
    for low, high in pairwise(bounds):
        chosen = [
            s for s, z in zip(losses, sizes, strict=True) if z is not None and low <= z < high
        ]
        name = f">= {unit.format(low)}" if high == inf else f"< {unit.format(high)}"
        if low and high < inf:
            name = f"{unit.format(low)} to {name}"
        groups.append(_group(name, chosen))
    return groups


def _group(name: str, members: Sequence[TruthScore]) -> Group:
    found = [s for s in members if s.outcome is Outcome.FOUND]
    hours = [s.detect_ms / HOUR_MS for s in found if s.detect_ms is not None]
    metres = [s.distance_m for s in found if s.distance_m is not None]
    return Group(
        name=name,
        truths=sum(s.outcome is not Outcome.OLDER for s in members),
        found=len(found),
        late=_count(members, Outcome.LATE),
        missed=_count(members, Outcome.MISSED),
        detect_h_median=median(hours) if hours else None,
        detect_h_p90=_p90(hours),
        distance_m_median=median(metres) if metres else None,
        distance_m_p90=_p90(metres),
    )


def _kinds(verdicts: Sequence[Verdict], *, years: float) -> tuple[KindScore, ...]:
    found = []
    for kind in sorted({v.by.kind for v in verdicts}):
        counts = dict.fromkeys(Outcome, 0)
        for v in verdicts:
            counts[v.outcome] += v.by.kind == kind
        found.append(
            KindScore(
                kind=kind,
                proposals=sum(counts.values()),
                found=counts[Outcome.FOUND],
                late=counts[Outcome.LATE],
                repeat=counts[Outcome.REPEAT],
                false=counts[Outcome.FALSE],
                not_judged=counts[Outcome.NOT_JUDGED],
                false_per_zone_year=rate(counts[Outcome.FALSE], years=years),
            )
        )
    return tuple(found)


def _confusion(truths: Sequence[Truth], verdicts: Sequence[Verdict]) -> Confusion:
    faults = [t for t in truths if t.kind is TruthKind.FAULT]
    leaks = [t for t in truths if t.kind in LOSS]
    called_leak = [v.by for v in verdicts if v.by.kind in ("burst", "leak")]
    called_fault = [
        v.by for v in verdicts if v.by.kind in _FAULT_CLAIMS and v.outcome is Outcome.FALSE
    ]
    return Confusion(
        faults=len(faults),
        faults_called_leak=sum(
            any(_is_during(d, t) and t.point in d.points for d in called_leak) for t in faults
        ),
        leaks=len(leaks),
        leaks_called_fault=sum(
            any(_is_during(d, t) and t.zone in ("", d.zone) for d in called_fault) for t in leaks
        ),
    )


def _is_during(said: Said, truth: Truth) -> bool:
    over = inf if truth.end is None else truth.end
    return truth.begin <= said.at < min(over, truth.begin + window_ms(truth))


def _plain_truth(found: TruthScore) -> dict[str, Any]:
    truth = found.truth
    plain = {k: v for k, v in asdict(found).items() if k != "truth"}
    for name in ("alarm_at", "dispatch_at"):
        plain[name] = None if plain[name] is None else told_instant(plain[name])
    return {
        "id": truth.id,
        "kind": str(truth.kind),
        "type": truth.type,
        "zone": truth.zone,
        "from": told_instant(truth.begin),
        "to": None if truth.end is None else told_instant(truth.end),
        "peak_m3h": truth.peak_m3h,
    } | plain


def _plain_verdict(verdict: Verdict, truths: Sequence[str]) -> dict[str, Any]:
    by = verdict.by
    return {
        "id": by.id,
        "at": told_instant(by.at),
        "kind": by.kind,
        "zone": by.zone,
        "mode": "auto" if verdict.proposal.is_auto else "confirm",
        "outcome": str(verdict.outcome),
        "truth": None if verdict.truth is None else truths[verdict.truth],
        "distance_m": verdict.distance_m,
        "nearest": None if verdict.nearest is None else truths[verdict.nearest],
    }


def _count(found: Sequence[TruthScore], outcome: Outcome) -> int:
    return sum(s.outcome is outcome for s in found)


def _total(volumes: Sequence[float | None]) -> float | None:
    """Return the sum of what is known, or None where nothing is."""
    known = [v for v in volumes if v is not None]
    return sum(known) if known else None


def _p90(values: Sequence[float]) -> float | None:
    """Return the smallest value that nine in ten do not pass."""
    return sorted(values)[ceil(0.9 * len(values)) - 1] if values else None
