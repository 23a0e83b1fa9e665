"""What judging a sample costs: `python -m benchmarks.detector_cost --json`.

10,000 points, in zones of 30 pressures and an inflow meter, each second: noise, no event. The whole
stage of detectors as the engine runs it, once as live, a block to each tick, and once as in a
replay, a block of a minute; `ns_per_point_tick` is the live figure. Turning messages into blocks is
not in it (`ingest` has that), nor is the trainer.

`peers` are timed in the same run on the same noise: detectors of river, one object a point, per
update; ruptures on a window of five minutes, looked at anew each minute, per point and second. A
peer that is not installed says so. They find other things; the figure is what one more costs.
"""

import argparse
import gc
import json
import pickle
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from statistics import median
from time import process_time
from typing import Any

import numpy as np

from server.engine.detectors.block import Block
from server.engine.detectors.grid import Floats
from server.engine.detectors.stage import Detectors
from server.engine.events import Event, Linked, RegistryChanged
from server.engine.registry import Inflow, Point, Registry, Zone
from telemetry.instant import DAY_MS, SECOND_MS, Instant
from telemetry.point import PointId, ZoneId
from telemetry.sample import Quality
from telemetry.units import Quantity

SEED = 5
START = 20_500 * DAY_MS
PRESSURES = 30
WARM_S = 4_200
"""Seconds before the clock runs: by then everything that is learnt stands on its own."""

LOOKS_S = 60
WINDOW = 300


def registry_of(points: int) -> Registry:
    """Return zones of 30 pressures and an inflow, `points` in all or a few less."""
    zones: dict[ZoneId, Zone] = {}
    found: dict[PointId, Point] = {}
    for z in range(points // (PRESSURES + 1)):
        zone, flow = ZoneId(f"z{z:04}"), PointId(f"z{z:04}/flow")
        zones[zone] = Zone(
            id=zone,
            name_zh=zone,
            name_en=zone,
            timezone="UTC",
            calendar="none",
            inflow=(Inflow(point=flow, sign=1),),
        )
        names = [flow, *(PointId(f"z{z:04}-{n:02}/pressure") for n in range(PRESSURES))]
        for name in names:
            is_flow = name == flow
            found[name] = Point(
                id=name,
                zone=zone,
                quantity=Quantity.FLOW if is_flow else Quantity.PRESSURE,
                name_zh=name,
                name_en=name,
                period_ms=SECOND_MS,
                low=None if is_flow else 150.0,
            )
    return Registry(zones=zones, points=found)


class Field:
    """Steady samples with noise, as blocks of any number of seconds."""

    def __init__(self, registry: Registry) -> None:
        self._points = tuple(registry.points)
        self._chance = np.random.default_rng(SEED)
        is_flow = [p.quantity is Quantity.FLOW for p in registry.points.values()]
        self._level = np.where(is_flow, 150.0, 300.0)
        self._noise = np.where(is_flow, 0.7, 0.3)
        self._gateways = ("gw-01",)
        self._second = 0

    def values(self, seconds: int) -> Floats:
        """Return so many seconds of every point."""
        noise = self._chance.standard_normal((seconds, len(self._points)))
        found: Floats = np.round(self._level + self._noise * noise, 2)
        return found

    def block(self, seconds: int) -> Block:
        """Return the next seconds: each tick comes behind the samples of its second."""
        n = len(self._points)
        first = START + SECOND_MS * self._second
        self._second += seconds
        at = first + SECOND_MS * np.repeat(np.arange(seconds, dtype=np.int64), n)
        whole = np.zeros(seconds * n, dtype=np.int64)
        return Block(
            ticks=first + SECOND_MS * np.arange(1, seconds + 1, dtype=np.int64),
            points=self._points,
            gateways=self._gateways,
            after=np.repeat(np.arange(seconds, dtype=np.int64), n),
            now=at + 100,
            at=at,
            point=np.tile(np.arange(n, dtype=np.int64), seconds),
            gateway=whole,
            value=self.values(seconds).reshape(-1),
            quality=whole + int(Quality.GOOD),
            reason=whole,
        )


def ours(points: int, runs: int) -> dict[str, Any]:
    """Return nanoseconds per point and tick, live and in a replay: medians over the runs."""
    registry = registry_of(points)
    stage, field = Detectors(), Field(registry)
    begin = Instant(START - SECOND_MS)
    opening: list[Event] = [RegistryChanged(at=begin, registry=registry), Linked(at=begin, up=True)]
    stage.run(opening, [[], []])
    for _ in range(WARM_S // LOOKS_S):
        assert not stage.judge(field.block(LOOKS_S)), "noise is no event"
    n = len(registry.points) * LOOKS_S
    live, replayed = [], []
    for _ in range(runs):
        blocks = [field.block(1) for _ in range(LOOKS_S)]
        live.append(_seconds(partial(_judge_all, stage, blocks)) / n * 1e9)
        whole = field.block(LOOKS_S)
        replayed.append(_seconds(partial(stage.judge, whole)) / n * 1e9)
    return {
        "points": len(registry.points),
        "zones": len(registry.zones),
        "ns_per_point_tick": round(median(live), 1),
        "ns_per_point_tick_best": round(min(live), 1),
        "ns_per_point_tick_worst": round(max(live), 1),
        "ns_per_point_tick_replay": round(median(replayed), 1),
        "state_bytes_per_point": round(len(pickle.dumps(stage)) / len(registry.points)),
    }


def peers(updates: int) -> dict[str, Any]:
    """Return nanoseconds of others' detectors on a point of the same noise."""
    values = Field(registry_of(PRESSURES + 1)).values(updates)[:, 1]
    found: dict[str, Any] = {}
    for name in ("PageHinkley", "ADWIN", "KSWIN"):
        found[f"river.drift.{name}"] = _timed(
            "river.drift", partial(_river, name=name, values=values)
        )
    for name in ("Binseg", "Pelt"):
        found[f"ruptures.{name}"] = _timed("ruptures", partial(_ruptures, name=name, values=values))
    return found


def _judge_all(stage: Detectors, blocks: Sequence[Block]) -> None:
    for block in blocks:
        stage.judge(block)


def _timed(module: str, measure: Callable[[Any], float]) -> float | str:
    try:
        loaded = import_module(module)
    except ImportError as e:
        return f"skipped: {e}"
    return round(measure(loaded), 1)


def _river(module: Any, *, name: str, values: Floats) -> float:
    detector = getattr(module, name)()
    plain: Sequence[float] = values.tolist()

    def update() -> None:
        for value in plain:
            detector.update(value)

    return _seconds(update) / len(plain) * 1e9


def _ruptures(module: Any, *, name: str, values: Floats) -> float:
    windows = [values[n : n + WINDOW] for n in range(0, len(values) - WINDOW, WINDOW)][:20]

    def look() -> None:
        for window in windows:
            found = getattr(module, name)(model="l2", jump=5).fit(window)
            found.predict(pen=10.0)

    return _seconds(look) / len(windows) / LOOKS_S * 1e9


def _seconds(work: Callable[[], object]) -> float:
    gc.collect()
    begin = process_time()
    work()
    return process_time() - begin


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    figures = {"seed": SEED, **ours(options.points, options.runs), "peers": peers(20_000)}
    if options.json:
        print(json.dumps(figures))
        return
    for key, value in figures.items():
        print(f"  {key}: {value}")


if __name__ == "__main__":
    main()
