"""What people still have under way in a zone: such a zone is not retired."""

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.servicecore.rules.workorder import SETTLED
from server.servicecore.store.registers import Operation, Work
from server.servicecore.store.tables import Ticket
from server.servicecore.told import SWITCHED_MS
from telemetry.instant import Instant


async def under_way(session: AsyncSession, zone: str, *, now: Instant) -> list[str]:
    """Return the open tickets, works and pump or valve orders of a zone, by their numbers.

    An operation in a zone that the engine does not know explains alarms in all of the network, so
    what may still explain something keeps its zone: a switched valve does for some hours.
    """
    tickets = select(Ticket.number).where(Ticket.zone == zone, Ticket.state.not_in(SETTLED))
    works = select(Work.id).where(Work.zone == zone, Work.state.in_(("planned", "begun")))
    is_felt = or_(Operation.executed_at.is_(None), Operation.executed_at > now - SWITCHED_MS)
    of_zone = or_(
        Operation.zone == zone,
        (Operation.zone == "") & Operation.work.in_(select(Work.id).where(Work.zone == zone)),
    )
    orders = select(Operation.id).where(is_felt, of_zone)
    found: list[str] = []
    for asked in (tickets, works, orders):
        found += sorted(await session.scalars(asked))
    return found
