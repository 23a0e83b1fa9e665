"""How orders, incidents, contacts, works and figures look to programs."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from server.servicecore.rules.alarms import Figures
from server.servicecore.rules.clocks import Verdict
from server.servicecore.rules.incident import State as CaseState
from server.servicecore.rules.kpi import Load, Ratio
from server.servicecore.rules.workorder import Evidence, State, Step


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class ActAnswer(_Answer):
    """The act is committed; `result` is what it made, or the state that it led to."""

    done: bool = True
    subject: str
    result: str = ""


class ClockAnswer(_Answer):
    """A clock as it stands now."""

    clock: str
    started_at: int
    due: int
    stopped_at: int | None
    verdict: Verdict
    is_provisional: bool
    is_extended: bool
    left_ms: int = Field(description="of the wall; negative when overdue")


class EntryAnswer(_Answer):
    """One act in the audit trail."""

    seq: int
    at: int
    actor: str
    entity: str
    verb: str
    before: str
    after: str
    reason: str
    data: dict[str, Any]
    prev_hash: str
    hash: str


class QueuedAnswer(_Answer):
    """An order in the queue; personal data are masked for who may not see them."""

    number: str
    incident: str
    contact: str
    parent: str
    zone: str
    kind: str
    category: str
    severity: int
    state: State
    since: int
    created_at: int
    holder: str
    unit: str
    crew: str
    result: str
    version: int
    policy_rev: str
    is_drill: bool
    fields: dict[str, str]
    facts: dict[str, Any]
    waived: dict[str, Any]
    asked: dict[str, Any]
    clocks: list[ClockAnswer]
    steps: list[Step]


class OrderAnswer(QueuedAnswer):
    """An order whole: its child orders, the evidence that it lacks, and its history."""

    children: list[str]
    missing: list[Evidence]
    history: list[EntryAnswer]


class CaseAnswer(_Answer):
    """An incident as people treat it; the newest first."""

    incident: str
    state: CaseState
    kind: str
    is_drill: bool
    merged_into: str
    because: str
    alarms: list[str]
    since: int
    restored_at: int | None
    verified_at: int | None
    verified_by: str
    version: int


class ContactAnswer(_Answer):
    """A contact; personal data are masked for who may not see them."""

    id: str
    at: int
    channel: str
    category: str
    nature: str
    source: str
    name: str
    phone: str
    account: str
    address: str
    zone: str
    text: str
    first_asked: str
    holder: str
    offered_to: str
    state: str
    ticket: str
    incident: str
    answer: str
    informed_at: int | None
    waiver: str
    version: int


class WorkAnswer(_Answer):
    """Planned work."""

    id: str
    zone: str
    points: list[str]
    start: int
    end: int
    cause: str
    plan: str
    stops_supply: bool
    notice: str
    noticed_at: int | None
    state: str
    by: str
    kind: str
    m3h: float | None
    begun_at: int | None
    ended_at: int | None
    version: int


class OperationAnswer(_Answer):
    """A pump or valve order."""

    id: str
    kind: str
    station: str
    unit: str
    act: str
    ordered_by: str
    ordered_at: int
    executed_by: str
    executed_at: int | None
    confirmed_by: str
    confirmed_at: int | None
    reason: str
    incident: str
    work: str
    zone: str


class RatioAnswer(_Answer):
    """A share and the orders that it is made of; no share of nothing."""

    value: float | None
    good: list[str]
    of: list[str]


class LoadAnswer(_Answer):
    """What lies on a unit."""

    open: int
    overdue: int
    arrived: int
    settled: int
    urges: int
    returns: int
    transfers: int
    extensions: int
    reopens: int
    is_congested: bool


class AlarmFiguresAnswer(_Answer):
    """How the alarm system treats its dispatchers."""

    per_dispatcher_day: float | None
    per_dispatcher_10min_max: int
    flood_share: float | None
    floods: int
    top10_share: float | None
    chattering: list[str]
    standing: list[str]
    shelved: int
    severity_shares: dict[int, float]


class FiguresAnswer(_Answer):
    """A month in figures."""

    month: str
    shares: dict[str, RatioAnswer]
    loads: dict[str, LoadAnswer]
    alarms: AlarmFiguresAnswer


class TrailAnswer(_Answer):
    """A page of the trail, the newest first, and whether the chain holds."""

    head: int
    first_break: int | None
    entries: list[EntryAnswer]


def figures_answer(
    month: str, shares: Mapping[str, Ratio], loads: Mapping[str, Load], alarms: Figures
) -> FiguresAnswer:
    """Return a month's figures for programs."""
    return FiguresAnswer(
        month=month,
        shares={
            name: RatioAnswer(value=r.value, good=list(r.good), of=list(r.of))
            for name, r in shares.items()
        },
        loads={unit: LoadAnswer.model_validate(load) for unit, load in loads.items()},
        alarms=AlarmFiguresAnswer(
            per_dispatcher_day=alarms.per_dispatcher_day,
            per_dispatcher_10min_max=alarms.per_dispatcher_10min_max,
            flood_share=alarms.flood_share,
            floods=alarms.floods,
            top10_share=alarms.top10_share,
            chattering=list(alarms.chattering),
            standing=list(alarms.standing),
            shelved=alarms.shelved,
            severity_shares=alarms.severity_shares,
        ),
    )
