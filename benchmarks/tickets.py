"""How many acts on tickets a desk commits a second: `python -m benchmarks.tickets --json`.

Eight clients work at once on one SQLite file through the use cases that pages and API call: a step
on a ticket, progress, an urge, each one transaction with its entry in the trail on disk. Half of
the steps carry the version that the client saw, so some are refused as stale. An update is lost
when it was confirmed to a client and is not in the trail exactly once.
"""

import argparse
import asyncio
import json
import random
import sqlite3
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from mainwatch.load import configs_folder
from mainwatch.wall_clock import WallClock
from server.servicecore.contacts import Asked
from server.servicecore.desk import Desk
from server.servicecore.rulebook import load_rule_book
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.workorder import Step
from server.servicecore.store.tables import Ticket

CLIENTS = 8
TICKETS = 40
CALL = Asked(channel="phone", category="leak", text="water", zone="north", phone="1", account="2")
WAY = (Step.ACCEPT, Step.ARRIVE, Step.DIAGNOSE, Step.ISOLATE, Step.RESTORE)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; a passing one if none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mainwatch-bench-", dir=options.folder) as folder:
        figures = asyncio.run(_measure(Path(folder), options.seconds, options.seed))
    print(
        json.dumps(figures) if options.json else "\n".join(f"  {k}: {figures[k]}" for k in figures)
    )


async def _measure(folder: Path, seconds: float, seed: int) -> dict[str, Any]:
    book = load_rule_book(configs_folder(), "demo-water", live=True)
    desk = await Desk.open(
        folder / "desk.db", journal=folder / "journal.db", clock=WallClock(), book=book
    )
    tickets = []
    for _ in range(TICKETS):
        contact = await desk.contacts.record(CALL, actor="Qian")
        tickets.append(await desk.contacts.make_ticket(contact, actor="Qian"))
    confirmed: list[str] = []
    times: list[float] = []
    refused = Counter[str]()
    begin, busy = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for n in range(CLIENTS):
            rng = random.Random(seed * 100 + n)
            group.create_task(
                _client(desk, n, rng, tickets, begin + seconds, confirmed, times, refused)
            )
    took, busy = time.perf_counter() - begin, time.process_time() - busy
    whole = await desk.trail_break() is None
    await desk.close()
    lost = _lost(folder / "desk.db", confirmed)
    times.sort()
    return {
        "seed": seed,
        "clients": CLIENTS,
        "committed": len(confirmed),
        "refused": dict(refused),
        "per_s": round(len(confirmed) / took, 1),
        "p50_ms": round(times[len(times) // 2] * 1000, 2),
        "p99_ms": round(times[int(len(times) * 0.99)] * 1000, 2),
        "cpu_ms": round(busy / len(times) * 1000, 2),
        "lost_updates": lost,
        "trail_whole": whole,
    }


async def _client(
    desk: Desk,
    number: int,
    rng: random.Random,
    tickets: list[str],
    until: float,
    confirmed: list[str],
    times: list[float],
    refused: Counter[str],
) -> None:
    count = 0
    while time.perf_counter() < until:
        ticket, count = rng.choice(tickets), count + 1
        words = f"client {number} act {count}"
        version = await _version(desk, ticket) if rng.random() < 0.5 else None
        begin = time.perf_counter()
        try:
            match rng.randrange(3):
                case 0:
                    await desk.order_acts.report(ticket, actor=f"Li {number}", text=words)
                case 1:
                    await desk.order_acts.urge(ticket, actor=f"Li {number}", text=words)
                case _:
                    step = rng.choice(WAY)
                    await desk.step(ticket, step, actor=f"Li {number}", text=words, version=version)
        except Refused as e:
            refused[e.key] += 1
        else:
            confirmed.append(words)
        times.append(time.perf_counter() - begin)


async def _version(desk: Desk, ticket: str) -> int:
    async with desk.ground.database.reading() as session:
        row = await session.get_one(Ticket, ticket)
        return row.version


def _lost(path: Path, confirmed: list[str]) -> int:
    """Return how many confirmed acts the trail does not have exactly once."""
    with sqlite3.connect(path) as db:
        found = Counter(r[0] for r in db.execute("SELECT reason FROM ticket_event"))
    return sum(found[words] != 1 for words in confirmed)


if __name__ == "__main__":
    main()
