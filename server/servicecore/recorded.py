"""The engine's recorded effects, read from the journal's file without ever writing to it.

They stay in that file when its events are sealed, by a rule of their own.
"""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from server.engine import effects
from telemetry.errors import StorageError

_KINDS = {kind.__name__: kind for kind in get_args(effects.Recorded)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """The identity of the last effect that was carried out; journal "" before the first."""

    journal: str
    seq: int
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """A recorded effect with its identity (journal, seq, n)."""

    journal: str
    seq: int
    n: int
    effect: effects.Recorded


def read_after(path: Path, cursor: Cursor, *, limit: int) -> list[Identified]:
    """Return the effects after the cursor, oldest first; none when there is no journal yet.

    Raises `StorageError` when the journal is not the one that the cursor speaks of.
    """
    if not path.exists():
        if cursor.journal:
            raise StorageError(
                f"{path}: expected journal {cursor.journal}, found no file; put the journal back"
            )
        return []
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            db.execute("PRAGMA busy_timeout=5000")
            return _read(db, path, cursor, limit)
    except sqlite3.Error as e:
        if "no such table" in str(e):  # the intake is just making the file
            return []
        raise StorageError(f"{path}: cannot be read as the journal: {e}") from e


def _read(db: sqlite3.Connection, path: Path, cursor: Cursor, limit: int) -> list[Identified]:
    row = db.execute("SELECT value FROM meta WHERE key = 'uuid'").fetchone()
    if row is None:
        return []
    journal = str(row[0])
    if cursor.journal and journal != cursor.journal:
        raise StorageError(
            f"{path}: expected journal {cursor.journal}, found {journal}; tickets were opened from"
            " the first, so put it back or start with a new data folder"
        )
    last = db.execute("SELECT MAX(seq) FROM effect").fetchone()[0] or 0
    if last < cursor.seq:
        raise StorageError(
            f"{path}: expected effects up to {cursor.seq}, found up to {last}; an older copy of the"
            " journal was put back"
        )
    gone = db.execute("SELECT value FROM meta WHERE key = 'effects_pruned'").fetchone()
    if gone is not None and cursor.journal and (cursor.seq, cursor.n) < tuple(json.loads(gone[0])):
        raise StorageError(
            f"{path}: expected every effect after {cursor.seq}, found that those up to"
            f" {json.loads(gone[0])[0]} have been pruned; put back a newer copy of the desk's"
            " database"
        )
    rows = db.execute(
        "SELECT seq, n, kind, body FROM effect WHERE (seq, n) > (?, ?) ORDER BY seq, n LIMIT ?",
        (cursor.seq, cursor.n, limit),
    )
    return [
        Identified(journal=journal, seq=seq, n=n, effect=_effect(path, seq, n, kind, body))
        for seq, n, kind, body in rows
    ]


def _effect(path: Path, seq: int, n: int, kind: str, body: str) -> effects.Recorded:
    try:
        made: effects.Recorded = _KINDS[kind](**effects.fields_of(body))
    except (KeyError, TypeError, ValueError) as e:
        raise StorageError(
            f"{path}: effect ({seq}, {n}) of kind {kind!r} cannot be read by this version: {e}"
        ) from e
    return made
