"""What the gateway's tests run it against: Modbus devices, a real broker, a host that we rule."""

import asyncio
import contextlib
import os
import shutil
import socket
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType as SimType
from pymodbus.simulator import SimData, SimDevice

from gateway.config import GatewayConfig
from telemetry import extension
from telemetry.instant import Instant
from telemetry.ranges import RANGES_MAX, Ranges, encode_ranges
from telemetry.register_map import Form, Register, RegisterMap
from telemetry.sparkplug import (
    DataType,
    MessageKind,
    Metric,
    Payload,
    Topic,
    decode,
    encode,
    encode_state,
    parse_topic,
)
from tests.support.ports import free_port

HOST = "127.0.0.1"
START = Instant(1_800_000_000_000)

MAPS = {
    "transmitter": RegisterMap(
        model="transmitter",
        description="A pressure transmitter",
        registers=(
            Register(
                name="pressure",
                address=0,
                form=Form.FLOAT32,
                unit="bar",
                minimum=0.0,
                maximum=16.0,
                resolution=0.001,
            ),
        ),
    ),
    "counter": RegisterMap(
        model="counter",
        description="A pulse counter",
        registers=(
            Register(
                name="pulses",
                address=0,
                form=Form.UINT32,
                unit="m3",
                scale=0.01,
                rolls_over_at=2**32,
            ),
        ),
    ),
}


def float_words(value: float) -> list[int]:
    return list(struct.unpack(">HH", struct.pack(">f", value)))


def config_of(data: Path, *, modbus: int, broker: int, **changes: Any) -> GatewayConfig:
    """Return a gateway with one transmitter (unit 1) and one pulse counter (unit 2)."""
    body: dict[str, Any] = {
        "gateway": {"id": "gw-01", "group": "demo", "data": str(data)},
        "broker": {"host": HOST, "port": broker},
        "line": [
            {
                "name": "converter-1",
                "host": HOST,
                "port": modbus,
                "timeout_s": 0.3,
                "device": [
                    {
                        "id": "pt-1",
                        "unit": 1,
                        "map": "transmitter",
                        "zone": "north",
                        "place": "文化路12号",
                        "period_s": 0.2,
                        "point": [{"register": "pressure", "point": "wenhua-road-12/pressure"}],
                    },
                    {
                        "id": "customer-07",
                        "unit": 2,
                        "map": "counter",
                        "zone": "north",
                        "period_s": 0.2,
                        "point": [
                            {
                                "register": "pulses",
                                "point": "customer-07/volume",
                                "flow_point": "customer-07/flow",
                                "flow_window_s": 2,
                                "flow_max_m3h": 1000,
                            }
                        ],
                    },
                ],
            }
        ],
    }
    for key, value in changes.items():
        body[key] |= value
    return GatewayConfig.model_validate(body)


@contextlib.asynccontextmanager
async def modbus_devices(
    port: int = 0, *, silent: set[int] | None = None
) -> AsyncIterator[tuple[int, ModbusTcpServer]]:
    """Serve both devices behind one port: 3.5 bar, and 1,000 pulses. Units in `silent` are dead."""
    port = port or free_port()
    dead = silent if silent is not None else set()

    def swallow(sending: bool, data: bytes) -> bytes:  # noqa: FBT001  pymodbus calls it so
        return b"" if sending and data[6] in dead else data

    words = {1: float_words(3.5), 2: [0, 1000]}
    devices = [
        SimDevice(id=unit, simdata=[SimData(0, values=held, datatype=SimType.REGISTERS)])
        for unit, held in words.items()
    ]
    server = ModbusTcpServer(devices, address=(HOST, port), trace_packet=swallow)
    await server.serve_forever(background=True)
    try:
        yield port, server
    finally:
        await server.shutdown()


@contextlib.asynccontextmanager
async def mosquitto(folder: Path, port: int = 0, more: str = "") -> AsyncIterator[int]:
    """Run a private broker."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip("mosquitto is not installed")
    port = port or free_port()
    lines = [
        f"listener {port} {HOST}",
        "persistence false",
        "max_queued_messages 100000",
        more or "allow_anonymous true",
        "user root" if os.geteuid() == 0 else "",
    ]
    path = folder / f"mosquitto-{port}.conf"
    path.write_text("\n".join(lines))
    process = await asyncio.create_subprocess_exec(
        found, "-c", str(path), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await until(lambda: _answers(port))
        yield port
    finally:
        process.terminate()
        await process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex((HOST, port)) == 0


async def until(holds: Callable[[], object], *, within_s: float = 60.0) -> None:
    """Return when `holds()` does; it looks at what other processes and tasks have done."""
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110  what it looks at sets no event of ours
            await asyncio.sleep(0.02)


@dataclass
class Host:
    """A host application of our own: collects everything and acknowledges when it is told to."""

    acknowledges: bool = True
    log: list[tuple[Topic, Payload]] = field(default_factory=list)
    samples: dict[tuple[int, int], Metric] = field(default_factory=dict)
    """Every sample by (epoch, offset)."""
    conflicts: list[tuple[int, int]] = field(default_factory=list)
    """Offsets that came twice with different samples: two samples had one offset."""
    committed: dict[int, int] = field(default_factory=dict)
    """By epoch: every offset below it has arrived."""
    twice: int = 0
    is_online: asyncio.Event = field(default_factory=asyncio.Event)

    def kinds(self) -> list[MessageKind]:
        return [topic.kind for topic, _ in self.log]

    def take(self, topic: Topic, data: bytes) -> None:
        payload = decode(data)
        self.log.append((topic, payload))
        if topic.kind is not MessageKind.DDATA:
            return
        epoch, offset, *others = payload.metrics
        assert (epoch.name, offset.name) == (extension.EPOCH, extension.OFFSET)
        samples = [m for m in others if not m.name.startswith(extension.PREFIX)]
        for n, sample in enumerate(samples):
            key = epoch.value, offset.value + n
            before = self.samples.setdefault(key, sample)
            self.twice += before is not sample
            same = (before.name, before.value, before.timestamp) == (
                sample.name,
                sample.value,
                sample.timestamp,
            )
            if not same:
                self.conflicts.append(key)
        held = self.committed.get(epoch.value, 0)
        while (epoch.value, held) in self.samples:
            held += 1
        self.committed[epoch.value] = held

    async def run(self, port: int) -> None:
        """Be online until cancelled, then say that we are not."""
        at = Instant(START + len(self.log))
        topic = str(Topic(kind=MessageKind.STATE, host="mainwatch"))
        will = aiomqtt.Will(topic, encode_state(online=False, at=at), 1, retain=True)
        async with aiomqtt.Client(HOST, port, identifier="host", will=will) as client:
            await client.subscribe("spBv1.0/demo/#", 1)
            await client.publish(topic, encode_state(online=True, at=at), 1, retain=True)
            self.is_online.set()
            try:
                async for message in client.messages:
                    about = parse_topic(message.topic.value)
                    if about.kind is MessageKind.NCMD:
                        continue
                    self.take(about, message.payload)
                    if self.acknowledges and about.kind in {MessageKind.NBIRTH, MessageKind.DDATA}:
                        await self.acknowledge(client, about)
            finally:
                self.is_online.clear()
                await client.publish(topic, encode_state(online=False, at=at), 1, retain=True)

    async def acknowledge(self, client: aiomqtt.Client, about: Topic) -> None:
        for epoch, offset in self.committed.items():
            command = Topic(kind=MessageKind.NCMD, group=about.group, edge=about.edge)
            held = Ranges()
            for of, n in self.samples:
                if of == epoch and n > offset:
                    held.add(n, n + 1)
            ranges = tuple(held)[:RANGES_MAX]
            await client.publish(str(command), ack(epoch, offset, ranges=ranges))


def ack(epoch: int, offset: int, *, ranges: tuple[tuple[int, int], ...] = ()) -> bytes:
    metrics = [
        Metric(name=extension.ACK_EPOCH, value=epoch, datatype=DataType.UINT64),
        Metric(name=extension.ACK, value=offset, datatype=DataType.UINT64),
    ]
    if ranges:
        held = encode_ranges(ranges, base=offset)
        metrics.append(Metric(name=extension.SACK, value=held, datatype=DataType.BYTES))
    return encode(Payload(timestamp=START, metrics=tuple(metrics)), with_datatypes=False)


REBIRTH = encode(
    Payload(
        timestamp=START,
        metrics=(Metric(name=extension.REBIRTH, value=True, datatype=DataType.BOOLEAN),),
    ),
    with_datatypes=False,
)


@contextlib.asynccontextmanager
async def running(work: Any) -> AsyncIterator[asyncio.Task[Any]]:
    """Run a task beside the body and cancel it afterwards; its failure is the test's."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        yield task
        while not task.done():  # wait_for of Python 3.11 may swallow a cancellation
            task.cancel()
            await asyncio.wait([task], timeout=0.5)
