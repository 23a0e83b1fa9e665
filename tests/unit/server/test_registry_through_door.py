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
from server.servicecore.registry_acts import PointEdit, ZoneEdit
from server.servicecore.rulebook import RuleBook
from server.servicecore.rules import registry_edits
from tests.replay.journal_replay import replayed
from tests.support.books import book
from tests.support.ports import free_port
from tests.unit.gateway.field import until
from tests.unit.server.test_door import open_door
from tests.unit.servicecore.test_promises import promising

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


def started(folder: Path, config: ServerConfig, rules: RuleBook | None = None):
    """Return the door as the intake opens it."""
    door, promises = open_door(folder, WallClock()), {} if rules is None else rules.promises
    app._open_door(door, Journal(folder / "journal.db"), config, promises)
    return door


async def together(folder: Path, config: ServerConfig, act, rules: RuleBook | None = None) -> None:
    """Run intake and desk over their socket, as the two processes do, until the act is done."""
    door, clock = started(folder, config, rules), WallClock()
    desk = await Desk.open(
        folder / "servicecore.db", journal=folder / "journal.db", clock=clock, book=rules
    )
    if not await desk.registry_acts.seed(config.registry()):
        await desk.registry_acts.follow_policy()
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


def test_a_zone_comes_takes_a_point_in_and_goes_in_engine_journal_and_replay(tmp_path):
    config = load(toml(tmp_path, low=280.0), ServerConfig)
    west = ZoneEdit(name_zh="西区", name_en="West", timezone="Asia/Shanghai", calendar="cn")
    there = PointEdit(zone="west", name_zh="压力", name_en="Pressure", low=280.0)

    async def change(desk: Desk, door) -> None:
        acts = desk.registry_acts
        await acts.add_zone("west", west, actor="Eng", reason="a new estate")
        await until(lambda: "west" in door.registry.zones)
        await acts.edit_point(P, there, actor="Eng", reason="re-cut")
        await until(lambda: door.registry.points[P].zone == "west")
        await acts.retire_zone("north", actor="Eng", reason="nothing is left in it")
        await until(lambda: "north" not in door.registry.zones)
        waiting = await desk.commands()
        while waiting:  # answered once the engine has said so
            await asyncio.sleep(0.02)
            waiting = await desk.commands()
        assert door.registry == await desk.registry()

    asyncio.run(together(tmp_path, config, change))

    events = JournalReader(tmp_path / "journal.db").read()
    told = [sorted(e.registry.zones) for _, e in events if isinstance(e, RegistryChanged)]
    assert told == [["north"], ["north", "west"], ["north", "west"], ["west"]]
    recorded = list(replayed(tmp_path / "journal.db"))
    assert recorded == list(replayed(tmp_path / "journal.db", (7, 3)))


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
    renamed = registry_edits.with_point(known, replace(known.points[P], name_en="Wenhua"))
    assert registry_edits.differing(known, renamed) == (f"point {P}",)


def test_another_policy_at_a_restart_reaches_engine_journal_and_a_replay(tmp_path):
    """Stricter at once, looser when an engineer agrees; nothing reads a policy in a replay."""
    path = toml(tmp_path, low=100.0)
    path.write_text(path.read_text(encoding="utf-8") + 'place = "central"\n', encoding="utf-8")
    config = load(path, ServerConfig)

    async def stricter(desk: Desk, door) -> None:
        await until(lambda: door.registry.points[P].promise_kpa == 300.0)
        assert door.registry == await desk.registry()

    async def looser(desk: Desk, door) -> None:
        await asyncio.sleep(0.3)
        assert door.registry.points[P].promise_kpa == 300.0
        [row] = await desk.registry_acts.waiting()
        await desk.registry_acts.decide(row.id, actor="Eng", is_agreed=True)
        await until(lambda: door.registry.points[P].promise_kpa is None)

    asyncio.run(together(tmp_path, config, nothing, book("xinyang-water")))
    asyncio.run(together(tmp_path, config, stricter, promising(0.30)))
    asyncio.run(together(tmp_path, config, looser, book("demo-gas")))

    events = [e for _, e in JournalReader(tmp_path / "journal.db").read()]
    points = [e.registry.points[P] for e in events if isinstance(e, RegistryChanged)]
    by = "xinyang-water: pressure.central.min_mpa"
    assert [(p.promise_kpa, p.promise_by) for p in points] == [(280.0, by), (300.0, by), (None, "")]
    told = [(e.actor, e.subject) for e in events if type(e) is Commanded]
    assert ("mainwatch", "policy xinyang-water") in told
    recorded = list(replayed(tmp_path / "journal.db"))
    assert recorded == list(replayed(tmp_path / "journal.db", (7, 3)))


async def nothing(desk: Desk, door) -> None:
    assert door.registry == await desk.registry()
