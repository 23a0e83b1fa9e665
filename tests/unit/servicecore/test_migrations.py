"""The migrations make exactly the tables that the program uses."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from server.servicecore.desk import Desk
from server.servicecore.rules import chain
from server.servicecore.rules.workorder import State, Step
from server.servicecore.store import database
from server.servicecore.store.database import migrate
from server.servicecore.store.registers import KEPT
from tests.support.books import book
from tests.support.plant import ManualClock


def test_the_migrated_file_is_what_the_tables_say(tmp_path):
    path = tmp_path / "desk.db"
    assert migrate(path) == 0

    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), KEPT[0].metadata)
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
    engine.dispose()

    assert differences == []
    assert mode == "wal"


def test_migrating_again_changes_nothing(tmp_path):
    path = tmp_path / "a 100% odd folder" / "desk.db"
    path.parent.mkdir()

    assert [migrate(path), migrate(path)] == [0, 0]


def first_release(path: Path) -> None:
    """Make a file as the first release left it: a ticket at work, and its trail."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option(
            "script_location", str(Path(database.__file__).parent / "migrations")
        )
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    columns = ("seq", "at", "actor", "entity", "verb", "before", "after", "reason")
    acts = [
        (1, 5, "mainwatch", "T-000001", "issue", "", "issued", "it fell"),
        (2, 9, "Li", "T-000001", "accept", "issued", "accepted", ""),
    ]
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(
            "INSERT INTO ticket VALUES ('T-000001', 'INC-000001', 'north', 'burst', 1, 'accepted',"
            " 9, 5, 'Li', '', '{\"points\": []}', 2, 'j', 1, 2)"
        )
        previous = chain.GENESIS
        for act in acts:
            digest = chain.link(previous, dict(zip(columns, act, strict=True)))
            db.execute(
                "INSERT INTO ticket_event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*act, previous, digest),
            )
            previous = digest


def test_a_file_of_the_first_release_goes_on_with_its_tickets_and_its_whole_trail(tmp_path):
    path = tmp_path / "desk.db"
    first_release(path)

    async def go_on():
        desk = await Desk.open(
            path, journal=tmp_path / "journal.db", clock=ManualClock(), book=book("demo-water")
        )
        try:
            before = await desk.trail_break()
            clocks = [r.clock for r in await desk.orders.clocks("T-000001")]
            for step, text in ((Step.ARRIVE, ""), (Step.REPLY, "clamp"), (Step.CLOSE, "")):
                state = await desk.step("T-000001", step, actor="Li", text=text)
            return before, clocks, state, await desk.trail_break()
        finally:
            await desk.close()

    assert asyncio.run(go_on()) == (
        None,
        ["accept", "onsite", "repair"],
        State.CLOSED,
        None,
    )


@pytest.mark.parametrize("revision", ["0001", "base"])
def test_no_revision_can_be_taken_back(tmp_path, revision):
    path = tmp_path / "desk.db"
    migrate(path)
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option(
            "script_location", str(Path(database.__file__).parent / "migrations")
        )
        config.attributes["connection"] = connection

        with pytest.raises(NotImplementedError, match="cannot be taken back"):
            command.downgrade(config, revision)
    engine.dispose()
