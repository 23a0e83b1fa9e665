"""How soon is a burst heard at one sample a second? `python -m benchmarks.fast_burst --json`.

Bursts of 5 to 20 % of their zone's mean inflow open at seeded pipes of the demo town's zones, at
all hours, one every hour and a half, for 20 minutes each. The recording goes through the whole
engine, which begins knowing nothing six hours before the first, and through the product's scorer.

`found` are bursts that their zone's first alarm of a kind that claims one follows while they last;
`…_in_reach` are those that two pressure points or more fell by at least 1 kPa for, comparing the
minute before with the minute from ten seconds after on. `median_distance_m` is along the mains,
from each burst to the place of its first alarm, however far off. Somebody acknowledges what is new
every ten minutes, so that the next burst of a zone is a new incident with a proposal of its own.
"""

import argparse
import json
import random
import tempfile
from math import inf
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import demo_town
from benchmarks.tape import mean_inflow_m3h, samples_of
from server.history.recording import Recording
from server.history.stretch import Stretch
from server.replay.matching import Ground
from server.replay.network import read_network
from server.replay.said import Said
from server.replay.score import LOSS_CLAIMS, Score, TruthScore
from server.replay.session import Asked, Played, play_recording, score_recording
from telemetry.instant import HOUR_MS, MINUTE_MS, SECOND_MS
from telemetry.units import Quantity

SEED = 17
BEFORE_MS, EVERY_MS, LASTS_MS = 6 * HOUR_MS, 90 * MINUTE_MS, 20 * MINUTE_MS
SHARE_MIN, SHARE_MAX = 0.05, 0.20
LOOKED_EVERY_MS = 10 * MINUTE_MS
REACH_KPA = 1.0
GOAL_S = 30.0


def bursts(count: int, inflow_m3h: dict[str, float]) -> list[dict[str, Any]]:
    """Return the events of the story: zones in turn, pipes, sizes and minutes by chance."""
    chance = random.Random(SEED)
    pipes = demo_town.pipes()
    events = []
    for n in range(count):
        zone = demo_town.ZONES[n % len(demo_town.ZONES)]
        after_ms = BEFORE_MS + n * EVERY_MS + chance.randrange(0, 50 * MINUTE_MS, SECOND_MS)
        share = chance.uniform(SHARE_MIN, SHARE_MAX)
        events.append(
            {
                "id": f"b{n:03}",
                "kind": "burst",
                "at": f"+{after_ms // SECOND_MS}s",
                "for": f"{LASTS_MS // SECOND_MS}s",
                "target": chance.choice(pipes[zone]),
                "m3h": round(share * inflow_m3h[zone], 2),
            }
        )
    return events


def falls_of(recording: Recording, samples: Stretch, zone: str, at: int) -> int:
    """Return how many pressure points of a zone fell by `REACH_KPA` at an instant."""
    fallen = 0
    near = slice(
        *np.searchsorted(samples.arrived_at, [at - MINUTE_MS, at + 70 * SECOND_MS]).tolist()
    )
    part = samples.take(near)
    for number, point in enumerate(recording.description.point):
        if point.zone != zone or point.quantity is not Quantity.PRESSURE:
            continue
        mine = part.point == number
        before = part.value[mine & (part.at < at)]
        after = part.value[mine & (part.at >= at + 10 * SECOND_MS)]
        fallen += float(np.nanmedian(before) - np.nanmedian(after)) >= REACH_KPA
    return fallen


def figures_of(recording: Recording, samples: Stretch, played: Played) -> dict[str, Any]:
    """Return the figures of a run."""
    score = score_recording(recording, played, None)
    reach = [falls_of(recording, samples, s.truth.zone, s.truth.begin) for s in score.truths]
    in_reach = [s for s, fallen in zip(score.truths, reach, strict=True) if fallen >= 2]
    seconds, near_s = _seconds(list(score.truths)), _seconds(in_reach)
    heard = {(s.truth.zone, s.alarm_at) for s in score.truths}
    raised = [s for s in played.said if s.event == "alarm" and s.kind in LOSS_CLAIMS]
    metres = distances(recording, score, raised)
    during = [
        s
        for s in raised
        if any(t.truth.zone == s.zone and _is_during(t, s.at) for t in score.truths)
    ]
    assert {(s.zone, s.at) for s in during} >= heard - {(z, None) for z, _ in heard}
    return {
        "bursts": len(score.truths),
        "found": len(seconds),
        "median_s": round(median(seconds), 1) if seconds else None,
        "worst_s": round(max(seconds), 1) if seconds else None,
        "bursts_in_reach": len(in_reach),
        "found_in_reach": len(near_s),
        "found_in_reach_within_30_s": sum(s <= GOAL_S for s in near_s),
        "worst_s_in_reach": round(max(near_s), 1) if near_s else None,
        "median_distance_m": round(median(metres)) if metres else None,
        "within_300m_ratio": round(sum(m <= 300 for m in metres) / len(metres), 2)
        if metres
        else None,
        "placed": len(metres),
        "proposals": score.proposals,
        "alarms_at_other_times": len(raised) - len(during),
        "not_found": [
            {
                "pipe": s.truth.pipe,
                "m3h": s.truth.peak_m3h,
                "points_in_reach": fallen,
            }
            for s, fallen in zip(score.truths, reach, strict=True)
            if s.alarm_at is None
        ],
    }


def distances(recording: Recording, score: Score, raised: list[Said]) -> list[float]:
    """Return how far the place of each burst's first alarm was from it, near or not."""
    ground = Ground(None if recording.network is None else read_network(recording.network))
    metres = [
        ground.distance_m(said, s.truth)
        for s in score.truths
        for said in raised
        if s.alarm_at is not None and (said.at, said.zone) == (s.alarm_at, s.truth.zone)
    ]
    return [m for m in metres if m is not None and m < inf]


def _seconds(found: list[TruthScore]) -> list[float]:
    return [(s.alarm_at - s.truth.begin) / SECOND_MS for s in found if s.alarm_at is not None]


def _is_during(found: TruthScore, at: int) -> bool:
    return found.truth.begin <= at < (found.truth.end or at) + MINUTE_MS


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    parser.add_argument("--bursts", type=int, default=96)
    options = parser.parse_args()
    begin = perf_counter()
    with tempfile.TemporaryDirectory(prefix="mainwatch-bench-") as name:
        usual = demo_town.write(Path(name) / "usual", days=2, cadence_s=300)
        means = {z: mean_inflow_m3h(usual, samples_of(usual), z) or 0.0 for z in demo_town.ZONES}
        days = (BEFORE_MS + (options.bursts + 1) * EVERY_MS) / (24 * HOUR_MS)
        events = bursts(options.bursts, means)
        recording = demo_town.write(Path(name) / "bursts", days=days, cadence_s=1, events=events)
        played = play_recording(
            recording,
            Asked(),
            other=None,
            progress=lambda _at, _n: None,
            looked_every_ms=LOOKED_EVERY_MS,
        )
        figures = {"seed": SEED, "days": round(days, 2)}
        figures |= figures_of(recording, samples_of(recording), played)
    figures["took_s"] = round(perf_counter() - begin, 1)
    if options.json:
        print(json.dumps(figures))
        return
    for key, value in figures.items():
        print(f"  {key}: {value}")


if __name__ == "__main__":
    main()
