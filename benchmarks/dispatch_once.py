"""Kill the desk again and again: `python -m benchmarks.dispatch_once --kills 100 --json`.

A desk of its own process carries out the engine's effects and takes acts of people, and is killed
(SIGKILL) at random instants. At the end each effect must have made one ticket and no second, and
each act that was confirmed before a kill must be in the trail: `missing` and `doubled` are 0.
"""

import argparse
import asyncio
import json
import random
import select
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mainwatch.load import configs_folder
from mainwatch.wall_clock import WallClock
from server.engine import effects
from server.engine.effects import AlarmKind
from server.servicecore.desk import Desk
from server.servicecore.rulebook import load_rule_book
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.workorder import Step
from server.servicecore.store.database import migrate
from telemetry.instant import Instant

AT = 1_800_000_000_000
PER_KILL = 12
"""Effects for each kill, so that the desk is never without work when it is killed."""
LONGEST_S = 0.25


def main() -> None:
    """Run and print, or be the desk that is killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--desk", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.desk is not None:
        asyncio.run(_desk(options.desk))
        return
    with tempfile.TemporaryDirectory(prefix="mainwatch-bench-") as folder:
        figures = _run(Path(folder), options.kills, options.seed)
    print(
        json.dumps(figures) if options.json else "\n".join(f"  {k}: {figures[k]}" for k in figures)
    )


def _run(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    total = kills * PER_KILL
    _write_journal(folder / "journal.db", total)
    migrate(folder / "desk.db")
    rng = random.Random(seed)
    confirmed: list[str] = []
    for _ in range(kills):
        confirmed += _until_killed(folder, rng.uniform(0, LONGEST_S))
    confirmed += _to_the_end(folder)
    with sqlite3.connect(folder / "desk.db") as db:
        made = Counter(
            db.execute("SELECT dispatch_uuid, dispatch_seq, dispatch_n FROM ticket").fetchall()
        )
        issued = Counter(
            r[0] for r in db.execute("SELECT entity FROM ticket_event WHERE verb = 'issue'")
        )
        acts = Counter(r[0] for r in db.execute("SELECT reason FROM ticket_event"))
    return {
        "seed": seed,
        "kills": kills,
        "effects": total,
        "tickets": len(made),
        "acts_confirmed": len(confirmed),
        "missing": total - len(made) + sum(acts[words] == 0 for words in confirmed),
        "doubled": sum(n - 1 for n in made.values())
        + sum(n - 1 for n in issued.values())
        + sum(acts[words] > 1 for words in confirmed),
    }


def _until_killed(folder: Path, after_s: float) -> list[str]:
    """Start a desk, wait until it works, kill it so long after, and return what it confirmed."""
    process = _start(folder)
    assert process.stdout is not None
    first = process.stdout.readline()  # it is open now
    select.select([], [], [], after_s)
    process.kill()
    rest, _ = process.communicate()
    lines = (first + rest).split("\n")[:-1]  # a torn last line confirmed nothing
    return [line.removeprefix("done ") for line in lines if line.startswith("done ")]


def _to_the_end(folder: Path) -> list[str]:
    out, _ = _start(folder).communicate()
    return [line.removeprefix("done ") for line in out.splitlines() if line.startswith("done ")]


def _start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.dispatch_once", "--desk", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def _desk(folder: Path) -> None:
    """Carry out effects and take acts until there is nothing left; say each act once committed."""
    book = load_rule_book(configs_folder(), "demo-water", live=True)
    desk = await Desk.open(
        folder / "desk.db", journal=folder / "journal.db", clock=WallClock(), book=book
    )
    print("open", flush=True)
    run = (await desk.trail_head())[0]
    count = 0
    while await desk.catch_up(limit=2):
        count += 1
        words = f"act {run}-{count}"
        tickets = [t.number for t in (await desk.board()).tickets if t.state == "issued"]
        if not tickets:
            continue
        try:
            await desk.order_acts.urge(tickets[0], actor="Li", text=words)
            print(f"done {words}", flush=True)
            await desk.step(tickets[0], Step.CANCEL, actor="Li", text=f"{words} cancelled")
            print(f"done {words} cancelled", flush=True)
        except Refused as e:
            print(f"refused {e}", flush=True)
    await desk.close()


def _write_journal(path: Path, total: int) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT)")
        db.execute(
            "CREATE TABLE effect (seq INTEGER, n INTEGER, at INTEGER, kind TEXT, body TEXT,"
            " PRIMARY KEY (seq, n))"
        )
        db.execute("INSERT INTO meta VALUES ('uuid', ?)", ("5eed" * 8,))
        for number in range(1, total + 1):
            happened: tuple[effects.Recorded, ...] = _burst(number)
            for n, effect in enumerate(happened):
                row = (number, n, effect.at, *effects.to_record(effect))
                db.execute("INSERT INTO effect VALUES (?, ?, ?, ?, ?)", row)


def _burst(number: int) -> tuple[effects.IncidentOpened, effects.DispatchRequested]:
    at = Instant(AT + number)
    opened = effects.IncidentOpened(
        at=at,
        incident=f"INC-{number:06}",
        kind=AlarmKind.BURST,
        zone="north",
        alarms=(),
        points=("north-12/pressure",),
        severity=1,
        onset=at,
        because=("it fell",),
    )
    shared = {k: v for k, v in asdict(opened).items() if k != "alarms"}
    asked = effects.DispatchRequested(
        **shared, mode="auto", estimate_m3h=None, x=None, y=None, radius_m=None
    )
    return opened, asked


if __name__ == "__main__":
    main()
