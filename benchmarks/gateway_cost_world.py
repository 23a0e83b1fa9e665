"""What the gateway's benchmarks run it against: a field, a broker and a host, each a process."""

import argparse
import asyncio
import json
import multiprocessing
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any, Self

import aiomqtt

from telemetry import extension
from telemetry.instant import Instant
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

HOST = "127.0.0.1"
UNITS = 10
"""Devices behind one port."""

STARTED_MS = 1_790_000_000_000
ACK_S = 0.2


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as s:
        s.bind((HOST, 0))
        port: int = s.getsockname()[1]
        return port


class Broker:
    """A private mosquitto."""

    def __init__(self, folder: Path) -> None:
        found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        if found is None:
            raise SystemExit("mosquitto is not installed: this benchmark needs it")
        self.port = free_port()
        path = folder / "mosquitto.conf"
        user = "user root" if os.geteuid() == 0 else ""
        path.write_text(
            f"listener {self.port} {HOST}\nallow_anonymous true\npersistence false\n"
            f"max_queued_messages 100000\n{user}\n"
        )
        self._command = [found, "-c", str(path)]

    def __enter__(self) -> Self:
        """Start it and wait until it answers."""
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        while True:
            with socket.socket() as s:
                if s.connect_ex((HOST, self.port)) == 0:
                    return self
            threading.Event().wait(0.05)

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


class Field:
    """Modbus TCP devices that answer at once, each answer with numbers of its own."""

    def __init__(self, devices: int, points: int) -> None:
        self._devices = devices
        self._points = points
        self.ports: list[int] = []

    def units(self, port: int) -> range:
        """Return the units behind the n-th port."""
        return range(1, 1 + min(UNITS, self._devices - port * UNITS))

    def __enter__(self) -> Self:
        """Start the process and learn its ports."""
        ports = -(-self._devices // UNITS)
        command = [sys.executable, "-m", "benchmarks.gateway_cost_world"]
        command += ["--ports", str(ports), "--points", str(self._points)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.ports = json.loads(self._process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class _Device(asyncio.Protocol):
    """Answers any read of registers with floats that grow by one with every answer."""

    def __init__(self) -> None:
        self._n = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        while len(data) >= 12:
            count = data[10] << 8 | data[11]
            self._n += 1
            words = struct.pack(">f", 1.0 + self._n % 1_000_000) * (count // 2)
            head = data[:4] + struct.pack(">HBBB", 3 + len(words), data[6], data[7], len(words))
            self._transport.write(head + words)
            data = data[12:]


async def _play(ports: int) -> None:
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(_Device, HOST, 0) for _ in range(ports)]
    print(json.dumps([s.sockets[0].getsockname()[1] for s in servers]), flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()


class Host:
    """A host application that counts samples by offset and acknowledges them."""

    def __init__(self, broker: int) -> None:
        self._counted: Synchronized[int] = multiprocessing.Value("q", 0)
        self._doubled: Synchronized[int] = multiprocessing.Value("q", 0)
        self._process = multiprocessing.Process(
            target=_host, args=(broker, self._counted, self._doubled), daemon=True
        )

    def counted(self) -> int:
        """Return how many samples are committed, each once."""
        return self._counted.value

    def doubled(self) -> int:
        """Return how many came again."""
        return self._doubled.value

    def __enter__(self) -> Self:
        """Start it."""
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.terminate()
        self._process.join()


def _host(broker: int, counted: Any, doubled: Any) -> None:
    asyncio.run(_take(broker, counted, doubled))


async def _take(broker: int, counted: Any, doubled: Any) -> None:
    at = Instant(STARTED_MS)
    topic = str(Topic(kind=MessageKind.STATE, host="mainwatch"))
    will = aiomqtt.Will(topic, encode_state(online=False, at=at), 1, retain=True)
    async with aiomqtt.Client(HOST, broker, identifier="host", will=will) as client:
        await client.subscribe("spBv1.0/bench/#", 1)
        await client.publish(topic, encode_state(online=True, at=at), 1, retain=True)
        async with asyncio.TaskGroup() as group:
            epochs: list[int] = []
            group.create_task(_acknowledge(client, epochs, counted))
            async for message in client.messages:
                if parse_topic(message.topic.value).kind is not MessageKind.DDATA:
                    continue
                assert isinstance(message.payload, bytes)
                first, n, epoch = _first(message.payload)
                epochs[:] = [epoch]
                if first == counted.value:  # the wire is whole and in order here
                    counted.value += n
                else:
                    doubled.value += n if first < counted.value else 0


async def _acknowledge(client: aiomqtt.Client, epochs: list[int], counted: Any) -> None:
    """Acknowledge as a server does that commits five times a second."""
    command = str(Topic(kind=MessageKind.NCMD, group="bench", edge="gw-bench"))
    told = 0
    while True:
        await asyncio.sleep(ACK_S)
        if epochs and counted.value > told:
            told = counted.value
            await client.publish(command, _ack(epochs[0], told))


def _first(data: bytes) -> tuple[int, int, int]:
    epoch, offset, *samples = decode(data).metrics
    assert isinstance(epoch.value, int)
    assert isinstance(offset.value, int)
    return offset.value, len(samples), epoch.value


def _ack(epoch: int, offset: int) -> bytes:
    metrics = (
        Metric(name=extension.ACK_EPOCH, value=epoch, datatype=DataType.UINT64),
        Metric(name=extension.ACK, value=offset, datatype=DataType.UINT64),
    )
    return encode(Payload(timestamp=Instant(STARTED_MS), metrics=metrics), with_datatypes=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--ports", type=int)
    parser.add_argument("--points", type=int)
    asyncio.run(_play(parser.parse_args().ports))
