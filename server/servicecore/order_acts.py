"""What people do to a ticket without moving it: urge, report, extend, expedite, waive, pass on."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.servicecore.ground import Ground, find
from server.servicecore.orders import Orders
from server.servicecore.rules import extension, workorder
from server.servicecore.rules.clocks import Reading, Verdict
from server.servicecore.rules.permissions import Actor, Person, Right, actor_of, check
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.verbs import Verb
from server.servicecore.rules.workorder import SETTLED, Evidence
from server.servicecore.store.registers import Call
from server.servicecore.store.tables import Entry, Ticket
from telemetry.instant import Instant

HAND_OVER = "hand_over"


class OrderActs:
    """The use cases beside a ticket's way."""

    def __init__(self, ground: Ground, orders: Orders) -> None:
        self._ground = ground
        self._orders = orders

    async def report(
        self, ticket: str, *, actor: Person, text: str, is_feedback: bool = False
    ) -> None:
        """Note progress, or the feedback that an order demands (R64, R115)."""
        verb = Verb.FEEDBACK if is_feedback else Verb.PROGRESS
        await self._note(ticket, verb, Right.PROGRESS, actor=actor, text=text)

    async def urge(self, ticket: str, *, actor: Person, text: str) -> int:
        """Ask for speed, and return how often that was done: 催办 (R95)."""
        await self._note(ticket, Verb.URGE, Right.URGE, actor=actor, text=text)
        counted = select(func.count()).select_from(Entry)
        async with self._ground.database.reading() as session:
            found = await session.scalar(
                counted.where(Entry.entity == ticket, Entry.verb == Verb.URGE)
            )
        return found or 0

    async def ask_instruction(self, ticket: str, *, actor: Person, text: str, of: str) -> None:
        """Ask the department or the leader what to do (R96)."""
        await self._note(
            ticket, Verb.ASK_INSTRUCTION, Right.PROGRESS, actor=actor, text=text, after=of
        )

    async def instruct(self, ticket: str, *, actor: Person, text: str) -> None:
        """Answer a request for instructions."""
        await self._note(ticket, Verb.INSTRUCT, Right.EXTEND, actor=actor, text=text)

    async def form_returned(self, ticket: str, *, actor: Person) -> None:
        """Note that the signed service form is back (R79)."""
        async with self._ground.acting(actor, Right.CLOSE) as (session, who):
            await find(session, Ticket, ticket)
            await self._ground.record(session, who, Verb.FORM_RETURNED, ticket)

    async def note_event(self, ticket: str, *, actor: Person, event: str, text: str) -> None:
        """Note an event that the policy's clocks of projects and reports wait for."""
        await self._note(
            ticket, Verb.PROGRESS, Right.PROGRESS, actor=actor, text=text, data={"event": event}
        )

    async def waive(
        self, ticket: str, evidence: Evidence, *, actor: Person, reason: str, text: str = ""
    ) -> None:
        """Do without an evidence, for one of the reasons that count; ends the loop too (R35)."""
        right = Right.END_LOOP if reason == "loop_ended" else Right.CLOSE
        async with self._ground.acting(actor, right, text=text) as (session, who):
            row = await _open(session, ticket)
            workorder.check_waiver(ticket, evidence, reason)
            policy = await self._ground.policy(session, row.policy_rev)
            if reason == "not_sampled" and policy.text("call_back.mode") != "sample":
                words = ", ".join(r for r in workorder.WAIVERS[evidence] if r != reason)
                raise Refused("not_waived", subject=ticket, fields=evidence, allowed_words=words)
            row.waived = {**row.waived, str(evidence): reason}
            await self._ground.record(
                session,
                who,
                Verb.WAIVE,
                ticket,
                after=evidence,
                reason=text,
                data={"code": reason},
            )

    async def assign(self, ticket: str, *, actor: Person, crew: str) -> None:
        """Give a ticket to a crew of its desk, with an instant of its own (R59)."""
        async with self._ground.database.writing() as session:
            row = await _open(session, ticket)
            check(actor_of(actor), Right.ASSIGN, unit=row.unit)
            before, row.crew = row.crew, crew
            await self._ground.record(
                session, actor_of(actor), Verb.ASSIGN, ticket, before=before, after=crew
            )

    # --- hand over --------------------------------------------------------------------------------

    async def hand_over(self, ticket: str, *, actor: Person, to: str, text: str = "") -> None:
        """Offer a ticket to a colleague; whoever holds it answers for it until it is taken."""
        async with self._ground.database.writing() as session:
            row = await _open(session, ticket)
            who = actor_of(actor)
            check(who, Right.REPLY, unit=row.unit)
            if not to.strip() or to == row.holder:
                raise Refused("fields_missing", subject=ticket, fields="receiver")
            row.asked = {**row.asked, HAND_OVER: {"to": to, "by": who.name}}
            await self._ground.record(
                session, who, Verb.HAND_OVER, ticket, before=row.holder, after=to, reason=text
            )

    async def take_over(self, ticket: str, *, actor: Person) -> None:
        """Take what was offered; from now on the taker answers for it."""
        async with self._ground.database.writing() as session:
            row = await _open(session, ticket)
            who, offer = actor_of(actor), row.asked.get(HAND_OVER)
            check(who, Right.REPLY, unit=row.unit)
            if offer is None or offer["to"] != who.name:
                raise Refused("no_request", subject=ticket)
            before, row.holder = row.holder, who.name
            row.asked = {k: v for k, v in row.asked.items() if k != HAND_OVER}
            await self._ground.record(
                session, who, Verb.TAKE_OVER, ticket, before=before, after=who.name
            )

    # --- more time, and less ----------------------------------------------------------------------

    async def ask_extension(
        self,
        ticket: str,
        *,
        actor: Person,
        clock: str,
        reason: str,
        plan: str,
        expected: Instant,
    ) -> None:
        """Ask for more time before the limit, with reason, plan and date (R76)."""
        async with self._ground.acting(actor, Right.ASK_EXTENSION, text=reason) as (session, who):
            row = await _open(session, ticket)
            check(who, Right.ASK_EXTENSION, unit=row.unit)
            found = await self._orders.read_clocks(session, row)
            reading = _named(found, clock)
            extension.check_request(
                ticket,
                reading,
                clock=clock,
                running=_running(found),
                expected=expected,
                texts=(reason, plan),
                now=self._ground.now(),
            )
            request = {"clock": clock, "due": expected, "by": who.name, "plan": plan}
            row.asked = {**row.asked, "extension": request}
            await self._ground.record(
                session,
                who,
                Verb.ASK_EXTENSION,
                ticket,
                reason=reason,
                data={"code": clock, "due": expected, "plan": plan},
            )

    async def decide_extension(
        self, ticket: str, *, actor: Person, is_granted: bool, text: str = ""
    ) -> None:
        """Grant or refuse an extension; a long one is a leader's, and nobody decides their own."""
        async with self._ground.acting(actor, Right.EXTEND, text=text) as (session, who):
            row = await _open(session, ticket)
            request = _request(row, "extension", who)
            reading = _named(await self._orders.read_clocks(session, row), request["clock"])
            due = Instant(int(request["due"]))
            if reading is not None and extension.is_long(reading, due):
                check(who, Right.EXTEND_LONG)
            await self._decide(session, row, "extension", who, is_granted=is_granted, text=text)

    async def ask_expedite(self, ticket: str, *, actor: Person, clock: str, reason: str) -> None:
        """Ask a leader for a shorter limit: 急事特办 (R26)."""
        async with self._ground.acting(actor, Right.ASK_EXPEDITE, text=reason) as (session, who):
            row = await _open(session, ticket)
            if not reason.strip():
                raise Refused("text_missing", ticket=ticket, step=Verb.EXPEDITE)
            row.asked = {**row.asked, "expedite": {"clock": clock, "by": who.name}}
            await self._ground.record(
                session, who, Verb.ASK_EXPEDITE, ticket, reason=reason, data={"code": clock}
            )

    async def decide_expedite(
        self, ticket: str, *, actor: Person, due: Instant | None, text: str = ""
    ) -> None:
        """Choose the shorter limit, or None to refuse."""
        async with self._ground.acting(actor, Right.EXPEDITE, text=text) as (session, who):
            row = await _open(session, ticket)
            request = _request(row, "expedite", who)
            if due is not None:
                reading = _named(await self._orders.read_clocks(session, row), request["clock"])
                extension.check_expedite(reading, ticket, clock=request["clock"], due=due)
                row.asked = {**row.asked, "expedite": {**request, "due": due}}
            granted = due is not None
            await self._decide(session, row, "expedite", who, is_granted=granted, text=text)

    async def _decide(
        self,
        session: AsyncSession,
        row: Ticket,
        what: str,
        who: Actor,
        *,
        is_granted: bool,
        text: str,
    ) -> None:
        request: Mapping[str, Any] = row.asked[what]
        row.asked = {k: v for k, v in row.asked.items() if k != what}
        verb = Verb.REFUSE
        if is_granted:
            verb = Verb.EXTEND if what == "extension" else Verb.EXPEDITE
        data = {"code": request["clock"], **({"due": request["due"]} if is_granted else {})}
        await self._ground.record(session, who, verb, row.number, reason=text, data=data)

    # --- telephone calls --------------------------------------------------------------------------

    async def called(self, call: str, *, actor: Person, result: str) -> None:
        """Note how a call that was owed went."""
        async with self._ground.acting(actor, Right.CONTACT, text=result) as (session, who):
            row = await find(session, Call, call)
            if not result.strip():
                raise Refused("text_missing", ticket=call, step=Verb.CALLED)
            row.answered_at, row.by, row.result = self._ground.now(), who.name, result.strip()
            await self._ground.record(
                session, who, Verb.CALLED, row.ticket, after=row.to, reason=result
            )

    async def calls(self) -> list[Call]:
        """Return the calls that are owed, the oldest first."""
        async with self._ground.database.reading() as session:
            owed = select(Call).where(Call.answered_at.is_(None)).order_by(Call.asked_at, Call.id)
            return list(await session.scalars(owed))

    async def _note(
        self,
        ticket: str,
        verb: Verb,
        right: Right,
        *,
        actor: Person,
        text: str,
        after: str = "",
        data: Mapping[str, Any] | None = None,
    ) -> None:
        async with self._ground.acting(actor, right, text=text) as (session, who):
            row = await _open(session, ticket)
            check(who, right, unit=row.unit)
            if not text.strip():
                raise Refused("text_missing", ticket=ticket, step=verb)
            await self._ground.record(
                session, who, verb, ticket, after=after, reason=text, data=data
            )


async def _open(session: AsyncSession, ticket: str) -> Ticket:
    row = await find(session, Ticket, ticket)
    if row.state in SETTLED:
        raise Refused("final", ticket=ticket, state=row.state)
    return row


def _named(found: list[Reading], clock: str) -> Reading | None:
    return next((r for r in found if r.clock == clock), None)


def _running(found: list[Reading]) -> tuple[str, ...]:
    live = (Verdict.RUNNING, Verdict.PAUSED, Verdict.OVERDUE)
    return tuple(r.clock for r in found if r.verdict in live)


def _request(row: Ticket, what: str, who: Actor) -> Mapping[str, Any]:
    request: Mapping[str, Any] | None = row.asked.get(what)
    if request is None:
        raise Refused("no_request", subject=row.number)
    if request["by"] == who.name:
        raise Refused("own_request", actor=who.name)
    return request
