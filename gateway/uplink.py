"""The uplink: the edge session over an MQTT broker, connection after connection."""

import asyncio
import contextlib
import logging
import random
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import assert_never

import aiomqtt

from gateway.config import BrokerSection
from gateway.core.edge_session import (
    KEEPALIVE_S,
    Confirm,
    EdgeSession,
    Leave,
    Output,
    Publish,
    Rewind,
)
from gateway.outbox import OneThread, Outbox
from gateway.pace import Pace
from telemetry.errors import ConfigError
from telemetry.instant import Clock
from telemetry.sparkplug import MessageKind

log = logging.getLogger("mainwatch.gateway.uplink")

CONNECT_S = 8.0
"""Patience with a broker that takes our connection and says nothing."""

BACKOFF_MIN_S = 0.5
BACKOFF_MAX_S = 30.0
LASTING_MS = 5_000
"""A connection that lived so long was none of the failures that we back off from."""

INCOMING_MAX = 1_000
"""Messages that wait for us; beyond it they are discarded, which acknowledgements bear."""


class _Left(Exception):
    """The session wants to leave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """How to reach the broker, with what its files say."""

    host: str
    port: int
    username: str | None
    password: str | None = field(repr=False)
    tls: ssl.SSLContext | None

    @property
    def where(self) -> str:
        """Return the broker as a person would look it up."""
        return f"broker {self.host}:{self.port} ([broker] host, port)"


def read_broker(section: BrokerSection) -> Broker:
    """Return the broker with its password and certificates. Raises `ConfigError`."""
    password = None
    if section.password_file is not None:
        try:
            password = section.password_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as e:
            raise ConfigError(
                f"broker.password_file: {section.password_file} cannot be read: {e}"
            ) from e
    tls = None
    if section.ca_file is not None:
        try:
            tls = ssl.create_default_context(cafile=section.ca_file)
        except OSError as e:
            raise ConfigError(f"broker.ca_file: {section.ca_file} cannot be used: {e}") from e
    if tls is not None and section.cert_file is not None:
        try:
            tls.load_cert_chain(section.cert_file, section.key_file)
        except OSError as e:
            raise ConfigError(
                f"broker.cert_file: {section.cert_file} cannot be used with"
                f" broker.key_file {section.key_file}: {e}"
            ) from e
    return Broker(
        host=section.host,
        port=section.port,
        username=section.username,
        password=password,
        tls=tls,
    )


async def probe(broker: Broker, *, identifier: str) -> None:
    """Raise `ConfigError` when the broker refuses us; a broker that is away refuses nobody."""
    client = _client(broker, identifier=identifier, will=None)
    try:
        async with client:
            pass
    except aiomqtt.MqttCodeError as e:
        raise ConfigError(f"{broker.where} refuses the connection: {e}") from e
    except aiomqtt.MqttError:
        _hang_up(client)


class Uplink:
    """The one task that talks to the broker."""

    def __init__(
        self,
        *,
        broker: Broker,
        session: EdgeSession,
        outbox: Outbox,
        thread: OneThread,
        clock: Clock,
    ) -> None:
        node = session.node
        self.session = session
        self._broker = broker
        self._outbox = outbox
        self._thread = thread
        self._clock = clock
        self.pace = Pace(clock)
        self._identifier = f"{node.group}-{node.edge}"
        self._jitter = random.Random(self._identifier)  # noqa: S311  to spread reconnections
        self._lock = asyncio.Lock()
        """Held from a question to the session until its outputs are carried out: `seq` is order."""
        self._wake = asyncio.Event()
        self._leaving = asyncio.Event()
        self._bdseq: int | None = None
        self._is_up: bool | None = None

    def wake(self) -> None:
        """Say that there is something to do: rows are stored, or it is time to leave."""
        self._wake.set()

    def leave(self) -> None:
        """Say farewell and end `run`."""
        self._leaving.set()
        self._wake.set()

    async def run(self) -> None:
        """Keep the session connected until `leave`."""
        backoff_s = BACKOFF_MIN_S
        while not self._leaving.is_set():
            began_ms = self._clock.monotonic_ms()
            because = await self._attempt()
            self.session.lost()
            if self._leaving.is_set():
                return
            self._note(is_up=False, because=because)
            if self._clock.monotonic_ms() - began_ms >= LASTING_MS:
                backoff_s = BACKOFF_MIN_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff_s * self._jitter.uniform(0.5, 1.0)):
                    await self._leaving.wait()
            backoff_s = min(BACKOFF_MAX_S, 2 * backoff_s)

    async def _attempt(self) -> str:
        """Make one connection and return why it ended."""
        because = ""
        was_sent = True
        if self._bdseq is None:
            self._bdseq = await self._thread(self._outbox.next_bdseq)
        will = self.session.will(bdseq=self._bdseq, at=self._clock.now())
        client = _client(self._broker, identifier=self._identifier, will=will)
        try:
            await self._connection(client)
        except* aiomqtt.MqttError as group:
            error = group.exceptions[0]
            because = str(error)
            unreached = error.__context__
            was_sent = not isinstance(unreached, OSError) or isinstance(unreached, TimeoutError)
            _hang_up(client)
        except* _Left as group:
            because = str(group.exceptions[0])
        if was_sent:  # otherwise there was no CONNECT, and its number is still free
            self._bdseq = None
        return because

    async def _connection(self, client: aiomqtt.Client) -> None:
        session = self.session
        async with client:
            try:
                topics = [(session.node.topic(MessageKind.NCMD), 1)]
                if session.node.host:
                    topics.append((session.node.state_topic, 1))
                await client.subscribe(topics)
                self._note(is_up=True, because="")
                async with asyncio.TaskGroup() as group:
                    listener = group.create_task(self._listen(client))
                    await self._drive(client)
                    listener.cancel()
            finally:
                # DISCONNECT takes the will back, so whatever ends us, the death is told before it.
                with contextlib.suppress(aiomqtt.MqttError, _Left):
                    await self._carry_out(client, session.leaving(at=self._clock.now()))

    async def _listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = message.payload
            assert isinstance(payload, bytes)
            async with self._turn():
                at, now_ms = self._clock.now(), self._clock.monotonic_ms()
                said = self.session.received(message.topic.value, payload, at=at, now_ms=now_ms)
                await self._carry_out(client, said)
            self._wake.set()

    async def _drive(self, client: aiomqtt.Client) -> None:
        clock, session = self._clock, self.session
        async with self._lock:
            said = session.connected(at=clock.now(), now_ms=clock.monotonic_ms())
            await self._carry_out(client, said)
        while not self._leaving.is_set():
            self._wake.clear()
            async with self._turn():
                said = session.tick(at=clock.now(), now_ms=clock.monotonic_ms())
                await self._carry_out(client, said)
                wanted = session.wants()
                if wanted is not None:
                    offset, count = wanted
                    rows = await self._thread(self._outbox.read, offset, rows=count)
                    at, now_ms = clock.now(), clock.monotonic_ms()
                    await self._carry_out(client, session.send(rows, at=at, now_ms=now_ms))
            if session.wants() is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        await self._wake.wait()

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        async with self._lock:
            with self.pace.sending():
                yield

    async def _carry_out(self, client: aiomqtt.Client, outputs: Sequence[Output]) -> None:
        for output, after in zip_longest(outputs, outputs[1:]):
            match output:
                case Publish() if isinstance(after, Publish):
                    _queue(client, output)  # in order, and written before the last of them
                case Publish():
                    await client.publish(output.topic, output.payload, qos=output.qos)
                case Confirm():
                    await self._thread(self._outbox.acknowledge, output.offset)
                case Rewind():
                    log.warning(
                        "the server has lost what it had: sent again from %d", output.offset
                    )
                    await self._thread(self._outbox.rewind, output.offset)
                case Leave():
                    raise _Left(output.because)
                case _:
                    assert_never(output)

    def _note(self, *, is_up: bool, because: str) -> None:
        if is_up is not self._is_up:
            self._is_up = is_up
            if is_up:
                log.info("%s: connected", self._broker.where)
            else:
                log.warning("%s: not connected, storing meanwhile: %s", self._broker.where, because)


def _client(broker: Broker, *, identifier: str, will: Publish | None) -> aiomqtt.Client:
    """Return a client for one connection: a will belongs to one CONNECT."""
    return aiomqtt.Client(
        broker.host,
        broker.port,
        identifier=identifier,
        username=broker.username,
        password=broker.password,
        tls_context=broker.tls,
        protocol=aiomqtt.ProtocolVersion.V311,
        clean_session=True,
        keepalive=KEEPALIVE_S,
        timeout=CONNECT_S,
        max_queued_incoming_messages=INCOMING_MAX,
        will=None if will is None else aiomqtt.Will(will.topic, will.payload, will.qos),
    )


def _queue(client: aiomqtt.Client, message: Publish) -> None:
    """Give a message to the client without waiting until it is written. Raises `MqttError`."""
    said = client._client.publish(message.topic, message.payload, message.qos)  # noqa: SLF001  the public way waits
    if said.rc:
        raise aiomqtt.MqttCodeError(said.rc, "could not publish")


def _hang_up(client: aiomqtt.Client) -> None:
    """Close the socket of a connection that failed: aiomqtt leaves that of a late CONNACK open."""
    client._client.disconnect()  # noqa: SLF001  there is no public way
