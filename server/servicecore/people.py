"""People and programs: who they are, how they prove it, and what the administrator does for them.

Passwords are hashed with argon2; of tokens only a hash is kept, so nobody who reads the database
can use one. Wrong passwords lock an account for a while, and an unknown name takes as long to
refuse as a known one. Every act here has its entry in the trail.
"""

import asyncio
import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from server.servicecore.ground import ACTOR_LENGTH_MAX, Ground
from server.servicecore.rules.permissions import Actor, Person, Right, Role
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.verbs import Verb
from server.servicecore.store import trail
from server.servicecore.store.people import ENTITY, ClientRow, LinkRow, PersonRow, SignInRow
from server.servicecore.store.trail import SYSTEM, Act
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS, Instant

SIGNED_IN_MS = 14 * HOUR_MS
"""The longest shift: nobody acts under yesterday's name."""

LINK_MS = DAY_MS
FAILURES_MAX = 5
LOCKED_MS = 15 * MINUTE_MS
PASSWORD_MIN, PASSWORD_MAX = 10, 200
FIRST_LOGIN = "admin"

_LOGIN = re.compile(r"[a-z0-9][a-z0-9._-]{1,39}")
_hasher = PasswordHasher()


@cache
def _nobody() -> str:
    """Return what an unknown name is checked against, so that it takes as long as a known one."""
    return _hasher.hash("nobody has this password")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What the administrator sees of a person."""

    login: str
    name: str
    roles: tuple[Role, ...]
    unit: str
    is_active: bool
    has_password: bool
    locked_until: Instant | None
    version: int


class People:
    """The use cases of people and programs."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    # --- the first administrator --------------------------------------------------------------

    async def first_link(self) -> str:
        """Return a new one-time token for the first administrator; "" once somebody can sign in."""
        now = self._ground.now()
        async with self._ground.database.writing() as session:
            known = await session.scalar(
                select(func.count()).select_from(PersonRow).where(PersonRow.password != "")
            )
            if known:
                return ""
            if await session.get(PersonRow, FIRST_LOGIN) is None:
                session.add(_new(FIRST_LOGIN, name=FIRST_LOGIN, roles=[Role.ADMIN], at=now))
                await self._log(session, SYSTEM, FIRST_LOGIN, Verb.PERSON_ADDED, after="admin")
            return await self._link(session, FIRST_LOGIN)

    # --- signing in -----------------------------------------------------------------------------

    async def sign_in(self, login: str, password: str) -> str:
        """Return the token of a new session; a refusal never says which part was wrong."""
        now = self._ground.now()
        async with self._ground.database.reading() as session:
            row = await session.get(PersonRow, login)
        known = row.password if row is not None and row.is_active else ""
        if row is not None and row.locked_until > now:
            raise Refused("locked", date=str(row.locked_until))
        is_right = await asyncio.to_thread(_matches, known, password)
        async with self._ground.database.writing() as session:
            row = await session.get(PersonRow, login)
            if is_right and row is not None and row.password == known:
                row.failures, row.locked_until = 0, 0
                token = secrets.token_urlsafe(32)
                session.add(
                    SignInRow(
                        token=_hash(token),
                        login=login,
                        begun_at=now,
                        until=now + SIGNED_IN_MS,
                        ended_at=None,
                    )
                )
                await self._log(session, login, login, Verb.SIGNED_IN)
                return token
            if row is not None:
                await self._failed(session, row, now)
        raise Refused("wrong_password")

    async def _failed(self, session: AsyncSession, row: PersonRow, now: Instant) -> None:
        row.failures += 1
        if row.failures % FAILURES_MAX == 0:
            row.locked_until = now + LOCKED_MS
            await self._log(
                session, SYSTEM, row.login, Verb.LOCKED, reason=f"{row.failures} failures"
            )

    async def sign_out(self, token: str) -> None:
        """End a session."""
        async with self._ground.database.writing() as session:
            row = await session.get(SignInRow, _hash(token))
            if row is not None and row.ended_at is None:
                row.ended_at = self._ground.now()
                await self._log(session, row.login, row.login, Verb.SIGNED_OUT)

    async def who(self, token: str) -> Actor | None:
        """Return whose session a token is; None when it is over, unknown, or the account closed."""
        async with self._ground.database.reading() as session:
            signed = await session.get(SignInRow, _hash(token))
            if signed is None or signed.ended_at is not None or signed.until <= self._ground.now():
                return None
            row = await session.get(PersonRow, signed.login)
        if row is None or not row.is_active:
            return None
        return Actor(name=row.name, roles=frozenset(map(Role, row.roles)), unit=row.unit)

    async def program(self, token: str) -> Actor | None:
        """Return which program a token belongs to; None when it is unknown or revoked."""
        async with self._ground.database.reading() as session:
            row = await session.get(ClientRow, _hash(token))
        if row is None or row.revoked_at is not None:
            return None
        return Actor(name=row.name, roles=frozenset(map(Role, row.roles)), unit=row.unit)

    async def login_of_link(self, token: str) -> str:
        """Return whose link this is. Raises `Refused` when it is over or was used."""
        async with self._ground.database.reading() as session:
            return (await self._open_link(session, token)).login

    async def choose_password(self, token: str, password: str) -> str:
        """Set the password of a link's bearer, end the other sessions; return the login."""
        if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
            raise Refused("password_length", limit=str(PASSWORD_MIN), length=str(len(password)))
        hashed = await asyncio.to_thread(_hasher.hash, password)
        async with self._ground.database.writing() as session:
            link = await self._open_link(session, token)
            row = await session.get_one(PersonRow, link.login)
            row.password, row.failures, row.locked_until = hashed, 0, 0
            link.used_at = self._ground.now()
            await self._end_sessions(session, row.login)
            await self._log(session, row.login, row.login, Verb.PASSWORD_CHOSEN)
            return row.login

    async def _open_link(self, session: AsyncSession, token: str) -> LinkRow:
        link = await session.get(LinkRow, _hash(token))
        if link is None or link.used_at is not None or link.until <= self._ground.now():
            raise Refused("link_over")
        return link

    # --- what the administrator does ------------------------------------------------------------

    async def accounts(self, *, actor: Person) -> Sequence[Account]:
        """Return everybody, by login."""
        async with self._ground.acting(actor, Right.PEOPLE) as (session, _):
            rows = await session.scalars(select(PersonRow).order_by(PersonRow.login))
            return [_account(row) for row in rows]

    async def add(
        self, login: str, *, name: str, roles: Sequence[Role], unit: str = "", actor: Person
    ) -> str:
        """Add a person and return the one-time token with which a password is chosen."""
        _refuse_bad(login, name, roles)
        async with self._ground.acting(actor, Right.PEOPLE) as (session, who):
            if await session.get(PersonRow, login) is not None:
                raise Refused("login_taken", subject=login)
            await self._refuse_same_name(session, login, name)
            session.add(_new(login, name=name, roles=roles, unit=unit, at=self._ground.now()))
            await self._log(session, who.name, login, Verb.PERSON_ADDED, after=_words(roles))
            return await self._link(session, login)

    async def change(
        self,
        login: str,
        *,
        name: str,
        roles: Sequence[Role],
        unit: str,
        is_active: bool,
        version: int,
        actor: Person,
    ) -> None:
        """Change who somebody is; a closed account ends its sessions. Raises `Refused`."""
        _refuse_bad(login, name, roles)
        async with self._ground.acting(actor, Right.PEOPLE) as (session, who):
            row = await self._person(session, login)
            if row.version != version:
                raise Refused("changed", ticket=login)
            await self._refuse_same_name(session, login, name)
            before = f"{_words(list(map(Role, row.roles)))}{'' if row.is_active else ', closed'}"
            row.name, row.roles, row.unit = name, [str(r) for r in roles], unit
            row.is_active, row.version = is_active, row.version + 1
            await self._refuse_no_admin(session)
            if not is_active:
                await self._end_sessions(session, login)
            after = f"{_words(roles)}{'' if is_active else ', closed'}"
            await self._log(
                session, who.name, login, Verb.PERSON_CHANGED, before=before, after=after
            )

    async def renew_link(self, login: str, *, actor: Person) -> str:
        """Return a new one-time token for somebody who has forgotten the password."""
        async with self._ground.acting(actor, Right.PEOPLE) as (session, who):
            row = await self._person(session, login)
            await self._log(session, who.name, login, Verb.LINK_RENEWED)
            return await self._link(session, row.login)

    async def add_program(
        self, name: str, *, roles: Sequence[Role], unit: str = "", actor: Person
    ) -> str:
        """Give a program a token, told this once only."""
        _refuse_bad(name, name, roles)
        async with self._ground.acting(actor, Right.PEOPLE) as (session, who):
            taken = await session.scalar(select(ClientRow).where(ClientRow.name == name))
            if taken is not None:
                raise Refused("login_taken", subject=name)
            token = secrets.token_urlsafe(32)
            session.add(
                ClientRow(
                    token=_hash(token),
                    name=name,
                    roles=[str(r) for r in roles],
                    unit=unit,
                    created_at=self._ground.now(),
                    revoked_at=None,
                )
            )
            await self._log(session, who.name, name, Verb.PROGRAM_ADDED, after=_words(roles))
            return token

    async def programs(self, *, actor: Person) -> Sequence[tuple[str, tuple[Role, ...], bool]]:
        """Return every program: name, roles, and whether its token is in force."""
        async with self._ground.acting(actor, Right.PEOPLE) as (session, _):
            rows = await session.scalars(select(ClientRow).order_by(ClientRow.name))
            return [(r.name, tuple(map(Role, r.roles)), r.revoked_at is None) for r in rows]

    async def revoke_program(self, name: str, *, actor: Person) -> None:
        """Take a program's token out of force. Raises `Refused`."""
        async with self._ground.acting(actor, Right.PEOPLE) as (session, who):
            row = await session.scalar(select(ClientRow).where(ClientRow.name == name))
            if row is None:
                raise Refused("unknown", subject=name)
            row.revoked_at = row.revoked_at or self._ground.now()
            await self._log(session, who.name, name, Verb.PROGRAM_REVOKED)

    async def _person(self, session: AsyncSession, login: str) -> PersonRow:
        row = await session.get(PersonRow, login)
        if row is None:
            raise Refused("unknown", subject=login)
        return row

    async def _refuse_same_name(self, session: AsyncSession, login: str, name: str) -> None:
        """The trail names people: two must not share a name."""
        same = select(PersonRow).where(PersonRow.name == name, PersonRow.login != login)
        if await session.scalar(same) is not None:
            raise Refused("login_taken", subject=name)

    async def _refuse_no_admin(self, session: AsyncSession) -> None:
        await session.flush()
        rows = await session.scalars(select(PersonRow).where(PersonRow.is_active))
        if not any(Role.ADMIN in row.roles for row in rows):
            raise Refused("last_admin")

    async def _link(self, session: AsyncSession, login: str) -> str:
        """Return a new token; links that were given before work no more."""
        now = self._ground.now()
        await session.execute(
            update(LinkRow)
            .where(LinkRow.login == login, LinkRow.used_at.is_(None))
            .values(used_at=now)
        )
        token = secrets.token_urlsafe(32)
        session.add(LinkRow(token=_hash(token), login=login, until=now + LINK_MS, used_at=None))
        return token

    async def _end_sessions(self, session: AsyncSession, login: str) -> None:
        await session.execute(
            update(SignInRow)
            .where(SignInRow.login == login, SignInRow.ended_at.is_(None))
            .values(ended_at=self._ground.now())
        )

    async def _log(
        self,
        session: AsyncSession,
        actor: str,
        login: str,
        verb: Verb,
        *,
        before: str = "",
        after: str = "",
        reason: str = "",
    ) -> None:
        act = Act(
            at=self._ground.now(),
            actor=actor,
            entity=f"{ENTITY}{login}",
            verb=verb,
            before=before,
            after=after,
            reason=reason,
        )
        await trail.append(session, act)


def _new(login: str, *, name: str, roles: Sequence[Role], at: Instant, unit: str = "") -> PersonRow:
    return PersonRow(
        login=login,
        name=name,
        roles=[str(r) for r in roles],
        unit=unit,
        password="",
        is_active=True,
        failures=0,
        locked_until=0,
        created_at=at,
        version=1,
    )


def _account(row: PersonRow) -> Account:
    return Account(
        login=row.login,
        name=row.name,
        roles=tuple(map(Role, row.roles)),
        unit=row.unit,
        is_active=row.is_active,
        has_password=row.password != "",
        locked_until=Instant(row.locked_until) if row.locked_until else None,
        version=row.version,
    )


def _refuse_bad(login: str, name: str, roles: Sequence[Role]) -> None:
    if not _LOGIN.fullmatch(login):
        raise Refused("login_form", subject=login)
    if not name.strip():
        raise Refused("name_missing")
    if len(name) > ACTOR_LENGTH_MAX:
        raise Refused("text_too_long", limit=str(ACTOR_LENGTH_MAX), length=str(len(name)))
    if not roles:
        raise Refused("role_missing", allowed_words=_words(list(Role)))


def _words(roles: Sequence[Role]) -> str:
    return ", ".join(str(role) for role in roles)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _matches(hashed: str, password: str) -> bool:
    try:
        return _hasher.verify(hashed or _nobody(), password[:PASSWORD_MAX]) and hashed != ""
    except (VerificationError, InvalidHashError):
        return False
