"""The intake's one loop: messages, ticks and commands in; acknowledgements and wake-ups out.

Everything waits in one bounded queue and passes the door in batches (group commit). At the bound
the broker's reader waits, and what it cannot hold the gateways send again; nothing is acknowledged
before it is committed.
"""

import asyncio
import json
import logging
from collections.abc import Collection, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from server.config import ServerConfig
from server.engine.commands import CHANGE_REGISTRY, TRAIN
from server.engine.events import (
    Arrived,
    Commanded,
    Linked,
    ModelPublished,
    RegistryChanged,
    Tick,
)
from server.engine.registry import Registry
from server.history.reader import Reader
from server.intake import mqtt
from server.intake.door import Door, Outgoing, Unstamped
from server.learning.past import HistorianPast
from server.learning.trainer import Trainer
from telemetry.errors import StorageError, Unavailable
from telemetry.instant import SECOND_MS, Clock, Instant

log = logging.getLogger("mainwatch.intake")

QUEUE_MAX = 20_000
BATCH_MAX = 5_000
GROUP_COMMIT_S = 0.05
"""How long the first message of a batch waits for company: at most 20 commits a second."""
CROWD = 200
"""Messages that are company enough: with so many waiting nobody waits for more."""
KEEP_EVERY_S = 1.0
"""How often it is looked whether a segment is to be sealed or a checkpoint to be written."""
LEARN_EVERY_S = 20.0
"""How often it is looked whether something is to be learnt: once a day there is, or when asked."""
RECONNECT_S = (0.5, 1.0, 2.0, 4.0, 8.0)
CANCEL_AGAIN_S = 0.5
COMMAND_MAX = 64_000_000
"""Bytes of one command line on the local socket: a registry of 100,000 points has room."""

UNREAD_MAX = 1_000_000
"""Bytes that wait for a desk; one that reads has next to none."""

_COMMAND_KEYS = ("key", "actor", "verb", "subject", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    make: Unstamped
    committed: asyncio.Future[int] | None = None


class Intake:
    """Feeds the door and carries out what it lets out."""

    def __init__(
        self, config: ServerConfig, door: Door, clock: Clock, trainer: Trainer | None = None
    ) -> None:
        self._trainer = trainer
        self._config = config
        self._door = door
        self._clock = clock
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(QUEUE_MAX)
        self._link: mqtt.Link | None = None
        self._desks: dict[int, asyncio.StreamWriter] = {}
        self._asked_to_learn = asyncio.Event()

    async def run(self, socket_path: Path, stop: asyncio.Event, ready: asyncio.Event) -> None:
        """Run until `stop`. Raises `StorageError` when the disk refuses."""
        server = await asyncio.start_unix_server(self._serve_desk, socket_path, limit=COMMAND_MAX)
        socket_path.chmod(0o600)
        try:
            async with server, asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(self._pass_the_door()),
                    tasks.create_task(self._tick()),
                    tasks.create_task(self._stay_linked()),
                    tasks.create_task(self._keep()),
                    tasks.create_task(self._learn()),
                ]
                ready.set()
                await stop.wait()
                if self._link is not None:
                    with suppress(Unavailable):
                        await self._link.say_offline(at=self._door.now())
                await _end(running)
                for desk in self._desks.values():
                    desk.close()
        finally:
            socket_path.unlink(missing_ok=True)

    async def _pass_the_door(self) -> None:
        while True:
            batch = [await self._queue.get()]
            if self._queue.qsize() < CROWD:
                await asyncio.sleep(GROUP_COMMIT_S)
            while len(batch) < BATCH_MAX and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            out = await asyncio.to_thread(self._door.admit, [w.make for w in batch])
            for waiting in batch:
                if waiting.committed is not None and not waiting.committed.done():
                    waiting.committed.set_result(out.through)
            await self._let_out(out)

    async def _let_out(self, out: Outgoing) -> None:
        if out.recorded:
            self._tell_desks({"effects": out.through})
        if self._link is None:
            return
        now = self._clock.now()
        link = self._link
        with suppress(Unavailable):  # its reader says so if it lasts; gateways send again
            for ack in out.acks:
                await link.acknowledge(ack, at=now)
            for due in out.rebirths:
                log.info("asking %s/%s for its births: %s", due.group, due.edge, due.because)
                await link.ask_rebirth(due, at=now)

    async def _tick(self) -> None:
        at = Instant(self._clock.now() // SECOND_MS * SECOND_MS)
        while True:
            second = self._clock.now() // SECOND_MS * SECOND_MS
            # The clock may be set: then it ticks on, and the door judges what time it is.
            at = Instant(min(max(at + SECOND_MS, second), second + 2 * SECOND_MS))
            await self._clock.sleep_until(at)
            await self._queue.put(_Waiting(make=lambda stamp: Tick(at=stamp)))

    async def _keep(self) -> None:
        """Look after the journal while messages go on passing the door."""
        while True:
            await asyncio.to_thread(self._door.keep)
            await asyncio.sleep(KEEP_EVERY_S)

    async def _learn(self) -> None:
        """Train what is due on the historian's past; what was learnt passes the door as events."""
        while self._trainer is not None:
            self._asked_to_learn.clear()
            for event in await asyncio.to_thread(self._lessons, self._trainer, self._door.now()):
                await self._queue.put(_Waiting(make=partial(_stamped, event)))
            with suppress(TimeoutError):
                async with asyncio.timeout(LEARN_EVERY_S):
                    await self._asked_to_learn.wait()

    def _lessons(self, trainer: Trainer, now: Instant) -> list[ModelPublished]:
        registry, clean = self._door.registry, self._door.clean
        if not trainer.zones_due(registry, now, clean=clean):
            return []
        try:
            self._door.wait_for_history()  # at a first start the imported past is on its way
            with closing(Reader(self._config.server.data / "historian.db")) as reader:
                return trainer.train(registry, HistorianPast(reader), at=now, clean=clean)
        except StorageError as e:
            log.warning("nothing was learnt now, it will be tried again: %s", e)
            return []

    async def _stay_linked(self) -> None:
        broker = self._config.broker
        where = f"{broker.host}:{broker.port}"
        failures = 0
        while True:
            try:
                async with mqtt.connect(
                    broker,
                    host_id=self._config.server.host_id,
                    groups=self._config.server.groups,
                    at=self._door.now(),
                ) as link:
                    log.info("broker %s: connected", where)
                    failures = 0
                    await self._read(link)
            except Unavailable as e:
                if failures == 0:
                    log.warning("broker %s: lost: %s", where, e)
            self._link = None
            if failures == 0:
                await self._queue.put(_Waiting(make=lambda at: Linked(at=at, up=False)))
            await asyncio.sleep(RECONNECT_S[min(failures, len(RECONNECT_S) - 1)])
            failures += 1

    async def _read(self, link: mqtt.Link) -> None:
        await self._queue.put(_Waiting(make=lambda at: Linked(at=at, up=True)))
        self._link = link
        try:
            async for messages in link.messages():
                for topic, payload in messages:
                    make = partial(_arrived, topic, payload)
                    await self._queue.put(_Waiting(make=make))
        finally:
            self._link = None

    async def _serve_desk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._desks[id(writer)] = writer
        try:
            while line := await reader.readline():
                writer.write(_line(await self._command(line)))
                await writer.drain()
        except (ConnectionError, ValueError, asyncio.CancelledError) as e:
            log.debug("a desk has gone: %r", e)
        finally:
            del self._desks[id(writer)]
            writer.close()

    async def _command(self, line: bytes) -> dict[str, Any]:
        try:
            body = json.loads(line)
        except ValueError:
            body = None
        if not isinstance(body, dict) or not all(
            isinstance(body.get(k), str) for k in _COMMAND_KEYS
        ):
            keys = ", ".join(_COMMAND_KEYS)
            return {"refused": "", "because": f"expected a JSON object with the texts {keys}"}
        fields = {k: body[k] for k in _COMMAND_KEYS}
        if fields["verb"] == CHANGE_REGISTRY and (said := await self._registry(body)):
            return {"refused": fields["key"], "because": said}
        committed = asyncio.get_running_loop().create_future()
        await self._queue.put(_Waiting(make=partial(_commanded, fields), committed=committed))
        seq = await committed
        if fields["verb"] == TRAIN:
            self._asked_to_learn.set()
        return {"journalled": fields["key"], "seq": seq}

    async def _registry(self, body: dict[str, Any]) -> str:
        """Let the registry of a command pass the door before it; return why it may not."""
        try:
            registry = Registry.from_json(body["registry"])
        except (KeyError, TypeError, ValueError) as e:
            return f"expected a registry with zones and points: {e!r}"
        if registry != self._door.registry:  # a desk says it again until it is answered
            await self._queue.put(_Waiting(make=partial(_changed, registry)))
        return ""

    def _tell_desks(self, body: Mapping[str, Any]) -> None:
        """Wake every desk; one that does not listen is cut off rather than waited for."""
        for writer in list(self._desks.values()):
            writer.write(_line(body))
            if writer.transport.get_write_buffer_size() > UNREAD_MAX:
                log.warning("a desk does not listen: its connection is cut")
                writer.transport.abort()


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have gone: in Python 3.11 a wait may swallow a cancellation."""
    alive = set(tasks)
    while alive:
        for task in alive:
            task.cancel()
        _gone, alive = await asyncio.wait(alive, timeout=CANCEL_AGAIN_S)


def _arrived(topic: str, payload: bytes, at: Instant) -> Arrived:
    return Arrived(at=at, topic=topic, payload=payload)


def _changed(registry: Registry, at: Instant) -> RegistryChanged:
    return RegistryChanged(at=at, registry=registry)


def _commanded(fields: dict[str, str], at: Instant) -> Commanded:
    return Commanded(at=at, **fields)


def _line(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _stamped(event: ModelPublished, at: Instant) -> ModelPublished:
    return replace(event, at=at)
