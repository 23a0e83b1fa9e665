"""The registry that a desk keeps, read from its file by whoever does not run the desk."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from server.engine.registry import Registry
from telemetry.errors import StorageError


def read_registry(path: Path) -> Registry | None:
    """Return the registry of a database file, or None where there is none yet.

    The file is opened read-only. Raises `StorageError`.
    """
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            row = db.execute("SELECT body FROM registry WHERE id = 1").fetchone()
        return None if row is None else Registry.from_json(json.loads(row[0]))
    except (sqlite3.Error, ValueError, KeyError, TypeError) as e:
        raise StorageError(f"{path}: expected the service core's database: {e}") from e
