"""From an engineer's form through the outbox, the real door and the engine into the historian."""

import asyncio
from contextlib import closing
from pathlib import Path

from mainwatch.wall_clock import WallClock
from server.engine.effects import QualityMarked
from server.engine.engine import Engine
from server.history.reader import Reader
from server.intake.journal_reader import JournalReader
from server.replay.runner import run_events
from server.servicecore.desk import Desk
from server.servicecore.door_client import DoorClient
from telemetry.instant import HOUR_MS, Instant
from tests.unit.gateway.field import free_port, until
from tests.unit.server.test_door import REGISTRY
from tests.unit.server.test_intake_loop import effects, intake

P = str(next(iter(REGISTRY.points)))


def marks(folder: Path):
    with closing(Reader(folder / "historian.db")) as reader:
        return reader.marks_of(P)


def test_a_mark_and_its_taking_back_reach_the_historian_and_a_replay(tmp_path: Path):
    async def story() -> None:
        clock = WallClock()
        now = clock.now()
        begin, end = Instant(now - 2 * HOUR_MS), Instant(now - HOUR_MS)
        async with intake(tmp_path, free_port()):
            desk = await Desk.open(
                tmp_path / "desk.db", journal=tmp_path / "journal.db", clock=clock
            )
            await desk.registry_acts.seed(REGISTRY)

            async def read_marks(_: str):
                return marks(tmp_path)

            desk.marking.read_from(read_marks)
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(DoorClient(desk, tmp_path / "door.sock").run(stop))
                await desk.marking.mark(
                    P, actor="Eng", begin=begin, end=end, quality="bad", reason="frost"
                )
                await until(lambda: len(marks(tmp_path)) == 1)
                (revision,) = marks(tmp_path)
                await desk.marking.take_back(P, revision, actor="Eng", reason="it was dry")
                await until(lambda: len(marks(tmp_path)) == 2)
                stop.set()
            await desk.catch_up()
            assert await desk.marking.asked(P) is None
            await desk.close()

    asyncio.run(story())

    made, back = marks(tmp_path).values()
    assert (made.quality, made.reason, made.author) == (0, "frost", "Eng")
    assert (back.start, back.end) == (made.start, made.end)
    assert (back.quality, back.reason) == (None, "it was dry")
    assert [e["refused"] for e in effects(tmp_path, "CommandDone")] == ["", ""]
    engine = Engine("mainwatch")
    played = run_events(JournalReader(tmp_path / "journal.db").read(), engine=engine)
    said = [e for _, _, e in played if isinstance(e, QualityMarked)]
    assert [(m.begin, m.quality) for m in said] == [(made.start, 0), (made.start, None)]
