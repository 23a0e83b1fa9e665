"""What pages and programs look at beside the use cases: rows, lists, and the trail by page."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.servicecore.ground import Ground, find
from server.servicecore.orders import OPEN_MAX, Orders
from server.servicecore.rules.clocks import Reading
from server.servicecore.rules.workorder import SETTLED, Evidence
from server.servicecore.store import trail
from server.servicecore.store.people import ENTITY
from server.servicecore.store.registers import (
    Case,
    Contact,
    DutyRow,
    Handover,
    Operation,
    OrgUnit,
    PressurePoint,
)
from server.servicecore.store.tables import Entry, Incident, Ticket
from server.servicecore.store.trail import entries_of

PAGE = 50
"""How many rows a page of a list has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderLook:
    """A ticket with all that belongs on its page."""

    ticket: Ticket
    readings: tuple[Reading, ...]
    history: tuple[Entry, ...]
    children: tuple[Ticket, ...]
    missing: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailLook:
    """A page of the trail, the newest entry first."""

    entries: tuple[Entry, ...]
    head: int
    first_break: int | None


class Looks:
    """Reading, and nothing else."""

    def __init__(self, ground: Ground, orders: Orders) -> None:
        self._ground = ground
        self._orders = orders

    async def order(self, number: str) -> OrderLook:
        """Return a ticket with its clocks, history, children and the evidence that it lacks."""
        async with self._ground.database.reading() as session:
            row = await find(session, Ticket, number)
            children = await session.scalars(
                select(Ticket).where(Ticket.parent == number).order_by(Ticket.number)
            )
            return OrderLook(
                ticket=row,
                readings=tuple(await self._orders.read_clocks(session, row)),
                history=tuple(await entries_of(session, number)),
                children=tuple(children),
                missing=await self._orders.missing_evidence(session, row),
            )

    async def crew_orders(self, unit: str) -> list[Ticket]:
        """Return the open tickets of a desk or of one of its crews; all of them without a unit."""
        asked = select(Ticket).where(Ticket.state.not_in(SETTLED))
        if unit:
            asked = asked.where(or_(Ticket.unit == unit, Ticket.crew == unit))
        async with self._ground.database.reading() as session:
            rows = await session.scalars(
                asked.order_by(Ticket.severity, Ticket.created_at).limit(OPEN_MAX)
            )
            return list(rows)

    async def cases(self) -> list[tuple[Case, Incident | None]]:
        """Return the newest incidents with what the engine says of each."""
        async with self._ground.database.reading() as session:
            rows = await session.scalars(select(Case).order_by(Case.since.desc()).limit(PAGE))
            return [(row, await session.get(Incident, row.incident)) for row in rows]

    async def incident(self, name: str) -> Incident | None:
        """Return the engine's side of an incident; a drill or a part split off has none."""
        async with self._ground.database.reading() as session:
            return await session.get(Incident, name)

    async def contacts(self, *, page: int = 0) -> list[Contact]:
        """Return contacts, the newest first."""
        async with self._ground.database.reading() as session:
            asked = select(Contact).order_by(Contact.at.desc(), Contact.id.desc())
            return list(await session.scalars(asked.offset(page * PAGE).limit(PAGE)))

    async def contact(self, name: str) -> tuple[Contact, Sequence[Entry]]:
        """Return a contact and what was done to it."""
        async with self._ground.database.reading() as session:
            return await find(session, Contact, name), await entries_of(session, name)

    async def operations(self) -> list[Operation]:
        """Return the newest pump and valve orders."""
        async with self._ground.database.reading() as session:
            asked = select(Operation).order_by(Operation.ordered_at.desc(), Operation.id.desc())
            return list(await session.scalars(asked.limit(PAGE)))

    async def units(self) -> list[OrgUnit]:
        """Return every unit, by name."""
        async with self._ground.database.reading() as session:
            return list(await session.scalars(select(OrgUnit).order_by(OrgUnit.id)))

    async def duties(self) -> list[DutyRow]:
        """Return who is on duty now and will be."""
        async with self._ground.database.reading() as session:
            asked = select(DutyRow).where(DutyRow.until > self._ground.now())
            return list(await session.scalars(asked.order_by(DutyRow.since).limit(OPEN_MAX)))

    async def handovers(self) -> list[Handover]:
        """Return the newest handovers; one that waits to be taken comes first."""
        async with self._ground.database.reading() as session:
            asked = select(Handover).order_by(
                Handover.taken_at.is_not(None), Handover.opened_at.desc()
            )
            return list(await session.scalars(asked.limit(10)))

    async def points(self) -> list[PressurePoint]:
        """Return the register of pressure points."""
        async with self._ground.database.reading() as session:
            return list(
                await session.scalars(select(PressurePoint).order_by(PressurePoint.id).limit(2_000))
            )

    async def trail(self, *, before: int | None = None, people: bool = True) -> TrailLook:
        """Return the entries below a number, the newest first, and whether the chain holds."""
        async with self._ground.database.reading() as session:
            asked = select(Entry).order_by(Entry.seq.desc()).limit(PAGE)
            if before is not None:
                asked = asked.where(Entry.seq < before)
            if not people:
                asked = asked.where(Entry.entity.not_like(f"{ENTITY}%"))
            return TrailLook(
                entries=tuple(await session.scalars(asked)),
                head=await _count(session),
                first_break=await trail.first_break(session),
            )


async def _count(session: AsyncSession) -> int:
    return await session.scalar(select(func.max(Entry.seq))) or 0
