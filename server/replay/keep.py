"""Files that are there whole or not at all, and what identifies the files that went in."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from server.history.recording import sample_paths
from telemetry.errors import ConfigError, StorageError


def write_whole(path: Path, parts: Iterable[str]) -> None:
    """Write a file beside its name, put it on disk and give it its name. Raises `StorageError`."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("w", encoding="utf-8") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as e:
        raise StorageError(f"{path}: cannot be written: {e.strerror or e}") from e


def digest_of(folder: Path) -> str:
    """Return the SHA-256 over the names and hashes of a recording's files, in order of name."""
    beside = ("recording.toml", "marks.jsonl", "network.inp", "truth.jsonl", "truth_flow.parquet")
    paths = [folder / name for name in beside if (folder / name).is_file()]
    whole = hashlib.sha256()
    for path in sorted([*paths, *sample_paths(folder)]):
        name = path.relative_to(folder).as_posix()
        whole.update(f"{name} {digest_of_file(path)}\n".encode())
    return whole.hexdigest()


def digest_of_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read: {e.strerror}") from e
