"""The service core's database: opened, brought up to date, and written by one at a time.

Every write transaction takes the write lock at once (BEGIN IMMEDIATE): one that reads first and
writes later would otherwise fail when another came between.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, Table, create_engine, event, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from server.servicecore.store import driver
from server.servicecore.store.tables import Progress
from telemetry.errors import StorageError

PROGRESS_ROW = 1
_CURSOR = cast("Table", Progress.__table__)
_MOVE_ON = (
    update(_CURSOR)
    .where(_CURSOR.c.id == PROGRESS_ROW)
    .values(revision=_CURSOR.c.revision + 1)
    .returning(_CURSOR.c.revision)
)
"""One statement in place of a look and a change, and of the table: a row's object costs more."""
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA busy_timeout=5000",
)


class Changes:
    """A count of committed changes that many can wait on."""

    def __init__(self, revision: int) -> None:
        self.revision = revision
        self._moved = asyncio.Event()

    def moved_to(self, revision: int) -> None:
        """Tell everyone who waits."""
        self.revision = revision
        self._moved.set()
        self._moved = asyncio.Event()

    async def wait_beyond(self, revision: int, timeout_s: float) -> int:
        """Return the revision once it is another one, or after the timeout."""
        if self.revision == revision:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._moved.wait()
            except TimeoutError:
                pass
        return self.revision


class Database:
    """One SQLite file, its writer and its readers."""

    def __init__(self, path: Path, *, revision: int) -> None:
        self._path = path
        self._lock = asyncio.Lock()
        self._writer = _engine(path, driver.BEGIN_WRITING)
        self._reader = _engine(path, "BEGIN")
        self.changes = Changes(revision)

    @classmethod
    async def open(cls, path: Path) -> "Database":
        """Open the file, new or old, with every migration done. Raises `StorageError`."""
        revision = await asyncio.to_thread(migrate, path)
        return cls(path, revision=revision)

    async def close(self) -> None:
        """Let go of every connection."""
        await self._writer.dispose()
        await self._reader.dispose()

    @asynccontextmanager
    async def writing(self, *, is_news: bool = True) -> AsyncIterator[AsyncSession]:
        """Give a session whose work is committed whole at the end, or not at all.

        The revision moves in the same transaction; waiters are told after the commit, unless what
        is written is no news to any screen. Raises `StorageError` when the disk refuses.
        """
        try:
            async with self._lock, AsyncSession(self._writer, expire_on_commit=False) as session:
                async with session.begin():
                    yield session
                    await session.flush()
                    revision = await session.scalar(_MOVE_ON) if is_news else None
                if is_news:
                    self.changes.moved_to(revision or 0)
        except SQLAlchemyError as e:
            raise StorageError(f"{self._path}: cannot be written: {e}") from e

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Give a session that sees one consistent state."""
        try:
            async with AsyncSession(self._reader) as session:
                yield session
        except SQLAlchemyError as e:
            raise StorageError(f"{self._path}: cannot be read: {e}") from e


def migrate(path: Path) -> int:
    """Bring a file up to date and return its revision of contents. Raises `StorageError`."""
    engine = create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", _prepare)
    try:
        with engine.begin() as connection:
            _upgrade(connection)
        with engine.begin() as connection:
            row = connection.exec_driver_sql('SELECT revision FROM "cursor"').fetchone()
            return int(row[0]) if row else 0
    except (SQLAlchemyError, CommandError, OSError) as e:
        raise StorageError(f"{path}: cannot be opened as the service core's database: {e}") from e
    finally:
        engine.dispose()


def _upgrade(connection: Connection) -> None:
    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _engine(path: Path, begin: str) -> AsyncEngine:
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{path}", async_creator=driver.creator(path, _PRAGMAS)
    )
    event.listen(engine.sync_engine, "begin", lambda c: c.exec_driver_sql(begin))
    return engine


def _prepare(connection: Any, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions are begun by us, not guessed by the driver
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()
