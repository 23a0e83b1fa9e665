"""Stories of the library on real wires: what the real gateway stored against what was so.

The simulator and the gateway run in one process and meet on sockets only. No broker is there: the
gateway keeps everything in its outbox, which is read when both have ended.
"""

import asyncio
import contextlib
import json
import sqlite3
from collections import defaultdict

import pyarrow.parquet as pq
import pytest

from firmware_sim.app import run as run_sim
from firmware_sim.config import SimConfig
from firmware_sim.scenario_config import ScenarioConfig
from gateway.app import run as run_gateway
from gateway.config import GatewayConfig
from gateway.core.rows import layout_from_json, unpack
from mainwatch.load import load, read_toml
from mainwatch.wall_clock import WallClock
from telemetry.sample import Quality, Reason
from tests.scenarios.stories import CONFIGS, maps, story
from tests.support.ports import free_port

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("wires")]

SECONDS = 9
EVENT_AT, EVENT_FOR = "+3s", "4s"
STALE_MS = 1_400
"""A register is renewed each second and read each second."""


def hurried(name: str) -> ScenarioConfig:
    """Return a story of the library with its first happening after some seconds."""
    told = story(name)
    first = told.event[0].model_copy(update={"at": EVENT_AT, "lasts": EVENT_FOR})
    return told.model_copy(update={"event": (first,)})


async def play(name: str, folder) -> None:
    """Play a story for some seconds, polled by the gateway."""
    ports = [free_port() for _ in range(3)]
    ledger, out = folder / "ledger", folder / "gateway"
    out.mkdir()
    sim = CONFIGS / "demo" / "sim.toml"
    keys = ["control.port=0", "history.days=0", f"ledger.out={json.dumps(str(ledger))}"]
    keys += [f"converter.{n}.port={port}" for n, port in enumerate(ports)]
    config = load(sim, SimConfig, keys).located_in(sim.parent)
    body = read_toml(CONFIGS / "demo" / "gateway.toml")
    body["gateway"]["data"] = str(out)
    body["broker"]["port"] = free_port()
    for line, port in zip(body["line"], ports, strict=True):
        line["port"] = port
    clock, stop_sim, stop_gateway = WallClock(), asyncio.Event(), asyncio.Event()
    async with asyncio.timeout(40), asyncio.TaskGroup() as tasks:
        serving, polling = asyncio.Event(), asyncio.Event()
        tasks.create_task(
            run_sim(
                config,
                maps(),
                clock=clock,
                ready=lambda _: serving.set(),
                stop=stop_sim,
                scenario=hurried(name),
            )
        )
        await serving.wait()
        reading = tasks.create_task(
            run_gateway(
                GatewayConfig.model_validate(body),
                maps(),
                clock=clock,
                ready=lambda _: polling.set(),
                stop=stop_gateway,
            )
        )
        await polling.wait()
        await asyncio.sleep(SECONDS)  # the story's own time, which nobody can hurry
        stop_gateway.set()
        await reading
        stop_sim.set()


def stored(folder):
    """Return the samples in the outbox, by point."""
    found = defaultdict(list)
    with contextlib.closing(sqlite3.connect(folder / "gateway" / "outbox.db")) as db:
        layouts = {
            id_: layout_from_json(device, metrics)
            for id_, device, metrics in db.execute("SELECT id, device, metrics FROM layout")
        }
        for layout, n, body in db.execute("SELECT layout, n, body FROM row ORDER BY first"):
            scan = [m.point for m in layouts[layout].metrics]
            for sample in unpack(body, scan * (n // len(scan))):
                found[sample.point].append(sample)
    return found


def ledger(folder):
    """Return what every register said when, and the labels."""
    said = defaultdict(list)
    for path in sorted((folder / "ledger" / "samples").glob("*.parquet")):
        for row in pq.ParquetFile(path).read().to_pylist():
            said[row["point"]].append((round(row["at"].timestamp() * 1000), row["value"]))
    text = (folder / "ledger" / "truth.jsonl").read_text(encoding="utf-8")
    return said, [json.loads(line) for line in text.splitlines()]


def judge(folder):
    """Return the stored samples; every good one was in its register when it was read."""
    found, (said, truth) = stored(folder), ledger(folder)
    for point, course in said.items():
        good = [s for s in found[point] if s.quality is Quality.GOOD]
        if point.endswith("/volume"):
            continue  # the gateway tells its own total of a counter, judged by its own tests
        for sample in good:
            near = [v for at, v in course if sample.at - STALE_MS <= at <= sample.at + 100]
            assert any(v == pytest.approx(sample.value, rel=1e-9) for v in near), (point, sample)
    assert set(said) <= set(found)
    return found, said, truth


def bad(samples):
    """Return why values are missing; a flow out of a counter needs some time to be one."""
    found = [s.reason for s in samples if s.quality is Quality.BAD]
    return [reason for reason in found if reason is not Reason.FIRST_READING]


def test_a_burst_is_read_as_it_was(tmp_path):
    asyncio.run(play("burst-at-night", tmp_path))
    found, said, (truth,) = judge(tmp_path)
    flows = [v for _, v in said["east-inlet/flow"]]
    read = [s.value for s in found["east-inlet/flow"]]

    assert truth["kind"] == "burst"
    assert max(flows) - min(flows) > 30
    assert max(read) - min(read) > 30
    assert not any(bad(samples) for samples in found.values())


def test_a_frozen_sensor_is_read_frozen(tmp_path):
    asyncio.run(play("sensor-flat", tmp_path))
    found, said, (truth,) = judge(tmp_path)
    course = [v for _, v in said[truth["point"]]]

    assert any(a == b == c for a, b, c in zip(course, course[1:], course[2:], strict=False))
    assert not bad(found[truth["point"]])


def test_a_dead_device_is_a_gap_and_nothing_else_is(tmp_path):
    asyncio.run(play("dead-device", tmp_path))
    found, _, (truth,) = judge(tmp_path)
    reasons = bad(found[truth["point"]])

    assert len(reasons) >= 2
    assert set(reasons) <= {Reason.TIMEOUT, Reason.DEVICE_EXCEPTION}
    assert found[truth["point"]][-1].quality is Quality.GOOD
    assert not any(bad(s) for p, s in found.items() if not p.startswith(("wenhua", "customer")))


def test_a_bad_cable_costs_readings_and_never_makes_wrong_ones(tmp_path):
    asyncio.run(play("late-replies", tmp_path))
    found, _, _ = judge(tmp_path)

    others = [s for p, s in found.items() if p.startswith(("east", "south"))]
    assert others
    assert not any(bad(samples) for samples in others)
