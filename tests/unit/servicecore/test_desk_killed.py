"""A desk killed at any instant has opened every ticket once when it is back."""

import random
import sqlite3
import subprocess
import sys
from pathlib import Path

from server.servicecore.store.database import migrate
from tests.support.plant import Journal, burst

BURSTS = 120
KILLS = 8

FOLLOW = """
import asyncio, sys
from pathlib import Path
from mainwatch.wall_clock import WallClock
from server.servicecore.desk import Desk

async def main(folder):
    desk = await Desk.open(folder / "desk.db", journal=folder / "journal.db", clock=WallClock())
    print("open", flush=True)
    while await desk.catch_up(limit=2):
        print("caught up", flush=True)
    await desk.close()

asyncio.run(main(Path(sys.argv[1])))
"""


def follow(folder: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", FOLLOW, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_no_kill_loses_or_doubles_a_ticket(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    for number in range(1, BURSTS + 1):
        journal.record(*burst(number, at=1_800_000_000_000 + number))
    journal.close()
    migrate(tmp_path / "desk.db")
    rng = random.Random(20)

    for _ in range(KILLS):
        process = follow(tmp_path)
        assert process.stdout is not None
        for _ in range(rng.randrange(1, 18)):  # then in the middle of the next transaction
            process.stdout.readline()
        process.kill()
        process.communicate()
    last = follow(tmp_path)
    assert last.communicate(timeout=60)[1] == ""

    db = sqlite3.connect(tmp_path / "desk.db")
    tickets = db.execute("SELECT number, incident, dispatch_seq, dispatch_n FROM ticket").fetchall()
    issued = db.execute("SELECT COUNT(*) FROM ticket_event WHERE verb = 'issue'").fetchone()[0]
    db.close()
    assert sorted(tickets) == [(f"T-{n:06}", f"INC-{n:06}", n, 2) for n in range(1, BURSTS + 1)]
    assert issued == BURSTS
