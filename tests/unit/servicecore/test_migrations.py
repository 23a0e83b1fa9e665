"""The migrations make exactly the tables that the program uses."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from server.servicecore.store.database import migrate
from server.servicecore.store.registers import KEPT


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
