"""The desk: what people do, and what the engine's effects do, one transaction each.

Rule 1: a change, its entry in the trail, and the command that the engine must hear are committed
together or not at all.
Rule 2: the cursor over the journal moves in the transaction of what it stands for, so a process
killed at any instant has carried out every effect before the cursor and none after it.
"""

import asyncio
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.engine.registry import Registry
from server.servicecore import dispatch, projection
from server.servicecore.arrears import Arrears
from server.servicecore.board import Board, read_board
from server.servicecore.cases import Cases
from server.servicecore.contacts import Contacts
from server.servicecore.disclosures import Disclosures
from server.servicecore.figures import Figures
from server.servicecore.frozen import FrozenFigures
from server.servicecore.ground import ACTOR_LENGTH_MAX, TEXT_LENGTH_MAX, Ground, ask_engine
from server.servicecore.inquiries import Inquiries
from server.servicecore.learning import Learning
from server.servicecore.looks import Looks
from server.servicecore.marking import Marking
from server.servicecore.order_acts import OrderActs
from server.servicecore.orders import More, Orders
from server.servicecore.people import People
from server.servicecore.plans import Plans
from server.servicecore.recorded import Cursor, read_after
from server.servicecore.registry_acts import RegistryActs
from server.servicecore.rulebook import RuleBook
from server.servicecore.rules.permissions import Person, Right
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.workorder import State, Step
from server.servicecore.shifts import Shifts
from server.servicecore.store import trail
from server.servicecore.store.database import PROGRESS_ROW, Changes, Database
from server.servicecore.store.tables import (
    Alarm,
    Command,
    Incident,
    Progress,
    RegistryRow,
)
from telemetry.instant import Clock, Instant

__all__ = ["ACTOR_LENGTH_MAX", "TEXT_LENGTH_MAX", "Desk"]

log = logging.getLogger("mainwatch.desk")

EFFECTS_PER_TRANSACTION = 200
COMMANDS_PER_READ = 100
MARKS_MAX = 500
INTAKE_STATE = "intake.state"
"""Where the intake says what it ended with, beside its journal."""


class Desk:
    """Every use case of the service core."""

    def __init__(self, database: Database, *, journal: Path, clock: Clock, book: RuleBook) -> None:
        self._database = database
        self._journal = journal
        self._clock = clock
        self.ground = Ground(database, clock=clock, book=book)
        self.orders = Orders(self.ground)
        self.order_acts = OrderActs(self.ground, self.orders)
        self.cases = Cases(self.ground)
        self.contacts = Contacts(self.ground, self.orders)
        self.plans = Plans(self.ground)
        self.people = People(self.ground)
        self.shifts = Shifts(self.ground, self.orders)
        self.inquiries = Inquiries(self.ground)
        self.arrears = Arrears(self.ground)
        self.disclosures = Disclosures(self.ground)
        self.figures = Figures(self.ground)
        self.frozen = FrozenFigures(self.ground, self.figures, self.cases)
        self.learning = Learning(self.ground)
        self.marking = Marking(self.ground)
        self.looks = Looks(self.ground, self.orders)
        self.commands_waiting = self.ground.commands_waiting
        self.woken = asyncio.Event()
        self.registry_acts = RegistryActs(self.ground, self.commands_waiting)
        self.engine_reached = False

    @classmethod
    async def open(
        cls, path: Path, *, journal: Path, clock: Clock, book: RuleBook | None = None
    ) -> "Desk":
        """Open the database at `path`; `journal` is the intake's file. Raises `StorageError`.

        Without a rule book no clock runs and nothing is demanded, as for a look at an old database.
        """
        database = await Database.open(path)
        desk = cls(database, journal=journal, clock=clock, book=book or RuleBook.none())
        await desk.ground.adopt_policy()
        if await desk.commands():
            desk.commands_waiting.set()
        return desk

    async def close(self) -> None:
        """Let go of the database."""
        await self._database.close()

    @property
    def changes(self) -> Changes:
        """Return what can be waited on for the next change."""
        return self._database.changes

    async def board(self) -> Board:
        """Return what the screens show, as of one instant."""
        async with self._database.reading() as session:
            return await read_board(
                session, now=self._clock.now(), realarm_ms=self.ground.realarm_ms
            )

    async def alarms_between(self, start: Instant, end: Instant) -> Sequence[Alarm]:
        """Return the alarms whose onset is in [start, end), oldest first: marks on a trend."""
        async with self._database.reading() as session:
            found = await session.scalars(
                select(Alarm)
                .where(Alarm.onset >= start, Alarm.onset < end)
                .order_by(Alarm.onset)
                .limit(MARKS_MAX)
            )
            return list(found)

    # --- the registry -------------------------------------------------------------------------

    async def registry(self) -> Registry:
        """Return the registry; an empty one before one was adopted."""
        async with self._database.reading() as session:
            row = await session.get(RegistryRow, 1)
            return Registry() if row is None else Registry.from_json(row.body)

    # --- what the engine says -----------------------------------------------------------------

    async def catch_up(self, *, limit: int = EFFECTS_PER_TRANSACTION) -> int:
        """Carry out the next recorded effects and return how many there were.

        Raises `StorageError` when the journal is gone or another one.
        """
        async with self._database.reading() as session:
            progress = await session.get_one(Progress, PROGRESS_ROW)
        cursor = Cursor(journal=progress.journal, seq=progress.seq, n=progress.n)
        items = await asyncio.to_thread(read_after, self._journal, cursor, limit=limit)
        if not items:
            return 0
        async with self._database.writing() as session:
            for item in items:
                await projection.carry_out(
                    session, item, book=self.ground.book, now=self._clock.now()
                )
            progress = await session.get_one(Progress, PROGRESS_ROW)
            progress.journal = items[-1].journal
            progress.seq, progress.n = items[-1].seq, items[-1].n
        return len(items)

    async def follow(self, stop: asyncio.Event) -> None:
        """Carry out effects until told to stop: when woken, and each second in any case."""
        while not stop.is_set():
            self.woken.clear()
            while await self.catch_up() == EFFECTS_PER_TRANSACTION:
                pass
            try:
                async with asyncio.timeout(1):
                    await self.woken.wait()
            except TimeoutError:
                pass

    # --- what people do to alarms and incidents ---------------------------------------------------

    async def acknowledge_alarm(self, alarm: str, *, actor: Person, note: str = "") -> None:
        """Ask the engine to note that a person has seen an alarm. Raises `Refused`."""
        async with self.ground.acting(actor, Right.ACKNOWLEDGE, text=note) as (session, who):
            row = await session.get(Alarm, alarm)
            if row is None:
                raise Refused("unknown", subject=alarm)
            _refuse_acknowledged(row)
            row.asked_by, row.refusal = who.name, ""
            await self._ask_engine(session, "acknowledge_alarm", alarm, who.name, note)

    async def acknowledge_incident(self, incident: str, *, actor: Person, note: str = "") -> None:
        """Acknowledge every alarm of an incident with one command. Raises `Refused`."""
        async with self.ground.acting(actor, Right.ACKNOWLEDGE, text=note) as (session, who):
            row = await _open_incident(session, incident)
            alarms = await _alarms_of(session, row)
            unseen = [a for a in alarms if a.acknowledged_at is None and not a.asked_by]
            if not unseen and alarms:
                _refuse_acknowledged(alarms[0])
            for alarm in unseen:
                alarm.asked_by, alarm.refusal = who.name, ""
            await self._ask_engine(session, "acknowledge_incident", incident, who.name, note)

    async def close_incident(self, incident: str, *, actor: Person, note: str = "") -> None:
        """Ask the engine to close an incident without an active alarm. Raises `Refused`."""
        async with self.ground.acting(actor, Right.INCIDENT, text=note) as (session, who):
            row = await _open_incident(session, incident)
            if row.asked_by:
                raise Refused("asked", subject=incident, actor=row.asked_by)
            active = [a.id for a in await _alarms_of(session, row) if a.active]
            if active:
                raise Refused("active", subject=incident, alarms=", ".join(active))
            row.asked_by, row.refusal = who.name, ""
            await self._ask_engine(session, "close_incident", incident, who.name, note)

    async def dispatch(self, incident: str, *, actor: Person) -> str:
        """Open the ticket that was proposed for an incident; return its number."""
        async with self.ground.acting(actor, Right.ISSUE) as (session, who):
            ticket = await dispatch.confirm(
                session, incident, actor=who.name, book=self.ground.book, now=self._clock.now()
            )
        return ticket.number

    # --- what people do to tickets ----------------------------------------------------------------

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
        """Take a ticket one step on and return its state; see `Orders.step`."""
        return await self.orders.step(
            ticket, step, actor=actor, text=text, version=version, more=more
        )

    # --- the commands on their way to the engine ------------------------------------------------

    async def commands(self) -> Sequence[Command]:
        """Return the oldest commands that the engine's door has not journalled yet."""
        async with self._database.reading() as session:
            found = await session.scalars(
                select(Command)
                .where(Command.state == "queued")
                .order_by(func.length(Command.key), Command.key)  # by their place in the trail
                .limit(COMMANDS_PER_READ)
            )
            return list(found)

    async def command_journalled(self, key: str) -> None:
        """Note that the door has a command on disk."""
        async with self._database.writing() as session:
            command = await session.get(Command, key)
            if command is not None and command.state == "queued":
                command.state = "journalled"

    async def command_refused(self, key: str, because: str) -> None:
        """Note that the door will not take a command, and show it where it was asked."""
        log.warning("the engine's door refused %s: %s", key, because)
        async with self._database.writing() as session:
            await projection.command_settled(session, key, refused=because)

    def engine_is(self, *, reached: bool) -> None:
        """Note whether the engine's door answers; the screens show it."""
        self.engine_reached = reached

    @property
    def intake_stopped(self) -> str:
        """Return with what the intake ended: "disk_full", "failed", or nothing that it told of."""
        if self.engine_reached:
            return ""
        try:
            said = json.loads((self._journal.parent / INTAKE_STATE).read_bytes())
        except (OSError, ValueError):
            return ""
        state = said.get("state") if isinstance(said, dict) else ""
        return state if state in ("disk_full", "failed") else ""

    async def trail_break(self) -> int | None:
        """Return the first entry of the audit trail that was tampered with, or None."""
        async with self._database.reading() as session:
            return await trail.first_break(session)

    async def trail_head(self) -> tuple[int, str]:
        """Return (seq, hash) of the newest entry of the audit trail."""
        async with self._database.reading() as session:
            return await trail.head(session)

    async def _ask_engine(
        self, session: AsyncSession, verb: str, subject: str, actor: str, note: str
    ) -> None:
        await ask_engine(session, verb, subject, actor=actor, note=note, at=self._clock.now())


def _refuse_acknowledged(alarm: Alarm) -> None:
    if alarm.acknowledged_at is not None:
        raise Refused("acknowledged", subject=alarm.id, actor=alarm.acknowledged_by)
    if alarm.asked_by:
        raise Refused("asked", subject=alarm.id, actor=alarm.asked_by)


async def _open_incident(session: AsyncSession, incident: str) -> Incident:
    row = await session.get(Incident, incident)
    if row is None:
        raise Refused("unknown", subject=incident)
    if row.closed_at is not None:
        raise Refused("closed", subject=incident)
    return row


async def _alarms_of(session: AsyncSession, incident: Incident) -> list[Alarm]:
    return list(await session.scalars(select(Alarm).where(Alarm.id.in_(incident.alarms))))
