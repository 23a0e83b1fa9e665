"""SIGKILL in the midst of sealing and compaction, and readers in another process meanwhile."""

import random
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from server.history.historian import Historian, Reader
from tests.support import history_program
from tests.support.history_program import EACH, part

PROGRAM = Path(history_program.__file__)
ROOT = PROGRAM.parents[2]
STEPS = 40


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.history_program", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def assert_whole(folder: Path, through: int) -> None:
    """Every sample up to a step is there once, under its own instant, and no file is left over."""
    Historian(folder / "historian.db").close()
    with closing(Reader(folder / "historian.db")) as reader:
        assert reader.held("gw-01", 1, below=2**62) == (through * EACH, through * EACH)
        found = {
            (at, v) for c in reader.scan(marked=True) for at, v in zip(c.at, c.value, strict=True)
        }
        assert found == {(s.at, s.value) for step in range(through) for s in part(step).samples}
        named = {n for (n,) in reader._db.execute("SELECT name FROM file")}
    assert {p.name for p in (folder / "historian").iterdir()} == named


def test_no_kill_at_any_act_of_a_sealing_loses_or_doubles_a_sample(tmp_path: Path):
    through = 0
    for die_at in range(1, 14):
        with start("write", tmp_path, STEPS + 10 * die_at, die_at) as program:
            assert program.stdout is not None
            through = max([through, *map(int, program.stdout)])

            assert program.wait() == -signal.SIGKILL

        with closing(Reader(tmp_path / "historian.db")) as reader:
            stored = reader.held("gw-01", 1, below=2**62)[0]
            assert stored in {through * EACH, (through + 1) * EACH}
            through = stored // EACH
    assert_whole(tmp_path, through)


def test_no_kill_at_any_moment_loses_or_doubles_a_sample(tmp_path: Path):
    chance = random.Random(5)
    through = 0
    for kill in range(8):
        with start("write", tmp_path, 100_000, 0) as program:
            assert program.stdout is not None
            for _ in range(chance.randrange(3, 60)):
                through = int(program.stdout.readline())
            program.kill()
            through = max([through, *(int(line) for line in program.stdout if line.strip())])
        with closing(Reader(tmp_path / "historian.db")) as reader:
            stored = reader.held("gw-01", 1, below=2**62)[0]
            assert stored in {through * EACH, (through + 1) * EACH}, kill
    assert_whole(tmp_path, stored // EACH)


@pytest.mark.timeout(120)
def test_another_process_reads_all_the_while(tmp_path: Path):
    Historian(tmp_path / "historian.db").close()
    with start("read", tmp_path, 300) as reading:
        assert reading.stdout is not None
        assert reading.stdout.readline() == "reading\n"
        with start("write", tmp_path, 300, 0) as writing:
            writing.communicate()
        assert reading.wait() == 0
    assert writing.returncode == 0
    assert_whole(tmp_path, 300)
