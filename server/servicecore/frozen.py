"""A month's figures as they were when it ended: a file, written once, its hash in the trail.

What is computed on read changes with whatever is learnt later (a late reply, a corrected calendar);
what was reported must not. A restatement is a new revision with its reason; the old file stays
(R149).
"""

import asyncio
import hashlib
import json
import os
import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from server.servicecore.cases import Cases
from server.servicecore.figures import Figures, Pressures
from server.servicecore.ground import SYSTEM, Ground, refuse_bad_words
from server.servicecore.rules.calendar import civil, day_of
from server.servicecore.rules.permissions import Actor, Person, Right, actor_of, check
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.verbs import Verb
from server.servicecore.store.tables import Entry
from telemetry.errors import StorageError
from telemetry.instant import Instant

FORM = "mainwatch.figures/1"
FOLDER = "figures"
"""Beside the desk's database."""
DISPATCHERS = 1
"""The alarm figures of a file are those of the whole control room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """One file of a month's figures, as the trail knows it."""

    month: str
    revision: int
    at: Instant
    by: str
    reason: str
    file: str
    hash: str


class FrozenFigures:
    """The use cases of a month that is over."""

    def __init__(self, ground: Ground, figures: Figures, cases: Cases) -> None:
        self._ground = ground
        self._figures = figures
        self._cases = cases
        self._kept: tuple[Path, Pressures] | None = None
        self._writing = asyncio.Lock()

    def keep_in(self, folder: Path, pressures: Pressures) -> None:
        """Say where files are kept, and who reads the history of a point."""
        self._kept = (folder, pressures)

    async def freeze_due(self) -> str:
        """Freeze the month that ended last, if this desk knew it and that is not done.

        Returns the month, or nothing. Raises `StorageError`.
        """
        async with self._writing:
            return await self._freeze_due()

    async def _freeze_due(self) -> str:
        start, end, name = self._last_month()
        async with self._ground.database.reading() as session:
            first = await session.scalar(select(func.min(Entry.at)))
        if self._kept is None or first is None or first >= end or await self.of(name):
            return ""
        await self._write(start, end, name, revision=1, who=SYSTEM, reason="")
        return name

    async def restate(self, name: str, *, actor: Person, reason: str) -> Frozen:
        """Write the figures of a month anew, as they are now, and say why."""
        who = actor_of(actor)
        refuse_bad_words(who.name, reason)
        check(who, Right.FIGURES)
        if not reason.strip():
            raise Refused("text_missing", ticket=name, step=Verb.FREEZE)
        async with self._writing:  # no two restatements share a revision, nor its file
            known = await self.of(name)
            if not known:
                raise Refused("unknown", subject=name)
            start, end = self._span(name)
            revision = known[-1].revision + 1
            await self._write(start, end, name, revision=revision, who=who, reason=reason)
            return (await self.of(name))[-1]

    async def of(self, name: str) -> list[Frozen]:
        """Return the files of a month, the oldest first; none before it is over."""
        asked = select(Entry).where(Entry.entity == _entity(name), Entry.verb == Verb.FREEZE)
        async with self._ground.database.reading() as session:
            return [
                Frozen(
                    month=name,
                    revision=int(e.data["revision"]),
                    at=Instant(e.at),
                    by=e.actor,
                    reason=e.reason,
                    file=str(e.data["file"]),
                    hash=e.after,
                )
                for e in await session.scalars(asked.order_by(Entry.seq))
            ]

    async def read(self, name: str, revision: int) -> bytes:
        """Return a file's text, if it is what was frozen. Raises `Refused`."""
        frozen = next((f for f in await self.of(name) if f.revision == revision), None)
        if frozen is None or self._kept is None:
            raise Refused("unknown", subject=name)
        try:
            body = await asyncio.to_thread((self._kept[0] / frozen.file).read_bytes)
        except OSError:
            body = b""
        if hashlib.sha256(body).hexdigest() != frozen.hash:
            raise Refused("figures_changed", subject=frozen.file)
        return body

    async def _write(
        self,
        start: Instant,
        end: Instant,
        name: str,
        *,
        revision: int,
        who: Actor,
        reason: str,
    ) -> None:
        """Put the file on disk, and then its hash into the trail: a crash between repeats both."""
        if self._kept is None:
            raise Refused("unknown", subject=name)
        folder, pressures = self._kept
        body = await self._body(pressures, start, end, name, revision=revision)
        text = json.dumps(body, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
        file = f"{name}.json" if revision == 1 else f"{name}.r{revision}.json"
        await asyncio.to_thread(_put, folder, file, text.encode())
        digest = hashlib.sha256(text.encode()).hexdigest()
        async with self._ground.database.writing() as session:
            await self._ground.record(
                session,
                who,
                Verb.FREEZE,
                _entity(name),
                after=digest,
                reason=reason,
                data={"file": file, "revision": revision},
            )

    async def _body(
        self, pressures: Pressures, start: Instant, end: Instant, name: str, *, revision: int
    ) -> dict[str, Any]:
        figures = self._figures
        shares = await figures.month(start, end)
        compliance = await figures.compliance(pressures, start, end)
        loads = await figures.loads(start, end)
        alarms = await self._cases.figures(start, end, dispatchers=DISPATCHERS)
        return {
            "form": FORM,
            "month": name,
            "revision": revision,
            "start": start,
            "end": end,
            "frozen_at": self._ground.now(),
            "policy": self._ground.book.policy.id,
            "policy_revision": self._ground.book.policy.revision,
            "shares": {n: {**asdict(r), "value": r.value} for n, r in shares.items()},
            "compliance": {
                zone or "*": {"value": c.value, "without_exclusions": c.without_exclusions}
                for zone, c in compliance.items()
            },
            "loads": {unit or "-": asdict(load) for unit, load in loads.items()},
            "table": await figures.table(start, end),
            "alarms": asdict(alarms),
        }

    def _last_month(self) -> tuple[Instant, Instant, str]:
        """Return (start, end, name) of the month that ended last, in the utility's own time."""
        calendar = self._ground.book.calendar
        today = calendar.day(self._ground.now())
        first = today - civil(today)[2] + 1
        year, month, days = civil(first - 1)
        start = calendar.instant(first - days, 0)
        return start, calendar.instant(first, 0), f"{year}-{month:02}"

    def _span(self, name: str) -> tuple[Instant, Instant]:
        """Return (start, end) of a month that is over."""
        calendar = self._ground.book.calendar
        year, month = (int(part) for part in name.split("-"))
        first = day_of(year, month, 1)
        following = day_of(year + month // 12, month % 12 + 1, 1)
        return calendar.instant(first, 0), calendar.instant(following, 0)


def changed_files(database: Path) -> list[str]:
    """Return which frozen files beside a database are gone, or are not what was frozen.

    Without a folder of figures beside it nothing can be said. Raises `StorageError`.
    """
    folder = database.parent / FOLDER
    if not folder.is_dir():
        return []
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
            query = "SELECT after, data FROM ticket_event WHERE verb = ? ORDER BY seq"
            rows = db.execute(query, (Verb.FREEZE,)).fetchall()
        known = [(str(json.loads(data)["file"]), str(digest)) for digest, data in rows]
    except (sqlite3.Error, ValueError, KeyError, TypeError) as e:
        raise StorageError(f"{database}: expected the service core's database: {e}") from e
    return [file for file, digest in known if _hash_of(folder / file) != digest]


def _hash_of(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _put(folder: Path, file: str, body: bytes) -> None:
    """Write a file whole under its name, or not at all."""
    passing = folder / f".{file}.new"  # what a backup leaves out
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with passing.open("wb") as out:
            out.write(body)
            out.flush()
            os.fsync(out.fileno())
        passing.replace(folder / file)
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as e:
        raise StorageError(f"{folder / file}: the figures cannot be written: {e}") from e


def _entity(month: str) -> str:
    return f"figures:{month}"
