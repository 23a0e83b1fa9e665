"""Edits of the registry by people: one transaction with trail and command, two persons where due.

The desk's database is the registry's master. TOML seeds it when it is empty, and may be adopted
again by hand; every edit goes to the engine as the whole registry, through its door (decision
0055). What another policy promises at places of a kind is an edit like any other, by the system.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.engine.commands import CHANGE_REGISTRY
from server.engine.registry import Inflow, Point, Registry, Storage, Zone, with_promise
from server.servicecore.ground import SYSTEM, Ground, ask_engine, find, next_id
from server.servicecore.rules import promises
from server.servicecore.rules import registry_edits as rules
from server.servicecore.rules.permissions import Actor, Person, Right
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.verbs import Verb
from server.servicecore.store.registers import RegistryChange
from server.servicecore.store.tables import RegistryRow, SeenPoint
from server.servicecore.zone_use import under_way
from telemetry.point import PointId, ZoneId
from telemetry.units import Quantity

WAITING, DONE, DECLINED = "waiting", "done", "declined"
FILE = "server.toml"
POLICY = "policy"
"""The first word of the subject of an edit by another policy; its id is the second."""
SHOWN_MAX = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Promised:
    """How a point comes by its promise: one of its own, else what holds at its kind of place."""

    place: str
    own_kpa: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PointEdit:
    """A point as somebody wants it; limits in the house unit, places in metres.

    Without `promised` its promise stays as it is.
    """

    zone: str
    name_zh: str
    name_en: str
    low: float | None = None
    high: float | None = None
    x: float | None = None
    y: float | None = None
    elevation_m: float | None = None
    promised: Promised | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneEdit:
    """A zone as somebody wants it; its meters as (point, sign), its tanks as (point, m²).

    `within` is the zone that it lies in, "" for none; None leaves that as it is.
    """

    name_zh: str
    name_en: str
    timezone: str
    calendar: str
    inflow: tuple[tuple[str, int], ...] = ()
    storage: tuple[tuple[str, float], ...] = ()
    within: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    subject: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    registry: Registry


class RegistryActs:
    """The use cases of the registry."""

    def __init__(self, ground: Ground, waiting: asyncio.Event) -> None:
        self._ground = ground
        self._commands_waiting = waiting
        self._file = Registry()

    async def seed(self, file: Registry) -> bool:
        """Take what TOML says where nothing is known yet, and say whether that was so.

        From then on pages own the registry; what TOML says is kept to be compared.
        """
        self._file = file.promised(self._ground.book.promises)
        async with self._ground.database.reading() as session:
            if await session.get(RegistryRow, 1) is not None:
                return False
        async with self._ground.database.writing() as session:
            session.add(RegistryRow(id=1, revision=1, body=self._file.to_json()))
            await self._ground.record(session, SYSTEM, Verb.ADOPT, "registry", after=FILE)
        return True

    async def follow_policy(self) -> None:
        """Give each pressure point what the policy in force promises at its place.

        What is promised more holds at once. What is promised less, or no longer, is asked once and
        holds when an engineer agrees, as whoever changed the policy was the first person.
        """
        policy, book = self._ground.book.policy, self._ground.book.promises
        async with self._ground.database.writing() as session:
            known = await self._registry(session)
            wanted = known.promised(book)
            less, more = promises.split(known, wanted)
            subject, reason = f"{POLICY} {policy.id}", policy.revision[:12]
            asked = _promising(subject, known, wanted, less)
            if not await self._is_answered(session, asked) and less:
                await self._keep(session, SYSTEM, reason, known, asked)
            if more:
                now = _promising(subject, known, wanted, more)
                await self._keep(session, SYSTEM, reason, known, now)
        self._commands_waiting.set()

    async def _is_answered(self, session: AsyncSession, edit: _Wanted) -> bool:
        """Say whether this was asked for before; withdraw what an earlier policy asked for."""
        by_us = select(RegistryChange).where(RegistryChange.by == SYSTEM.name)
        answered = False
        for row in await session.scalars(by_us.order_by(RegistryChange.at, RegistryChange.id)):
            told = (row.subject, row.before, row.after)
            is_same = told == (edit.subject, edit.before, edit.after)
            if row.state == WAITING and not is_same:
                row.state, row.decided_by = DECLINED, SYSTEM.name
                row.decided_at = self._ground.now()
                await self._ground.record(session, SYSTEM, Verb.DECLINE, row.id, after=DECLINED)
            elif is_same:
                answered = row.state != DONE and row.decided_by != SYSTEM.name
        return answered

    async def revision(self) -> int:
        """Return how often the registry was changed; 0 before there is one."""
        async with self._ground.database.reading() as session:
            row = await session.get(RegistryRow, 1)
            return 0 if row is None else row.revision

    async def edit_point(
        self,
        point: str,
        wanted: PointEdit,
        *,
        actor: Person,
        reason: str,
        version: int | None = None,
    ) -> str:
        """Change a point's zone, names, limits and place; return the change. Raises `Refused`.

        A point that a gateway names and nobody has accepted yet is accepted so.
        """
        async with self._ground.acting(actor, Right.POINTS, text=reason) as (session, who):
            known = await self._registry(session)
            old = known.points.get(PointId(point))
            base = old or await _in_test(session, point)
            if version is not None and old is not None and version != rules.fingerprint(old):
                raise Refused("changed", ticket=point)
            new = replace(
                base,
                zone=ZoneId(wanted.zone),
                name_zh=wanted.name_zh.strip(),
                name_en=wanted.name_en.strip(),
                low=wanted.low,
                high=wanted.high,
                x=wanted.x,
                y=wanted.y,
                elevation_m=wanted.elevation_m,
            )
            new = self._with_promise(new, wanted.promised)
            edit = _edit(old, new, rules.with_point(known, new))
            return await self._ask(session, who, reason, edit)

    async def set_floor(
        self,
        point: str,
        statute_kpa: float | None,
        *,
        actor: Person,
        reason: str,
        version: int | None = None,
    ) -> str:
        """Write down what the law asks for at a point, in kPa; None: nothing. Raises `Refused`."""
        async with self._ground.acting(actor, Right.POINTS, text=reason) as (session, who):
            known = await self._registry(session)
            old = rules.known_point(known, point, version)
            new = replace(old, statute_kpa=statute_kpa)
            edit = _edit(old, new, rules.with_point(known, new))
            return await self._ask(session, who, reason, edit)

    async def retire_point(
        self, point: str, *, actor: Person, reason: str, version: int | None = None
    ) -> str:
        """Take a point out of the registry: by two persons where it has a must-alarm limit.

        What it said stays; if it still speaks, it is in test.
        """
        async with self._ground.acting(actor, Right.POINTS, text=reason) as (session, who):
            known = await self._registry(session)
            old = rules.known_point(known, point, version)
            edit = _edit(old, None, rules.without_point(known, old.id))
            return await self._ask(session, who, reason, edit)

    async def add_zone(self, zone: str, wanted: ZoneEdit, *, actor: Person, reason: str) -> str:
        """Add a zone, which has no points yet; return the change. Raises `Refused`.

        One that was retired goes on under its id, with the past that it had.
        """
        async with self._ground.acting(actor, Right.POINTS, text=reason) as (session, who):
            known, name = await self._registry(session), zone.strip()
            if name in known.zones:
                raise Refused("registry_taken", subject=name)
            new = _zone_of(ZoneId(name), wanted, parent=None)
            edit = _edit(None, new, rules.with_zone(known, new))
            return await self._ask(session, who, reason, edit)

    async def retire_zone(
        self, zone: str, *, actor: Person, reason: str, version: int | None = None
    ) -> str:
        """Take a zone out of the registry, once nothing is left or under way in it."""
        async with self._ground.acting(actor, Right.POINTS, text=reason) as (session, who):
            known = await self._registry(session)
            old = rules.known_zone(known, zone, version)
            left = rules.without_zone(known, old.id)
            if found := await under_way(session, zone, now=self._ground.now()):
                raise Refused("registry_in_use", zone=zone, found=rules.named(found))
            edit = _edit(old, None, left)
            return await self._ask(session, who, reason, edit)

    async def edit_zone(
        self,
        zone: str,
        wanted: ZoneEdit,
        *,
        actor: Person,
        reason: str,
        version: int | None = None,
    ) -> str:
        """Change a zone's names, time, calendar, meters and tanks; return the change."""
        async with self._ground.acting(actor, Right.POINTS, text=reason) as (session, who):
            known = await self._registry(session)
            old = rules.known_zone(known, zone, version)
            new = _zone_of(old.id, wanted, parent=old.parent)
            edit = _edit(old, new, rules.with_zone(known, new))
            return await self._ask(session, who, reason, edit)

    async def adopt_file(self, *, actor: Person, reason: str, version: int | None = None) -> str:
        """Take the whole registry from TOML again, instead of what pages made of it."""
        async with self._ground.acting(actor, Right.POINTS, text=reason) as (session, who):
            known = await self._registry(session)
            if version is not None and version != rules.fingerprint(known):
                raise Refused("changed", ticket=FILE)
            wanted = _Wanted(
                subject=FILE,
                before={
                    "fingerprint": rules.fingerprint(known),
                    promises.PROMISES: promises.told(known, promises.differing(known, self._file)),
                },
                after={"registry": self._file.to_json()},
                registry=self._file,
            )
            return await self._ask(session, who, reason, wanted)

    async def decide(
        self,
        change: str,
        *,
        actor: Person,
        is_agreed: bool,
        text: str = "",
        version: int | None = None,
    ) -> None:
        """Agree to, or decline, what another asked for: a must-alarm limit is loosened by two."""
        async with self._ground.acting(actor, Right.POINTS, text=text) as (session, who):
            row = await find(session, RegistryChange, change, version=version)
            if row.state != WAITING:
                raise Refused(
                    "not_in_state", subject=change, state=row.state, allowed_words=WAITING
                )
            if row.by == who.name and is_agreed:
                raise Refused("own_request", actor=who.name)
            if not is_agreed and not text.strip():
                raise Refused("text_missing", ticket=change, step=Verb.DECLINE)
            row.decided_by, row.decided_at = who.name, self._ground.now()
            row.state = DONE if is_agreed else DECLINED
            verb = Verb.AGREE if is_agreed else Verb.DECLINE
            await self._ground.record(session, who, verb, change, after=row.state, reason=text)
            if is_agreed:
                known = await self._registry(session)
                await self._apply(session, who, row, _again(known, row))
        self._commands_waiting.set()

    async def waiting(self) -> list[RegistryChange]:
        """Return the edits that wait for a second person, the oldest first."""
        asked = select(RegistryChange).where(RegistryChange.state == WAITING)
        async with self._ground.database.reading() as session:
            return list(await session.scalars(asked.order_by(RegistryChange.at).limit(SHOWN_MAX)))

    async def changes(self, subject: str = "") -> Sequence[RegistryChange]:
        """Return the newest edits of the registry, or of one zone or point of it."""
        asked = select(RegistryChange).order_by(RegistryChange.id.desc()).limit(SHOWN_MAX)
        if subject:
            asked = asked.where(RegistryChange.subject == subject)
        async with self._ground.database.reading() as session:
            return list(await session.scalars(asked))

    async def differences(self) -> tuple[str, ...]:
        """Return the zones and points that TOML and the registry do not have alike."""
        async with self._ground.database.reading() as session:
            return rules.differing(self._file, await self._registry(session))

    def _with_promise(self, point: Point, told: Promised | None) -> Point:
        """Return a point that is promised what somebody wants; a promise of its own wins."""
        if told is None or (told.place, told.own_kpa) == (point.place, point.own_promise_kpa):
            return point
        if point.quantity is not Quantity.PRESSURE:
            raise Refused("registry_promise", subject=point.id)
        bare = replace(point, place=told.place, promise_kpa=told.own_kpa, promise_by="")
        return with_promise(bare, self._ground.book.promises)

    async def _ask(self, session: AsyncSession, who: Actor, reason: str, wanted: _Wanted) -> str:
        """Carry out an edit, or keep it for a second person where it loosens a must-alarm limit."""
        known = await self._registry(session)
        if wanted.registry == known:
            raise Refused("no_change", subject=wanted.subject)
        if not reason.strip():
            raise Refused("text_missing", ticket=wanted.subject, step=Verb.EDIT)
        rules.check(wanted.registry)
        return await self._keep(session, who, reason, known, wanted)

    async def _keep(
        self, session: AsyncSession, who: Actor, reason: str, known: Registry, wanted: _Wanted
    ) -> str:
        """Put an edit on record, and carry it out unless a second person must agree."""
        loosened = rules.loosened(known, wanted.registry)
        row = RegistryChange(
            id=await next_id(session, RegistryChange, "RC"),
            at=self._ground.now(),
            by=who.name,
            subject=wanted.subject,
            before=dict(wanted.before),
            after=dict(wanted.after),
            reason=reason.strip(),
            loosened=list(loosened),
            state=WAITING if loosened else DONE,
            decided_by="",
            decided_at=None,
            registry_revision=None,
        )
        session.add(row)
        await self._ground.record(
            session,
            who,
            Verb.EDIT,
            row.id,
            after=row.state,
            reason=reason,
            data={"subject": row.subject, "loosened": row.loosened},
        )
        if not loosened:
            await self._apply(session, who, row, wanted.registry)
            self._commands_waiting.set()
        return row.id

    async def _apply(
        self, session: AsyncSession, who: Actor, row: RegistryChange, registry: Registry
    ) -> None:
        """Make a registry the present one, and let the engine hear of it, in one transaction."""
        kept = await session.get(RegistryRow, 1)
        if kept is None:
            kept = RegistryRow(id=1, revision=0, body={})
            session.add(kept)
        kept.revision += 1
        kept.body = registry.to_json()
        row.registry_revision = kept.revision
        await ask_engine(
            session,
            CHANGE_REGISTRY,
            row.subject,
            actor=who.name,
            note=row.reason,
            at=self._ground.now(),
            data={"change": row.id, "revision": kept.revision, "before": row.before}
            | ({"after": row.after} if row.subject != FILE else {}),
        )

    async def _registry(self, session: AsyncSession) -> Registry:
        row = await session.get(RegistryRow, 1)
        return Registry() if row is None else Registry.from_json(row.body)


def _edit(old: Point | Zone | None, new: Point | Zone | None, registry: Registry) -> _Wanted:
    """Return the edit that makes a registry out of the present one; None: not there."""
    item = new or old
    assert item is not None
    return _Wanted(
        subject=f"{'point' if isinstance(item, Point) else 'zone'} {item.id}",
        before={} if old is None else asdict(old),
        after={} if new is None else asdict(new),
        registry=registry,
    )


def _zone_of(zone: ZoneId, wanted: ZoneEdit, *, parent: ZoneId | None) -> Zone:
    """Return a zone as it is wanted; `parent` where nothing is said of that."""
    within = wanted.within
    return Zone(
        id=zone,
        name_zh=wanted.name_zh.strip(),
        name_en=wanted.name_en.strip(),
        timezone=wanted.timezone.strip(),
        calendar=wanted.calendar,
        inflow=tuple(Inflow(point=PointId(p), sign=s) for p, s in wanted.inflow),
        storage=tuple(Storage(point=PointId(p), area_m2=a) for p, a in wanted.storage),
        parent=parent if within is None else ZoneId(within.strip()) or None,
    )


async def _in_test(session: AsyncSession, point: str) -> Point:
    """Return what a gateway says of a point that nobody has accepted yet."""
    seen = await session.get(SeenPoint, point)
    if seen is None:
        raise Refused("unknown", subject=point)
    return Point(
        id=PointId(point),
        zone=ZoneId(seen.zone),
        quantity=Quantity(seen.quantity),
        name_zh="",
        name_en="",
        period_ms=seen.period_ms,
    )


def _promising(
    subject: str, known: Registry, wanted: Registry, points: Sequence[PointId]
) -> _Wanted:
    """Return the edit that gives some points the promises that they have in another registry."""
    before = {promises.PROMISES: promises.told(known, points)}
    after = {promises.PROMISES: promises.told(wanted, points)}
    return _Wanted(
        subject=subject,
        before=before,
        after=after,
        registry=promises.carried_out(known, before, after),
    )


def _again(known: Registry, row: RegistryChange) -> Registry:
    """Return what an edit makes of the present registry; refuse if its subject has moved on."""
    kind, _, name = row.subject.partition(" ")
    if kind == POLICY:
        found = promises.carried_out(known, row.before, row.after)
        if found == known:
            raise Refused("changed", ticket=row.id)
        return found
    if row.subject == FILE:
        if rules.fingerprint(known) != row.before["fingerprint"]:
            raise Refused("changed", ticket=row.id)
        return Registry.from_json(row.after["registry"])
    held = known.points.get(PointId(name)) if kind == "point" else known.zones.get(ZoneId(name))
    if Registry.from_json(rules.alone(kind, row.before)) != rules.only(held):
        raise Refused("changed", ticket=row.id)
    wanted = Registry.from_json(rules.alone(kind, row.after))
    found = Registry(
        zones={**known.zones, **wanted.zones}, points={**known.points, **wanted.points}
    )
    if not row.after:  # it is to be retired
        found = rules.without_point(known, PointId(name))
    rules.check(found)
    return found
