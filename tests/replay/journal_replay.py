"""A journal run through a fresh engine; prints the digest of its effects, passing ones too."""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from server.engine.effects import Effect, is_recorded, to_record
from server.engine.engine import Engine
from server.intake.journal_reader import JournalReader

HOST = "mainwatch"


def line_of(seq: int, n: int, effect: Effect) -> str:
    """Return an effect as one line of text, every bit of it."""
    if is_recorded(effect):
        return " ".join([str(seq), str(n), *to_record(effect)])
    return f"{seq} {n} {effect!r}"


def replayed(path: Path, sizes: Sequence[int] = (1,)) -> Iterator[str]:
    """Yield the effects of a journal, its events cut into runs of these sizes, round and round."""
    engine = Engine(HOST)
    events = JournalReader(path).read()
    turn = 0
    while chunk := list(islice(events, sizes[turn % len(sizes)])):
        turn += 1
        answers = engine.run([event for _, event in chunk])
        for (seq, _), effects in zip(chunk, answers, strict=True):
            for n, effect in enumerate(effects):
                yield line_of(seq, n, effect)


def digest(lines: Iterator[str]) -> str:
    """Return the hash of lines."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


if __name__ == "__main__":
    sys.stdout.write(digest(replayed(Path(sys.argv[1]))))
