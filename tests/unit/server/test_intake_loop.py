"""The intake over a real broker and its local socket: host, acknowledgements, commands, faults."""

import asyncio
import json
import sqlite3
from contextlib import asynccontextmanager, closing
from pathlib import Path

import aiomqtt
import pytest

from mainwatch.wall_clock import WallClock
from server.config import ServerConfig
from server.engine.events import RegistryChanged
from server.history.historian import Reader
from server.intake.loop import Intake
from telemetry import extension as mw
from telemetry.instant import Instant
from telemetry.sparkplug import DataType, decode, decode_state, parse_topic
from tests.support.ports import free_port
from tests.unit.gateway.field import mosquitto, until
from tests.unit.server.test_door import EPOCH, REGISTRY, births, data, open_door

NCMD = {mw.ACK: DataType.UINT64, mw.ACK_EPOCH: DataType.UINT64, mw.REBIRTH: DataType.BOOLEAN}


def config_of(folder: Path, port: int) -> ServerConfig:
    return ServerConfig.model_validate(
        {"server": {"data": folder, "groups": ["demo"]}, "broker": {"port": port}}
    )


@asynccontextmanager
async def intake(folder: Path, port: int):
    """Run an intake with a door of its own until the body is done."""
    clock = WallClock()
    door = open_door(folder, clock)
    door.admit([lambda at: RegistryChanged(at=at, registry=REGISTRY)])
    stop, ready = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        loop = Intake(config_of(folder, port), door, clock)
        tasks.create_task(loop.run(folder / "door.sock", stop, ready))
        await ready.wait()
        try:
            yield
        finally:
            stop.set()
    door.close()


class Edge:
    """A gateway played by the test: publishes what it is told and keeps what it hears."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client
        self.commands: list[dict[str, object]] = []
        self.states: list[bool] = []

    async def listen(self) -> None:
        async for message in self._client.messages:
            if str(message.topic).startswith("spBv1.0/STATE/"):
                self.states.append(decode_state(message.payload).online)
            else:
                payload = decode(message.payload, datatypes=NCMD)
                assert payload.seq is None
                self.commands.append({m.name: m.value for m in payload.metrics})

    async def send(self, *messages: tuple[str, bytes]) -> None:
        for topic, body in messages:
            assert parse_topic(topic).group == "demo"
            await self._client.publish(topic, body)

    def acknowledged(self) -> int:
        return max((c[mw.ACK] for c in self.commands if c.get(mw.ACK_EPOCH) == EPOCH), default=0)


@asynccontextmanager
async def edge(port: int):
    async with (
        aiomqtt.Client("127.0.0.1", port, identifier="gw-01") as client,
        asyncio.TaskGroup() as tasks,
    ):
        await client.subscribe("spBv1.0/demo/NCMD/gw-01", qos=1)
        await client.subscribe("spBv1.0/STATE/mainwatch", qos=1)
        it = Edge(client)
        listening = tasks.create_task(it.listen())
        yield it
        listening.cancel()


def effects(folder: Path, kind: str) -> list[dict]:
    with closing(sqlite3.connect(folder / "journal.db")) as db:
        rows = db.execute("SELECT body FROM effect WHERE kind = ? ORDER BY seq, n", (kind,))
        return [json.loads(body) for (body,) in rows]


def links(folder: Path) -> list[bytes]:
    with closing(sqlite3.connect(folder / "journal.db")) as db:
        return [b for (b,) in db.execute("SELECT body FROM event WHERE kind='linked' ORDER BY seq")]


def now() -> Instant:
    return WallClock().now()


def test_what_arrives_is_committed_before_it_is_acknowledged(tmp_path: Path):
    async def story() -> None:
        async with mosquitto(tmp_path) as port, intake(tmp_path, port), edge(port) as gateway:
            await until(lambda: gateway.states == [True])
            await gateway.send(*births(now()))
            await gateway.send(*(data(n, 300.0, now()) for n in range(20)))
            await until(lambda: gateway.acknowledged() == 20)
            with closing(Reader(tmp_path / "historian.db")) as reader:
                await until(lambda: reader.held("gw-01", EPOCH, below=20) == (20, 20))

    asyncio.run(story())


def test_a_repeated_message_is_acknowledged_again_and_stored_once(tmp_path: Path):
    async def story() -> None:
        async with mosquitto(tmp_path) as port, intake(tmp_path, port), edge(port) as gateway:
            await until(lambda: gateway.states == [True])
            await gateway.send(*births(now()), data(0, 300.0, now()))
            await until(lambda: gateway.acknowledged() == 1)
            heard = len(gateway.commands)
            await gateway.send(data(0, 300.0, now()))
            await until(lambda: len(gateway.commands) > heard)
            with closing(Reader(tmp_path / "historian.db")) as reader:
                assert reader.held("gw-01", EPOCH, below=9) == (1, 1)

    asyncio.run(story())


@pytest.mark.parametrize("body", [b"\xff\xfe not a payload", b"", b"\x08" * 300_000])
def test_a_malformed_message_is_counted_shown_and_does_no_harm(tmp_path: Path, body: bytes):
    async def story() -> None:
        async with mosquitto(tmp_path) as port, intake(tmp_path, port), edge(port) as gateway:
            await until(lambda: gateway.states == [True])
            await gateway.send(*births(now()), ("spBv1.0/demo/DDATA/gw-01/pt", body))
            await gateway.send(data(0, 300.0, now()))
            await until(lambda: gateway.acknowledged() == 1)
            await until(lambda: effects(tmp_path, "MessageDropped"))

    asyncio.run(story())
    dropped = effects(tmp_path, "MessageDropped")

    assert dropped[0]["count"] == 1
    assert "gw-01" in dropped[0]["source"]
    assert dropped[0]["because"]


def test_data_without_births_is_answered_with_a_request_for_them(tmp_path: Path):
    async def story() -> None:
        async with mosquitto(tmp_path) as port, intake(tmp_path, port), edge(port) as gateway:
            await until(lambda: gateway.states == [True])
            await gateway.send(data(0, 300.0, now()))
            await until(lambda: {mw.REBIRTH: True} in gateway.commands)

    asyncio.run(story())


def test_the_host_says_online_again_when_its_state_is_contradicted(tmp_path: Path):
    async def story() -> None:
        async with mosquitto(tmp_path) as port, intake(tmp_path, port), edge(port) as gateway:
            await until(lambda: gateway.states == [True])
            forged = b'{"online": false, "timestamp": 1}'
            await gateway._client.publish("spBv1.0/STATE/mainwatch", forged, qos=1, retain=True)
            await until(lambda: gateway.states == [True, False, True])

    asyncio.run(story())


def test_the_host_says_offline_when_it_ends_on_purpose(tmp_path: Path):
    async def story() -> None:
        async with mosquitto(tmp_path) as port, edge(port) as gateway:
            async with intake(tmp_path, port):
                await until(lambda: gateway.states == [True])
            await until(lambda: gateway.states == [True, False])

    asyncio.run(story())


def test_a_broker_that_goes_and_returns_is_followed(tmp_path: Path):
    async def story() -> None:
        port = free_port()
        async with intake(tmp_path, port):
            await until(lambda: links(tmp_path))  # that there is no broker yet
            async with mosquitto(tmp_path, port), edge(port) as gateway:
                await until(lambda: gateway.states == [True])
            async with mosquitto(tmp_path, port), edge(port) as gateway:
                await until(lambda: gateway.states == [True])
                await gateway.send(*births(now()), data(0, 300.0, now()))
                await until(lambda: gateway.acknowledged() == 1)

    asyncio.run(story())
    linked = links(tmp_path)

    up, down = b'{"up":true}', b'{"up":false}'
    since_the_first = linked[linked.index(up) :]
    assert since_the_first[:3] == [up, down, up]
    assert linked[0] == down  # before there was a broker


async def ask(folder: Path, *lines: bytes) -> list[dict]:
    reader, writer = await asyncio.open_unix_connection(folder / "door.sock")
    writer.writelines(lines)
    answers = []
    while len(answers) < len(lines):
        body = json.loads(await reader.readline())
        if "effects" not in body:
            answers.append(body)
    writer.close()
    await writer.wait_closed()
    return answers


def test_a_command_is_answered_when_it_is_journalled_and_every_desk_is_woken(tmp_path: Path):
    command = {"key": "k", "actor": "Li", "verb": "acknowledge_alarm", "subject": "A-9", "note": ""}

    async def story() -> None:
        async with mosquitto(tmp_path) as port, intake(tmp_path, port):
            watching, writer = await asyncio.open_unix_connection(tmp_path / "door.sock")
            answers = await ask(tmp_path, json.dumps(command).encode() + b"\n")
            woken = json.loads(await watching.readline())
            writer.close()
            await writer.wait_closed()

            assert answers == [{"journalled": "k", "seq": answers[0]["seq"]}]
            assert woken == {"effects": answers[0]["seq"]}

    asyncio.run(story())
    done = effects(tmp_path, "CommandDone")

    assert [d["key"] for d in done] == ["k"]
    assert "A-9" in done[0]["refused"]


def test_a_command_that_is_none_is_refused_with_what_was_expected(tmp_path: Path):
    async def story() -> list[dict]:
        async with mosquitto(tmp_path) as port, intake(tmp_path, port):
            return await ask(tmp_path, b"{}\n", b"not json\n", b'{"key": 1}\n')

    answers = asyncio.run(story())

    assert [a["because"] for a in answers] == [
        "expected a JSON object with the texts key, actor, verb, subject, note"
    ] * 3
