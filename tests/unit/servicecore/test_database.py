"""One writer at a time, whole commits, and a file that another process holds."""

import asyncio
import sqlite3
import threading

import pytest
from sqlalchemy import select, text

from server.servicecore.store.database import Database
from server.servicecore.store.tables import Dropped
from telemetry.errors import StorageError


def dropped(source: str) -> Dropped:
    return Dropped(source=source, count=1, because="form", at=1)


def on_disk(path) -> set[str]:
    with sqlite3.connect(path) as db:
        return {row[0] for row in db.execute("SELECT source FROM dropped_message")}


@pytest.fixture
def use(tmp_path):
    """Return a function that runs an act on a database of its own."""

    def run(act):
        async def whole():
            database = await Database.open(tmp_path / "desk.db")
            try:
                return await act(database)
            finally:
                await database.close()

        return asyncio.run(whole())

    return run


def test_what_is_written_is_on_disk_when_the_transaction_has_ended(use, tmp_path):
    async def act(database):
        async with database.writing() as session:
            session.add(dropped("a"))
            before = on_disk(tmp_path / "desk.db")
        return before, on_disk(tmp_path / "desk.db"), database.changes.revision

    assert use(act) == (set(), {"a"}, 1)


def test_an_error_undoes_the_whole_transaction_and_leaves_the_writer_fit(use, tmp_path):
    async def fail(database):
        async with database.writing() as session:
            session.add(dropped("a"))
            await session.flush()
            _ = 1 / 0

    async def write(database, table):
        async with database.writing() as session:
            await session.execute(text(f"INSERT INTO {table} VALUES (1)"))

    async def act(database):
        with pytest.raises(ZeroDivisionError):
            await fail(database)
        with pytest.raises(StorageError, match=r"desk\.db: cannot be written"):
            await write(database, "nowhere")
        async with database.writing() as session:
            session.add(dropped("b"))
        return database.changes.revision

    assert use(act) == 1
    assert on_disk(tmp_path / "desk.db") == {"b"}


def test_writers_wait_for_each_other_and_nothing_is_lost(use, tmp_path):
    async def write(database, n):
        async with database.writing() as session:
            known = len(list(await session.scalars(select(Dropped))))
            await asyncio.sleep(0)
            session.add(dropped(f"{known}"))

    async def act(database):
        async with asyncio.TaskGroup() as group:
            for n in range(20):
                group.create_task(write(database, n))
        return database.changes.revision

    assert use(act) == 20
    assert on_disk(tmp_path / "desk.db") == {str(n) for n in range(20)}


def test_a_writer_of_another_process_holds_up_its_own_act_and_not_the_loop(use, tmp_path):
    other = sqlite3.connect(tmp_path / "desk.db", check_same_thread=False, isolation_level=None)

    async def act(database):
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(0.4, other.commit).start()
        beats = 0

        async def write():
            async with database.writing() as session:
                session.add(dropped("a"))

        async with asyncio.TaskGroup() as group:
            writing = group.create_task(write())
            while not writing.done():
                await asyncio.sleep(0.01)
                beats += 1
        return beats

    assert use(act) > 5
    assert on_disk(tmp_path / "desk.db") == {"a"}
    other.close()


def test_an_act_that_is_given_up_at_any_instant_is_whole_or_not_there(use, tmp_path):
    async def write(database, n):
        async with database.writing() as session:
            session.add(dropped(f"{n}a"))
            await session.flush()
            session.add(dropped(f"{n}b"))

    async def act(database):
        for n in range(30):
            async with asyncio.TaskGroup() as group:
                task = group.create_task(write(database, n))
                for _ in range(n):
                    await asyncio.sleep(0)
                task.cancel()
        await write(database, "last")

    use(act)
    found = on_disk(tmp_path / "desk.db")

    assert {"lasta", "lastb"} <= found
    assert {s[:-1] for s in found if s.endswith("a")} == {s[:-1] for s in found if s[-1] == "b"}
