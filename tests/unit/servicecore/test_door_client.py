"""The desk's end of the door: commands until journalled, wake-ups, doors that come and go."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from server.servicecore.desk import Desk
from server.servicecore.door_client import DoorClient
from tests.support.plant import ManualClock, burst

AT = 1_800_000_000_000
WITHIN_S = 10


class FakeDoor:
    """Keeps what the desk sends, and says what a test wants it to say."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: asyncio.Queue[dict] = asyncio.Queue()
        self.desk: asyncio.StreamWriter | None = None
        self.server: asyncio.Server | None = None
        self.joined = asyncio.Event()

    async def open(self) -> None:
        self.server = await asyncio.start_unix_server(self._serve, self.path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.desk = writer
        self.joined.set()
        while line := await reader.readline():
            self.lines.put_nowait(json.loads(line))
        writer.close()

    async def say(self, text: str) -> None:
        await self.joined.wait()
        self.desk.write(text.encode() + b"\n")
        await self.desk.drain()

    async def shut(self) -> None:
        self.server.close()
        if self.desk is not None:
            self.desk.close()


@asynccontextmanager
async def running(folder: Path, journal) -> AsyncIterator[tuple[Desk, FakeDoor]]:
    journal.record(*burst(1, at=AT))
    desk = await Desk.open(folder / "desk.db", journal=folder / "journal.db", clock=ManualClock())
    await desk.catch_up()
    door, stop = FakeDoor(folder / "door.sock"), asyncio.Event()
    try:
        async with asyncio.timeout(WITHIN_S), asyncio.TaskGroup() as group:
            group.create_task(DoorClient(desk, door.path).run(stop))
            yield desk, door
            stop.set()
    finally:
        await door.shut()
        await desk.close()


def test_a_command_is_sent_until_it_is_journalled(tmp_path, journal):
    async def story():
        async with running(tmp_path, journal) as (desk, door):
            await desk.acknowledge_alarm("A-000001", actor="Li", note="seen")  # engine down: queued
            assert len((await desk.board()).queued) == 1
            await door.open()
            first = await door.lines.get()
            await door.shut()  # before it answered
            await door.open()
            second = await door.lines.get()
            revision = desk.changes.revision
            await door.say(json.dumps({"journalled": second["key"], "seq": 9}))
            await desk.changes.wait_beyond(revision, WITHIN_S)
            return first, second, (await desk.board()).queued

    first, second, queued = asyncio.run(story())

    assert first == second
    assert (first["verb"], first["subject"], first["actor"], first["note"]) == (
        "acknowledge_alarm",
        "A-000001",
        "Li",
        "seen",
    )
    assert not queued


def test_a_wake_up_wakes_the_desk(tmp_path, journal):
    async def story():
        async with running(tmp_path, journal) as (desk, door):
            await door.open()
            await desk.woken.wait()  # on connecting
            assert desk.engine_reached
            desk.woken.clear()
            await door.say('{"effects": 7}')
            await desk.woken.wait()

    asyncio.run(story())


def test_what_the_door_refuses_is_shown_at_the_alarm(tmp_path, journal):
    async def story():
        async with running(tmp_path, journal) as (desk, door):
            await door.open()
            await desk.acknowledge_alarm("A-000001", actor="Li")
            key = (await door.lines.get())["key"]
            revision = desk.changes.revision
            await door.say(json.dumps({"refused": key, "because": "no such verb"}))
            await desk.changes.wait_beyond(revision, WITHIN_S)
            return await desk.board()

    board = asyncio.run(story())

    assert (board.alarms[0].refusal, board.alarms[0].asked_by) == ("no such verb", "")


def test_a_door_that_talks_nonsense_is_left_and_tried_again(tmp_path, journal):
    async def story():
        async with running(tmp_path, journal) as (desk, door):
            await door.open()
            await desk.woken.wait()
            await door.say("no JSON at all")
            first = door.desk
            door.joined.clear()
            await door.joined.wait()  # connected anew
            return first is not door.desk

    assert asyncio.run(story())
