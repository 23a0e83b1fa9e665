"""The migrations make exactly the tables that the program uses."""

import asyncio
import json
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
from tests.support.plant import ManualClock, registry


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


def upgraded(path: Path, revision: str) -> None:
    """Make a file as it was at a revision."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option(
            "script_location", str(Path(database.__file__).parent / "migrations")
        )
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def first_release(path: Path) -> None:
    """Make a file as the first release left it: a ticket at work, and its trail."""
    upgraded(path, "0001")
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


def test_the_kinds_of_place_of_pressure_points_move_into_the_registry(tmp_path):
    path = tmp_path / "desk.db"
    upgraded(path, "0006")
    known = registry().to_json()
    for point in known["points"]:  # as the release before wrote them
        del point["place"], point["promise_by"]
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("INSERT INTO registry VALUES (1, 4, ?)", (json.dumps(known),))
        for name, place in (("north-12/pressure", "central"), ("gone/pressure", "central")):
            row = (name, "north", place, "good", None, 1.0, "", 1)
            db.execute("INSERT INTO pressure_point VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    async def go_on():
        desk = await Desk.open(
            path, journal=tmp_path / "journal.db", clock=ManualClock(), book=book("xinyang-water")
        )
        try:
            await desk.registry_acts.follow_policy()
            return await desk.registry(), await desk.registry_acts.revision()
        finally:
            await desk.close()

    found, revision = asyncio.run(go_on())

    promised = {n: p.promise_kpa for n, p in found.points.items() if p.promise_kpa is not None}
    assert promised == {"north-12/pressure": 280.0}
    assert found.points["north-12/pressure"].place == "central"
    assert revision == 6  # once by the migration, once by the policy


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
