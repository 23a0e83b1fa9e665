"""The tables of the historian's file, and the two ways to open it."""

import sqlite3
from pathlib import Path

from telemetry.errors import StorageError

VERSION = 2
"""`PRAGMA user_version`. Version 1 had one row per sample and no sealed days."""

TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS point (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS source (
  number INTEGER PRIMARY KEY, gateway TEXT NOT NULL, epoch TEXT NOT NULL,
  taken TEXT NOT NULL, void INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS label (
  number INTEGER PRIMARY KEY, reason TEXT NOT NULL, time_quality TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS block (
  n INTEGER PRIMARY KEY, day INTEGER NOT NULL, tidy INTEGER NOT NULL,
  at_lo INTEGER NOT NULL, at_hi INTEGER NOT NULL,
  point_lo INTEGER NOT NULL, point_hi INTEGER NOT NULL,
  arrived_lo INTEGER NOT NULL, arrived_hi INTEGER NOT NULL,
  rows INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS block_of_day ON block (
  day, at_lo, at_hi, point_lo, point_hi, tidy, rows
);
CREATE TABLE IF NOT EXISTS last (
  point INTEGER PRIMARY KEY, at INTEGER NOT NULL, value REAL, quality INTEGER NOT NULL,
  label INTEGER NOT NULL, arrived_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS file (
  day INTEGER PRIMARY KEY, revision INTEGER NOT NULL, name TEXT, rows INTEGER NOT NULL,
  stale INTEGER NOT NULL, layout BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS rollup (
  width TEXT NOT NULL, day INTEGER NOT NULL, point_lo INTEGER NOT NULL,
  point_hi INTEGER NOT NULL, rows INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (width, day, point_lo)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS again (
  n INTEGER PRIMARY KEY AUTOINCREMENT, day INTEGER NOT NULL, point INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS again_of_day ON again (day, point);
CREATE TABLE IF NOT EXISTS mark (
  revision INTEGER PRIMARY KEY, point INTEGER NOT NULL, start INTEGER NOT NULL,
  end INTEGER NOT NULL, quality INTEGER, reason TEXT NOT NULL, author TEXT NOT NULL,
  at INTEGER NOT NULL
);
CREATE TRIGGER IF NOT EXISTS marks_stay BEFORE DELETE ON mark
BEGIN SELECT RAISE(ABORT, 'marks are only added'); END;
CREATE TRIGGER IF NOT EXISTS marks_keep BEFORE UPDATE ON mark
BEGIN SELECT RAISE(ABORT, 'marks are only added'); END;
CREATE TABLE IF NOT EXISTS property (
  point INTEGER NOT NULL, since INTEGER NOT NULL, low REAL, period_ms INTEGER NOT NULL,
  timezone TEXT NOT NULL, PRIMARY KEY (point, since)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS trouble (
  what TEXT PRIMARY KEY, because TEXT NOT NULL, at INTEGER NOT NULL
) WITHOUT ROWID;
"""


def open_writing(path: Path) -> sqlite3.Connection:
    """Open the one connection that writes and checkpoints. Raises `StorageError`."""
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA cache_size=-65536")
        db.execute("PRAGMA journal_size_limit=67108864")
        _check_version(db, path)
        db.executescript(f"{TABLES} PRAGMA user_version={VERSION};")
    except sqlite3.Error as e:
        raise StorageError(f"{path}: cannot be opened as the historian: {e}") from e
    return db


def open_reading(path: Path) -> sqlite3.Connection:
    """Open a connection that can neither write nor checkpoint. Raises `StorageError`."""
    try:
        db = sqlite3.connect(
            f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )
        db.execute("PRAGMA query_only=1")
        db.execute("PRAGMA busy_timeout=5000")
    except sqlite3.Error as e:
        raise StorageError(f"{path}: cannot be read as the historian: {e}") from e
    return db


def _check_version(db: sqlite3.Connection, path: Path) -> None:
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    is_empty = db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] == 0
    if version != VERSION and not (version == 0 and is_empty):
        found = "1 (one row per sample)" if version == 0 else version
        raise StorageError(
            f"{path}: expected a historian of version {VERSION}, was {found}; move it away,"
            " and its samples are derived again from the journal"
        )
