"""From a proposal of the engine to a ticket, exactly once, inside the caller's transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from server.engine.effects import DispatchRequested
from server.servicecore.recorded import Identified
from server.servicecore.rulebook import RuleBook
from server.servicecore.rules import incident as cases
from server.servicecore.rules import routing
from server.servicecore.rules.policy import Policy
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.routing import Category, Duty, Routed, Unit
from server.servicecore.rules.verbs import Verb
from server.servicecore.rules.workorder import (
    FIRST,
    SETTLED,
    TELEMETRY_SENDER,
    missing_fields,
)
from server.servicecore.store.registers import Call, Case, DutyRow, OrgUnit
from server.servicecore.store.tables import Proposal, Ticket
from server.servicecore.store.trail import SYSTEM, Act, append
from telemetry.instant import Instant

AUTOMATIC = "auto"
DUTY_DESK = "值班调度台"
"""The receiver of an order while no unit has been entered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a ticket is made of, wherever it comes from."""

    incident: str
    zone: str
    kind: str
    severity: int
    category: Category
    data: Mapping[str, Any]
    fields: Mapping[str, str]
    identity: tuple[str, int, int]
    reason: str
    parent: str = ""
    contact: str = ""
    is_drill: bool = False
    reported_at: Instant | None = None
    facts: Mapping[str, Any] | None = None


async def requested(
    session: AsyncSession,
    item: Identified,
    effect: DispatchRequested,
    *,
    book: RuleBook,
    now: Instant,
) -> None:
    """Open a ticket at once, or keep the proposal for a person, as the engine's mode says."""
    data = {name: value for name, value in asdict(effect).items() if name != "incident"}
    open_ticket = await open_ticket_of(session, effect.incident)
    if open_ticket is not None:
        await _worsen(session, open_ticket, data, now=now)
        return
    proposal = Proposal(
        dispatch_uuid=item.journal,
        dispatch_seq=item.seq,
        dispatch_n=item.n,
        incident=effect.incident,
        at=effect.at,
        state="open",
        data=data,
    )
    await _overtake(session, effect.incident)
    session.add(proposal)
    if effect.mode == AUTOMATIC:
        await issue(session, proposal, actor=SYSTEM, book=book, now=now)


async def confirm(
    session: AsyncSession, incident: str, *, actor: str, book: RuleBook, now: Instant
) -> Ticket:
    """Open the ticket that was proposed for an incident. Raises `Refused`."""
    open_ticket = await open_ticket_of(session, incident)
    if open_ticket is not None:
        raise Refused("ticket_open", incident=incident, ticket=open_ticket.number)
    proposal = await session.scalar(
        select(Proposal).where(Proposal.incident == incident, Proposal.state == "open")
    )
    if proposal is None:
        raise Refused("no_proposal", incident=incident)
    return await issue(session, proposal, actor=actor, book=book, now=now)


async def issue(
    session: AsyncSession, proposal: Proposal, *, actor: str, book: RuleBook, now: Instant
) -> Ticket:
    """Open the ticket of a proposal and enter it in the trail.

    A burst is never held back for want of a desk: what the system issues goes out unrouted and says
    why. A person is refused instead, and puts the roster right.
    """
    data = proposal.data
    case = await session.get(Case, proposal.incident)
    order = Order(
        incident=proposal.incident,
        zone=data["zone"],
        kind=data["kind"],
        severity=data["severity"],
        category=routing.OF_ALARM.get(data["kind"], Category.UNKNOWN_CAUSE),
        data=data,
        fields={
            "sender": f"{TELEMETRY_SENDER}{data['kind']}",
            "cause": "; ".join(data["because"]) or data["kind"],
            "account": "",
            "contact": "",
        },
        identity=(proposal.dispatch_uuid, proposal.dispatch_seq, proposal.dispatch_n),
        reason="; ".join(data["because"]),
        is_drill=case is not None and case.is_drill,
    )
    units, duties = await org(session)
    try:
        routed = where(order, book.policy, units, duties, now=now)
    except Refused as refused:
        if actor != SYSTEM:
            raise
        routed = Routed(desk="", because=str(refused))
    proposal.state = "issued"
    return await open_ticket(session, order, routed, actor=actor, book=book, now=now)


def where(
    order: Order,
    policy: Policy,
    units: Sequence[Unit],
    duties: Sequence[Duty],
    *,
    now: Instant,
    nature: Category | None = None,
) -> Routed:
    """Return where an order goes; before any unit is entered, to the desk on duty."""
    if not units:
        return Routed(desk="")  # nobody is named before the first unit is entered
    return routing.route(
        order.category, order.zone, policy=policy, units=units, duties=duties, at=now, nature=nature
    )


async def open_ticket(
    session: AsyncSession,
    order: Order,
    routed: Routed,
    *,
    actor: str,
    book: RuleBook,
    now: Instant,
) -> Ticket:
    """Open a ticket with its calls and its entry in the trail. Raises `Refused`."""
    count = await session.scalar(select(func.count()).select_from(Ticket)) or 0
    number = f"T-{count + 1:06}"  # no ticket is ever deleted, so the count is the last number
    fields = {
        "issued_on": str(now),
        "handler": routed.liaison or actor,
        "receiver": routed.desk or DUTY_DESK,
        **order.fields,
    }
    missing = missing_fields(fields, points=order.data.get("points", ()))
    if missing:
        raise Refused("fields_missing", subject=number, fields=", ".join(missing))
    ticket = _new_ticket(number, order, routed, fields, revision=book.policy.revision, now=now)
    session.add(ticket)
    told = {} if order.reported_at is None else {"reported_at": order.reported_at}
    await append(
        session,
        Act(
            at=now,
            actor=actor,
            entity=number,
            verb=Verb.ISSUE,
            after=ticket.state,
            reason=order.reason,
            data=told,
        ),
    )
    if routed.crew:
        await append(
            session,
            Act(at=now, actor=actor, entity=number, verb=Verb.ASSIGN, after=routed.crew),
        )
    if not order.parent:
        await _owe_calls(session, ticket, book.policy, now=now)
        await _to_work(session, order.incident, now=now)
    return ticket


def _new_ticket(
    number: str,
    order: Order,
    routed: Routed,
    fields: dict[str, str],
    *,
    revision: str,
    now: Instant,
) -> Ticket:
    routing_data = {k: v for k, v in asdict(routed).items() if v}
    return Ticket(
        number=number,
        incident=order.incident,
        zone=order.zone,
        kind=order.kind,
        severity=order.severity,
        state=FIRST,
        since=now,
        created_at=now,
        holder="",
        result="",
        data={**order.data, "routing": routing_data},
        dispatch_uuid=order.identity[0],
        dispatch_seq=order.identity[1],
        dispatch_n=order.identity[2],
        category=order.category,
        parent=order.parent,
        unit=routed.desk,
        crew=routed.crew,
        policy_rev=revision,
        is_drill=order.is_drill,
        contact=order.contact,
        waited_from="",
        fields=fields,
        facts=dict(order.facts or {}),
        waived={},
        asked={},
        keep_until=None,
    )


async def org(session: AsyncSession) -> tuple[list[Unit], list[Duty]]:
    """Return the units and who is on duty, as the rules read them."""
    units = await session.scalars(select(OrgUnit).where(OrgUnit.is_active).order_by(OrgUnit.id))
    duties = await session.scalars(select(DutyRow).order_by(DutyRow.id))
    return [
        Unit(id=u.id, kind=u.kind, name=u.name, parent=u.parent, zones=tuple(u.zones))
        for u in units
    ], [
        Duty(
            unit=d.unit,
            person=d.person,
            role=d.role,
            since=Instant(d.since),
            until=Instant(d.until),
        )
        for d in duties
    ]


async def open_ticket_of(session: AsyncSession, incident: str) -> Ticket | None:
    """Return the first ticket of an incident that is not settled; children follow their parent."""
    found: Ticket | None = await session.scalar(
        select(Ticket).where(
            Ticket.incident == incident, Ticket.parent == "", Ticket.state.not_in(SETTLED)
        )
    )
    return found


async def withdraw(session: AsyncSession, incident: str) -> None:
    """Take back what nobody confirmed: the incident is over."""
    await _settle(session, incident, "withdrawn")


async def _overtake(session: AsyncSession, incident: str) -> None:
    await _settle(session, incident, "overtaken")


async def _settle(session: AsyncSession, incident: str, state: str) -> None:
    await session.execute(
        update(Proposal)
        .where(Proposal.incident == incident, Proposal.state == "open")
        .values(state=state)
    )


async def _owe_calls(
    session: AsyncSession, ticket: Ticket, policy: Policy, *, now: Instant
) -> None:
    """Owe the telephone calls that the policy demands besides the ticket."""
    events = ["burst"] if ticket.category == Category.BURST else []
    events += ["major"] if ticket.severity == 1 and ticket.data.get("is_major") else []
    for event in events:
        for n, to in enumerate(policy.called_for(event)):
            session.add(
                Call(
                    id=f"{ticket.number}/{event}/{n}",
                    ticket=ticket.number,
                    event=event,
                    to=to,
                    asked_at=now,
                    answered_at=None,
                    by="",
                    result="",
                )
            )
            await append(
                session,
                Act(at=now, actor=SYSTEM, entity=ticket.number, verb=Verb.CALL, after=to),
            )


async def _to_work(session: AsyncSession, incident: str, *, now: Instant) -> None:
    case = await session.get(Case, incident)
    if case is None or cases.Act.WORK not in cases.TRANSITIONS[cases.State(case.state)]:
        return
    before, case.state, case.since = case.state, cases.State.WORKING, now
    await append(
        session,
        Act(
            at=now,
            actor=SYSTEM,
            entity=incident,
            verb=Verb.WORK_INCIDENT,
            before=before,
            after=case.state,
        ),
    )


async def _worsen(
    session: AsyncSession, ticket: Ticket, data: dict[str, Any], *, now: Instant
) -> None:
    """Let the crew's ticket say what the incident has become; never a second ticket."""
    if data["severity"] >= ticket.severity:
        return
    before = f"{ticket.kind} {ticket.severity}"
    ticket.kind, ticket.severity = data["kind"], data["severity"]
    ticket.data = {**data, "routing": ticket.data.get("routing", {})}
    ticket.category = routing.OF_ALARM.get(data["kind"], Category.UNKNOWN_CAUSE)
    await append(
        session,
        Act(
            at=now,
            actor=SYSTEM,
            entity=ticket.number,
            verb=Verb.WORSEN,
            before=before,
            after=f"{ticket.kind} {ticket.severity}",
            reason="; ".join(data["because"]),
        ),
    )
