"""The gateway's wiring: lines that poll, one task that stores, one uplink."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Collection, Mapping

from gateway.config import GatewayConfig, problems
from gateway.core.device import Scan
from gateway.core.edge_session import EdgeSession
from gateway.core.messages import Node
from gateway.core.pulse import CounterState
from gateway.devices import births_of, device_of, open_line
from gateway.outbox import OneThread, Outbox
from gateway.poller import Poller
from gateway.port_memory import BY_ID, PortMemory
from gateway.uplink import Uplink, probe, read_broker
from telemetry.errors import ConfigError, MainwatchError
from telemetry.instant import Clock
from telemetry.point import PointId
from telemetry.register_map import RegisterMap

log = logging.getLogger("mainwatch.gateway")

COMMIT_S = 1.0
"""All scans of a second are one commit: a power cut loses no more than that."""

CANCEL_AGAIN_S = 0.5
FAREWELL_S = 5.0
"""How long a broker that does not answer may hold up the end."""

QUEUE_SCANS_PER_DEVICE = 10
"""Scans that wait for the disk: two seconds of the fastest polling. Then polls wait, are skipped
and counted, and nothing that was read is thrown away."""


async def run(
    config: GatewayConfig,
    maps: Mapping[str, RegisterMap],
    *,
    clock: Clock,
    ready: Callable[[dict[str, object]], None],
    stop: asyncio.Event,
) -> None:
    """Run the gateway until `stop`. Raises `ConfigError` before anything is started."""
    if found := problems(config, maps):
        raise ConfigError("; ".join(found))
    broker = read_broker(config.broker)
    births = {d.id: births_of(d, maps[d.map]) for line in config.line for d in line.device}
    thread = OneThread()
    try:
        outbox = await thread(
            Outbox,
            config.gateway.data,
            max_bytes=config.outbox.max_mb * 1_000_000,
            births=births,
        )
        try:
            node = Node(
                group=config.gateway.group,
                edge=config.gateway.id,
                host=config.gateway.primary_host,
                is_acknowledged=config.gateway.acknowledgement == "mainwatch",
            )
            try:
                await probe(broker, identifier=f"{node.group}-{node.edge}")
            except ConfigError as e:
                if not outbox.was_acknowledged:
                    raise
                log.warning("%s; storing meanwhile", e)
            session = EdgeSession(
                node=node,
                births=births,
                epoch=outbox.epoch,
                acked=outbox.acked,
                head=outbox.head,
                tail=outbox.tail,
            )
            uplink = Uplink(
                broker=broker, session=session, outbox=outbox, thread=thread, clock=clock
            )
            store = _Store(
                outbox=outbox,
                thread=thread,
                session=session,
                wake=uplink.wake,
                scans_max=QUEUE_SCANS_PER_DEVICE * len(births),
            )
            states = await thread(outbox.counters)
            pollers = _pollers(config, maps, states, clock=clock, store=store)
            devices = {n: d for p in pollers for n, d in p.statistics.devices.items()}
            session.vitals_of = lambda name: devices[name].vitals() if name in devices else {}
            points = sum(len(metrics) for metrics in births.values())
            told: dict[str, object] = {"gateway": node.edge, "points": points}
            await _serve(pollers, store, uplink, started=lambda: ready(told), stop=stop)
        finally:
            await thread(outbox.close)
    finally:
        thread.close()


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have gone: in Python 3.11 a wait may swallow a cancellation."""
    alive = set(tasks)
    while alive:
        for task in alive:
            task.cancel()
        _gone, alive = await asyncio.wait(alive, timeout=CANCEL_AGAIN_S)


async def _serve(
    pollers: list[Poller],
    store: "_Store",
    uplink: Uplink,
    *,
    started: Callable[[], None],
    stop: asyncio.Event,
) -> None:
    """Poll, store and send until `stop`; then end them in that order, so that nothing is left."""
    try:
        async with asyncio.TaskGroup() as group:
            polling = [group.create_task(poller.run()) for poller in pollers]
            storing = group.create_task(store.run())
            sending = group.create_task(uplink.run())
            started()
            await stop.wait()
            await _end(polling)
            store.end()
            await storing
            uplink.leave()
            await asyncio.wait([sending], timeout=FAREWELL_S)
            sending.cancel()
    except BaseExceptionGroup as group_of:
        ours = _first_of_ours(group_of)
        if ours is None:
            raise
        raise ours from group_of


def _first_of_ours(error: BaseException) -> MainwatchError | None:
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_first_of_ours, error.exceptions)), None)
    return error if isinstance(error, MainwatchError) else None


class _Store:
    """Between polling and the disk: gathers the scans of a second and commits them together."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        thread: OneThread,
        session: EdgeSession,
        wake: Callable[[], None],
        scans_max: int,
    ) -> None:
        self._outbox = outbox
        self._thread = thread
        self._session = session
        self._wake = wake
        self._queue: asyncio.Queue[Scan] = asyncio.Queue(scans_max)
        self._ending = asyncio.Event()
        self._fails = False

    async def put(self, scan: Scan) -> None:
        """Take a scan; wait while there is no room."""
        await self._queue.put(scan)

    def end(self) -> None:
        """Commit what is there and end `run`."""
        self._ending.set()

    async def run(self) -> None:
        """Commit once a second until `end`. Raises `StorageError` when the file is damaged."""
        scans: list[Scan] = []
        while True:
            ending = await self._pause()
            while len(scans) < self._queue.maxsize and not self._queue.empty():
                scans.append(self._queue.get_nowait())
            if scans and await self._commit(scans):
                scans = []
            if ending:
                if scans:
                    log.error("the last %d scans could not be stored", len(scans))
                return

    async def _pause(self) -> bool:
        """Wait for the next commit; say whether it is the last."""
        try:
            async with asyncio.timeout(COMMIT_S):
                await self._ending.wait()
        except TimeoutError:
            return False
        return True

    async def _commit(self, scans: list[Scan]) -> bool:
        """Commit scans and tell the session; say whether it worked."""
        outbox = self._outbox
        try:
            firsts = await self._thread(outbox.append, scans)
        except sqlite3.OperationalError as e:  # a full disk may have room again
            if not self._fails:
                log.warning("the outbox cannot store, polls wait: %s", e)
            self._fails = True
            return False
        if self._fails:
            log.info("the outbox stores again")
            self._fails = False
        self._session.stored(scans, firsts, head=outbox.head, tail=outbox.tail)
        self._wake()
        return True


def _pollers(
    config: GatewayConfig,
    maps: Mapping[str, RegisterMap],
    states: Mapping[PointId, CounterState],
    *,
    clock: Clock,
    store: _Store,
) -> list[Poller]:
    pollers = []
    ports = PortMemory(config.gateway.data / "ports.json", by_id=BY_ID)
    for section in config.line:
        devices = [
            device_of(d, maps[d.map], section.timing, states, metrics=births_of(d, maps[d.map]))
            for d in section.device
        ]
        line = open_line(section, clock=clock, ports=ports)
        pollers.append(Poller(line, devices, clock=clock, put=store.put))
    return pollers
