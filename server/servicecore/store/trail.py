"""The audit trail: append an act inside the transaction that does it, and verify the whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.servicecore.rules import chain
from server.servicecore.store.tables import Entry
from telemetry.instant import Instant

SYSTEM = "mainwatch"
"""The actor of what nobody clicked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Who did what to which thing, what it was before and after, and why."""

    at: Instant
    actor: str
    entity: str
    verb: str
    before: str = ""
    after: str = ""
    reason: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


async def append(session: AsyncSession, act: Act) -> Entry:
    """Add an act to the chain; the write lock that the session holds keeps the order."""
    last = await session.scalar(select(Entry).order_by(Entry.seq.desc()).limit(1))
    entry = Entry(
        seq=last.seq + 1 if last else 1,
        at=act.at,
        actor=act.actor,
        entity=act.entity,
        verb=act.verb,
        before=act.before,
        after=act.after,
        reason=act.reason,
        data=dict(act.data),
        prev_hash=last.hash if last else chain.GENESIS,
    )
    entry.hash = chain.link(entry.prev_hash, _body(entry))
    session.add(entry)
    await session.flush()
    return entry


async def entries_of(session: AsyncSession, entity: str) -> Sequence[Entry]:
    """Return what was done to one thing, in order."""
    found = await session.scalars(select(Entry).where(Entry.entity == entity).order_by(Entry.seq))
    return list(found)


async def head(session: AsyncSession) -> tuple[int, str]:
    """Return (seq, hash) of the newest entry: what is kept elsewhere so that a cut is evident."""
    last = await session.scalar(select(Entry).order_by(Entry.seq.desc()).limit(1))
    return (last.seq, last.hash) if last else (0, chain.GENESIS)


async def first_break(session: AsyncSession) -> int | None:
    """Return the seq of the first entry that was changed, or after which one is gone, or None."""
    entries = list(await session.scalars(select(Entry).order_by(Entry.seq)))
    place = chain.first_break((_body(e), e.prev_hash, e.hash) for e in entries)
    return None if place is None else entries[place].seq


def _body(entry: Entry) -> dict[str, object]:
    body: dict[str, object] = {
        "seq": entry.seq,
        "at": entry.at,
        "actor": entry.actor,
        "entity": entry.entity,
        "verb": entry.verb,
        "before": entry.before,
        "after": entry.after,
        "reason": entry.reason,
    }
    if entry.data:  # entries of the first release have none, and their hashes stand
        body["data"] = entry.data
    return body
