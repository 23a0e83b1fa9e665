"""Copies of a server at work, the server killed, and a new one on what was restored.

Nothing that was confirmed before a copy may be missing from it: no ticket, no act, no sample that a
gateway was told was safe.
"""

import json
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

from mainwatch.wall_clock import WallClock
from server.history.historian import Reader
from tests.acceptance.control_room_run import Broker, ControlRoom, program, run_program
from tests.acceptance.demo_run import DemoRun
from tests.support.waiting import until

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.slow,
    pytest.mark.xdist_group("backup"),
    pytest.mark.timeout(400),
]

RESTORE_MS_MAX = 15 * 60_000
BEHIND_MS_MAX = 60_000
STANDBY_S = 5
GATEWAY = "gw-01"


def outbox(plant: Path) -> dict[str, int]:
    """Return the epoch of the gateway's log, and below which offset it was told all is safe."""
    with closing(sqlite3.connect(f"file:{plant}/gateway/outbox.db?mode=ro", uri=True)) as db:
        return dict(db.execute("SELECT key, value FROM state"))


def held(data: Path, epoch: int, below: int) -> int:
    with closing(Reader(data / "historian.db")) as reader:
        return reader.held(GATEWAY, epoch, below=below)[1]


def trail(data: Path) -> list[tuple]:
    with closing(sqlite3.connect(f"file:{data}/servicecore.db?mode=ro", uri=True)) as db:
        return db.execute("SELECT seq, actor, verb, entity, hash FROM ticket_event").fetchall()


def act(page: str, path: str, text: str = "") -> dict:
    """Do something as a program does, and return the confirmation."""
    request = urllib.request.Request(
        f"{page}api/v1/{path}",
        data=json.dumps({"actor": "Li", "text": text}).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def kill_server(run: DemoRun) -> None:
    """Kill the control room's processes where they stand, then whatever is left of the plant."""
    parts = [run.part("mainwatch", "server", part) for part in ("desk", "intake")]
    above = parts[0].parent()
    for process in (above, *parts, psutil.Process(run.process.pid)):
        with suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)
    psutil.wait_procs([above, *parts], timeout=30)


def newest(folder: Path) -> int:
    """Return of which instant a standby copy is; 0 while one takes the other's place."""
    with suppress(FileNotFoundError):
        return int(json.loads((folder / "backup.json").read_text())["at"])
    return 0


def test_nothing_confirmed_before_a_copy_is_missing_after_a_restore(tmp_path: Path, capsys):
    run = DemoRun(tmp_path, ["--for", "200", "--burst-after", "40", "--days", "1"]).start()
    plant, copies = tmp_path / "plant", tmp_path / "copies"
    data = plant / "server"
    standby = None
    try:
        page = run.wait_for("page: ", 150).partition("page: ")[2]
        standby = subprocess.Popen(
            program(
                *("backup", "--data", str(data), "--to", str(copies)),
                *("--standby-every", str(STANDBY_S)),
            ),
            stdout=subprocess.DEVNULL,
        )
        run.wait_for("opened for", 90)
        assert act(page, "tickets/T-000001/accept")["state"] == "accepted"
        before, acts = outbox(plant), trail(data)
        assert before["acked"] > 0
        full = run_program("backup", "--data", str(data), "--to", str(copies), "--json")
        assert full.returncode == 0, full.stderr
        copy = Path(json.loads(full.stdout)["copy"])
        assert act(page, "tickets/T-000001/arrive")["state"] == "on_site"
        later, told = trail(data), outbox(plant)
        confirmed_at = newest(copies / "standby")
        until(lambda: newest(copies / "standby") > confirmed_at, 30)
        confirmed_at = newest(copies / "standby")
        until(lambda: newest(copies / "standby") > confirmed_at, 30)  # begun after the act
        killed_at = WallClock().now()
        kill_server(run)
    finally:
        if standby is not None:
            standby.terminate()
            standby.wait(30)
        run.kill()
    behind_ms = killed_at - newest(copies / "standby")
    assert behind_ms <= BEHIND_MS_MAX

    took = {}
    for name, place, acts_then, acked in (
        ("copy", copy, acts, before),
        ("standby", copies / "standby", later, told),
    ):
        took[name] = _restored(tmp_path / name, place, acts_then, acked)
    with capsys.disabled():
        sys.stdout.write(f"\nrestored and serving after {took} s; standby {behind_ms} ms behind\n")
    assert max(took.values()) * 1000 <= RESTORE_MS_MAX


def _restored(folder: Path, copy: Path, acts: list[tuple], acked: dict[str, int]) -> float:
    """Restore, start a server on it, and return after how many seconds it served whole."""
    begun = WallClock().monotonic_ms()
    back = run_program("restore", str(copy), "--to", str(folder / "data"), "--json")
    assert back.returncode == 0, back.stderr
    mqtt = Broker(folder / "broker")
    room = ControlRoom(folder / "data", mqtt)
    try:
        room.serving()
        with room.browser() as client:
            ticket = until(
                lambda: [
                    t
                    for t in client.get("/api/v1/tickets").json()
                    if t["number"] == "T-000001" and t["state"] != "issued"
                ],
                60,
            )
        below = acked["acked"]
        until(lambda: held(folder / "data", acked["epoch"], below) == below, 60)
        took = round((WallClock().monotonic_ms() - begun) / 1000, 1)
        assert ticket[0]["holder"] == "Li"
        assert trail(folder / "data")[: len(acts)] == acts
    finally:
        room.end()
        mqtt.end()
    audit = run_program("verify-audit", str(folder / "data" / "servicecore.db"), "--json")
    assert audit.returncode == 0, audit.stdout + audit.stderr
    return took
