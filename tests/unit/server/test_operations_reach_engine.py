"""From the desk's transaction through the outbox and the real door into the engine's knowledge."""

import asyncio
from pathlib import Path

from mainwatch.wall_clock import WallClock
from server.engine.engine import Engine
from server.engine.events import Commanded
from server.engine.operations import Operation, OperationKind, operation_of
from server.intake.journal_reader import JournalReader
from server.replay.runner import run_events
from server.servicecore.desk import Desk
from server.servicecore.door_client import DoorClient
from server.servicecore.plans import Planned
from server.servicecore.told import SWITCHED_MS
from telemetry.instant import HOUR_MS, MINUTE_MS, Instant
from tests.support.ports import free_port
from tests.unit.gateway.field import until
from tests.unit.server.test_intake_loop import effects, intake


def journalled(folder: Path) -> list[Operation]:
    """Return what the journal tells of operations, in order, what was sent again told once."""
    events = [event for _, event in JournalReader(folder / "journal.db").read()]
    told = {e.key: operation_of(e) for e in events if isinstance(e, Commanded)}
    assert None not in told.values()
    return list(told.values())


def played(folder: Path, act) -> list[Operation]:
    """Let somebody act at a desk beside a real door, and return what reached the journal."""

    async def story() -> None:
        clock = WallClock()
        async with intake(folder, free_port()):
            desk = await Desk.open(folder / "desk.db", journal=folder / "journal.db", clock=clock)
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(DoorClient(desk, folder / "door.sock").run(stop))
                asked = await act(desk, clock)
                await until(lambda: len(effects(folder, "CommandDone")) == asked)
                waiting = await desk.commands()
                while waiting:  # the answer to the last one is on its way
                    await asyncio.sleep(0.02)
                    waiting = await desk.commands()
                stop.set()
            await desk.close()

    asyncio.run(story())
    assert [e["refused"] for e in effects(folder, "CommandDone")] == [""] * len(
        effects(folder, "CommandDone")
    )
    return journalled(folder)


def planned(now: int, **more) -> Planned:
    return Planned(
        zone="north",
        start=Instant(now + HOUR_MS),
        end=Instant(now + 2 * HOUR_MS),
        cause="a new valve",
        plan="feed from the east",
        **more,
    )


def test_every_step_of_works_reaches_the_engine_with_its_times(tmp_path: Path):
    async def act(desk: Desk, clock) -> int:
        now = clock.now()
        work = await desk.plans.plan(planned(now, points=("a/pressure",)), actor="Li")
        longer = Instant(now + 3 * HOUR_MS)
        await desk.plans.prolong(work, actor="Li", end=longer, text="rain")
        await desk.plans.begin(work, actor="Li")
        await desk.plans.end(work, actor="Li")
        other = await desk.plans.plan(
            planned(now, kind="hydrant", m3h=25.0, stops_supply=False), actor="Li"
        )
        await desk.plans.call_off(other, actor="Li", text="no water")
        return 6

    told = played(tmp_path, act)

    plan, longer, begun, ended, hydrant, off = told
    assert (plan.id, plan.kind, plan.zone, plan.points) == (
        "PW-000001",
        OperationKind.WORKS,
        "north",
        ("a/pressure",),
    )
    assert plan.end - plan.begin == HOUR_MS
    assert longer.end - plan.end == HOUR_MS
    assert plan.begin - begun.begin >= 59 * MINUTE_MS  # it began an hour early
    assert ended.begin == begun.begin <= ended.end < plan.begin
    assert (hydrant.kind, hydrant.m3h) == (OperationKind.HYDRANT, 25.0)
    assert (off.id, off.is_withdrawn, ended.is_withdrawn) == ("PW-000002", True, False)
    engine = Engine("mainwatch")
    list(run_events(JournalReader(tmp_path / "journal.db").read(), engine=engine))
    known = engine._explaining.operations
    assert list(known) == [ended, off]
    assert list(engine._detectors.operations) == list(known)


def test_a_valve_order_explains_its_zone_until_it_is_taken_back(tmp_path: Path):
    async def act(desk: Desk, clock) -> int:
        now = clock.now()
        work = await desk.plans.plan(planned(now), actor="Li")
        facts = {"actor": "Li", "kind": "valve", "station": "V-7", "unit": "1", "reason": "works"}
        shut = await desk.plans.order(act="close", work=work, **facts)
        await desk.plans.execute(shut, actor="Li", by="Ma", at=clock.now())
        opened = await desk.plans.order(act="open", work=work, **facts)
        await desk.plans.execute(opened, actor="Li", by="Ma", at=clock.now())
        return 6

    _, ordered, shut, _, opened, back = played(tmp_path, act)

    assert (ordered.id, ordered.kind, ordered.zone) == ("OP-000001", OperationKind.VALVE, "north")
    assert shut.end - shut.begin == SWITCHED_MS
    assert opened.id == "OP-000002"
    assert (back.id, back.begin, back.end) == ("OP-000001", shut.begin, opened.begin)
