"""Tickets at work: each step, and opening one by hand, from a contact or as a child of another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.servicecore import dispatch, timeline
from server.servicecore.dispatch import Order
from server.servicecore.ground import Ground, find, refuse_bad_words
from server.servicecore.rules import clocks, extension, inquiries, routing, workorder
from server.servicecore.rules import incident as cases
from server.servicecore.rules.clocks import Reading, queue_key
from server.servicecore.rules.permissions import (
    STEP_RIGHTS,
    Actor,
    Person,
    Right,
    actor_of,
    check,
)
from server.servicecore.rules.policy_form import RETENTION_YEARS_MIN
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.routing import DEPARTMENT, Category
from server.servicecore.rules.verbs import Verb
from server.servicecore.rules.workorder import SETTLED, Evidence, State, Step
from server.servicecore.store.registers import Case
from server.servicecore.store.tables import Entry, Ticket
from server.servicecore.store.trail import SYSTEM, entries_of
from telemetry.instant import Instant

OPEN_MAX = 500
FACTS = ("liability", "place", "dn_mm", "stage")
"""What a diagnosis may settle, and clocks depend on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class More:
    """What a step may carry besides its words."""

    code: str = ""  # of a wait or a return
    facts: Mapping[str, Any] = field(default_factory=dict)  # of a diagnosis
    unit: str = ""  # of a transfer or a new issue
    form: Mapping[str, str] = field(default_factory=dict)  # the service form of a reply
    is_satisfied: bool = True  # of a call-back


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A ticket in the queue with its clocks; the most urgent first, whatever its age."""

    ticket: Ticket
    readings: tuple[Reading, ...]


class Orders:
    """The use cases of tickets."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    # --- steps ------------------------------------------------------------------------------------

    async def step(
        self,
        ticket: str,
        step: Step,
        *,
        actor: Person,
        text: str = "",
        version: int | None = None,
        more: More | None = None,
    ) -> State:
        """Take a ticket one step on and return its state.

        `version` is what the person was looking at; None for whatever it is now. Raises `Refused`.
        """
        who, more = actor_of(actor), more or More()
        refuse_bad_words(who.name, text)
        async with self._ground.database.writing() as session:
            row = await find(session, Ticket, ticket)
            check(who, STEP_RIGHTS[step], unit=row.unit)
            before = State(row.state)
            waited = State(row.waited_from) if row.waited_from else None
            if step in workorder.BY_THE_JOB:
                words = ", ".join(workorder.allowed(before))
                raise Refused("step", ticket=ticket, state=before, allowed=words or before)
            state = workorder.after(ticket, before, step, text, waited_from=waited)
            if version is not None and version != row.version:
                raise Refused("changed", ticket=ticket)
            if step is Step.CALL_BACK and not more.is_satisfied:
                step, state = Step.REOPEN, State.REOPENED
            data = await self._carry_out(session, row, step, who, text, more)
            row.state, row.since = state, self._ground.now()
            await self._ground.record(
                session, who, step, ticket, before=before, after=state, reason=text, data=data
            )
            await self._follow(session, row, step, who)
        return state

    async def _carry_out(
        self,
        session: AsyncSession,
        row: Ticket,
        step: Step,
        who: Actor,
        text: str,
        more: More,
    ) -> dict[str, Any]:
        """Check what the step asks for, change the row, and return what the trail keeps of it."""
        data: dict[str, Any] = {"code": more.code} if more.code else {}
        match step:
            case Step.ACCEPT:
                row.holder = who.name
            case Step.DIAGNOSE:
                facts = {k: v for k, v in more.facts.items() if k in FACTS and v not in ("", None)}
                row.facts = {**row.facts, **facts}
                data["facts"] = facts
            case Step.WAIT:
                row.waited_from = row.state
            case Step.REPLY:
                inquiries.check_reply(row.number, row.category, row.facts)
                data |= self._reply(row, who, text, more)
            case Step.TRANSFER | Step.REISSUE:
                data |= await self._send_on(session, row, more.unit)
            case Step.CALL_BACK | Step.REOPEN:
                data["is_satisfied"] = step is Step.CALL_BACK
            case Step.CLOSE:
                inquiries.check_close(row.number, row.facts)
                await self._check_close(session, row)
                policy = await self._ground.policy(session, row.policy_rev)
                row.keep_until = extension.keeps_until(
                    self._ground.now(), policy, years_min=RETENTION_YEARS_MIN
                )
            case Step.CANCEL:
                policy = await self._ground.policy(session, row.policy_rev)
                row.keep_until = extension.keeps_until(
                    self._ground.now(), policy, years_min=RETENTION_YEARS_MIN
                )
            case _:
                pass
        return data

    def _reply(self, row: Ticket, who: Actor, text: str, more: More) -> dict[str, Any]:
        """Keep result, time and handler (R37), and the service form where one was filled in."""
        row.result = text.strip()
        if not more.form:
            return {"handler": who.name}
        if missing := workorder.missing_form(more.form):
            raise Refused("fields_missing", subject=row.number, fields=", ".join(missing))
        return {"handler": who.name, "form": {k: more.form[k] for k in workorder.FORM}}

    async def _send_on(self, session: AsyncSession, row: Ticket, unit: str) -> dict[str, Any]:
        """Send a ticket to another desk, or anew to the one that its category and place give."""
        units, duties = await dispatch.org(session)
        now = self._ground.now()
        row.holder = ""
        if not units:
            return {}
        if unit:
            known = {u.id: u for u in units} | {u.kind: u for u in units if u.kind == DEPARTMENT}
            if unit not in known:
                words = ", ".join(u.id for u in units)
                raise Refused("unknown_area", unit=unit, zone=row.zone, allowed_words=words)
            routed = routing.to_unit(known[unit], units=units, duties=duties, at=now)
        else:
            routed = routing.route(
                Category(row.category),
                row.zone,
                policy=self._ground.book.policy,
                units=units,
                duties=duties,
                at=now,
            )
        row.unit, row.crew = routed.desk, routed.crew
        row.fields = {**row.fields, "receiver": routed.desk}
        return {"unit": routed.desk, "crew": routed.crew}

    async def _check_close(self, session: AsyncSession, row: Ticket) -> None:
        children = await session.scalars(
            select(Ticket.number).where(Ticket.parent == row.number, Ticket.state.not_in(SETTLED))
        )
        if open_ones := list(children):
            raise Refused("children_open", ticket=row.number, tickets=", ".join(open_ones))
        missing = await self.missing_evidence(session, row)
        if missing:
            raise Refused("evidence_missing", ticket=row.number, fields=", ".join(missing))

    async def missing_evidence(self, session: AsyncSession, row: Ticket) -> tuple[Evidence, ...]:
        """Return what a ticket still lacks before it can be closed."""
        entries = await entries_of(session, row.number)
        return workorder.missing_evidence(
            _since_reopened(entries),
            fields_missing=workorder.missing_fields(row.fields, points=row.data.get("points", ()))
            if row.fields
            else (),  # a ticket of the first release was issued without them
            waived=row.waived,
            has_requester=bool(row.contact),
        )

    async def _follow(self, session: AsyncSession, row: Ticket, step: Step, who: Actor) -> None:
        """Let the incident know that the crew says it is restored."""
        if step not in (Step.RESTORE, Step.REPLY) or row.parent or not row.incident:
            return
        case = await session.get(Case, row.incident)
        if case is None or case.state != cases.State.WORKING:
            return
        case.state, case.since = cases.State.RESTORED, self._ground.now()
        case.restored_at = self._ground.now()
        await self._ground.record(
            session,
            who,
            Verb.RESTORE_INCIDENT,
            row.incident,
            before=cases.State.WORKING,
            after=case.state,
        )

    # --- opening ----------------------------------------------------------------------------------

    async def open(self, order: Order, *, actor: Person, unit: str = "") -> str:
        """Open a ticket by hand and return its number. Raises `Refused`."""
        async with self._ground.acting(actor, Right.ISSUE, text=order.reason) as (session, who):
            return await self.open_in(session, order, who=who, unit=unit)

    async def open_in(
        self,
        session: AsyncSession,
        order: Order,
        *,
        who: Actor,
        unit: str = "",
        kind: str = "",
        nature: Category | None = None,
    ) -> str:
        """Open a ticket inside a transaction: to a unit, to a kind of unit, or by its category."""
        units, duties = await dispatch.org(session)
        now = self._ground.now()
        chosen = next((u for u in units if u.id == unit), None)
        if unit and units and chosen is None:
            words = ", ".join(u.id for u in units)
            raise Refused("unknown_area", unit=unit, zone=order.zone, allowed_words=words)
        if chosen is not None:
            routed = routing.to_unit(chosen, units=units, duties=duties, at=now)
        elif kind and units:
            routed = routing.to_kind(kind, order.zone, units=units, duties=duties, at=now)
        else:
            policy = self._ground.book.policy
            routed = dispatch.where(order, policy, units, duties, now=now, nature=nature)
        ticket = await dispatch.open_ticket(
            session, order, routed, actor=who.name, book=self._ground.book, now=now
        )
        return ticket.number

    async def give_children(self, ticket: str, *, actor: Person, place: str) -> list[str]:
        """Give the orders of the policy's template to the other units of an incident (R62)."""
        async with self._ground.acting(actor, Right.ISSUE) as (session, who):
            parent = await find(session, Ticket, ticket)
            if parent.state in SETTLED:
                raise Refused("final", ticket=ticket, state=parent.state)
            policy = await self._ground.policy(session, parent.policy_rev)
            made = []
            for child in routing.children_of(policy, place=place):
                order = _child(parent, child.id, child.task.zh)
                known = await session.scalar(
                    select(Ticket.number).where(Ticket.dispatch_uuid == order.identity[0])
                )
                if known is None:
                    made.append(await self.open_in(session, order, who=who, kind=child.to))
            return made

    async def give_child(
        self, ticket: str, *, actor: Person, task: str, category: Category, unit: str
    ) -> str:
        """Give one more order of an incident to a unit by hand."""
        async with self._ground.acting(actor, Right.ISSUE, text=task) as (session, who):
            parent = await find(session, Ticket, ticket)
            if parent.state in SETTLED:
                raise Refused("final", ticket=ticket, state=parent.state)
            count = len(
                list(await session.scalars(select(Ticket.number).where(Ticket.parent == ticket)))
            )
            order = _child(parent, f"by-hand-{count}", task, category=category)
            return await self.open_in(session, order, who=who, unit=unit)

    # --- looking ----------------------------------------------------------------------------------

    async def queue(self, *, unit: str = "") -> list[Queued]:
        """Return the open tickets of a unit, or all: by priority and time left, never by age."""
        async with self._ground.database.reading() as session:
            asked = select(Ticket).where(Ticket.state.not_in(SETTLED)).limit(OPEN_MAX)
            if unit:
                asked = asked.where(Ticket.unit == unit)
            rows = list(await session.scalars(asked))
            found = [
                Queued(ticket=row, readings=tuple(await self.read_clocks(session, row)))
                for row in rows
            ]
        return sorted(
            found, key=lambda q: (queue_key(_priority(q.ticket), q.readings), q.ticket.number)
        )

    async def clocks(self, ticket: str) -> list[Reading]:
        """Return how every clock of a ticket stands now."""
        async with self._ground.database.reading() as session:
            return await self.read_clocks(session, await find(session, Ticket, ticket))

    async def history(self, ticket: str) -> Sequence[Entry]:
        """Return everything that was done to a ticket."""
        async with self._ground.database.reading() as session:
            await find(session, Ticket, ticket)
            return await entries_of(session, ticket)

    async def read_clocks(self, session: AsyncSession, row: Ticket) -> list[Reading]:
        """Return the clocks of a ticket inside a transaction, under its pinned policy."""
        return timeline.readings(
            row,
            await entries_of(session, row.number),
            policy=await self._ground.policy(session, row.policy_rev),
            book=self._ground.book,
            now=self._ground.now(),
        )

    # --- by the clock -----------------------------------------------------------------------------

    async def watch(self) -> list[tuple[str, str]]:
        """Record each limit that has passed, once, as (ticket, clock): a fact that stays (R64)."""
        missed = []
        system = Actor(name=SYSTEM, roles=frozenset())
        async with self._ground.database.reading() as session:
            numbers = list(
                await session.scalars(
                    select(Ticket.number).where(Ticket.state.not_in(SETTLED)).limit(OPEN_MAX)
                )
            )
            due = [n for n in numbers if await self._overdue(session, n)]
        if not due:
            return []
        async with self._ground.database.writing() as session:
            for number in due:
                for reading in await self._overdue(session, number):
                    row = await find(session, Ticket, number)
                    await self._ground.record(
                        session,
                        system,
                        Verb.MISS,
                        number,
                        after=row.holder or row.unit,
                        data={"code": reading.clock, "due": reading.due},
                    )
                    missed.append((number, reading.clock))
        return missed

    async def _overdue(self, session: AsyncSession, number: str) -> list[Reading]:
        row = await find(session, Ticket, number)
        known = timeline.missed_before(await entries_of(session, number))
        late = (clocks.Verdict.OVERDUE, clocks.Verdict.MISSED)
        return [
            r
            for r in await self.read_clocks(session, row)
            if r.verdict in late and r.clock not in known
        ]

    async def archive(self, *, actor: Person, before: Instant) -> list[str]:
        """Archive what was closed before an instant; the rows stay, for as long as they must."""
        async with self._ground.acting(actor, Right.ARCHIVE) as (session, who):
            rows = list(await session.scalars(_closed_before(before)))
            for row in rows:
                row.state, row.since = State.ARCHIVED, self._ground.now()
                await self._ground.record(
                    session,
                    who,
                    Step.ARCHIVE,
                    row.number,
                    before=State.CLOSED,
                    after=State.ARCHIVED,
                )
            return [row.number for row in rows]

    async def archive_due(self, *, before: Instant) -> list[str]:
        """Archive by the clock, and write nothing where nothing is due (R31)."""
        async with self._ground.database.reading() as session:
            if await session.scalar(_closed_before(before).limit(1)) is None:
                return []
        return await self.archive(actor=SYSTEM, before=before)


def _closed_before(before: Instant) -> Select[Ticket]:
    return select(Ticket).where(Ticket.state == State.CLOSED, Ticket.since < before)


def _since_reopened(entries: Sequence[Entry]) -> set[str]:
    """Return what was done; after a reopening, reply and call-back must be given again."""
    last = max((e.seq for e in entries if e.verb == Step.REOPEN), default=0)
    again = {Step.REPLY, Step.CALL_BACK}
    return {e.verb for e in entries if e.seq > last or e.verb not in again}


def _priority(row: Ticket) -> int:
    return routing.priority(row.severity, affects_sensitive=bool(row.facts.get("is_sensitive")))


def _child(parent: Ticket, name: str, task: str, *, category: Category = Category.REPAIR) -> Order:
    return Order(
        incident=parent.incident,
        zone=parent.zone,
        kind=parent.kind,
        severity=parent.severity,
        category=category,
        data={**parent.data, "task": task},
        fields={
            "sender": parent.fields.get("sender") or parent.number,
            "cause": task,
            "account": parent.fields.get("account") or parent.number,
            "contact": parent.fields.get("contact") or parent.number,
        },
        identity=(f"child:{parent.number}:{name}", 0, 0),
        reason=task,
        parent=parent.number,
        is_drill=parent.is_drill,
        facts=parent.facts,
    )
