"""The InfluxDB sink: a process of its own that gives InfluxDB whatever the historian has taken in.

At least once, in one request at a time; a line that comes again overwrites itself. Whatever happens
to the server, the intake and the engine neither wait nor know.
"""

import asyncio
import hashlib
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from server.config import InfluxSection, ServerConfig
from server.history.delivery import Answer, Backoff, Delivery, Meaning, Refused
from server.history.influx_client import TEXT_MAX, Influx
from server.history.line_protocol import Encoder
from server.history.sink_ledger import Ledger
from server.history.sink_source import Source, Work
from server.supervisor import unless
from telemetry.errors import ConfigError, StorageError
from telemetry.instant import Clock

log = logging.getLogger("mainwatch.influx")

Ready = Callable[[dict[str, Any]], None]
Pause = Callable[[float], Awaitable[None]]

IDLE_S = 0.5
"""How often an empty queue is looked at."""

STOPPED_S = 60.0
"""How often a server that wants a person is asked again: what was put right needs no restart."""

TELL_EVERY_S = 5.0
"""How often the ledger says that the sink is alive."""


class Server(Protocol):
    """Where lines go."""

    async def post(self, lines: Sequence[bytes]) -> Answer:
        """Send lines in one request and return what came of it; raises nothing."""
        ...


async def run(config: ServerConfig, *, clock: Clock, ready: Ready, stop: asyncio.Event) -> None:
    """Run the sink until `stop`. Raises `StorageError` when a file refuses."""
    section = config.influx
    if section is None:
        raise ConfigError("influx: expected the table, found none")
    data = config.server.data
    seed = hashlib.sha256(config.server.host_id.encode()).digest()
    ledger = Ledger(data / "influx.db")
    source = Source(data / "historian.db")
    server = Influx(section, clock)
    try:
        sink = Sink(
            section,
            source=source,
            ledger=ledger,
            server=server,
            clock=clock,
            chance=random.Random(seed),  # noqa: S311  jitter, not a secret
        )
        ready({"influx": section.url, "bucket": section.bucket})
        await unless(stop, sink.run())
    finally:
        await server.close()
        source.close()
        ledger.close()


class Sink:
    """Takes what is next, delivers it, and writes down that it is done."""

    def __init__(
        self,
        section: InfluxSection,
        *,
        source: Source,
        ledger: Ledger,
        server: Server,
        clock: Clock,
        chance: random.Random,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self._section = section
        self._source = source
        self._ledger = ledger
        self._server = server
        self._clock = clock
        self._pause = pause
        self._limit = section.batch_lines
        self._backoff = Backoff(chance)
        self._encoder = Encoder()
        self._told = replace(ledger.told, state="delivering", because="", since=clock.now())
        self._writing = asyncio.Lock()

    async def run(self) -> None:
        """Deliver for ever, and say so every few seconds."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_telling())
            tasks.create_task(self._keep_delivering())

    async def _keep_delivering(self) -> None:
        while True:
            if not await self.deliver_next():
                await self._pause(IDLE_S)

    async def _keep_telling(self) -> None:
        while True:
            await self._write()
            await asyncio.sleep(TELL_EVERY_S)

    async def deliver_next(self) -> bool:
        """Deliver one batch, however long it takes; say whether there was any."""
        ledger = self._ledger
        try:
            work = await asyncio.to_thread(self._source.next, ledger.done, ledger.at_work)
        except StorageError as e:  # a damaged day of history must not keep live values back
            await self._turn("stopped", str(e))
            await self._pause(STOPPED_S)
            return True
        if work is None:
            return False
        encoded = self._encoder.encode(work.rows)
        refused = [
            Refused(line=repr(row).encode(), because="no tag can hold the id of this point")
            for row in encoded.unsayable
        ]
        delivery = await self._deliver(encoded.lines)
        refused += delivery.refused
        if refused:
            log.warning(
                "influx: %d lines refused for good and put aside, the first: %s: %s",
                len(refused),
                refused[0].line.decode(errors="replace")[:TEXT_MAX],
                refused[0].because,
            )
        self._told = replace(
            self._told,
            delivered=self._told.delivered + delivery.taken,
            without_value=self._told.without_value + encoded.without_value,
            refused=self._told.refused + len(refused),
            expired=self._told.expired + delivery.expired,
        )
        await self._write(work, refused)
        return True

    async def _deliver(self, lines: Sequence[bytes]) -> Delivery:
        delivery = Delivery(lines=lines, limit=self._limit)
        while delivery.piece:
            answer = await self._server.post(delivery.piece)
            match delivery.answered(answer):
                case Meaning.AGAIN:
                    await self._turn("waiting", answer.words)
                    await self._pause(self._backoff.failed(answer.retry_after_s))
                case Meaning.STOP:
                    await self._turn("stopped", answer.words)
                    await self._pause(STOPPED_S)
                    delivery = Delivery(lines=lines, limit=self._limit)
                case _:
                    self._backoff.succeeded()
                    await self._turn("delivering", "")
                    self._limit = min(self._limit, delivery.limit)
        return delivery

    async def _turn(self, state: str, because: str) -> None:
        """Note how it goes; it is told at once, and logged, when that changes."""
        is_new = state != self._told.state
        self._told = replace(self._told, state=state, because=because)
        if not is_new:
            return
        self._told = replace(self._told, since=self._clock.now())
        await self._write()
        where = f"influx {self._section.url}"
        match state:
            case "delivering":
                log.info("%s: takes our lines again", where)
            case "waiting":
                log.warning("%s: away: %s; nothing is lost meanwhile", where, because)
            case _:
                log.error(
                    "%s: needs a person: %s; asked again every %.0f s, nothing is lost meanwhile",
                    where,
                    because,
                    STOPPED_S,
                )

    async def _write(self, work: Work | None = None, refused: Sequence[Refused] = ()) -> None:
        """Write down how it is and, of a batch that was delivered, that it is done."""
        async with self._writing:
            self._told = replace(self._told, written_at=self._clock.now())
            ledger = self._ledger
            done, at_work = (
                (ledger.done, ledger.at_work) if work is None else (work.done, work.at_work)
            )
            await asyncio.to_thread(
                ledger.settle, done=done, at_work=at_work, told=self._told, refused=refused
            )
