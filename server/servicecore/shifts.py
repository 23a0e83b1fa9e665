"""Units, who is on duty, and the change of shift that is over when both have signed."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.servicecore import dispatch
from server.servicecore.ground import Ground, find, next_id
from server.servicecore.orders import Orders
from server.servicecore.rules import incident as cases
from server.servicecore.rules import routing
from server.servicecore.rules.clocks import Verdict
from server.servicecore.rules.permissions import Person, Right
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.routing import Duty, Unit
from server.servicecore.rules.verbs import Verb
from server.servicecore.store.registers import Case, DutyRow, Handover, Operation, OrgUnit, Work
from server.servicecore.store.tables import Alarm
from telemetry.instant import Instant

DUTIES = ("liaison", "crew", "representative")


class Shifts:
    """The use cases of units, duty and handover."""

    def __init__(self, ground: Ground, orders: Orders) -> None:
        self._ground = ground
        self._orders = orders

    async def set_unit(
        self,
        unit: str,
        *,
        actor: Person,
        kind: str,
        name: str,
        parent: str = "",
        zones: Sequence[str] = (),
        phone: str = "",
        is_active: bool = True,
    ) -> None:
        """Enter a unit of the tree or change it (R63); nothing is deleted, it becomes inactive."""
        async with self._ground.acting(actor, Right.PEOPLE) as (session, who):
            if not (unit.strip() and kind.strip() and name.strip()):
                raise Refused("fields_missing", subject=unit, fields="id, kind, name")
            if parent and await session.get(OrgUnit, parent) is None:
                raise Refused("unknown", subject=parent)
            row = await session.get(OrgUnit, unit)
            before = "" if row is None else row.kind
            await session.merge(
                OrgUnit(
                    id=unit,
                    kind=kind,
                    name=name,
                    parent=parent,
                    zones=list(zones),
                    phone=phone,
                    is_active=is_active,
                )
            )
            await self._ground.record(
                session,
                who,
                Verb.UNIT,
                f"unit:{unit}",
                before=before,
                after=kind,
                data={"zones": list(zones), "parent": parent, "is_active": is_active},
            )

    async def put_on_duty(
        self, unit: str, person: str, *, actor: Person, role: str, since: Instant, until: Instant
    ) -> None:
        """Say who is on duty at a unit, as what, from when until when (R61)."""
        async with self._ground.acting(actor, Right.PEOPLE) as (session, who):
            await find(session, OrgUnit, unit)
            if role not in DUTIES:
                words = ", ".join(DUTIES)
                raise Refused("not_in_state", subject=person, state=role, allowed_words=words)
            if until <= since or not person.strip():
                raise Refused("dates")
            count = await session.scalar(select(func.count()).select_from(DutyRow)) or 0
            session.add(
                DutyRow(id=count + 1, unit=unit, person=person, role=role, since=since, until=until)
            )
            await self._ground.record(
                session,
                who,
                Verb.DUTY,
                f"unit:{unit}",
                after=person,
                reason=role,
                data={"since": since, "until": until},
            )

    async def unmanned(self) -> tuple[str, ...]:
        """Return the desks without a liaison on duty now: what is sent there would be refused."""
        units, duties = await self.org()
        return routing.without_liaison(units, duties, at=self._ground.now())

    async def org(self) -> tuple[list[Unit], list[Duty]]:
        """Return the units and duties as the rules read them."""
        async with self._ground.database.reading() as session:
            return await dispatch.org(session)

    # --- handover ---------------------------------------------------------------------------------

    async def open_handover(self, *, actor: Person, remarks: str) -> str:
        """Fill a handover in from what is open now, sign it, and return its id."""
        overdue = [
            f"{q.ticket.number} {r.clock}"
            for q in await self._orders.queue()
            for r in q.readings
            if r.verdict is Verdict.OVERDUE
        ]
        async with self._ground.acting(actor, Right.HANDOVER, text=remarks) as (session, who):
            waiting = await session.scalar(select(Handover).where(Handover.taken_at.is_(None)))
            if waiting is not None:
                raise Refused(
                    "not_in_state", subject=waiting.id, state="open", allowed_words="taken"
                )
            name = await next_id(session, Handover, "H")
            lists = {**await self._standing(session), "overdue": overdue}
            session.add(
                Handover(
                    id=name,
                    opened_at=self._ground.now(),
                    outgoing=who.name,
                    incoming="",
                    remarks=remarks.strip(),
                    lists=lists,
                    taken_at=None,
                )
            )
            await self._ground.record(
                session, who, Verb.OPEN_HANDOVER, name, reason=remarks, data={"lists": lists}
            )
            return name

    async def take_shift(self, handover: str, *, actor: Person, version: int | None = None) -> None:
        """Sign a handover as the one who takes the shift: another than who gave it."""
        async with self._ground.acting(actor, Right.HANDOVER) as (session, who):
            row = await find(session, Handover, handover, version=version)
            if row.taken_at is not None:
                raise Refused("not_in_state", subject=handover, state="taken", allowed_words="open")
            if who.name == row.outgoing:
                raise Refused("same_person", actor=who.name)
            row.incoming, row.taken_at = who.name, self._ground.now()
            await self._ground.record(
                session, who, Verb.TAKE_SHIFT, handover, before=row.outgoing, after=who.name
            )

    async def handover(self, handover: str) -> Handover:
        """Return a handover with its lists."""
        async with self._ground.database.reading() as session:
            return await find(session, Handover, handover)

    async def _standing(self, session: AsyncSession) -> dict[str, Any]:
        """Return what the incoming shift must know of: it is listed, not remembered."""
        now = self._ground.now()
        over = (*cases.FINAL, cases.State.FALSE_ALARM, cases.State.EXPLAINED)
        asked = {
            "alarms": select(Alarm.id).where(Alarm.active),
            "shelved": select(Alarm.id).where(Alarm.shelved_until > now),
            "incidents": select(Case.incident).where(Case.state.not_in(over)),
            "operations": select(Operation.id).where(Operation.confirmed_at.is_(None)),
            "works": select(Work.id).where(Work.end > now, Work.state != "cancelled"),
        }
        return {name: list(await session.scalars(query)) for name, query in asked.items()}
