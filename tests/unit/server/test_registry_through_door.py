"""A registry edited at the desk: through a real door into the journal, the engine, and a replay."""

import asyncio
from dataclasses import replace
from pathlib import Path

from mainwatch.check import notes
from mainwatch.load import load
from mainwatch.wall_clock import WallClock
from server.config import ServerConfig
from server.engine.events import Commanded, RegistryChanged
from server.intake import app
from server.intake.journal import Journal
from server.intake.journal_reader import JournalReader
from server.intake.loop import Intake
from server.servicecore.desk import Desk
from server.servicecore.door_client import DoorClient
from server.servicecore.registry_acts import PointEdit
from server.servicecore.rules import registry_edits as rules
from tests.replay.journal_replay import replayed
from tests.support.ports import free_port
from tests.unit.gateway.field import until
from tests.unit.server.test_door import open_door

P = "north-12/pressure"
TOML = """
[server]
data = "{data}"
groups = ["demo"]
[broker]
port = {port}
[[zone]]
id = "north"
name = {{ zh = "北区", en = "North" }}
timezone = "Asia/Shanghai"
calendar = "cn"
[[point]]
id = "north-12/pressure"
zone = "north"
quantity = "pressure"
name = {{ zh = "压力", en = "Pressure" }}
period_s = 1.0
low = {low}
"""


def toml(folder: Path, *, low: float) -> Path:
    path = folder / "server.toml"
    path.write_text(TOML.format(data=folder, port=free_port(), low=low), encoding="utf-8")
    return path


def started(folder: Path, config: ServerConfig):
    """Return the door as the intake opens it."""
    door = open_door(folder, WallClock())
    app._open_door(door, Journal(folder / "journal.db"), config)
    return door


async def together(folder: Path, config: ServerConfig, act) -> None:
    """Run intake and desk over their socket, as the two processes do, until the act is done."""
    door, clock = started(folder, config), WallClock()
    desk = await Desk.open(folder / "servicecore.db", journal=folder / "journal.db", clock=clock)
    await desk.registry_acts.seed(config.registry())
    stop, ready = asyncio.Event(), asyncio.Event()
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        socket = folder / "door.sock"
        tasks.create_task(Intake(config, door, clock).run(socket, stop, ready))
        await ready.wait()
        tasks.create_task(DoorClient(desk, socket).run(stop))
        tasks.create_task(desk.follow(stop))
        await act(desk, door)
        stop.set()
    await desk.close()
    door.close()


def lows(folder: Path) -> list[float | None]:
    """Return the limit of the point in each registry that the journal holds."""
    events = JournalReader(folder / "journal.db").read()
    return [e.registry.points[P].low for _, e in events if isinstance(e, RegistryChanged)]


def test_an_edit_reaches_engine_and_journal_and_outlives_restarts_and_another_toml(tmp_path):
    config = load(toml(tmp_path, low=280.0), ServerConfig)
    edit = PointEdit(zone="north", name_zh="压力", name_en="Pressure", low=300.0)

    async def change(desk: Desk, door) -> None:
        await desk.registry_acts.edit_point(P, edit, actor="Eng", reason="higher promise")
        await until(lambda: door.registry.points[P].low == 300.0)
        waiting = await desk.commands()
        while waiting:  # answered once the engine has said so
            await asyncio.sleep(0.02)
            waiting = await desk.commands()

    async def look(desk: Desk, door) -> None:
        assert door.registry == await desk.registry()
        await asyncio.sleep(0.2)  # the desk tells its registry anew; that is no news

    asyncio.run(together(tmp_path, config, change))
    other = load(toml(tmp_path, low=100.0), ServerConfig)
    asyncio.run(together(tmp_path, other, look))

    assert lows(tmp_path) == [280.0, 300.0]
    told = [e for _, e in JournalReader(tmp_path / "journal.db").read() if type(e) is Commanded]
    assert ("Eng", "change_registry", "higher promise") in [(e.actor, e.verb, e.note) for e in told]
    recorded = list(replayed(tmp_path / "journal.db"))
    assert recorded == list(replayed(tmp_path / "journal.db", (7, 3)))
    assert any("CommandDone" in line for line in recorded)


def test_a_journal_put_back_from_before_an_edit_is_told_of_it(tmp_path):
    config = load(toml(tmp_path, low=280.0), ServerConfig)
    started(tmp_path, config).close()

    async def edited() -> None:
        desk = await Desk.open(
            tmp_path / "servicecore.db", journal=tmp_path / "journal.db", clock=WallClock()
        )
        await desk.registry_acts.seed(config.registry())
        edit = PointEdit(zone="north", name_zh="压力", name_en="Pressure", low=300.0)
        await desk.registry_acts.edit_point(P, edit, actor="Eng", reason="x")
        for command in await desk.commands():
            await desk.command_journalled(command.key)  # by the journal that is lost
        await desk.close()

    async def wait(desk: Desk, door) -> None:
        await until(lambda: door.registry.points[P].low == 300.0)

    asyncio.run(edited())
    asyncio.run(together(tmp_path, config, wait))

    assert lows(tmp_path) == [280.0, 300.0]


def test_a_registry_that_is_none_is_refused_and_nothing_is_journalled(tmp_path):
    config = load(toml(tmp_path, low=280.0), ServerConfig)
    answers = []

    async def send(desk: Desk, door) -> None:
        intake = Intake(config, door, WallClock())
        words = dict.fromkeys(("key", "actor", "subject", "note"), "x")
        for registry in ({}, {"zones": [{"id": 1}], "points": []}, None, []):
            body = {**words, "verb": "change_registry", "registry": registry}
            answers.append(await intake._registry(body))

    asyncio.run(together(tmp_path, config, send))

    assert [a.startswith("expected a registry") for a in answers] == [True] * 4
    assert lows(tmp_path) == [280.0]


def test_check_says_when_the_file_and_the_registry_differ(tmp_path):
    path = toml(tmp_path, low=280.0)
    config = load(path, ServerConfig)
    before = notes(path)

    async def edited() -> None:
        desk = await Desk.open(
            tmp_path / "servicecore.db", journal=tmp_path / "journal.db", clock=WallClock()
        )
        await desk.registry_acts.seed(config.registry())
        assert notes(path) == []
        point = config.registry().points[P]
        edit = PointEdit(zone="north", name_zh=point.name_zh, name_en="Wenhua", low=280.0)
        await desk.registry_acts.edit_point(P, edit, actor="Eng", reason="its name")
        await desk.close()

    asyncio.run(edited())

    assert before == []
    assert [f"point {P}" in note for note in notes(path)] == [True]
    known = config.registry()
    renamed = rules.with_point(known, replace(known.points[P], name_en="Wenhua"))
    assert rules.differing(known, renamed) == (f"point {P}",)
