"""From a proposal of the engine to a ticket, exactly once, inside the caller's transaction."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from server.engine.effects import DispatchRequested
from server.servicecore.recorded import Identified
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.workorder import FINAL, FIRST
from server.servicecore.store.tables import Proposal, Ticket
from server.servicecore.store.trail import SYSTEM, Act, append
from telemetry.instant import Instant

AUTOMATIC = "auto"


async def requested(
    session: AsyncSession, item: Identified, effect: DispatchRequested, *, now: Instant
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
        await issue(session, proposal, actor=SYSTEM, now=now)


async def confirm(session: AsyncSession, incident: str, *, actor: str, now: Instant) -> Ticket:
    """Open the ticket that was proposed for an incident. Raises `Refused`."""
    open_ticket = await open_ticket_of(session, incident)
    if open_ticket is not None:
        raise Refused("ticket_open", incident=incident, ticket=open_ticket.number)
    proposal = await session.scalar(
        select(Proposal).where(Proposal.incident == incident, Proposal.state == "open")
    )
    if proposal is None:
        raise Refused("no_proposal", incident=incident)
    return await issue(session, proposal, actor=actor, now=now)


async def issue(session: AsyncSession, proposal: Proposal, *, actor: str, now: Instant) -> Ticket:
    """Open the ticket of a proposal and enter it in the trail."""
    count = await session.scalar(select(func.count()).select_from(Ticket)) or 0
    data = proposal.data
    ticket = Ticket(
        number=f"T-{count + 1:06}",  # no ticket is ever deleted, so the count is the last number
        incident=proposal.incident,
        zone=data["zone"],
        kind=data["kind"],
        severity=data["severity"],
        state=FIRST,
        since=now,
        created_at=now,
        holder="",
        result="",
        data=data,
        dispatch_uuid=proposal.dispatch_uuid,
        dispatch_seq=proposal.dispatch_seq,
        dispatch_n=proposal.dispatch_n,
    )
    session.add(ticket)
    proposal.state = "issued"
    await append(
        session,
        Act(
            at=now,
            actor=actor,
            entity=ticket.number,
            verb="issue",
            after=ticket.state,
            reason="; ".join(data["because"]),
        ),
    )
    return ticket


async def open_ticket_of(session: AsyncSession, incident: str) -> Ticket | None:
    """Return the ticket of an incident that is not in a final state."""
    found: Ticket | None = await session.scalar(
        select(Ticket).where(Ticket.incident == incident, Ticket.state.not_in(FINAL))
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


async def _worsen(
    session: AsyncSession, ticket: Ticket, data: dict[str, Any], *, now: Instant
) -> None:
    """Let the crew's ticket say what the incident has become; never a second ticket."""
    if data["severity"] >= ticket.severity:
        return
    before = f"{ticket.kind} {ticket.severity}"
    ticket.kind, ticket.severity, ticket.data = data["kind"], data["severity"], data
    await append(
        session,
        Act(
            at=now,
            actor=SYSTEM,
            entity=ticket.number,
            verb="worsen",
            before=before,
            after=f"{ticket.kind} {ticket.severity}",
            reason="; ".join(data["because"]),
        ),
    )
