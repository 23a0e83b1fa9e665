"""Which proposal found which truth: one to one, in the order in which they were said.

A proposal may claim a truth that was going on while its incident was open, that is near enough
where both have a place, and soon enough after its onset. Of several it claims the nearest. What can
only claim a truth that another has found is a repeat; what comes after its time is late; what can
claim nothing is false. A proposal without a place is false where the truth has one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import hypot, inf

from server.history.labels import Truth, TruthKind
from server.replay.network import Network, Place
from server.replay.said import Said
from telemetry.instant import DAY_MS

NEAR_M = 300.0
"""A crew finds it from here."""

ABRUPT_MS = 7 * DAY_MS
INCIPIENT_MS = 60 * DAY_MS
"""What is found later than this after its onset is late."""

TOGETHER_MS = DAY_MS
"""Proposals of one incident are one, if no more than this lies between them and none moves away."""

LOSS = (TruthKind.BURST, TruthKind.LEAK)

CLAIMS: Mapping[str, tuple[TruthKind, ...]] = {
    "burst": LOSS,
    "leak": LOSS,
    "pressure_drop": (*LOSS, TruthKind.SUPPLY),
    "supply": (TruthKind.SUPPLY,),
    "sensor_fault": (TruthKind.FAULT,),
    "meter_fault": (TruthKind.FAULT,),
}
"""What a kind of proposal claims to have found. Other kinds say what the samples themselves show,
such as a limit passed or silence; labels cannot prove them wrong, and they are not judged."""


class Outcome(StrEnum):
    """What became of a proposal, or of a truth."""

    FOUND = "found"
    LATE = "late"
    REPEAT = "repeat"
    FALSE = "false"
    NOT_JUDGED = "not_judged"
    MISSED = "missed"
    OLDER = "older"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """The dispatches of one incident that are one job for a crew, as they were said."""

    dispatches: tuple[Said, ...]
    opened: int

    @property
    def first(self) -> Said:
        """Return the dispatch that opened it."""
        return self.dispatches[0]

    @property
    def last(self) -> Said:
        """Return what it came to."""
        return self.dispatches[-1]

    @property
    def is_auto(self) -> bool:
        """Say whether it was issued without asking."""
        return any(d.mode == "auto" for d in self.dispatches)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a proposal: by which of its dispatches, and of which truth, by its number.

    Of a false one `nearest` is the truth that it might have meant, going on at that time; it has no
    distance where the proposal has no place.
    """

    proposal: Proposal
    outcome: Outcome
    by: Said
    truth: int | None = None
    distance_m: float | None = None
    nearest: int | None = None


class Ground:
    """Where things are: distances along the mains where there is a network, else straight ones."""

    def __init__(self, network: Network | None) -> None:
        self._network = network

    def distance_m(self, said: Said, truth: Truth) -> float | None:
        """Return how far a proposal is from a truth: None where the truth has no place.

        Infinite where the truth has one and the proposal has not.
        """
        if said.pipe is not None and said.pipe == truth.pipe:
            return 0.0
        if self._network is not None:
            there = self._of_truth(self._network, truth)
            if there is not None:
                here = self._of_said(self._network, said)
                return inf if here is None else self._network.distance_m(here, there)
        if truth.x is None or truth.y is None:
            return None
        if said.x is None or said.y is None:
            return inf
        return hypot(said.x - truth.x, said.y - truth.y)

    def _of_truth(self, network: Network, truth: Truth) -> Place | None:
        if truth.pipe is not None and (place := network.at_pipe(truth.pipe)) is not None:
            return place
        known = {node: 0.0 for node in truth.nodes if node in network.nodes}
        if known:
            return Place(reach_m=known)
        return _at_point(network, truth.x, truth.y)

    def _of_said(self, network: Network, said: Said) -> Place | None:
        if said.node is not None and (place := network.at_node(said.node)) is not None:
            return place
        if said.pipe is not None and (place := network.at_pipe(said.pipe)) is not None:
            return place
        return _at_point(network, said.x, said.y)


def _at_point(network: Network, x: float | None, y: float | None) -> Place | None:
    return None if x is None or y is None else network.at_point(x, y)


def window_ms(truth: Truth) -> int:
    """Return how soon a truth must be found: what grows may take longer."""
    is_incipient = truth.kind is TruthKind.LEAK and truth.type != "abrupt"
    return INCIPIENT_MS if is_incipient else ABRUPT_MS


def proposals_of(said: Iterable[Said]) -> list[Proposal]:
    """Return the proposals, in the order in which they were first said."""
    opened: dict[str, int] = {}
    found: list[list[Said]] = []
    newest: dict[str, list[Said]] = {}
    for one in said:
        if one.event == "incident":
            opened.setdefault(one.id, one.at)
        if one.event != "dispatch":
            continue
        group = newest.get(one.id)
        if group is None or not _is_same_job(group, one):
            group = newest[one.id] = []
            found.append(group)
        group.append(one)
    return [
        Proposal(dispatches=tuple(g), opened=min(opened.get(g[0].id, g[0].at), g[0].at))
        for g in found
    ]


def match(proposals: Sequence[Proposal], truths: Sequence[Truth], ground: Ground) -> list[Verdict]:
    """Return what became of each proposal; what comes first has the first claim."""
    taken: dict[int, Outcome] = {}
    return [_judge(proposal, truths, ground, taken) for proposal in _in_order(proposals)]


def _in_order(proposals: Sequence[Proposal]) -> list[Proposal]:
    return sorted(proposals, key=lambda p: p.first.at)


def _judge(
    proposal: Proposal, truths: Sequence[Truth], ground: Ground, taken: dict[int, Outcome]
) -> Verdict:
    best = Verdict(proposal=proposal, outcome=Outcome.NOT_JUDGED, by=proposal.first)
    for said in proposal.dispatches:
        if said.kind in CLAIMS:
            found = _claim(proposal, said, truths, ground, taken)
            if best.outcome is Outcome.NOT_JUDGED or _RANK[found.outcome] < _RANK[best.outcome]:
                best = found
    if best.truth is not None and best.outcome is not Outcome.REPEAT:
        taken[best.truth] = best.outcome
    return best


_RANK = {o: n for n, o in enumerate((Outcome.FOUND, Outcome.LATE, Outcome.REPEAT, Outcome.FALSE))}


def _claim(
    proposal: Proposal,
    said: Said,
    truths: Sequence[Truth],
    ground: Ground,
    taken: Mapping[int, Outcome],
) -> Verdict:
    """Return the best that one dispatch can claim."""
    choices = []
    beyond: list[tuple[float, int]] = []
    for n, truth in enumerate(truths):
        if truth.kind not in CLAIMS[said.kind] or not _is_then(proposal, said, truth):
            continue
        distance = ground.distance_m(said, truth) if truth.kind in LOSS else None
        is_there = distance <= NEAR_M if distance is not None else _is_in_place(said, truth)
        if not is_there:
            if distance is not None and (distance < inf or truth.zone == said.zone):
                beyond.append((distance, n))
            continue
        is_late = said.at - truth.begin > window_ms(truth)
        outcome = Outcome.LATE if is_late else Outcome.FOUND
        if n in taken:
            outcome = Outcome.REPEAT
        kind = CLAIMS[said.kind].index(truth.kind) if truth.kind not in LOSS else 0
        near = inf if distance is None else distance
        choices.append((_RANK[outcome], kind, near, -truth.begin, n, outcome, distance))
    if not choices:
        away, nearest = min(beyond, default=(inf, None))
        return Verdict(
            proposal=proposal,
            outcome=Outcome.FALSE,
            by=said,
            distance_m=None if away == inf else away,
            nearest=nearest,
        )
    *_, n, outcome, distance = min(choices)
    return Verdict(proposal=proposal, outcome=outcome, by=said, truth=n, distance_m=distance)


def _is_then(proposal: Proposal, said: Said, truth: Truth) -> bool:
    """Say whether a truth was going on at some time between the incident's opening and this."""
    return truth.begin <= said.at and (truth.end is None or proposal.opened < truth.end)


def _is_in_place(said: Said, truth: Truth) -> bool:
    if truth.kind is TruthKind.FAULT and truth.point is not None:
        return truth.point in said.points
    return not truth.zone or truth.zone == said.zone


def _is_same_job(group: list[Said], more: Said) -> bool:
    if more.at - group[0].at > TOGETHER_MS or more.zone != group[0].zone:
        return False
    placed = [g for g in group if _place(g) is not None]
    if not placed or _place(more) is None:
        return True
    first = placed[0]
    if None in (first.x, first.y, more.x, more.y):
        return _place(first) == _place(more)
    return hypot((first.x or 0) - (more.x or 0), (first.y or 0) - (more.y or 0)) <= NEAR_M


def _place(said: Said) -> object:
    named = said.node or said.pipe
    if named is not None:
        return named
    return None if said.x is None or said.y is None else (said.x, said.y)
