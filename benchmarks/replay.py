"""How fast is a replay? `python -m benchmarks.replay RECORDING`.

`samples_per_s` is a whole recording through the whole engine as it stands, reading, filtering and
telling included, from opening its head to the last word; the best of three. `verify_day_s` is
`--verify` of one day's journal of 100 points at 5 s, with a burst in it: survey, deriving and
comparing. `…_cpu_s` is the time of the processor alone, for machines that others use too. That
journal is written here first, which is not counted; the seed is printed.
"""

import argparse
import json
import random
import tempfile
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from mainwatch.load import load_trainer
from server.engine.effects import AckDue, is_recorded
from server.engine.engine import Engine
from server.engine.events import Arrived, Event, Linked, RegistryChanged, Started, Tick
from server.engine.registry import Inflow, Point, Registry, Zone
from server.history.recording import open_recording
from server.intake.journal import Derived, Journal
from server.replay.session import Asked, play_recording, survey, verify_journal
from server.replay.speaking import Row, Speaker
from telemetry.instant import DAY_MS, SECOND_MS, Instant
from telemetry.point import PointId, ZoneId
from telemetry.units import Quantity

SEED = 4
START = 20_500 * DAY_MS
PERIOD_MS = 5 * SECOND_MS
ZONES = 4
PRESSURES = 24
RUNS = 3
STEP = 2_000


def registry() -> Registry:
    """Return 100 points: in each of four zones 24 pressures and an inflow."""
    zones, points = [], []
    for z in range(ZONES):
        zone, flow = ZoneId(f"zone-{z}"), PointId(f"zone-{z}-inlet/flow")
        zones.append(
            Zone(
                id=zone,
                name_zh="区",
                name_en="Zone",
                timezone="Asia/Shanghai",
                calendar="cn",
                inflow=(Inflow(point=flow, sign=1),),
            )
        )
        for name, quantity in [
            (flow, Quantity.FLOW),
            *((PointId(f"zone-{z}-{n:02}/pressure"), Quantity.PRESSURE) for n in range(PRESSURES)),
        ]:
            points.append(
                Point(
                    id=name,
                    zone=zone,
                    quantity=quantity,
                    name_zh=name,
                    name_en=name,
                    period_ms=PERIOD_MS,
                    low=150.0 if quantity is Quantity.PRESSURE else None,
                )
            )
    return Registry(zones={z.id: z for z in zones}, points={p.id: p for p in points})


def write_day(path: Path, *, seconds: int) -> int:
    """Write the journal of a day and return how many samples it holds."""
    chance = random.Random(SEED)
    known = registry()
    speaker = Speaker("gw-01", list(known.points.values()), group="bench", epoch=1)
    journal, engine = Journal(path), Engine("mainwatch")
    begin = Instant(START)
    waiting: list[Event] = [
        RegistryChanged(at=begin, registry=known),
        Started(at=begin, version="0", settings={"host_id": "mainwatch"}),
        Linked(at=begin, up=True),
        *(Arrived(at=begin, topic=m.topic, payload=m.payload) for m in speaker.births(begin)),
    ]
    for second in range(1, seconds + 1):
        at = Instant(START + second * SECOND_MS)
        if second % 5 == 0:
            is_open = 50_000 <= second < 53_000
            rows = [
                Row(point=p.id, at=at, value=value_of(p, chance, is_open=is_open))
                for p in known.points.values()
            ]
            waiting += [
                Arrived(at=at, topic=m.topic, payload=m.payload) for m in speaker.say(rows, at=at)
            ]
        waiting.append(Tick(at=at))
        if len(waiting) >= STEP or second == seconds:
            take_in(waiting, journal, engine, speaker)
            waiting = []
    journal.settle()
    journal.close()
    return speaker.offset


def value_of(point: Point, chance: random.Random, *, is_open: bool) -> float:
    """Return a steady value with noise; a burst in the first zone raises its inflow."""
    is_burst = is_open and point.zone == "zone-0"
    if point.quantity is Quantity.FLOW:
        return round(150 + 40 * is_burst + chance.gauss(0, 0.7), 2)
    return round(300 - 6 * is_burst + chance.gauss(0, 0.3), 1)


def take_in(events: list[Event], journal: Journal, engine: Engine, speaker: Speaker) -> None:
    """Do what the door does: journal, apply, record."""
    first = journal.append(events)
    derived = []
    for seq, effects in enumerate(engine.run(events), first):
        n = 0
        for effect in effects:
            if isinstance(effect, AckDue):
                speaker.acknowledged(effect.epoch, effect.offset)
            if is_recorded(effect):
                derived.append(Derived(seq=seq, n=n, effect=effect))
                n += 1
    journal.record(derived, through=journal.last_seq)


def replayed(folder: Path) -> dict[str, Any]:
    """Return the figures of a whole recording."""
    best, least, samples, said = float("inf"), float("inf"), 0, 0
    for _ in range(RUNS):
        recording = open_recording(folder)
        begin, cpu = perf_counter(), process_time()
        played = play_recording(
            recording,
            Asked(),
            other=None,
            progress=lambda _at, _n: None,
            trainer=load_trainer({recording.calendar}),
        )
        best = min(best, perf_counter() - begin)
        least = min(least, process_time() - cpu)
        samples, said = played.samples, len(played.said)
    return {
        "samples": samples,
        "samples_per_s": round(samples / best),
        "replay_s": round(best, 2),
        "replay_cpu_s": round(least, 2),
        "said": said,
    }


def verified(*, seconds: int) -> dict[str, Any]:
    """Return the figures of a day's journal."""
    with tempfile.TemporaryDirectory(prefix="mainwatch-bench-") as name:
        path = Path(name) / "journal.db"
        samples = write_day(path, seconds=seconds)
        begin, cpu = perf_counter(), process_time()
        found = verify_journal(survey(path), Asked(), progress=lambda _at, _n: None)
        took, cpu = perf_counter() - begin, process_time() - cpu
    assert found.divergence is None, found.divergence
    return {
        "verify_day_s": round(took, 2),
        "verify_cpu_s": round(cpu, 2),
        "verify_samples": samples,
        "verify_effects": found.effects,
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", type=Path, help="a recording's folder")
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    parser.add_argument("--no-verify", action="store_true", help="without the day's journal")
    options = parser.parse_args()
    figures: dict[str, Any] = {"seed": SEED, **replayed(options.recording)}
    if not options.no_verify:
        figures |= verified(seconds=DAY_MS // SECOND_MS)
    if options.json:
        print(json.dumps(figures))
        return
    for key, value in figures.items():
        print(f"  {key}: {value}")


if __name__ == "__main__":
    main()
