"""The file of the outbox: its tables, how it is opened, locked, begun and brought up to date."""

import fcntl
import secrets
import sqlite3
from pathlib import Path
from typing import IO

from telemetry.errors import ConfigError

BDSEQ_TURN = 256
VERSION = 2

_SCHEMA = """
CREATE TABLE row(first INTEGER PRIMARY KEY, n INTEGER NOT NULL, at INTEGER NOT NULL,
                 layout INTEGER NOT NULL, body BLOB NOT NULL,
                 boot INTEGER NOT NULL DEFAULT 0, base INTEGER NOT NULL DEFAULT 0);
CREATE TABLE layout(id INTEGER PRIMARY KEY, device TEXT NOT NULL, metrics TEXT NOT NULL);
CREATE TABLE state(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE counter(point TEXT PRIMARY KEY, base INTEGER NOT NULL, raw INTEGER NOT NULL,
                     at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE boot(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE anchor(boot INTEGER NOT NULL, monotonic INTEGER NOT NULL, base INTEGER NOT NULL,
                    PRIMARY KEY (boot, monotonic)) WITHOUT ROWID;
"""

_FROM_1 = """
ALTER TABLE row ADD COLUMN boot INTEGER NOT NULL DEFAULT 0;
ALTER TABLE row ADD COLUMN base INTEGER NOT NULL DEFAULT 0;
CREATE TABLE boot(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE anchor(boot INTEGER NOT NULL, monotonic INTEGER NOT NULL, base INTEGER NOT NULL,
                    PRIMARY KEY (boot, monotonic)) WITHOUT ROWID;
"""
"""What makes a file of version 1 one of version 2: its rows belong to no boot that is known."""


def lock(folder: Path) -> IO[bytes]:
    """Return a lock that lasts as long as the process: one folder, one gateway."""
    try:
        if not folder.is_dir():
            raise ConfigError(f"gateway.data: expected a folder, found none at {folder}")
        lock = (folder / "outbox.lock").open("ab")
    except OSError as e:
        raise ConfigError(f"gateway.data: cannot write in {folder}: {e.strerror}") from e
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        lock.close()
        raise ConfigError(f"gateway.data: {folder} is in use by another gateway") from e
    return lock


def connect(path: Path) -> sqlite3.Connection:
    """Open or begin the file. Raises `sqlite3.DatabaseError` when it is damaged."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=32)
    try:
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "wal_autocheckpoint=1000",
            "journal_size_limit=4194304",
            "cache_size=-2000",
            "busy_timeout=5000",
        ):
            db.execute(f"PRAGMA {pragma}")
        said = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if said != "ok":
            raise sqlite3.DatabaseError(said)  # noqa: TRY301  closed here, told by the caller
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            _begin(db)
        elif version == 1:
            _upgrade(db)
        elif version != VERSION:
            raise ConfigError(  # noqa: TRY301  the file is closed first
                f"gateway.data: {path} was written by another version:"
                f" expected {VERSION}, was {version}"
            )
    except BaseException:
        db.close()
        raise
    return db


def _upgrade(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    for statement in _FROM_1.split(";"):
        db.execute(statement)
    db.execute(f"PRAGMA user_version={VERSION}")
    db.execute("COMMIT")


def _begin(db: sqlite3.Connection) -> None:
    """Make the tables and draw the epoch: at random, so that a changed SD card cannot collide."""
    db.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA.split(";"):
        db.execute(statement)
    state = {
        "epoch": 1 + secrets.randbelow(2**63 - 1),
        "head": 0,
        "acked": 0,
        "was_acknowledged": 0,
        "bdseq": BDSEQ_TURN - 1,
        "shed_samples": 0,
    }
    db.executemany("INSERT INTO state VALUES (?, ?)", list(state.items()))
    db.execute(f"PRAGMA user_version={VERSION}")
    db.execute("COMMIT")
