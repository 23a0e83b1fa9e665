"""The tables of people: who may sign in, with which roles, and by which tokens programs do."""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from server.servicecore.store.tables import Row

ENTITY = "person "
"""How the trail names an account: such entries are for the auditor, not for the board."""


class PersonRow(Row):
    """Somebody who may sign in. Nobody is deleted: an account is closed.

    `password` is an argon2 hash, empty until the person has chosen one; `failures` counts wrong
    passwords since the last right one.
    """

    __tablename__ = "person"

    login: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str]
    roles: Mapped[list[str]]
    unit: Mapped[str]
    password: Mapped[str]
    is_active: Mapped[bool]
    failures: Mapped[int]
    locked_until: Mapped[int]
    created_at: Mapped[int]
    version: Mapped[int]


class SignInRow(Row):
    """A browser that is signed in; of its token only the hash is kept."""

    __tablename__ = "sign_in"

    token: Mapped[str] = mapped_column(String(64), primary_key=True)
    login: Mapped[str] = mapped_column(index=True)
    begun_at: Mapped[int]
    until: Mapped[int]
    ended_at: Mapped[int | None]


class LinkRow(Row):
    """A link that works once: its bearer chooses a password."""

    __tablename__ = "one_time_link"

    token: Mapped[str] = mapped_column(String(64), primary_key=True)
    login: Mapped[str] = mapped_column(index=True)
    until: Mapped[int]
    used_at: Mapped[int | None]


class ClientRow(Row):
    """A program with a token and roles of its own."""

    __tablename__ = "api_client"

    token: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)
    roles: Mapped[list[str]]
    unit: Mapped[str]
    created_at: Mapped[int]
    revoked_at: Mapped[int | None]
