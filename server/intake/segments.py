"""Sealed segments of the journal: compressed read-only files, each begun by a snapshot.

A file is a first line that names the format, then frames: a letter, a length, a body and the
running hash. The hash is SHA-256 over the hash of the segment before and every frame so far, so
whoever changes, takes out or puts back anything breaks the chain from there on. A file is written
beside its name, synced and renamed: it is there whole or not at all.
"""

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from telemetry.errors import StorageError
from telemetry.instant import Instant

FORMAT = b"mainwatch journal segment 1\n"
FRAME = struct.Struct("<cI")
ROW = struct.Struct("<QqBI")
BLOCK_BYTES = 512 * 1024
"""Events that are compressed, hashed and read together."""

FRAME_MAX = 1 << 30
_DIGEST = 32
_LEVEL = 1

_HEADER, _SNAPSHOT, _ESSENTIALS, _ENGINE, _EVENTS, _END = b"H", b"S", b"J", b"P", b"E", b"Z"

Row = tuple[int, int, str, bytes]
"""An event as it is kept: its sequence, instant, kind and body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The engine after the event `seq`: as plain values, and as the pickle of the code `code`."""

    seq: int
    at: Instant
    code: str
    essentials: bytes
    engine: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a segment says of itself. `previous` is the hash of the segment before it."""

    journal: str
    number: int
    first: int
    last: int
    begins: Instant
    ends: Instant
    previous: str


def path_of(folder: Path, number: int) -> Path:
    """Return the name of a segment's file."""
    return folder / f"{number:06}.segment"


def numbers_in(folder: Path) -> list[int]:
    """Return the numbers of the sealed segments that are there, lowest first."""
    return sorted(int(p.stem) for p in folder.glob("*.segment") if p.stem.isdigit())


def seal(folder: Path, header: Header, snapshot: Snapshot, rows: Iterable[Row]) -> str:
    """Write a segment, whole or not at all, and return its hash. Raises `StorageError`."""
    path = path_of(folder, header.number)
    fresh = path.with_suffix(".new")
    try:
        with fresh.open("wb") as file:
            digest = _write(file, header, snapshot, rows)
            file.flush()
            os.fsync(file.fileno())
        fresh.chmod(0o440)
        fresh.replace(path)
        sync_folder(folder)
    except OSError as e:
        fresh.unlink(missing_ok=True)
        raise StorageError(f"{path}: cannot be written: {e}") from e
    return digest


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write(file: IO[bytes], header: Header, snapshot: Snapshot, rows: Iterable[Row]) -> str:
    file.write(FORMAT)
    running = hashlib.sha256(bytes.fromhex(header.previous))

    def put(kind: bytes, body: bytes) -> None:
        head = FRAME.pack(kind, len(body))
        running.update(head)
        running.update(body)
        file.write(head + body + running.digest())

    put(_HEADER, json.dumps(asdict(header)).encode())
    said = {"seq": snapshot.seq, "at": snapshot.at, "code": snapshot.code}
    put(_SNAPSHOT, json.dumps(said).encode())
    put(_ESSENTIALS, zlib.compress(snapshot.essentials, _LEVEL))
    put(_ENGINE, zlib.compress(snapshot.engine, _LEVEL))
    block: list[bytes] = []
    size = 0
    for seq, at, kind, body in rows:
        name = kind.encode()
        block += (ROW.pack(seq, at, len(name), len(body)), name, body)
        size += len(body) + ROW.size
        if size >= BLOCK_BYTES:
            put(_EVENTS, zlib.compress(b"".join(block), _LEVEL))
            block, size = [], 0
    if block:
        put(_EVENTS, zlib.compress(b"".join(block), _LEVEL))
    put(_END, b"")
    return running.hexdigest()


class Segment:
    """One sealed file, read from its beginning. What it yields has been found to be unchanged."""

    def __init__(self, path: Path, *, previous: str | None) -> None:
        """Open a segment; `previous` is the hash of the one before, None when that has gone.

        Raises `StorageError`.
        """
        self.path = path
        try:
            with self._frames(previous=None, is_trusting=True) as frames:
                self.header = _header(path, next(frames, (b"", b""))[1])
        except _Spoilt as e:
            raise StorageError(f"{path}: its header is not as it was sealed: {e}") from e
        if previous is not None and self.header.previous != previous:
            raise StorageError(
                f"{path}: expected a segment that follows the hash {previous[:16]}…, found one that"
                f" follows {self.header.previous[:16]}…; a segment was exchanged"
            )
        self.hash = ""
        """The hash of the whole, once every event has been read."""

    def snapshot(self) -> Snapshot:
        """Return the snapshot that it begins with. Raises `StorageError`."""
        try:
            with self._frames(previous=self.header.previous) as frames:
                found = dict(islice(frames, 4))
            said = json.loads(found[_SNAPSHOT])
            return Snapshot(
                seq=said["seq"],
                at=Instant(said["at"]),
                code=said["code"],
                essentials=zlib.decompress(found[_ESSENTIALS]),
                engine=zlib.decompress(found[_ENGINE]),
            )
        except (_Spoilt, ValueError, KeyError, TypeError, zlib.error) as e:
            raise StorageError(f"{self.path}: its snapshot is not as it was sealed: {e}") from e

    def rows(self, *, after: int) -> Iterator[Row]:
        """Yield its events after a sequence; every one is checked, also those before.

        Raises `StorageError` that names the file and the first event which is not as it was sealed.
        """
        expected = self.header.first
        with self._frames(previous=self.header.previous) as frames:
            try:
                for kind, body in frames:
                    if kind != _EVENTS:
                        continue
                    rows = _rows(zlib.decompress(body), first=expected)
                    expected += len(rows)
                    yield from (row for row in rows if row[0] > after)
                _check_end(expected - 1, self.header.last)
            except (_Spoilt, ValueError, struct.error, zlib.error) as e:
                raise StorageError(
                    f"{self.path}: event {expected}: the segment is not as it was sealed: {e};"
                    " what came before this event is whole"
                ) from e

    @contextmanager
    def _frames(
        self, *, previous: str | None, is_trusting: bool = False
    ) -> Iterator[Iterator[tuple[bytes, bytes]]]:
        """Give the frames one after the other; trusting, without a look at their hashes."""
        try:
            with self.path.open("rb") as file:
                if file.read(len(FORMAT)) != FORMAT:
                    raise StorageError(f"{self.path}: expected a sealed segment of format 1")
                yield self._read(file, bytes.fromhex(previous or ""), is_trusting=is_trusting)
        except OSError as e:
            raise StorageError(f"{self.path}: cannot be read: {e}") from e

    def _read(
        self, file: IO[bytes], seed: bytes, *, is_trusting: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        running = hashlib.sha256(seed)
        while True:
            head = file.read(FRAME.size)
            if len(head) < FRAME.size:
                raise _Spoilt("the file ends within it")
            kind, size = FRAME.unpack(head)
            if size > FRAME_MAX:
                raise _Spoilt(f"a frame of {size} bytes")
            body, digest = file.read(size), file.read(_DIGEST)
            running.update(head)
            running.update(body)
            if not is_trusting and running.digest() != digest:
                raise _Spoilt(
                    f"expected the hash {running.hexdigest()[:16]}…, found {digest.hex()[:16]}…"
                )
            if kind == _END:
                self.hash = running.hexdigest()
                return
            yield kind, body


class _Spoilt(Exception):
    """A frame is not what was written."""


def _header(path: Path, body: bytes) -> Header:
    try:
        said = json.loads(body)
        said["begins"], said["ends"] = Instant(said["begins"]), Instant(said["ends"])
        return Header(**said)
    except (ValueError, KeyError, TypeError) as e:
        raise StorageError(f"{path}: its header cannot be read: {e!r}") from e


def _check_end(found: int, expected: int) -> None:
    if found != expected:
        raise _Spoilt(f"expected its last event to be {expected}, was {found}")


def _rows(block: bytes, *, first: int) -> list[Row]:
    rows: list[Row] = []
    at = 0
    while at < len(block):
        seq, instant, name, size = ROW.unpack_from(block, at)
        at += ROW.size
        kind = block[at : at + name].decode()
        at += name
        if seq != first + len(rows):
            raise _Spoilt(f"expected event {first + len(rows)}, found {seq}")
        rows.append((seq, instant, kind, block[at : at + size]))
        at += size
    return rows
