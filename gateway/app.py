"""The gateway's wiring: lines that poll, one task that stores, one uplink."""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass

from gateway.clock_sync import BootClock, ClockSync
from gateway.config import GatewayConfig, problems
from gateway.core.edge_session import EdgeSession
from gateway.core.messages import Node
from gateway.core.pulse import CounterState
from gateway.core.report_by_exception import ReportByException
from gateway.core.sanity import Sanity
from gateway.devices import device_of, open_line
from gateway.health import Health, LineLoad, metrics_served
from gateway.line_config import LineSection
from gateway.line_loan import loan_of
from gateway.outbox import OneThread, Outbox
from gateway.pace import Pace
from gateway.poller import Poller
from gateway.port_memory import BY_ID, PortMemory
from gateway.promises import births_of, limits_of, reporting_of
from gateway.store import Store
from gateway.uplink import Uplink, probe, read_broker
from gateway.watchdog import NotifySocket, Progress, WatchedClock, feed
from telemetry.errors import ConfigError, MainwatchError
from telemetry.point import PointId
from telemetry.register_map import RegisterMap

log = logging.getLogger("mainwatch.gateway")

CANCEL_AGAIN_S = 0.5
FAREWELL_S = 5.0
"""How long a broker that does not answer may hold up the end."""

STEP_MS = 30_000
"""A step of a line that takes longer than this and twice its timeout hangs."""

QUEUE_SCANS_PER_DEVICE = 10
"""Scans that wait for the disk: two seconds of the fastest polling. Then polls wait, are skipped
and counted, and nothing that was read is thrown away."""


async def run(
    config: GatewayConfig,
    maps: Mapping[str, RegisterMap],
    *,
    clock: BootClock,
    ready: Callable[[dict[str, object]], None],
    stop: asyncio.Event,
    notify: str = "",
) -> None:
    """Run the gateway until `stop`. Raises `ConfigError` before anything is started.

    `notify` is the service manager's socket, if one waits to hear from us. Once everything is built
    `config` is let go, so that a caller who does the same has its room back.
    """
    if found := problems(config, maps):
        raise ConfigError("; ".join(found))
    broker = read_broker(config.broker)
    ours = ClockSync(clock, is_trusted=config.clock.trust == "always")
    births = births_of(config, maps)
    thread = OneThread()
    try:
        outbox = await thread(
            Outbox,
            config.gateway.data,
            max_bytes=config.outbox.max_mb * 1_000_000,
            births=births,
            boot=ours.boot_id,
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
                broker=broker, session=session, outbox=outbox, thread=thread, clock=ours
            )
            parts = await _parts(
                config, maps, outbox=outbox, thread=thread, uplink=uplink, clock=ours
            )
            metrics_port = config.health.metrics_port
            del config  # the plan holds what is needed; what was written takes more room than it
            points = sum(len(metrics) for metrics in births.values())
            manager = NotifySocket(notify)

            def started() -> None:
                ready({"gateway": node.edge, "points": points})
                manager.tell("READY=1")

            async with metrics_served(parts.health, metrics_port):
                await _serve(parts, uplink, manager, started=started, stop=stop)
        finally:
            await thread(outbox.close)
    finally:
        thread.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What runs beside the uplink."""

    readers: list[Callable[[], Coroutine[None, None, None]]]
    store: Store
    health: Health
    progress: Progress
    clock: ClockSync


async def _parts(
    config: GatewayConfig,
    maps: Mapping[str, RegisterMap],
    *,
    outbox: Outbox,
    thread: OneThread,
    uplink: Uplink,
    clock: ClockSync,
) -> _Parts:
    """Build what reads and stores; nothing runs yet. Raises `ConfigError`."""
    progress = Progress()
    reporting, limits = reporting_of(config), limits_of(config)
    devices = sum(len(line.device) for line in config.line) + len(config.gpio)
    store = Store(
        outbox=outbox,
        thread=thread,
        session=uplink.session,
        clock=clock,
        sanity=Sanity(limits),
        reporting=ReportByException(reporting),
        watched=[*reporting, *limits],
        wake=uplink.wake,
        progress=progress,
        scans_max=QUEUE_SCANS_PER_DEVICE * devices,
    )
    states = await thread(outbox.counters)
    pollers = _pollers(
        config, maps, states, clock=clock, store=store, progress=progress, pace=uplink.pace
    )
    heard = {name: d for p in pollers for name, d in p.statistics.devices.items()}
    uplink.session.vitals_of = lambda name: heard[name].vitals() if name in heard else {}
    chips = _chips(config, states, clock=clock, store=store, progress=progress)
    health = Health(
        outbox=outbox,
        thread=thread,
        session=uplink.session,
        clock=clock,
        folder=config.gateway.data,
        lines=lambda: [_load(poller) for poller in pollers],
    )
    await health.look()
    return _Parts(
        readers=[uplink.pace.run, *[poller.run for poller in pollers], *chips],
        store=store,
        health=health,
        progress=progress,
        clock=clock,
    )


def _load(poller: Poller) -> LineLoad:
    line = poller.statistics
    skipped = line.skipped + line.skipped_low
    return LineLoad(name=poller.line.name, utilisation=line.needed, skipped=skipped)


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have gone: in Python 3.11 a wait may swallow a cancellation."""
    alive = set(tasks)
    while alive:
        for task in alive:
            task.cancel()
        _gone, alive = await asyncio.wait(alive, timeout=CANCEL_AGAIN_S)


async def _serve(
    parts: _Parts,
    uplink: Uplink,
    manager: NotifySocket,
    *,
    started: Callable[[], None],
    stop: asyncio.Event,
) -> None:
    """Poll, store and send until `stop`; then end them in that order, so that nothing is left."""
    try:
        async with asyncio.TaskGroup() as group:
            reading = [group.create_task(read()) for read in parts.readers]
            storing = group.create_task(parts.store.run())
            sending = group.create_task(uplink.run())
            looking = group.create_task(parts.health.run())
            feeding = feed(manager, parts.progress, clock=parts.clock, summary=parts.health.summary)
            watching = group.create_task(feeding)
            started()
            await stop.wait()
            manager.tell("STOPPING=1")
            await _end([*reading, looking, watching])
            parts.store.end()
            await storing
            uplink.leave()
            await asyncio.wait([sending], timeout=FAREWELL_S)
            sending.cancel()
    except BaseExceptionGroup as group_of:
        found = _first_of_ours(group_of)
        if found is None:
            raise
        raise found from group_of


def _first_of_ours(error: BaseException) -> MainwatchError | None:
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_first_of_ours, error.exceptions)), None)
    return error if isinstance(error, MainwatchError) else None


def _pollers(
    config: GatewayConfig,
    maps: Mapping[str, RegisterMap],
    states: Mapping[PointId, CounterState],
    *,
    clock: ClockSync,
    store: Store,
    progress: Progress,
    pace: Pace,
) -> list[Poller]:
    pollers = []
    ports = PortMemory(config.gateway.data / "ports.json", by_id=BY_ID)
    for section in config.line:
        watched = _watched(section, clock, progress)
        devices = [device_of(d, maps[d.map], section.timing, states) for d in section.device]
        line = open_line(
            section, clock=watched, ports=ports, loan=loan_of(section, config.gateway.data)
        )
        pollers.append(
            Poller(line, devices, clock=watched, put=watched.waiting(store.put), pace=pace)
        )
    return pollers


def _watched(section: LineSection, clock: ClockSync, progress: Progress) -> WatchedClock:
    patience_ms = STEP_MS + round(2_000 * section.patience_s)
    return WatchedClock(clock, progress, f"line {section.name}", patience_ms=patience_ms)


def _chips(
    config: GatewayConfig,
    states: Mapping[PointId, CounterState],
    *,
    clock: ClockSync,
    store: Store,
    progress: Progress,
) -> list[Callable[[], Coroutine[None, None, None]]]:
    if not config.gpio:
        return []
    try:
        from gateway.gpio import Chip  # noqa: PLC0415  only who has pins needs the package
    except ModuleNotFoundError as e:
        raise ConfigError(
            f"gpio: the package {e.name!r} is missing: install mainwatch[gpio]"
        ) from e
    return [
        Chip(section, states, clock=clock, put=store.put, progress=progress).run
        for section in config.gpio
    ]
