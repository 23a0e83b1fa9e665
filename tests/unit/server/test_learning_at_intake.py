"""Learning at the intake: at once from imported history, anew when somebody chooses the days."""

import asyncio
import json
import math
from contextlib import asynccontextmanager
from pathlib import Path

from mainwatch.wall_clock import WallClock
from server.engine import essentials
from server.engine.engine import Engine
from server.engine.events import Imported, RegistryChanged
from server.engine.registry import Inflow, Point, Registry, Zone
from server.intake.journal_reader import JournalReader
from server.intake.loop import Intake
from server.learning.trainer import Trainer
from server.servicecore.desk import Desk
from server.servicecore.door_client import DoorClient
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS, Instant
from telemetry.point import PointId, ZoneId
from telemetry.units import Quantity
from tests.replay.journal_replay import replayed
from tests.support.ports import free_port
from tests.unit.gateway.field import until
from tests.unit.server.test_door import open_door
from tests.unit.server.test_intake_loop import config_of, effects

FLOW = PointId("inlet/flow")
NAMES = {"name_zh": "北区", "name_en": "North", "timezone": "Asia/Shanghai", "calendar": "none"}
KNOWN = Registry(
    zones={
        ZoneId("north"): Zone(id=ZoneId("north"), inflow=(Inflow(point=FLOW, sign=1),), **NAMES),
        ZoneId("south"): Zone(id=ZoneId("south"), inflow=(), **NAMES),
    },
    points={
        FLOW: Point(
            id=FLOW,
            zone=ZoneId("north"),
            quantity=Quantity.FLOW,
            name_zh="进水",
            name_en="Inlet",
            period_ms=300_000,
        )
    },
)


def past(now: int, days: int) -> tuple:
    """Return a daily wave of inflow at ten minutes, up to now."""
    begin = (now - days * DAY_MS) // HOUR_MS * HOUR_MS
    return tuple(
        (FLOW, at, 50.0 + 20.0 * math.sin(at / DAY_MS * 2 * math.pi) + at // HOUR_MS % 7, 192)
        for at in range(begin, now, 10 * MINUTE_MS)
    )


@asynccontextmanager
async def in_service(folder: Path, *, days: int):
    """Run intake with a trainer, and a desk beside it, over a history of some days."""
    clock = WallClock()
    door = open_door(folder, clock)
    rows = past(clock.now(), days)
    door.admit([lambda at: RegistryChanged(at=at, registry=KNOWN)])
    door.admit([lambda at: Imported(at=at, source="past", rows=rows)])
    desk = await Desk.open(folder / "desk.db", journal=folder / "journal.db", clock=clock)
    await desk.registry_acts.seed(KNOWN)
    stop, ready = asyncio.Event(), asyncio.Event()
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        loop = Intake(config_of(folder, free_port()), door, clock, Trainer({}))
        tasks.create_task(loop.run(folder / "door.sock", stop, ready))
        await ready.wait()
        tasks.create_task(DoorClient(desk, folder / "door.sock").run(stop))
        tasks.create_task(desk.follow(stop))
        try:
            yield desk, door
        finally:
            stop.set()
    await desk.close()
    door.close()


def applied(folder: Path, zone: str) -> list[dict]:
    return [e for e in effects(folder, "ModelApplied") if e["zone"] == zone]


def test_an_imported_past_is_learnt_from_at_once_and_a_chosen_period_when_asked(tmp_path: Path):
    async def story():
        async with in_service(tmp_path, days=40) as (desk, door):
            await until(lambda: len(applied(tmp_path, "north")) == 1)
            now = door.now()
            begin, end = Instant(now - 38 * DAY_MS), Instant(now - 20 * DAY_MS)
            await desk.learning.train("north", actor="Li", begin=begin, end=end, text="clean")
            await until(lambda: len(applied(tmp_path, "north")) == 2)
            kept = essentials.write(door._engine)
            await desk.learning.train_again("north", actor="Li", text="repaired")
            await until(lambda: len(applied(tmp_path, "north")) == 3)
            for _ in range(200):
                (learnt,) = await desk.learning.of(["north"])
                if len(learnt.models) == 3:
                    break
                await asyncio.sleep(0.05)
            return (begin, end), kept, learnt

    period, kept, learnt = asyncio.run(story())
    first, chosen, again = applied(tmp_path, "north")

    assert (first["state"], first["is_chosen"], first["days"] >= 39) == ("ready", False, True)
    assert (tuple(chosen["window"]), chosen["is_chosen"]) == (period, True)
    assert chosen["hash"] != first["hash"]
    assert (again["hash"], again["window"]) == (first["hash"], first["window"])
    assert [m.is_chosen for m in learnt.models] == [False, True, False]
    assert learnt.ready_since == first["at"]
    assert learnt.asked.is_open is False
    assert [e["state"] for e in applied(tmp_path, "south")] == ["off"]
    other = Engine("mainwatch")
    essentials.read(kept, other, at=Instant(0))
    assert other.training.clean == {"north": period}
    events = JournalReader(tmp_path / "journal.db").read()
    told = [e for _, e in events if getattr(e, "verb", "") == "train"]
    assert [json.loads(e.note) for e in told] == [
        {"from": period[0], "to": period[1]},
        {"from": None, "to": None},
    ]
    replayed(tmp_path / "journal.db")


def test_nine_days_are_learning(tmp_path: Path):
    async def story():
        async with in_service(tmp_path, days=9) as (_, _door):
            await until(lambda: len(applied(tmp_path, "north")) == 1)

    asyncio.run(story())

    (only,) = applied(tmp_path, "north")
    assert (only["state"], only["of"], only["alarms_a_year"]) == ("learning", 14, None)
    assert 8 <= only["days"] <= 9
