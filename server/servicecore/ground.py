"""What every use case stands on: the database, the clock, the rule book, and one way to write.

Each use case is one transaction: it checks the right, changes its row, and appends to the trail.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.servicecore.rulebook import RuleBook
from server.servicecore.rules.permissions import Actor, Person, Right, actor_of, check
from server.servicecore.rules.policy import Policy, body_of, policy_from
from server.servicecore.rules.refusal import Refused
from server.servicecore.store import trail
from server.servicecore.store.database import Database
from server.servicecore.store.registers import PolicyRevision
from server.servicecore.store.tables import Command, Entry, Row
from server.servicecore.store.trail import Act
from telemetry.instant import MINUTE_MS, Clock, Instant

_ASKED = "engine was asked"

ACTOR_LENGTH_MAX = 40
TEXT_LENGTH_MAX = 2_000


SYSTEM = Actor(name=trail.SYSTEM, roles=frozenset())
"""Who acts when the clock does."""


class Versioned(Protocol):
    """A row that says when it was changed under a person's hands."""

    version: Any


Kept = TypeVar("Kept", bound=Row)


class Ground:
    """The database, the clock and the rule book of one desk."""

    def __init__(self, database: Database, *, clock: Clock, book: RuleBook) -> None:
        self.database = database
        self.clock = clock
        self.book = book
        self.commands_waiting = asyncio.Event()
        self._policies: dict[str, Policy] = {book.policy.revision: book.policy}

    def now(self) -> Instant:
        """Return the present instant."""
        return self.clock.now()

    @property
    def realarm_ms(self) -> int | None:
        """Return after how long an alarm that was seen and not decided sounds again, if ever."""
        after = self.book.policy.number("realarm.after_min")
        return None if after is None else int(after * MINUTE_MS)

    @asynccontextmanager
    async def acting(
        self, person: Person, right: Right, *, text: str = "", unit: str = ""
    ) -> AsyncIterator[tuple[AsyncSession, Actor]]:
        """Give a writing session to a person who has the right. Raises `Refused`."""
        actor = actor_of(person)
        refuse_bad_words(actor.name, text)
        check(actor, right, unit=unit)
        async with self.database.writing() as session:
            yield session, actor
        if session.info.pop(_ASKED, False):
            self.commands_waiting.set()

    async def record(
        self,
        session: AsyncSession,
        actor: Actor,
        verb: str,
        entity: str,
        *,
        before: str = "",
        after: str = "",
        reason: str = "",
        data: Mapping[str, Any] | None = None,
    ) -> Entry:
        """Append an act to the trail."""
        act = Act(
            at=self.now(),
            actor=actor.name,
            entity=entity,
            verb=verb,
            before=before,
            after=after,
            reason=reason.strip(),
            data=data or {},
        )
        return await trail.append(session, act)

    def ask_engine(self, session: AsyncSession, entry: Entry, *, verb: str, note: str) -> None:
        """Let the engine hear of an act, by a command that is committed with its entry."""
        _queue(session, entry, verb=verb, note=note)
        session.info[_ASKED] = True

    async def adopt_policy(self) -> None:
        """Keep the policy of the book, so that whoever reads an old ticket finds its rules."""
        policy = self.book.policy
        if not policy.revision:
            return
        async with self.database.reading() as session:
            if await session.get(PolicyRevision, policy.revision) is not None:
                return
        async with self.database.writing() as session:
            session.add(
                PolicyRevision(
                    revision=policy.revision,
                    policy=policy.id,
                    adopted_at=self.now(),
                    body=body_of(policy),
                )
            )
            await self.record(
                session, SYSTEM, "adopt", f"policy:{policy.id}", after=policy.revision
            )

    async def policy(self, session: AsyncSession, revision: str) -> Policy:
        """Return the policy that a ticket is pinned to; today's for one that is pinned to none."""
        if revision in self._policies:
            return self._policies[revision]
        row = await session.get(PolicyRevision, revision)
        found = self.book.policy if row is None else policy_from(row.body)
        self._policies[revision] = found
        return found


async def ask_engine(
    session: AsyncSession,
    verb: str,
    subject: str,
    *,
    actor: str,
    note: str,
    at: Instant,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Append an act to the trail, with the command that lets the engine hear of it."""
    act = Act(at=at, actor=actor, entity=subject, verb=verb, reason=note.strip(), data=data or {})
    _queue(session, await trail.append(session, act), verb=verb, note=note.strip())


def _queue(session: AsyncSession, entry: Entry, *, verb: str, note: str) -> None:
    session.add(
        Command(
            key=f"{entry.seq}-{entry.hash[:16]}",  # ours alone, even if this file starts anew
            at=entry.at,
            verb=verb,
            subject=entry.entity,
            actor=entry.actor,
            note=note,
            state="queued",
            because="",
        )
    )


async def find(
    session: AsyncSession, kind: type[Kept], key: str, *, version: int | None = None
) -> Kept:
    """Return a row, refusing one that is not there or that has changed since it was looked at."""
    row = await session.get(kind, key)
    if row is None:
        raise Refused("unknown", subject=key)
    if version is not None and getattr(row, "version", version) != version:
        raise Refused("changed", ticket=key)
    return row


async def next_id(session: AsyncSession, kind: type[Row], prefix: str) -> str:
    """Return the next number of a table whose rows are never deleted."""
    count = await session.scalar(select(func.count()).select_from(kind)) or 0
    return f"{prefix}-{count + 1:06}"


def refuse_bad_words(actor: str, text: str) -> None:
    """Refuse an act without a name, and texts beyond their bound."""
    if not actor.strip():
        raise Refused("name_missing")
    for words, limit in ((actor, ACTOR_LENGTH_MAX), (text, TEXT_LENGTH_MAX)):
        if len(words) > limit:
            raise Refused("text_too_long", limit=str(limit), length=str(len(words)))
