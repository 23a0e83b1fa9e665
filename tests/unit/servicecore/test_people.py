"""People prove who they are; wrong passwords lock, links work once, nobody is deleted."""

import asyncio
import sqlite3

import pytest

from server.servicecore.ground import Ground
from server.servicecore.people import (
    FAILURES_MAX,
    LINK_MS,
    LOCKED_MS,
    SIGNED_IN_MS,
    People,
)
from server.servicecore.rulebook import RuleBook
from server.servicecore.rules.permissions import Actor, Right, Role, may
from server.servicecore.rules.refusal import Refused
from server.servicecore.store.database import Database
from telemetry.instant import Instant

ADMIN = Actor(name="admin", roles=frozenset({Role.ADMIN}))
DISPATCHER = Actor(name="wang", roles=frozenset({Role.DISPATCHER}))
PASSWORD = "a long enough password"


class Clock:
    def __init__(self):
        self.at = 1_790_000_000_000

    def now(self):
        return Instant(self.at)

    def monotonic_ms(self):
        return self.at


def with_people(tmp_path, story):
    async def run():
        database = await Database.open(tmp_path / "servicecore.db")
        clock = Clock()
        try:
            await story(People(Ground(database, clock=clock, book=RuleBook.none())), clock)
        finally:
            await database.close()

    asyncio.run(run())


async def wang(people):
    token = await people.add("wang", name="王芳", roles=[Role.DISPATCHER], actor=ADMIN)
    await people.choose_password(token, PASSWORD)


async def refusal(awaitable):
    with pytest.raises(Refused) as refused:
        await awaitable
    return refused.value.key


def test_the_first_administrator_comes_by_a_link_that_works_once(tmp_path):
    async def story(people, clock):
        old = await people.first_link()
        token = await people.first_link()
        assert await refusal(people.choose_password(old, PASSWORD)) == "link_over"
        assert await people.choose_password(token, PASSWORD) == "admin"
        assert await refusal(people.choose_password(token, PASSWORD)) == "link_over"
        assert await people.first_link() == ""
        who = await people.who(await people.sign_in("admin", PASSWORD))
        assert may(who, Right.PEOPLE)
        assert not may(who, Right.ISSUE)

    with_people(tmp_path, story)


def test_a_link_is_over_after_a_day(tmp_path):
    async def story(people, clock):
        token = await people.first_link()
        clock.at += LINK_MS
        assert await refusal(people.login_of_link(token)) == "link_over"

    with_people(tmp_path, story)


def test_a_session_ends_with_the_shift_with_signing_out_and_with_the_account(tmp_path):
    async def story(people, clock):
        await wang(people)
        first = await people.sign_in("wang", PASSWORD)
        assert (await people.who(first)).name == "王芳"
        await people.sign_out(first)
        assert await people.who(first) is None
        second = await people.sign_in("wang", PASSWORD)
        clock.at += SIGNED_IN_MS
        assert await people.who(second) is None
        third = await people.sign_in("wang", PASSWORD)
        (account,) = await people.accounts(actor=ADMIN)
        await people.add("li", name="李强", roles=[Role.ADMIN], actor=ADMIN)
        await people.change(
            "wang",
            name="王芳",
            roles=account.roles,
            unit="",
            is_active=False,
            version=account.version,
            actor=ADMIN,
        )
        assert await people.who(third) is None
        assert await refusal(people.sign_in("wang", PASSWORD)) == "wrong_password"

    with_people(tmp_path, story)


def test_wrong_passwords_lock_the_account_for_a_while(tmp_path):
    async def story(people, clock):
        await wang(people)
        for _ in range(FAILURES_MAX):
            assert await refusal(people.sign_in("wang", "wrong")) == "wrong_password"
        assert await refusal(people.sign_in("wang", PASSWORD)) == "locked"
        clock.at += LOCKED_MS
        assert await people.sign_in("wang", PASSWORD)

    with_people(tmp_path, story)


def test_an_unknown_name_is_refused_in_the_same_words(tmp_path):
    async def story(people, clock):
        assert await refusal(people.sign_in("nobody", PASSWORD)) == "wrong_password"
        assert await refusal(people.sign_in("nobody", "nobody has this password")) == (
            "wrong_password"
        )

    with_people(tmp_path, story)


def test_a_new_password_ends_the_sessions_of_the_old_one(tmp_path):
    async def story(people, clock):
        await wang(people)
        session = await people.sign_in("wang", PASSWORD)
        token = await people.renew_link("wang", actor=ADMIN)
        assert await refusal(people.choose_password(token, "short")) == "password_length"
        await people.choose_password(token, PASSWORD + "!")
        assert await people.who(session) is None
        assert await refusal(people.sign_in("wang", PASSWORD)) == "wrong_password"

    with_people(tmp_path, story)


def test_only_an_administrator_may_and_one_must_stay(tmp_path):
    async def story(people, clock):
        token = await people.first_link()
        await people.choose_password(token, PASSWORD)
        assert await refusal(people.accounts(actor=DISPATCHER)) == "not_permitted"
        asked = people.add("x1", name="x", roles=[Role.ADMIN], actor=DISPATCHER)
        assert await refusal(asked) == "not_permitted"
        change = people.change(
            "admin",
            name="admin",
            roles=[Role.AUDITOR],
            unit="",
            is_active=True,
            version=1,
            actor=ADMIN,
        )
        assert await refusal(change) == "last_admin"
        (account,) = await people.accounts(actor=ADMIN)
        assert account.roles == (Role.ADMIN,)

    with_people(tmp_path, story)


@pytest.mark.parametrize(
    ("login", "name", "roles", "key"),
    [
        ("Wang Fang", "w", [Role.CREW], "login_form"),
        ("wang2", " ", [Role.CREW], "name_missing"),
        ("wang2", "w" * 41, [Role.CREW], "text_too_long"),
        ("wang2", "w", [], "role_missing"),
        ("wang", "w", [Role.CREW], "login_taken"),
        ("wang2", "王芳", [Role.CREW], "login_taken"),
    ],
)
def test_a_person_needs_a_login_a_name_of_its_own_and_a_role(tmp_path, login, name, roles, key):
    async def story(people, clock):
        await wang(people)
        assert await refusal(people.add(login, name=name, roles=roles, actor=ADMIN)) == key

    with_people(tmp_path, story)


def test_a_program_acts_by_its_token_until_that_is_revoked(tmp_path):
    async def story(people, clock):
        token = await people.add_program("scada", roles=[Role.CALL_TAKER], actor=ADMIN)
        assert (await people.program(token)).roles == {Role.CALL_TAKER}
        assert await people.program("guess") is None
        await people.revoke_program("scada", actor=ADMIN)
        assert await people.program(token) is None

    with_people(tmp_path, story)


def test_no_token_and_no_password_stands_in_the_database_and_nobody_can_be_deleted(tmp_path):
    kept = []

    async def story(people, clock):
        await wang(people)
        kept.append(await people.sign_in("wang", PASSWORD))
        kept.append(await people.add_program("scada", roles=[Role.CREW], actor=ADMIN))

    with_people(tmp_path, story)
    with sqlite3.connect(tmp_path / "servicecore.db") as db:
        everything = "\n".join(db.iterdump())
        with pytest.raises(sqlite3.IntegrityError, match="kept"):
            db.execute("DELETE FROM person")
    db.close()
    assert "王芳" in everything
    for secret in (*kept, PASSWORD):
        assert secret not in everything
