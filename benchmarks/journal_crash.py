"""What SIGKILL does to the intake: `python -m benchmarks.journal_crash --kills 20 --json`.

A private mosquitto, gateways that keep what is not acknowledged and send it again, and the intake
as a process that is killed at random moments; every second kill waits until a segment is being
sealed, which happens all the time here. At the end everything is sent and acknowledged. `lost` are
acknowledged samples that the historian lacks, `doubled` those that it has twice; `effects_equal`
says whether the recorded effects are those of an undisturbed run over the same journal.
"""

import argparse
import json
import os
import random
import signal
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.intake_process import (
    free_port,
    held,
    intake_command,
    started,
    wait_for_port,
    write_config,
)
from benchmarks.mqtt_fleet import HOST, Fleet, Gateway
from mainwatch import broker
from mainwatch.wall_clock import WallClock
from server.engine.effects import is_recorded, to_record
from server.engine.engine import Engine
from server.intake.journal_reader import SEGMENTS, JournalReader
from server.intake.segments import numbers_in
from telemetry.instant import Instant

GATEWAYS, POINTS = 20, 50
PERIOD_S = 0.1
WINDOW = 16
"""Messages of one gateway that are under way at most, as a gateway has it."""

STALLED_S = 3.0
"""Without progress for so long a gateway is born anew and sends again."""

DRAIN_S = 120


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=20261128)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mainwatch-crash-") as folder:
        figures = _run(options, Path(folder))
    if options.json:
        print(json.dumps(figures))
        return
    for key, value in figures.items():
        print(f"  {key}: {value}")


def _run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    port = free_port()
    chance = random.Random(options.seed)
    with started(broker.command(broker.MOSQUITTO, port=port, folder=folder)[1]):
        wait_for_port(port)
        write_config(
            folder,
            port,
            gateways=GATEWAYS,
            points=POINTS,
            low=180.0,
            journal={"segment_max_mb": 0.3},
        )
        fleet = Fleet(port, gateways=GATEWAYS, points=POINTS, seconds=time.perf_counter)
        with closing(fleet):
            field = _Field(fleet)
            sealing = 0
            for n in range(options.kills):
                sealing += _run_and_kill(folder, fleet, chance, in_seal=n % 2 == 1)
            with started(intake_command(folder)) as intake:
                field.finish()
                intake.terminate()
                intake.wait(60)
            lost, doubled = held(folder, fleet)
    return {
        "kills": options.kills,
        "kills_while_sealing": sealing,
        "lost": lost,
        "doubled": doubled,
        **_compare(folder),
        "acknowledged": sum(g.acked for g in fleet.gateways),
        "segments": len(numbers_in(folder / SEGMENTS)),
        "births_again": field.births,
        "seed": options.seed,
    }


def _run_and_kill(folder: Path, fleet: Fleet, chance: random.Random, *, in_seal: bool) -> bool:
    """Start the intake, let it acknowledge something, and kill it; say whether it was sealing."""
    before = sum(g.acked for g in fleet.gateways)
    pacing = threading.Event()
    with started(intake_command(folder)) as intake:
        assert intake.stdout is not None
        intake.stdout.readline()
        with fleet.progress:
            fleet.progress.wait_for(lambda: sum(g.acked for g in fleet.gateways) > before, 30)
        pacing.wait(chance.uniform(0.1, 2.0))
        until = time.perf_counter() + 10
        while in_seal and time.perf_counter() < until and not _is_sealing(folder):
            pacing.wait(0.0005)
        was_sealing = _is_sealing(folder)
        os.kill(intake.pid, signal.SIGKILL)
        intake.wait()
    return was_sealing


def _is_sealing(folder: Path) -> bool:
    return any((folder / SEGMENTS).glob("*.new"))


def _compare(folder: Path) -> dict[str, Any]:
    """Run the journal once more, from its first event and without a disturbance."""
    reader = JournalReader(folder / "journal.db")
    engine = Engine(HOST)
    again = []
    events = 0
    for seq, event in reader.read():
        events += 1
        recorded = [e for e in engine.apply(event) if is_recorded(e)]
        again += [(seq, n, *to_record(e)) for n, e in enumerate(recorded)]
    found = list(reader.recorded())
    return {"effects_equal": again == found, "effects": len(found), "events": events}


class _Field:
    """The gateways at work: each keeps what is not acknowledged, and resumes from there."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._clock = WallClock()
        self._begun_at = self._clock.now()
        self._begun = time.perf_counter()
        self._is_over = threading.Event()
        self.births = 0
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Read nothing more, and return once all that was read is acknowledged."""
        self._is_over.set()
        self._thread.join(DRAIN_S)
        if self._thread.is_alive():
            raise TimeoutError("the gateways could not get rid of what they hold")

    def _work(self) -> None:
        pacing = threading.Event()
        was_online = False
        head = 0
        while True:
            now = time.perf_counter()
            if not self._is_over.is_set():
                head = int((now - self._begun) / PERIOD_S) * POINTS
            elif all(g.acked >= head for g in self._fleet.gateways):
                return
            is_online = self._fleet.online.is_set()
            if is_online:
                for gateway in self._fleet.gateways:
                    is_stalled = gateway.sent > gateway.acked and now - gateway.heard_at > STALLED_S
                    if not was_online or is_stalled:
                        self._begin_again(gateway, now)
                    self._send(gateway, head)
            was_online = is_online
            pacing.wait(0.02)

    def _begin_again(self, gateway: Gateway, now: float) -> None:
        self.births += 1
        gateway.heard_at = now
        gateway.sent = gateway.acked
        with self._fleet.progress:
            gateway.under_way.clear()
        gateway.link.socket.sendall(gateway.births(self._clock.now()))

    def _send(self, gateway: Gateway, head: int) -> None:
        while gateway.sent < min(head, gateway.acked + WINDOW * POINTS):
            at = Instant(self._begun_at + round(gateway.sent // POINTS * PERIOD_S * 1000))
            packet = gateway.scan(gateway.sent, at)
            gateway.sent += POINTS
            gateway.link.socket.sendall(packet)


if __name__ == "__main__":
    main()
