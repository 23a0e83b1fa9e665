"""Everything the screens show, read in one go: the open, and the last few of the settled."""

from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.engine.registry import Registry
from server.servicecore.rules.alarms import Shown
from server.servicecore.rules.workorder import SETTLED
from server.servicecore.standing import Standing, is_flood, standings
from server.servicecore.store.database import PROGRESS_ROW
from server.servicecore.store.people import ENTITY
from server.servicecore.store.tables import (
    Alarm,
    Command,
    Dropped,
    Entry,
    Gateway,
    Incident,
    Progress,
    Proposal,
    RegistryRow,
    SeenPoint,
    Ticket,
)
from telemetry.instant import Instant

OPEN_MAX = 200
SETTLED_MAX = 20
POINTS_MAX = 2_000
_RANKS = {Shown.UNACKNOWLEDGED: 0, Shown.RETURNED: 0, Shown.ACKNOWLEDGED: 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One consistent look at the service core; sequences begin with what matters most."""

    revision: int
    alarms: tuple[Alarm, ...]
    standing: dict[str, Standing]
    is_flood: bool
    incidents: tuple[Incident, ...]
    proposals: dict[str, Proposal]
    tickets: tuple[Ticket, ...]
    gateways: tuple[Gateway, ...]
    seen_points: tuple[SeenPoint, ...]
    dropped: tuple[Dropped, ...]
    queued: tuple[Command, ...]
    trail: tuple[Entry, ...]
    registry: Registry


async def read_board(session: AsyncSession, *, now: Instant, realarm_ms: int | None) -> Board:
    """Return the board as the session's snapshot has it, with how its alarms stand at `now`."""
    progress = await session.get_one(Progress, PROGRESS_ROW)
    registry = await session.get(RegistryRow, 1)
    standing = await standings(session, now=now, realarm_ms=realarm_ms)
    proposals = await session.scalars(select(Proposal).where(Proposal.state == "open"))
    return Board(
        revision=progress.revision,
        alarms=await _alarms(session, standing),
        standing=standing,
        is_flood=await is_flood(session, now=now),
        incidents=await _incidents(session),
        proposals={p.incident: p for p in proposals},
        tickets=await _tickets(session),
        gateways=tuple(await session.scalars(select(Gateway).order_by(Gateway.id))),
        seen_points=tuple(
            await session.scalars(select(SeenPoint).order_by(SeenPoint.id).limit(POINTS_MAX))
        ),
        dropped=tuple(
            await session.scalars(select(Dropped).order_by(Dropped.at.desc()).limit(SETTLED_MAX))
        ),
        queued=tuple(
            await session.scalars(select(Command).where(Command.state == "queued").limit(OPEN_MAX))
        ),
        trail=tuple(
            await session.scalars(
                select(Entry)
                .where(Entry.entity.not_like(f"{ENTITY}%"))
                .order_by(Entry.seq.desc())
                .limit(SETTLED_MAX)
            )
        ),
        registry=Registry() if registry is None else Registry.from_json(registry.body),
    )


async def _alarms(session: AsyncSession, standing: dict[str, Standing]) -> tuple[Alarm, ...]:
    """Return the standing alarms: those that wait to be seen, those seen, those put aside."""
    found = await session.scalars(
        select(Alarm)
        .where(or_(Alarm.active, Alarm.acknowledged_at.is_(None)))
        .order_by(
            Alarm.acknowledged_at.is_not(None),
            Alarm.shelved_until.is_not(
                None
            ),  # what is put aside never takes the place of what is not
            Alarm.is_out_of_service,
            Alarm.severity,
            Alarm.raised_at.desc(),
        )
        .limit(OPEN_MAX)
    )
    return tuple(sorted(found, key=lambda a: _RANKS.get(standing[a.id].shown, 2)))


async def _incidents(session: AsyncSession) -> tuple[Incident, ...]:
    found = await session.scalars(
        select(Incident)
        .where(Incident.closed_at.is_(None))
        .order_by(Incident.severity, Incident.opened_at)
        .limit(OPEN_MAX)
    )
    closed = await session.scalars(
        select(Incident)
        .where(Incident.closed_at.is_not(None))
        .order_by(Incident.closed_at.desc())
        .limit(SETTLED_MAX)
    )
    return (*found, *closed)


async def _tickets(session: AsyncSession) -> tuple[Ticket, ...]:
    found = await session.scalars(
        select(Ticket)
        .where(Ticket.state.not_in(SETTLED))
        .order_by(Ticket.severity, Ticket.created_at)
        .limit(OPEN_MAX)
    )
    settled = await session.scalars(
        select(Ticket)
        .where(Ticket.state.in_(SETTLED))
        .order_by(Ticket.since.desc())
        .limit(SETTLED_MAX)
    )
    return (*found, *settled)
