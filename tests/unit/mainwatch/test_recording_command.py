"""Do the installed `mainwatch export`, `import` and `check` do it from beginning to end?"""

import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.waiting import until
from tests.unit.mainwatch.test_cli import assert_refused, mainwatch
from tests.unit.server.recording_files import AT, MINUTE, recording, sample

SHARED = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    days = {"a": [sample(p, m, 1.0) for m in range(4) for p in ("inlet/flow", "tower/level")]}
    return recording(tmp_path / "r", days)


def test_a_recording_goes_to_csv_and_back(folder: Path, tmp_path: Path):
    table, back = tmp_path / "t.csv", tmp_path / "back"

    out = mainwatch("export", folder, "--out", table, "--format", "csv", "--json")
    there = mainwatch("import", table, "--out", back)
    checked = mainwatch("check", back, folder)

    assert json.loads(out.stdout) == {"out": str(table), "samples": 8}
    assert out.stderr == f"export {folder}: 8 samples\n"
    assert there.stdout == f"{back}\n"
    assert there.stderr.splitlines() == ["read t.csv: 8 samples", "write: 8 samples"]
    assert (checked.returncode, checked.stdout) == (0, "2 file(s): nothing wrong\n")


def test_csv_of_another_tool_is_mapped_by_options(tmp_path: Path):
    path = tmp_path / "logger.csv"
    path.write_text("t;P1\n01.06.2026 02:00;2,5\n", encoding="utf-8")

    ended = mainwatch(
        *("import", path, "--out", tmp_path / "r", "--timezone", "Europe/Rome", "--separator", ";"),
        *("--decimal", ",", "--time-format", "%d.%m.%Y %H:%M"),
        *("--column", "P1=mill/pressure,bar,north"),
    )
    shown = mainwatch("export", tmp_path / "r", "--out", tmp_path / "o.csv", "--format", "csv")

    assert ended.returncode == shown.returncode == 0, ended.stderr + shown.stderr
    row = (tmp_path / "o.csv").read_text().splitlines()[1]
    assert row.startswith('"2026-06-01T00:00:00Z","mill/pressure","north","pressure","kPa",250,192')


def test_a_mapping_file_describes_what_options_cannot(tmp_path: Path):
    (tmp_path / "net.inp").write_text("[JUNCTIONS]\nJ1 1\n[OPTIONS]\nUNITS CMH\n")
    (tmp_path / "p.dat").write_text("J1 0 20\n")
    (tmp_path / "map.toml").write_text(
        '[recording]\nname = "town"\ntimezone = "Asia/Shanghai"\n[epanet]\nnetwork = "net.inp"\n'
        'start = "2026-01-01T08:00:00"\nfiles = [{ file = "p.dat", quantity = "pressure" }]\n'
    )

    ended = mainwatch(
        *("import", tmp_path / "p.dat", "--kind", "epanet", "--out", tmp_path / "r"),
        *("--mapping", tmp_path / "map.toml"),
    )

    assert ended.returncode == 0, ended.stderr
    assert "from = 2026-01-01T00:00:00Z" in (tmp_path / "r" / "recording.toml").read_text()


def test_check_says_what_is_wrong_with_a_recording(folder: Path):
    path = folder / "samples" / "a.parquet"
    path.write_bytes(path.read_bytes()[:-9])

    ended = mainwatch("check", folder)

    assert ended.returncode == 1
    assert f"{path}: cannot be read as Parquet" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--from", "yesterday"), ("--from: expected an instant", "yesterday")),
        (("--zone", "south"), ("--zone: expected one of north",)),
        (("--from", "2030-01-01T00:00:00Z"), ("expected samples from 2030",)),
    ],
)
def test_an_export_that_cannot_be_is_refused(folder: Path, tmp_path: Path, arguments, words):
    ended = mainwatch("export", folder, "--out", tmp_path / "out", *arguments)

    assert_refused(ended, *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--column", "Q"), ("--column: expected COLUMN=POINT,UNIT,ZONE, was 'Q'",)),
        (("--column", "Q=a/flow,stone,north"), ("--column Q: expected a unit out of",)),
        (("--timezone", "Mars/X", "--column", "Q=a/flow,l/s,n"), ("expected an IANA time zone",)),
        (("--decimal", "x"), ("input.decimal: Input should be",)),
        (("--kind", "epanet"), ("--quantity: expected what the files hold",)),
    ],
)
def test_an_import_that_cannot_be_is_refused(tmp_path: Path, arguments, words):
    (tmp_path / "in.csv").write_text("t,Q\n2026-01-01T00:00:00,1\n")

    ended = mainwatch("import", tmp_path / "in.csv", "--out", tmp_path / "out", *arguments)

    assert_refused(ended, *words)
    assert [p.name for p in tmp_path.iterdir()] == ["in.csv"]


def test_what_is_no_source_of_an_export_is_named(tmp_path: Path):
    assert_refused(
        mainwatch("export", tmp_path, "--out", tmp_path / "o"), "expected a recording, a server's"
    )


def reached(pipe: Path) -> int | None:
    """Return the writing end of a pipe once somebody reads it."""
    with suppress(OSError):
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    return None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_import_that_is_stopped_leaves_nothing_behind(tmp_path: Path, number: int):
    pipe = tmp_path / "endless.csv"
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "mainwatch", "import", str(pipe), "--out", str(tmp_path / "o")]
    command += ["--timezone", "UTC", "--column", "Q=a/flow,l/s,n"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as program:
        writes = until(lambda: reached(pipe), 60)
        program.send_signal(number)
        # A signal just before a read begins is heard only when the read ends: it ends here.
        os.close(writes)
        _, told = program.communicate(timeout=60)

    assert program.returncode == 2
    assert "stopped before it was done: nothing was written" in told
    assert [p.name for p in tmp_path.iterdir()] == ["endless.csv"]


def test_a_terminal_sees_a_bar(folder: Path, tmp_path: Path):
    ours, theirs = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "mainwatch",
        "export",
        str(folder),
        "--out",
        str(tmp_path / "o"),
    ]
    done = subprocess.run(
        command, stderr=theirs, stdout=subprocess.DEVNULL, check=False, timeout=60
    )
    os.close(theirs)

    shown = os.read(ours, 65_536).decode()
    os.close(ours)
    assert done.returncode == 0
    assert "8/8" in shown


def test_a_day_is_cut_out_of_a_ready_made_recording(tmp_path: Path):
    folder = SHARED / "ltown-2018"
    if not folder.is_dir():
        pytest.skip("no recordings beside the checkout: ltown-2018")

    ended = mainwatch(
        *("export", folder, "--out", tmp_path / "day", "--json", "--zone", "area-c"),
        *("--from", "2018-02-01T00:00:00Z", "--to", "2018-02-02T00:00:00Z"),
    )

    assert json.loads(ended.stdout)["samples"] == 5 * 288
    assert mainwatch("check", tmp_path / "day").returncode == 0


def test_samples_lie_between_the_instants_asked_for(folder: Path, tmp_path: Path):
    instants = ("2026-09-21T14:14:20Z", "2026-09-21T22:15:20+08:00")
    assert AT + MINUTE == 1_790_000_060_000

    ended = mainwatch(
        *("export", folder, "--out", tmp_path / "o", "--json"),
        *("--from", instants[0], "--to", instants[1]),
    )

    assert json.loads(ended.stdout)["samples"] == 2
