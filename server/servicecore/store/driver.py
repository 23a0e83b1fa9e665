"""SQLite for SQLAlchemy's asyncio side without a way to another thread for each statement.

A statement on a file in the page cache takes microseconds, a way to a thread and back some tenths
of a millisecond: so statements run where they are asked, and only what waits for a lock or for the
disk, BEGIN IMMEDIATE and COMMIT, goes to a thread.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

BEGIN_WRITING = "BEGIN IMMEDIATE"
BUSY_TIMEOUT_S = 5.0


class Cursor:
    """A cursor as SQLAlchemy's adapter for aiosqlite wants one."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor

    async def __aenter__(self) -> Self:
        return self

    @property
    def description(self) -> Any:
        """Return the columns of the last statement."""
        return self._cursor.description

    @property
    def rowcount(self) -> int:
        """Return how many rows the last statement changed."""
        return self._cursor.rowcount

    @property
    def lastrowid(self) -> int | None:
        """Return the row that was added last."""
        return self._cursor.lastrowid

    @property
    def arraysize(self) -> int:
        """Return how many rows are fetched at once unless told."""
        return self._cursor.arraysize

    async def execute(self, sql: str, parameters: Any = ()) -> None:
        """Carry out one statement."""
        if sql == BEGIN_WRITING:
            await _elsewhere(lambda: self._cursor.execute(sql))
        else:
            self._cursor.execute(sql, parameters)

    async def executemany(self, sql: str, parameters: Any) -> None:
        """Carry out one statement for many rows."""
        self._cursor.executemany(sql, parameters)

    async def fetchall(self) -> Sequence[Any]:
        """Return every row that is left."""
        return self._cursor.fetchall()

    async def close(self) -> None:
        """Let go of the cursor."""
        self._cursor.close()


class Connection:
    """A connection as SQLAlchemy's adapter for aiosqlite wants one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection: sqlite3.Connection | None = connection

    def cursor(self) -> Cursor:
        """Return a new cursor."""
        return Cursor(self._open().cursor())

    async def create_function(self, *arguments: Any, **options: Any) -> None:
        """Give statements one more function; SQLAlchemy brings its regular expressions so."""
        self._open().create_function(*arguments, **options)

    async def commit(self) -> None:
        """Return once everything that was written is on disk."""
        await _elsewhere(self._open().commit)

    async def rollback(self) -> None:
        """Undo what was not committed."""
        self._open().rollback()

    async def close(self) -> None:
        """Close the file."""
        self.stop()

    def stop(self) -> None:
        """Close the file, without a loop that runs."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.OperationalError("connection closed")
        return self._connection


def creator(path: Path, pragmas: Sequence[str]) -> Callable[[], Any]:
    """Return what opens a connection to `path`, each prepared with the pragmas."""

    async def connect() -> Connection:
        connection = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        for pragma in pragmas:
            connection.execute(pragma)
        return Connection(connection)

    return connect


async def _elsewhere(act: Callable[[], object]) -> None:
    """Do it in a thread; one that is given up is waited for: nobody else may touch its file."""
    doing = asyncio.get_running_loop().run_in_executor(None, act)
    try:
        await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait([doing])
        raise
