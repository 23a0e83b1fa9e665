"""The server's MQTT connection: every message goes to the door, undecoded; acknowledgements go out.

A Sparkplug host application: its Will is STATE offline, its first publication STATE online with the
same instant. A new client is made for every connection, as the Will carries that instant.
"""

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt

from server.config import BrokerSection
from server.engine.effects import AckDue, RebirthDue
from telemetry import extension as mw
from telemetry.errors import ConfigError, ContractError, Unavailable
from telemetry.instant import Instant
from telemetry.ranges import encode_ranges
from telemetry.sparkplug import (
    DataType,
    MessageKind,
    Metric,
    Payload,
    Topic,
    decode_state,
    encode,
    encode_state,
)

log = logging.getLogger("mainwatch.intake")

KEEPALIVE_S = 15
CONNECT_TIMEOUT_S = 8
WAITING_MAX = 50_000
"""Messages held between the socket and the door. Above it the newest are discarded by the client
library; our gateways send again what is not acknowledged, of others it is lost."""


class Link:
    """One connection, from CONNECT to its end."""

    def __init__(self, client: aiomqtt.Client, *, host_id: str, born_at: Instant) -> None:
        self._client = client
        self._state = str(Topic(kind=MessageKind.STATE, host=host_id))
        self._born_at = born_at
        self._is_leaving = False

    async def open(self, groups: tuple[str, ...]) -> None:
        """Subscribe, then say that the host is online."""
        try:
            await self._client.subscribe(self._state, qos=1)
            for group in groups:
                await self._client.subscribe(f"{mw.NAMESPACE}/{group}/#", qos=0)
        except aiomqtt.MqttError as e:
            raise Unavailable(str(e)) from e
        await self._say_online()

    async def messages(self) -> AsyncIterator[list[tuple[str, bytes]]]:
        """Yield topic and payload of everything that edge nodes send, as many as there are at once.

        Raises `Unavailable` when the connection ends.
        """
        # One wait for all that has come: a task for each message is dearer than all else about it.
        queue = self._client._queue  # noqa: SLF001  there is no public way to take without a wait
        try:
            async for first in self._client.messages:
                waiting = [first]
                while not queue.empty():
                    waiting.append(queue.get_nowait())
                found = []
                for message in waiting:
                    topic, payload = message.topic.value, message.payload
                    body = payload if isinstance(payload, bytes) else str(payload or "").encode()
                    if topic == self._state:
                        await self._answer_state(body)
                    else:
                        found.append((topic, body))
                yield found
        except aiomqtt.MqttError as e:
            raise Unavailable(str(e)) from e

    async def acknowledge(self, ack: AckDue, *, at: Instant) -> None:
        """Tell an edge node what is committed."""
        metrics = [
            Metric(name=mw.ACK_EPOCH, value=ack.epoch, datatype=DataType.UINT64, timestamp=at),
            Metric(name=mw.ACK, value=ack.offset, datatype=DataType.UINT64, timestamp=at),
        ]
        if ack.ranges:
            sack = encode_ranges(ack.ranges, base=ack.offset)
            metrics.append(Metric(name=mw.SACK, value=sack, datatype=DataType.BYTES, timestamp=at))
        await self._command(ack.group, ack.edge, metrics, at)

    async def ask_rebirth(self, due: RebirthDue, *, at: Instant) -> None:
        """Ask an edge node to publish its births again."""
        rebirth = Metric(name=mw.REBIRTH, value=True, datatype=DataType.BOOLEAN, timestamp=at)
        await self._command(due.group, due.edge, [rebirth], at)

    async def say_offline(self, *, at: Instant) -> None:
        """Say that the host goes away on purpose."""
        self._is_leaving = True
        await self._publish(self._state, encode_state(online=False, at=at), qos=1, retain=True)

    async def _command(self, group: str, edge: str, metrics: list[Metric], at: Instant) -> None:
        topic = Topic(kind=MessageKind.NCMD, group=group, edge=edge)
        body = encode(Payload(timestamp=at, metrics=tuple(metrics)), with_datatypes=False)
        await self._publish(str(topic), body, qos=0, retain=False)

    async def _say_online(self) -> None:
        body = encode_state(online=True, at=self._born_at)
        await self._publish(self._state, body, qos=1, retain=True)

    async def _answer_state(self, body: bytes) -> None:
        """Put it right when somebody, such as our own late Will, says that we are offline."""
        try:
            online = decode_state(body).online
        except ContractError:
            online = False
        if not online and not self._is_leaving:
            await self._say_online()

    async def _publish(self, topic: str, body: bytes, *, qos: int, retain: bool) -> None:
        try:
            await self._client.publish(topic, body, qos=qos, retain=retain)
        except aiomqtt.MqttError as e:
            raise Unavailable(str(e)) from e


@asynccontextmanager
async def connect(
    broker: BrokerSection, *, host_id: str, groups: tuple[str, ...], at: Instant
) -> AsyncIterator[Link]:
    """Connect as the host and announce it. Raises `Unavailable` when that does not succeed."""
    will = aiomqtt.Will(
        topic=str(Topic(kind=MessageKind.STATE, host=host_id)),
        payload=encode_state(online=False, at=at),
        qos=1,
        retain=True,
    )
    client = client_of(broker, identifier=f"{host_id}-host", will=will)
    try:
        await client.__aenter__()
    except (aiomqtt.MqttError, UnicodeError) as e:
        hang_up(client)
        raise Unavailable(f"broker {broker.host}:{broker.port}: {e}") from e
    try:
        link = Link(client, host_id=host_id, born_at=at)
        await link.open(groups)
        yield link
    finally:
        try:
            await client.__aexit__(None, None, None)
        except aiomqtt.MqttError as e:
            hang_up(client)
            log.debug("broker %s:%s: %s", broker.host, broker.port, e)


async def probe(broker: BrokerSection, *, host_id: str) -> None:
    """Raise `ConfigError` when the broker cannot be reached or refuses us; touch nothing there."""
    client = client_of(broker, identifier=f"{host_id}-probe", will=None)
    try:
        async with client:
            return
    except (aiomqtt.MqttError, UnicodeError) as e:  # a name that is none has no IDNA form
        hang_up(client)
        where = f"{broker.host}:{broker.port}"
        raise ConfigError(
            f"broker: expected a broker that lets us in at {where}, found: {e}"
        ) from e


def client_of(
    broker: BrokerSection, *, identifier: str, will: aiomqtt.Will | None
) -> aiomqtt.Client:
    """Return a client that has not connected yet. Raises `ConfigError` for files it cannot use."""
    return aiomqtt.Client(
        broker.host,
        broker.port,
        identifier=identifier,
        protocol=aiomqtt.ProtocolVersion.V311,
        clean_session=True,
        keepalive=KEEPALIVE_S,
        timeout=CONNECT_TIMEOUT_S,
        username=broker.username,
        password=_secret(broker.password_file),
        will=will,
        tls_context=_tls(broker),
        max_queued_incoming_messages=WAITING_MAX,
        logger=logging.getLogger("mainwatch.mqtt"),
    )


def hang_up(client: aiomqtt.Client) -> None:
    """Close the socket of a connection that failed: aiomqtt leaves that of a late CONNACK open."""
    client._client.disconnect()  # noqa: SLF001  there is no public way


def _secret(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"broker.password_file: {path} cannot be read: {e}") from e


def _tls(broker: BrokerSection) -> ssl.SSLContext | None:
    if broker.ca_file is None:
        return None
    try:
        context = ssl.create_default_context(cafile=broker.ca_file)
        if broker.cert_file is not None:
            context.load_cert_chain(broker.cert_file, broker.key_file)
    except OSError as e:
        raise ConfigError(f"broker: ca_file, cert_file or key_file cannot be used: {e}") from e
    return context
