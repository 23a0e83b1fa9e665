"""A recording onto a live broker, as if its gateways were speaking, each on its connection.

Its first instant becomes now, and what lay a second apart lies a second divided by the speed apart:
the server takes it for the present. What it has not acknowledged is said again.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import aiomqtt

from server.config import BrokerSection
from server.engine.registry import Point
from server.history.recording import Recording
from server.intake.mqtt import client_of, hang_up
from server.replay.runner import Progress, narrowed
from server.replay.session import Asked
from server.replay.speaking import HELD_MAX, Message, Row, Speaker, scans_of, speakers_of
from telemetry import extension as mw
from telemetry.errors import ContractError, Unavailable
from telemetry.instant import SECOND_MS, Clock, Instant
from telemetry.point import PointId
from telemetry.sparkplug import DataType, MessageKind, Topic, decode, decode_state

HOST_WITHIN_MS = 30 * SECOND_MS
"""How long we wait for the server to say that it is there."""

QUIET_MS = 3 * SECOND_MS
"""After so long without an acknowledgement of what is due, it is said again."""

DONE_WITHIN_MS = 30 * SECOND_MS
"""How long the server has for its last acknowledgements."""

_LOOK_MS = 100
_COMMANDS = {
    mw.REBIRTH: DataType.BOOLEAN,
    mw.ACK_EPOCH: DataType.UINT64,
    mw.ACK: DataType.UINT64,
    mw.SACK: DataType.BYTES,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """Where to play it, how fast, and which part of it."""

    broker: BrokerSection
    group: str
    host_id: str
    speed: float
    asked: Asked
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How many samples were sent, and how many of them the server has committed."""

    sent: int
    acknowledged: int


class _Gateway:
    """One edge node on its connection."""

    def __init__(
        self, speaker: Speaker, client: aiomqtt.Client, wishes: Wishes, clock: Clock
    ) -> None:
        self.speaker = speaker
        self._client = client
        self._host = str(Topic(kind=MessageKind.STATE, host=wishes.host_id))
        self._commands = str(Topic(kind=MessageKind.NCMD, group=wishes.group, edge=speaker.edge))
        self._clock = clock
        self._heard_ms = clock.monotonic_ms()
        self._in_order = asyncio.Lock()
        """Messages go out in the order of their sequence numbers, whoever says them."""
        self.is_host_there = asyncio.Event()

    async def listen(self) -> None:
        """Follow the server's state, acknowledgements and requests for births."""
        await self._client.subscribe(self._host, qos=1)
        await self._client.subscribe(self._commands, qos=1)
        async for message in self._client.messages:
            body = message.payload if isinstance(message.payload, bytes) else b""
            try:
                if str(message.topic) == self._host:
                    self._host_said(body)
                else:
                    await self._command(body)
            except ContractError:
                continue  # what is no command of ours is nothing to a replay

    async def born(self) -> None:
        """Publish the births."""
        async with self._in_order:
            for message in self.speaker.births(self._clock.now()):
                await self._publish(message)

    async def say(self, rows: list[Row]) -> None:
        """Publish some samples; wait while too many are not acknowledged."""
        while self.speaker.pending >= HELD_MAX:
            await self._rest()
        async with self._in_order:
            for message in self.speaker.say(rows, at=self._clock.now()):
                await self._publish(message)

    async def settle(self, until_ms: int) -> None:
        """Wait until everything is acknowledged, saying it again meanwhile, then say farewell."""
        while self.speaker.held and self._clock.monotonic_ms() < until_ms:
            await self._rest()
        await self._publish(self.speaker.death(self._clock.now()))

    async def _rest(self) -> None:
        await self._clock.sleep_until(Instant(self._clock.now() + _LOOK_MS))
        if self._clock.monotonic_ms() - self._heard_ms >= QUIET_MS:
            await self._say_again()

    async def _say_again(self) -> None:
        self._heard_ms = self._clock.monotonic_ms()
        async with self._in_order:
            for message in self.speaker.say_again(self._clock.now()):
                await self._publish(message)

    def _host_said(self, body: bytes) -> None:
        if decode_state(body).online:
            self.is_host_there.set()

    async def _command(self, body: bytes) -> None:
        told = {m.name: m.value for m in decode(body, datatypes=_COMMANDS).metrics}
        epoch, offset = told.get(mw.ACK_EPOCH), told.get(mw.ACK)
        if isinstance(epoch, int) and isinstance(offset, int):
            self._heard_ms = self._clock.monotonic_ms()
            self.speaker.acknowledged(epoch, offset)
        if told.get(mw.REBIRTH):
            await self.born()
            await self._say_again()

    async def _publish(self, message: Message) -> None:
        await self._client.publish(message.topic, message.payload, qos=0)


async def play_out(
    recording: Recording, wishes: Wishes, *, clock: Clock, progress: Progress
) -> Done:
    """Play a recording to its end. Raises `Unavailable` when broker or server is not there."""
    registry = narrowed(recording.registry(), zones=wishes.asked.zones, points=wishes.asked.points)
    speakers = speakers_of(
        recording, registry, group=wishes.group, epoch=wishes.epoch, speed=wishes.speed
    )
    where = f"broker {wishes.broker.host}:{wishes.broker.port}"
    try:
        async with _connected(speakers, wishes, clock) as gateways:
            await _speak(recording, registry.points, gateways, wishes, clock, progress)
            until_ms = clock.monotonic_ms() + DONE_WITHIN_MS
            for gateway in gateways:
                await gateway.settle(until_ms)
    except aiomqtt.MqttError as e:
        raise Unavailable(f"{where}: {e}") from e
    except BaseExceptionGroup as group:
        lost = group.subgroup((aiomqtt.MqttError, UnicodeError))
        if lost is None:
            raise
        raise Unavailable(f"{where}: {lost.exceptions[0]}") from group
    return Done(
        sent=sum(s.offset for s in speakers),
        acknowledged=sum(s.acked for s in speakers),
    )


@asynccontextmanager
async def _connected(
    speakers: list[Speaker], wishes: Wishes, clock: Clock
) -> AsyncIterator[list[_Gateway]]:
    """Connect each gateway, wait for the server, publish the births; hang up at the end."""
    gateways: list[_Gateway] = []
    clients: list[aiomqtt.Client] = []
    try:
        async with asyncio.TaskGroup() as group:
            for speaker in speakers:
                death = speaker.death(clock.now())
                will = aiomqtt.Will(topic=death.topic, payload=death.payload, qos=1)
                name = f"{wishes.group}-{speaker.edge}-replay"
                client = client_of(wishes.broker, identifier=name, will=will)
                try:
                    await client.__aenter__()
                except (aiomqtt.MqttError, UnicodeError):
                    hang_up(client)
                    raise
                clients.append(client)
                gateways.append(_Gateway(speaker, client, wishes, clock))
            tasks = [group.create_task(g.listen()) for g in gateways]
            await _host_is_there(gateways, wishes)
            for gateway in gateways:
                await gateway.born()
            yield gateways
            for task in tasks:
                task.cancel()
    finally:
        for client in clients:
            try:
                await client.__aexit__(None, None, None)
            except aiomqtt.MqttError:
                hang_up(client)


async def _host_is_there(gateways: list[_Gateway], wishes: Wishes) -> None:
    try:
        async with asyncio.timeout(HOST_WITHIN_MS / SECOND_MS):
            for gateway in gateways:
                await gateway.is_host_there.wait()
    except TimeoutError:
        raise Unavailable(
            f"broker {wishes.broker.host}:{wishes.broker.port}: expected the server"
            f" {wishes.host_id} to say that it is there, heard nothing in"
            f" {HOST_WITHIN_MS // SECOND_MS} s"
        ) from None


async def _speak(
    recording: Recording,
    known: dict[PointId, Point],
    gateways: list[_Gateway],
    wishes: Wishes,
    clock: Clock,
    progress: Progress,
) -> None:
    """Publish every sample when its time has come."""
    asked = wishes.asked
    origin = recording.begin if asked.start is None else max(asked.start, recording.begin)
    began = clock.now()

    def now_of(at: int) -> Instant:
        return Instant(began + round((at - origin) / wishes.speed))

    played = 0
    for stretch in recording.stretches(asked.start, asked.end, frozenset(known)):
        for came, rows in scans_of(stretch, recording.points, known):
            await clock.sleep_until(now_of(came))
            moved = [replace(row, at=now_of(row.at)) for row in rows]
            for gateway in gateways:
                await gateway.say(moved)
            played += len(rows)
            progress(Instant(came), played)
