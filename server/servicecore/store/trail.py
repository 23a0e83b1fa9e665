"""The audit trail: append an act inside the transaction that does it, and verify the whole."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.servicecore.rules import chain
from server.servicecore.store.tables import Entry
from telemetry.errors import StorageError
from telemetry.instant import Instant

SYSTEM = "mainwatch"
"""The actor of what nobody clicked."""

_TABLE = cast("Table", Entry.__table__)
_NEWEST = select(_TABLE.c.seq, _TABLE.c.hash).order_by(_TABLE.c.seq.desc()).limit(1)


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
    seq, previous = await head(session)
    entry = Entry(
        seq=seq + 1,
        at=act.at,
        actor=act.actor,
        entity=act.entity,
        verb=act.verb,
        before=act.before,
        after=act.after,
        reason=act.reason,
        data=dict(act.data),
        prev_hash=previous,
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
    last = (await session.execute(_NEWEST)).first()
    return (last.seq, last.hash) if last else (0, chain.GENESIS)


async def first_break(session: AsyncSession) -> int | None:
    """Return the seq of the first entry that was changed, or after which one is gone, or None."""
    entries = list(await session.scalars(select(Entry).order_by(Entry.seq)))
    place = chain.first_break((_body(e), e.prev_hash, e.hash) for e in entries)
    return None if place is None else entries[place].seq


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a look at a whole trail found."""

    entries: int
    first_break: int | None
    missing_head: int | None
    head: str


def verify_file(path: Path, *, heads: Sequence[tuple[int, str]]) -> Verified:
    """Check the trail of a database file, opened read-only. Raises `StorageError`."""
    names = ("seq", "at", "actor", "entity", "verb", "before", "after", "reason")
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            known = {row[1] for row in db.execute("PRAGMA table_info(ticket_event)")}
            data = "data" if "data" in known else "'{}'"
            query = f"SELECT {', '.join(names)}, {data}, prev_hash, hash"
            rows = db.execute(f"{query} FROM ticket_event ORDER BY seq").fetchall()
    except sqlite3.Error as e:
        raise StorageError(f"{path}: expected the service core's database: {e}") from e
    chained = []
    for row in rows:
        body: dict[str, object] = dict(zip(names, row, strict=False))
        if row[-3] != "{}":
            body["data"] = json.loads(row[-3])
        chained.append((body, str(row[-2]), str(row[-1])))
    place = chain.first_break(chained)
    hashes = {int(row[0]): str(row[-1]) for row in rows}
    lost = [seq for seq, digest in heads if seq and hashes.get(seq) != digest]
    return Verified(
        entries=len(rows),
        first_break=None if place is None else int(rows[place][0]),
        missing_head=lost[0] if lost else None,
        head=chained[-1][2] if chained else chain.GENESIS,
    )


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
