"""How right is detection? `python -m benchmarks.detection RECORDING… --json`.

Runs the whole engine and the product's scorer over recordings as a field would have delivered them:
1 % of the samples minutes to hours late, 2 % missing (`tape.py`); that 0.5 % of repeated messages
change nothing is shown on the wire over the first days (`wire.py`). The seed is printed.

`events` are leaks and bursts that begin within a recording. A recording without labels has none,
and every proposal counts as false: an upper bound. `within_300m_ratio` is that of all proposals
that came while a leak of known place was going on and that have a place. `…_95` are exact Poisson
intervals per zone-year, those of ratios Wilson's.

`--inject 0.05,0.10` adds steps of that share of a zone's mean inflow, `--per-size` of each, one at
a time in clean copies of the run (`injections.py`): they change the inflow alone, so they say
something of recordings of inflows. `--thresholds MODULE.NAME=1,2,3` repeats everything for each
value of a detector's number. `--out FOLDER` draws it (`detection_report.py`).
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import detection_report, injections, wire
from benchmarks.settings import applied
from benchmarks.tape import Disturbance, disturbed, samples_of, tape_of
from server.history.recording import Recording, open_recording
from server.history.stretch import Stretch
from server.replay.matching import LOSS, NEAR_M, Outcome
from server.replay.poisson import Rate, rate
from server.replay.said import Said
from server.replay.score import LOSS_CLAIMS, Score, TruthScore
from server.replay.session import Asked, Played, mean_inflows, score_recording, trends_of
from telemetry.errors import ConfigError
from telemetry.instant import HOUR_MS

SEED = 11
UNKNOWN = -1.0
"""The share of what nobody wrote down, or of a zone without measured inflow."""

BINS = ((UNKNOWN, 0.0), (0.0, 0.02), (0.02, 0.05), (0.05, 0.10), (0.10, float("inf")))


def figures_of(
    folder: Path,
    how: Disturbance,
    settings: Mapping[str, float],
    *,
    shares: Sequence[float],
    per_size: int,
    jobs: int,
) -> dict[str, Any]:
    """Return the figures of one recording under some settings."""
    recording = open_recording(folder)
    samples = disturbed(samples_of(recording), how)
    planned = injections.plan(recording, samples, shares, per_size=per_size, seed=how.seed)
    begin = _cpu_s()
    with applied(settings):
        forks = injections.Forks(recording, samples, planned, jobs=jobs)
        played, told = forks.play()
    took = _cpu_s() - begin
    found: dict[str, Any] = {"settings": dict(settings), "samples": played.samples}
    found |= scored(recording, samples, played)
    if planned:
        found["injected"] = injections.figures(planned, told, played.said)
    return found | {"cpu_s": round(took, 1)}


def scored(recording: Recording, samples: Stretch, played: Played) -> dict[str, Any]:
    """Return what the product's scorer says of a run, as the figures that we claim."""
    tape = tape_of(recording, samples, lambda _day: None)
    trends = trends_of(tape, Asked(), played)
    score = score_recording(tape, played, trends)
    losses = [s for s in score.truths if s.truth.kind in LOSS and s.outcome is not Outcome.OLDER]
    abrupt = _hours([s for s in losses if _type(s) in ("abrupt", "burst")])
    placed = [s.distance_m for s in losses if s.distance_m is not None]
    return {
        "is_labelled": bool(score.truths),
        "found": score.found,
        "events": len(losses),
        "false_dispatches": score.false.count,
        "late": score.late,
        "repeats": score.repeats,
        "zone_years": round(score.zone_years, 3),
        "false_per_zone_year": _rounded(score.false.per_year),
        "false_per_zone_year_95": _interval(score.false),
        "auto_false_per_zone_year": _rounded(score.false_auto.per_year),
        "auto_false_per_zone_year_95": _interval(score.false_auto),
        "median_hours_abrupt": _rounded(median(abrupt)) if abrupt else None,
        "worst_hours_abrupt": _rounded(max(abrupt)) if abrupt else None,
        "median_distance_m": _rounded(median(placed)) if placed else None,
        "within_300m_ratio": within_ratio(score),
        "recall": recall(losses, mean_inflows(played.registry, trends)),
        "alarms_per_zone_year": alarms(played.said, score.zone_years),
    }


def within_ratio(score: Score) -> float | None:
    """Return which part of the proposals made during a leak lay near enough to it."""
    metres = [
        v.distance_m
        for v in score.verdicts
        if v.by.kind in LOSS_CLAIMS and v.distance_m is not None
    ]
    return round(sum(m <= NEAR_M for m in metres) / len(metres), 3) if metres else None


def recall(losses: Sequence[TruthScore], inflow_m3h: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return how many of each type and size were found, sizes as shares of their zone's inflow."""
    rows = []
    for kind in ("abrupt", "incipient", "burst"):
        for low, high in BINS:
            members = [
                s for s in losses if _type(s) == kind and low <= _share(s, inflow_m3h) < high
            ]
            if not members:
                continue
            hours = _hours(members)
            rows.append(
                {
                    "type": kind,
                    "of_inflow": _bin(low, high),
                    "events": len(members),
                    "found": len(hours),
                    "late": sum(s.outcome is Outcome.LATE for s in members),
                    "median_h": _rounded(median(hours)) if hours else None,
                    "worst_h": _rounded(max(hours)) if hours else None,
                }
            )
    return rows


def alarms(said: Sequence[Said], zone_years: float) -> dict[str, dict[str, Any]]:
    """Return the alarms of each kind per zone-year, `loss` being all kinds that claim a leak."""
    raised = [str(s.kind) for s in said if s.event == "alarm"]
    counts = {"loss": sum(kind in LOSS_CLAIMS for kind in raised)}
    counts |= {kind: raised.count(kind) for kind in sorted(set(raised))}
    told: dict[str, dict[str, Any]] = {}
    for kind, count in counts.items():
        found = rate(count, years=zone_years)
        told[kind] = {
            "count": count,
            "per_zone_year": _rounded(found.per_year),
            "per_zone_year_95": _interval(found),
        }
    return told


def _cpu_s() -> float:
    """Return the processor time of this process and of the copies that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _hours(found: Sequence[TruthScore]) -> list[float]:
    return [
        s.detect_ms / HOUR_MS
        for s in found
        if s.outcome is Outcome.FOUND and s.detect_ms is not None
    ]


def _type(found: TruthScore) -> str:
    return "burst" if found.truth.kind == "burst" else found.truth.type or "incipient"


def _share(found: TruthScore, inflow_m3h: Mapping[str, float]) -> float:
    inflow, peak = inflow_m3h.get(found.truth.zone), found.truth.peak_m3h
    return UNKNOWN if not inflow or peak is None else peak / inflow


def _bin(low: float, high: float) -> str:
    if low < 0:
        return "unknown"
    return f">= {low:.0%}" if high > 1 else f"{low:.0%} to {high:.0%}"


def _interval(found: Rate) -> list[float | None]:
    return [_rounded(found.low), _rounded(found.high)]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def settings_of(text: str) -> list[dict[str, float]]:
    """Return the settings of `NAME=1,2,3`, one for each value. Raises `ConfigError`."""
    name, _, values = text.partition("=")
    try:
        found = [float(v) for v in values.split(",")]
    except ValueError:
        raise ConfigError(f"--thresholds: expected NAME=1,2,3, was {text}") from None
    return [{name: value} for value in found]


def figures_of_all(options: argparse.Namespace) -> dict[str, Any]:
    """Return what was asked for. Raises `ConfigError`."""
    how = Disturbance(seed=options.seed)
    sweep = [s for text in options.thresholds for s in settings_of(text)] or [{}]
    shares = [float(s) for s in options.inject.split(",") if s]
    recordings = []
    for folder in options.recording:
        runs = [
            figures_of(folder, how, s, shares=shares, per_size=options.per_size, jobs=options.jobs)
            for s in sweep
        ]
        found: dict[str, Any] = {"recording": folder.name, "runs": runs}
        if options.wire_days:
            recording = open_recording(folder)
            samples = disturbed(samples_of(recording), how)
            tape = tape_of(recording, samples, lambda _day: None)
            found["wire"] = wire.figures(tape, how, days=options.wire_days)
        recordings.append(found)
    return {
        "seed": how.seed,
        "late": how.late,
        "missing": how.missing,
        "repeated": how.repeated,
        "recordings": recordings,
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", type=Path, nargs="+", help="a recording's folder")
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--inject", default="", help="shares of the inflow, such as 0.05,0.10")
    parser.add_argument("--per-size", type=int, default=120)
    parser.add_argument("--thresholds", action="append", default=[], help="MODULE.NAME=1,2,3")
    parser.add_argument("--wire-days", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=1, help="copies of a run at a time")
    parser.add_argument("--out", type=Path, help="a folder for figures.json and report.html")
    options = parser.parse_args()
    try:
        figures = figures_of_all(options)
        if options.out is not None:
            detection_report.write(options.out, figures)
    except ConfigError as e:
        print(e, file=sys.stderr)
        raise SystemExit(2) from None
    if options.json:
        print(json.dumps(figures))
        return
    for recording in figures["recordings"]:
        print(recording["recording"])
        for run in recording["runs"]:
            for key, value in run.items():
                print(f"  {key}: {value}")
        print(f"  wire: {recording.get('wire')}")


if __name__ == "__main__":
    main()
