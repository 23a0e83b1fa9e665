"""The month's messages about arrears: due before a day that the utility sets, and who sent them.

每月xx日之前对欠费用户发送催缴短信 (R81). The messages are the billing system's; ours is that
the month's run is owed, that somebody says it was done, and that a day that passes is on record.
"""

from calendar import monthrange
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.servicecore.ground import SYSTEM, Ground
from server.servicecore.rules.calendar import civil
from server.servicecore.rules.permissions import Person, Right
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.verbs import Verb
from server.servicecore.store.tables import Entry
from telemetry.instant import Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The run of a month: until when it is owed, and who sent it when."""

    month: str
    due: Instant
    sent_at: Instant | None
    sent_by: str
    is_late: bool

    @property
    def entity(self) -> str:
        """Return what the trail calls it."""
        return _entity(self.month)


class Arrears:
    """The use cases of the month's run."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    async def run(self) -> Run | None:
        """Return this month's run; None where the policy sets no day."""
        async with self._ground.database.reading() as session:
            return await self._run(session)

    async def sent(self, *, actor: Person, text: str) -> str:
        """Note that this month's messages were sent, and how many; return the month."""
        async with self._ground.acting(actor, Right.CONTACT, text=text) as (session, who):
            run = await self._run(session)
            if run is None:
                raise Refused("unknown", subject="arrears.day_of_month")
            if run.sent_at is not None:
                raise Refused("arrears_sent", subject=run.month, actor=run.sent_by)
            if not text.strip():
                raise Refused("text_missing", ticket=run.month, step=Verb.ARREARS)
            await self._ground.record(session, who, Verb.ARREARS, run.entity, reason=text)
            return run.month

    async def watch(self) -> str:
        """Put on record, once, that the day has passed; return the month, or nothing."""
        run = await self.run()
        if run is None or run.sent_at is not None or self._ground.now() < run.due:
            return ""
        async with self._ground.database.reading() as session:
            known = select(Entry.seq).where(Entry.entity == run.entity, Entry.verb == Verb.MISS)
            if await session.scalar(known.limit(1)) is not None:
                return ""
        async with self._ground.database.writing() as session:
            await self._ground.record(session, SYSTEM, Verb.MISS, run.entity, data={"due": run.due})
        return run.month

    async def _run(self, session: AsyncSession) -> Run | None:
        day = self._ground.book.policy.number("arrears.day_of_month")
        if day is None:
            return None
        calendar, now = self._ground.book.calendar, self._ground.now()
        today = calendar.day(now)
        year, month, day_of_month = civil(today)
        name = f"{year}-{month:02}"
        last = min(int(day), monthrange(year, month)[1])
        due = calendar.instant(today - day_of_month + last, 0)
        asked = select(Entry).where(Entry.entity == _entity(name), Entry.verb == Verb.ARREARS)
        done = await session.scalar(asked.limit(1))
        sent_at = None if done is None else Instant(done.at)
        return Run(
            month=name,
            due=due,
            sent_at=sent_at,
            sent_by="" if done is None else done.actor,
            is_late=(now if sent_at is None else sent_at) >= due,
        )


def _entity(month: str) -> str:
    return f"arrears:{month}"
