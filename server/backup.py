"""Copies of everything a server knows, taken while it runs, and a data folder made from one.

A copy is a folder with a manifest of hashes. The databases are copied by SQLite's own means: each
is whole as of one instant. The journal comes last: what the tickets and the history have seen is
always in it, and what they have not seen yet is derived from it again after a restore.
"""

import asyncio
import hashlib
import json
import logging
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from telemetry.errors import ConfigError, StorageError
from telemetry.instant import Clock, Instant

log = logging.getLogger("mainwatch.backup")

MANIFEST = "backup.json"
VERSION = 1

DATABASES = ("servicecore.db", "historian.db", "journal.db")
"""In this order: the journal is the newest of all."""

TICKETS = ("servicecore.db", "journal.db")
"""What a standby copy holds: people's acts, and the journal from which the rest is derived."""

_LEFT_OUT = ("lock", "door.sock", "engine.checkpoint")
"""What belongs to a running process, or is a cache."""

_PAGES = 4_000
_TRIES = 5
_STANDBY = "standby"


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A copy on disk: where, from when, and how much."""

    folder: Path
    at: Instant
    files: int
    bytes: int


def back_up(data: Path, to: Path, *, at: Instant) -> Copy:
    """Copy a server's data folder into a new folder under `to`, named by the instant.

    Sealed files that the newest copy there has already are linked to, not copied. Raises
    `ConfigError` when there is no data, `StorageError` when a disk refuses.
    """
    name = f"mainwatch-{_stamp(at)}"
    before = copies_in(to)
    return _copy(data, to, name, DATABASES, at=at, before=before[-1].folder if before else None)


def keep_standby(data: Path, to: Path, *, at: Instant) -> Copy:
    """Bring the standby copy of people's acts and of the journal under `to` up to date."""
    return _copy(data, to, _STANDBY, TICKETS, at=at, before=to / _STANDBY)


async def standby(
    data: Path,
    to: Path,
    *,
    every_ms: int,
    clock: Clock,
    ready: Callable[[dict[str, Any]], None],
    stop: asyncio.Event,
) -> None:
    """Keep the standby copy up to date until told to stop; when a disk refuses, say so, try on.

    Raises what the first copy raises: a standby that never worked must not look like one.
    """
    copy = await asyncio.to_thread(keep_standby, data, to, at=clock.now())
    ready({"standby": str(copy.folder), "bytes": copy.bytes})
    failures = 0
    while not stop.is_set():
        try:
            async with asyncio.timeout(every_ms / 1000):
                await stop.wait()
                break
        except TimeoutError:
            pass
        try:
            await asyncio.to_thread(keep_standby, data, to, at=clock.now())
            if failures:
                log.warning("%s: the standby copy is up to date again", to)
            failures = 0
        except (StorageError, ConfigError) as e:
            if not failures:
                log.warning("%s; trying on", e)
            failures += 1


def prune(to: Path, *, keep: int) -> list[Path]:
    """Take away the oldest copies until `keep` are left; return those that have gone."""
    gone = [copy.folder for copy in copies_in(to)[: -max(1, keep)]]
    for folder in gone:
        shutil.rmtree(folder)
    return gone


def copies_in(to: Path) -> list[Copy]:
    """Return the whole copies in a folder, oldest first; a standby copy is none of them."""
    found = [_read(path.parent) for path in to.glob(f"mainwatch-*/{MANIFEST}")]
    return sorted((copy for copy, _ in found), key=lambda copy: copy.at)


def restore(copy: Path, data: Path) -> Copy:
    """Make a data folder out of a copy whose every hash is right; there must be none yet.

    Raises `ConfigError` naming what is wrong, with nothing changed.
    """
    if data.exists() and any(data.iterdir()):
        raise ConfigError(f"{data}: expected no folder or an empty one, found one with files")
    about, files = _read(copy)
    wrong = [line for name, digest in files.items() if (line := _wrong(copy / name, digest))]
    if wrong:
        raise ConfigError("; ".join(wrong))
    data.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{data.name}-", dir=data.parent))
    try:
        for name in files:
            (fresh / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            shutil.copyfile(copy / name, fresh / name)
            _to_disk(fresh / name)
        if data.exists():
            data.rmdir()
        fresh.replace(data)
        _to_disk(data.parent)
    except OSError as e:
        shutil.rmtree(fresh, ignore_errors=True)
        raise StorageError(f"{data}: cannot be restored: {e}") from e
    return about


def _copy(
    data: Path,
    to: Path,
    name: str,
    databases: Iterable[str],
    *,
    at: Instant,
    before: Path | None,
) -> Copy:
    if not (data / "journal.db").exists():
        raise ConfigError(f"{data}: expected a server's data folder with a journal.db, found none")
    fresh = to / f".{name}.new"
    try:
        to.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        for _ in range(_TRIES):
            if _take(data, fresh, databases, before):
                break
        else:
            raise StorageError(f"{data}: its files changed during each of {_TRIES} copies")
        files = {p: _hash(fresh / p) for p in sorted(_files(fresh))}
        size = sum((fresh / p).stat().st_size for p in files)
        body = {"version": VERSION, "at": at, "bytes": size, "files": files}
        (fresh / MANIFEST).write_text(json.dumps(body, indent=1), encoding="utf-8")
        for path in [*files, MANIFEST]:
            _to_disk(fresh / path)
        _swap(fresh, to / name)
    except (OSError, sqlite3.Error) as e:
        raise StorageError(f"{to / name}: cannot be written: {e}") from e
    return Copy(folder=to / name, at=at, files=len(files), bytes=size)


def _take(data: Path, fresh: Path, databases: Iterable[str], before: Path | None) -> bool:
    """Copy once; say whether the sealed files were the same before and after.

    A file may be sealed or rewritten while we copy: then the databases may name one that we lack.
    """
    kept = sorted(_sealed(data, databases))
    for name in databases:
        if (data / name).exists():
            _copy_database(data / name, fresh / name)
    for name in kept:
        target = fresh / name
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            _link_or_copy(data / name, target, None if before is None else before / name)
        except FileNotFoundError:
            return False
    for name in _files(fresh):
        if name not in kept and name not in databases:
            (fresh / name).unlink()
    return kept == sorted(_sealed(data, databases))


def _sealed(data: Path, databases: Iterable[str]) -> Iterator[str]:
    """Name the files that never change once they are there: sealed segments, sealed days."""
    has_history = "historian.db" in databases
    for name in _files(data):
        path = Path(name)
        is_database = path.suffix == ".db" or path.name.endswith((".db-wal", ".db-shm"))
        if is_database or path.suffix == ".new" or name in _LEFT_OUT:
            continue
        if path.suffix == ".parquet" and not has_history:
            continue
        yield name


def _files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield str(path.relative_to(folder))


def _copy_database(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as here,
        closing(sqlite3.connect(target)) as there,
    ):
        here.backup(there, pages=_PAGES)
        there.execute("PRAGMA journal_mode=DELETE")
        (said,) = there.execute("PRAGMA quick_check(1)").fetchone()
    if said != "ok":
        raise StorageError(f"{source}: its copy is damaged: {said}")


def _link_or_copy(source: Path, target: Path, known: Path | None) -> None:
    stat = source.stat()
    if known is not None and known.exists():
        other = known.stat()
        if (other.st_size, other.st_mtime_ns) == (stat.st_size, stat.st_mtime_ns):
            target.unlink(missing_ok=True)
            os.link(known, target)
            return
    shutil.copy2(source, target)


def _swap(fresh: Path, place: Path) -> None:
    """Put a new copy in the place of an old one; at each instant one of them is whole."""
    old = place.with_name(f".{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.replace(old)
    fresh.replace(place)
    _to_disk(place.parent)
    shutil.rmtree(old, ignore_errors=True)


def _read(folder: Path) -> tuple[Copy, dict[str, str]]:
    path = folder / MANIFEST
    try:
        body: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        files: dict[str, str] = body["files"]
        copy = Copy(
            folder=folder, at=Instant(body["at"]), files=len(files), bytes=int(body["bytes"])
        )
    except FileNotFoundError:
        raise ConfigError(f"{folder}: expected a copy with its {MANIFEST}, found none") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise ConfigError(f"{path}: expected the manifest of a copy: {e}") from e
    if body.get("version") != VERSION:
        raise ConfigError(f"{path}: expected version {VERSION}, was {body.get('version')!r}")
    outside = [name for name in files if not _is_inside(name)]
    if outside:
        raise ConfigError(f"{path}: expected names inside the copy, was {outside[0]!r}")
    return copy, files


def _is_inside(name: str) -> bool:
    return not name.startswith("/") and ".." not in Path(name).parts


def _wrong(path: Path, digest: str) -> str:
    try:
        found = _hash(path)
    except OSError as e:
        return f"{path}: cannot be read: {e.strerror}"
    return "" if found == digest else f"{path}: expected sha256 {digest[:12]}…, was {found[:12]}…"


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _stamp(at: Instant) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
