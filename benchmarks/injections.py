"""Bursts that never happened, one at a time, each in a clean copy of a run.

The baseline run goes on without them. On the morning of each onset the process forks: the child has
everything that the engine has learnt so far, adds a step to the zone's inflow in its own memory,
plays eight days on and writes down what was said. Nothing is learnt twice, whatever state a run
keeps, and no injection sees another: neither in its zone nor, through what zones have in common, in
another one.
"""

import json
import math
import os
import random
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.tape import Tape, mean_inflow_m3h, tape_of
from mainwatch.load import load_trainer
from server.history.recording import Recording
from server.history.stretch import Stretch
from server.replay.said import Said
from server.replay.score import LOSS_CLAIMS
from server.replay.session import Asked, Played, play_recording
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS

Line = tuple[int, str, str]
"""What was said: its instant, event and kind."""

FOUND_MS = 7 * DAY_MS
WATCHED_MS = 8 * DAY_MS
LEARN_MS = 42 * DAY_MS
"""No burst is injected before so much of a recording has passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """A step of `m3h`, `share` of its zone's mean inflow, from `onset` to the end of the copy."""

    number: int
    zone: str
    share: float
    m3h: float
    onset: int


def plan(
    recording: Recording, samples: Stretch, shares: Sequence[float], *, per_size: int, seed: int
) -> list[Injection]:
    """Return `per_size` bursts of each share, dealt evenly to the zones whose inflow is measured.

    Every share gets the same zones and onsets, so that sizes compare.
    """
    chance = random.Random(seed)
    means = {
        z.id: mean
        for z in recording.description.zone
        if (mean := mean_inflow_m3h(recording, samples, z.id)) is not None and mean > 0
    }
    zones = list(means)
    begin, end = recording.begin + LEARN_MS, recording.end - WATCHED_MS
    if not zones or begin >= end:
        return []
    found: list[Injection] = []
    for n in range(per_size):
        zone = zones[n % len(zones)]
        onset = chance.randrange(begin, end) // MINUTE_MS * MINUTE_MS
        found += [
            Injection(number=0, zone=zone, share=share, m3h=share * means[zone], onset=onset)
            for share in shares
        ]
    found.sort(key=lambda i: (i.onset, i.zone, i.share))
    return [
        Injection(number=n, zone=i.zone, share=i.share, m3h=i.m3h, onset=i.onset)
        for n, i in enumerate(found)
    ]


class Forks:
    """Makes a copy of the run at each onset; in a copy `mine` is what it is there for."""

    def __init__(
        self, recording: Recording, samples: Stretch, planned: Sequence[Injection], *, jobs: int
    ) -> None:
        self.mine: Injection | None = None
        self.tape: Tape = tape_of(recording, samples, self.before_day)
        self._waiting = list(planned)
        self._jobs = jobs
        self._running: list[int] = []

    def before_day(self, day: int) -> int | None:
        """Fork for every onset of a day; return where a copy ends."""
        if self.mine is not None:
            return self.mine.onset + WATCHED_MS
        while self._waiting and self._waiting[0].onset < day + DAY_MS:
            injection = self._waiting.pop(0)
            if len(self._running) >= self._jobs:
                self._wait()
            child = os.fork()
            if child == 0:
                self.mine = injection
                inject(self.tape, injection)
                return injection.onset + WATCHED_MS
            self._running.append(child)
        return None

    def _wait(self) -> None:
        status = os.waitpid(self._running.pop(0), 0)[1]
        if status:
            raise RuntimeError(f"a copy of the run ended with status {status}")

    def play(self) -> tuple[Played, dict[int, list[Line]]]:
        """Return the run without injections, and what each copy said of its zone."""
        own = os.getpid()
        with tempfile.TemporaryDirectory(prefix="mainwatch-bench-") as name:
            try:
                played = play_recording(
                    self.tape,
                    Asked(),
                    other=None,
                    progress=lambda _at, _samples: None,
                    trainer=load_trainer({self.tape.calendar}),
                )
                if self.mine is not None:
                    path = Path(name) / str(self.mine.number)
                    lines = claims(played.said, self.mine.zone)
                    path.write_text(json.dumps(lines), encoding="utf-8")
                    os._exit(0)  # a copy has said what it is there for
            except BaseException:
                if os.getpid() == own:
                    raise
                traceback.print_exc()
                os._exit(1)
            while self._running:
                self._wait()
            return played, {int(p.name): _lines(p) for p in Path(name).iterdir()}


def inject(tape: Tape, injection: Injection) -> None:
    """Add the step to the first meter through which water comes into the zone."""
    zone = next(z for z in tape.description.zone if z.id == injection.zone)
    meter = next(m for m in zone.inflow if m.sign > 0)
    rows = (tape.samples.point == tape.points.index(meter.point)) & (
        tape.samples.at >= injection.onset
    )
    tape.samples.value[rows] += injection.m3h


def claims(said: Sequence[Said], zone: str) -> list[Line]:
    """Return what was said of water that gets lost in a zone, as instant, event and kind."""
    return [
        (s.at, s.event, s.kind)
        for s in said
        if s.zone == zone and s.kind in LOSS_CLAIMS and s.event in ("alarm", "dispatch")
    ]


def figures(
    planned: Sequence[Injection], told: Mapping[int, Sequence[Line]], clean: Sequence[Said]
) -> list[dict[str, Any]]:
    """Return, for each share, how many were found within seven days and how soon.

    What the run without injections says at the same instant does not count.
    """
    known = {i.zone: set(claims(clean, i.zone)) for i in planned}
    found = []
    for share in sorted({i.share for i in planned}):
        members = [i for i in planned if i.share == share]
        hours = []
        for i in members:
            said = [
                at
                for at, event, kind in told[i.number]
                if i.onset <= at < i.onset + FOUND_MS and (at, event, kind) not in known[i.zone]
            ]
            hours += [(min(said) - i.onset) / HOUR_MS] if said else []
        low, high = wilson(len(hours), len(members))
        found.append(
            {
                "share": share,
                "injected": len(members),
                "found": len(hours),
                "found_ratio": round(len(hours) / len(members), 3),
                "found_ratio_95": [round(low, 3), round(high, 3)],
                "median_h": round(median(hours), 1) if hours else None,
                "worst_h": round(max(hours), 1) if hours else None,
            }
        )
    return found


def wilson(count: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a ratio (Wilson 1927)."""
    if not of:
        return 0.0, 1.0
    z2 = 1.96**2
    ratio = count / of
    middle = (ratio + z2 / (2 * of)) / (1 + z2 / of)
    half = 1.96 * math.sqrt(ratio * (1 - ratio) / of + z2 / (4 * of * of)) / (1 + z2 / of)
    return max(0.0, middle - half), min(1.0, middle + half)


def _lines(path: Path) -> list[Line]:
    return [(at, event, kind) for at, event, kind in json.loads(path.read_text(encoding="utf-8"))]
