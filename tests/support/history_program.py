"""A writer and a reader of one historian as programs of their own, to be killed or raced.

`write FOLDER STEPS DIE_AT` goes on where the file says it was, says each step that is on disk, and
kills itself before its DIE_AT-th act on the folder of sealed days (0: never). `read FOLDER STEPS`
reads until everything is there, and fails when a sample is doubled or has gone again.
"""

import os
import signal
import sys
from contextlib import closing
from pathlib import Path

from server.engine.effects import Accepted
from server.engine.samples import Samples
from server.history.historian import Historian, Reader
from server.history.keeping import Keeping
from telemetry.instant import HOUR_MS, Instant
from telemetry.point import PointId
from telemetry.sample import Sample

EACH = 20
LATE = 3
BASE = 20_000 * 24 * HOUR_MS


def part(step: int) -> Accepted:
    """Return the samples of a step: 4 hours after the last, and every third time 2 days late."""
    at = BASE + step * 4 * HOUR_MS
    read_at = at - 48 * HOUR_MS if step % LATE == 0 else at
    return Accepted(
        at=Instant(at), gateway="gw-01", epoch=1, first_offset=step * EACH, is_historical=False,
        samples=Samples.of(
            Sample(point=PointId(f"p{k}/pressure"), at=Instant(read_at + k), value=float(step))
            for k in range(EACH)
        ),
    )  # fmt: skip


def say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def write(folder: Path, steps: int, die_at: int) -> None:
    acts = 0

    def deadly(act):
        def counted(*given, **named):
            nonlocal acts
            acts += 1
            if acts == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return act(*given, **named)

        return counted

    keeping = Keeping(seal_after_ms=HOUR_MS)
    with closing(Historian(folder / "historian.db", keeping=keeping)) as historian:
        os.fsync = deadly(os.fsync)
        Path.replace = deadly(Path.replace)
        Path.unlink = deadly(Path.unlink)
        for step in range(historian.through, steps):
            historian.write([part(step)], through=step + 1)
            say(step + 1)
            if step % 5 == 4:
                historian.settle()


def read(folder: Path, steps: int) -> None:
    held = 0
    with closing(Reader(folder / "historian.db")) as reader:
        say("reading")
        while held < steps * EACH:
            before = held
            held, distinct = reader.held("gw-01", 1, below=2**62)
            scanned = sum(len(columns) for columns in reader.scan(marked=True))
            assert held == distinct >= before, (before, held, distinct)
            assert scanned >= held, (held, scanned)


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        read(Path(sys.argv[2]), int(sys.argv[3]))
