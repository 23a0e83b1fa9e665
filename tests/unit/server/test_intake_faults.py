"""The intake among brokers and desks that misbehave: it goes on, and keeps nothing open."""

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from server.config import BrokerSection
from server.engine.effects import AckDue
from server.intake import loop, mqtt
from server.intake.door import Outgoing
from server.intake.loop import Intake
from telemetry.errors import ConfigError, Unavailable
from telemetry.instant import Instant
from tests.unit.gateway.field import until
from tests.unit.server.test_door import BEGIN, StepClock, open_door
from tests.unit.server.test_intake_loop import config_of

ACK = AckDue(group="demo", edge="gw-01", epoch=7, offset=3, ranges=())
CONNACK = b"\x20\x02\x00\x00"


class FlakyLink:
    """A connection whose first publication times out and whose reader goes on all the while."""

    def __init__(self) -> None:
        self.said: list[AckDue] = []
        self.is_first = True

    async def acknowledge(self, ack: AckDue, *, at: Instant) -> None:
        assert at
        if self.is_first:
            self.is_first = False
            raise Unavailable("Operation timed out")
        self.said.append(ack)


def test_a_publication_that_fails_does_not_end_acknowledging(tmp_path: Path):
    door = open_door(tmp_path, StepClock())
    intake = Intake(config_of(tmp_path, 1), door, StepClock())
    link = FlakyLink()
    intake._link = link
    out = Outgoing(acks=(ACK,), rebirths=(), recorded=0, through=1)

    asyncio.run(intake._let_out(out))
    asyncio.run(intake._let_out(out))
    door.close()

    assert link.said == [ACK]


def test_a_desk_that_does_not_listen_is_cut_off_and_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loop, "UNREAD_MAX", 50_000)

    async def story() -> bool:
        door = open_door(tmp_path, StepClock())
        intake = Intake(config_of(tmp_path, 1), door, StepClock())
        server = await asyncio.start_unix_server(intake._serve_desk, tmp_path / "door.sock")
        _deaf, writer = await asyncio.open_unix_connection(tmp_path / "door.sock", limit=1)
        await until(lambda: intake._desks)
        out = Outgoing(acks=(), rebirths=(), recorded=1, through=10**60)
        async with asyncio.timeout(20):
            while intake._desks:
                await intake._let_out(out)
                await asyncio.sleep(0)
        writer.close()
        server.close()
        door.close()
        return True

    assert asyncio.run(story())


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@asynccontextmanager
async def rude_broker(greeting: bytes):
    """Accept, say at most CONNACK, and fall silent."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(greeting)
        while not over.is_set() and await reader.read(65_536):
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        over.set()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts files as Linux does")
@pytest.mark.parametrize("greeting", [b"", CONNACK], ids=["no CONNACK", "no SUBACK"])
def test_a_broker_that_accepts_and_then_hangs_is_away_and_leaves_no_socket(
    greeting: bytes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(mqtt, "CONNECT_TIMEOUT_S", 0.1)

    async def story() -> int:
        async with rude_broker(greeting) as port:
            broker = BrokerSection(port=port)
            before = open_files()
            for _ in range(5):
                with pytest.raises(Unavailable, match="timed out"):
                    async with mqtt.connect(broker, host_id="h", groups=("demo",), at=BEGIN):
                        pass
            await until(lambda: open_files() <= before)
            return before

    assert asyncio.run(story())


@pytest.mark.parametrize("host", ["a..b", "x" * 300])
def test_a_host_name_that_is_none_is_a_broker_that_cannot_be_reached(host: str):
    broker = BrokerSection(host=host)

    with pytest.raises(ConfigError, match="expected a broker"):
        asyncio.run(mqtt.probe(broker, host_id="h"))
