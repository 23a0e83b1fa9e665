"""The checkpoint: the engine as it was after some event, in one file. A cache, and nothing else."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from telemetry.errors import StorageError


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The pickle of an engine, and what must match before it is believed."""

    journal: str
    seq: int
    code: str
    engine: bytes


def read_checkpoint(path: Path, journal: str) -> State | None:
    """Return the checkpoint of a journal; nothing when there is none, or none that is whole."""
    try:
        head, _, body = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    except OSError as e:
        raise StorageError(f"{path}: cannot be read: {e}") from e
    try:
        said = json.loads(head)
        is_whole = (said["journal"], said["sha256"]) == (journal, hashlib.sha256(body).hexdigest())
        if is_whole:
            return State(journal=journal, seq=said["seq"], code=said["code"], engine=body)
    except (ValueError, KeyError, TypeError):
        pass
    return None


def write_checkpoint(path: Path, state: State) -> None:
    """Write a checkpoint, whole or not at all. Raises `StorageError`."""
    head = {
        "journal": state.journal,
        "seq": state.seq,
        "code": state.code,
        "sha256": hashlib.sha256(state.engine).hexdigest(),
    }
    fresh = path.with_suffix(".new")
    try:
        with fresh.open("wb") as file:
            file.write(json.dumps(head).encode() + b"\n" + state.engine)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as e:
        raise StorageError(f"{path}: cannot be written: {e}") from e
