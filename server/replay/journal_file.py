"""A journal as a replay reads it: events and recorded effects in order; nothing is written."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from server.engine import events
from telemetry.errors import StorageError
from telemetry.instant import Instant

_STEP = 2_000
"""Rows that are read in one go: a replay holds up the journal's writer for no longer than that."""


class JournalFile:
    """Reads a journal by its file, also while a server writes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        rows = self._rows("SELECT value FROM meta WHERE key = 'uuid' LIMIT ?")
        if not rows:
            raise StorageError(f"{path}: expected a journal, found none in this file")
        self.uuid = str(rows[0][0])

    def read(self, *, after: int = 0) -> Iterator[tuple[int, events.Event]]:
        """Yield the sequence and the event of everything after a sequence.

        Raises `StorageError` that names the file and the event which is not as written.
        """
        while True:
            rows = self._rows(
                "SELECT seq, at, kind, body FROM event WHERE seq > ? ORDER BY seq LIMIT ?", after
            )
            for seq, at, kind, body in rows:
                if after and seq != after + 1:
                    raise StorageError(f"{self.path}: expected event {after + 1}, found {seq}")
                after = seq
                try:
                    event = events.from_record(kind, Instant(at), body)
                except (ValueError, TypeError, KeyError) as e:
                    raise StorageError(f"{self.path}: event {seq} cannot be read: {e}") from e
                yield seq, event
            if len(rows) < _STEP:
                return

    def recorded(self) -> Iterator[tuple[int, int, str, str]]:
        """Yield sequence, number, kind and body of every recorded effect."""
        after = (0, -1)
        while True:
            rows = self._rows(
                "SELECT seq, n, kind, body FROM effect WHERE (seq, n) > (?, ?)"
                " ORDER BY seq, n LIMIT ?",
                *after,
            )
            yield from rows
            if len(rows) < _STEP:
                return
            after = rows[-1][:2]

    def recorded_through(self) -> int:
        """Return the sequence up to which effects have been derived and recorded."""
        rows = self._rows("SELECT value FROM meta WHERE key = 'effects_through' LIMIT ?")
        return int(rows[0][0]) if rows else 0

    def span(self) -> tuple[int, int]:
        """Return the instants of the first and of the last event."""
        rows = self._rows("SELECT MIN(at), MAX(at) FROM event LIMIT ?")
        return int(rows[0][0] or 0), int(rows[0][1] or 0)

    def _rows(self, query: str, *values: int) -> list[Any]:
        if not self.path.is_file():
            raise StorageError(f"{self.path}: expected a journal, found no file")
        try:
            with closing(
                sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True)
            ) as db:
                return db.execute(query, (*values, _STEP)).fetchall()
        except sqlite3.Error as e:
            raise StorageError(f"{self.path}: cannot be read as a journal: {e}") from e
