"""The gateway's wiring: lines that poll, one task that stores, one uplink."""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from dataclasses import dataclass, replace

from gateway.clock_sync import BootClock, ClockSync
from gateway.config import (
    DeviceSection,
    GatewayConfig,
    PointSection,
    flow_metric_name,
    metric_name,
    problems,
)
from gateway.core.device import BornMetric, Device, Reading
from gateway.core.edge_session import EdgeSession
from gateway.core.messages import Node
from gateway.core.pins import births_of as pin_births_of
from gateway.core.pulse import CounterSettings, CounterState
from gateway.core.report_by_exception import ReportByException, Reporting
from gateway.core.sanity import Limits, Sanity
from gateway.health import Health, LineLoad, metrics_served
from gateway.modbus import Line, Poller
from gateway.outbox import OneThread, Outbox
from gateway.store import Store
from gateway.uplink import Uplink, probe, read_broker
from gateway.watchdog import NotifySocket, Progress, WatchedClock, feed
from telemetry.errors import ConfigError, MainwatchError
from telemetry.point import PointId
from telemetry.register_map import Register, RegisterMap
from telemetry.units import Quantity, to_house

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

    `notify` is the service manager's socket, if one waits to hear from us.
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
            points = sum(len(metrics) for metrics in births.values())
            told: dict[str, object] = {"gateway": node.edge, "points": points}
            manager = NotifySocket(notify)

            def started() -> None:
                ready(told)
                manager.tell("READY=1")

            async with metrics_served(parts.health, config.health.metrics_port):
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
    pollers = _pollers(config, maps, states, clock=clock, store=store, progress=progress)
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
        readers=[poller.run for poller in pollers] + chips,
        store=store,
        health=health,
        progress=progress,
        clock=clock,
    )


def _load(poller: Poller) -> LineLoad:
    return LineLoad(name=poller.line_name, utilisation=0.0, skipped=poller.skipped)


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
) -> list[Poller]:
    pollers = []
    for section in config.line:
        line = Line(
            name=section.name,
            host=section.host,
            port=section.port,
            timeout_s=section.timeout_s,
            clock=clock,
        )
        devices = [_device(d, maps[d.map], states) for d in section.device]
        patience_ms = STEP_MS + 2 * _ms(section.timeout_s)
        watched = WatchedClock(clock, progress, f"line {section.name}", patience_ms=patience_ms)
        pollers.append(Poller(line, devices, clock=watched, put=watched.waiting(store.put)))
    return pollers


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


def births_of(
    config: GatewayConfig, maps: Mapping[str, RegisterMap]
) -> dict[str, tuple[BornMetric, ...]]:
    """Return what each device is born with: a point promises no more than it will report."""
    reporting = reporting_of(config)

    def promised(metric: BornMetric) -> BornMetric:
        how = reporting.get(metric.point)
        return metric if how is None else replace(metric, period_ms=how.silence_max_ms)

    born = {d.id: _births(d, maps[d.map]) for line in config.line for d in line.device}
    born = {device: tuple(map(promised, metrics)) for device, metrics in born.items()}
    return born | {chip.id: pin_births_of(chip) for chip in config.gpio}


def reporting_of(config: GatewayConfig) -> dict[PointId, Reporting]:
    """Return how the points report that do so by exception."""
    found = {}
    for device, point in _configured(config):
        if point.report is None:
            continue
        how = Reporting(
            deadband=point.report.deadband,
            silence_max_ms=max(_ms(point.report.silence_max_s), _ms(device.period_s)),
            period_ms=_ms(device.period_s),
        )
        found[PointId(point.point)] = how
    return found


def limits_of(config: GatewayConfig) -> dict[PointId, Limits]:
    """Return what the points cannot truly say, where that is known."""
    found = {}
    for _, point in _configured(config):
        known = point.sanity
        if known is None:
            continue
        frozen_s = known.frozen_after_s
        found[PointId(point.point)] = Limits(
            minimum=known.minimum,
            maximum=known.maximum,
            rate_max_per_s=known.rate_max_per_s,
            frozen_after_ms=None if frozen_s is None else _ms(frozen_s),
            zero_is_missing=known.zero_is_missing,
        )
    return found


def _configured(config: GatewayConfig) -> Iterator[tuple[DeviceSection, PointSection]]:
    for line in config.line:
        for device in line.device:
            for point in device.point:
                yield device, point


def _device(
    section: DeviceSection, sheet: RegisterMap, states: Mapping[PointId, CounterState]
) -> Device:
    readings = [
        Reading(
            register=_register(sheet, point),
            point=PointId(point.point),
            counter=_counter(section, point, _register(sheet, point)),
        )
        for point in section.point
    ]
    return Device(
        id=section.id,
        unit=section.unit,
        period_ms=_ms(section.period_s),
        count_max=sheet.registers_per_read_max,
        readings=readings,
        metrics=_births(section, sheet),
        states=states,
    )


def _counter(
    section: DeviceSection, point: PointSection, register: Register
) -> CounterSettings | None:
    if register.rolls_over_at is None:
        return None
    count_m3 = point.pulse_m3
    if count_m3 is None:
        count_m3 = to_house(register.scale, register.unit)
    return CounterSettings(
        point=PointId(point.point),
        count_m3=count_m3,
        rolls_over_at=register.rolls_over_at,
        period_ms=_ms(section.period_s),
        flow_max_m3h=point.flow_max_m3h,
        flow_point=None if point.flow_point is None else PointId(point.flow_point),
        flow_window_ms=_ms(point.flow_window_s),
    )


def _births(section: DeviceSection, sheet: RegisterMap) -> tuple[BornMetric, ...]:
    """Return what the birth of a device says of each of its points."""
    born = []
    for point in section.point:
        register = _register(sheet, point)
        counter = _counter(section, point, register)
        about = {"zone": section.zone, "place": section.place}
        period_ms = _ms(section.period_s)
        if counter is None:
            low, high, step = register.minimum, register.maximum, register.resolution
            born.append(
                BornMetric(
                    name=metric_name(point),
                    point=PointId(point.point),
                    quantity=register.quantity,
                    period_ms=period_ms,
                    minimum=None if low is None else to_house(low, register.unit),
                    maximum=None if high is None else to_house(high, register.unit),
                    resolution=None if step is None else to_house(step, register.unit),
                    **about,
                )
            )
            continue
        born.append(
            BornMetric(
                name=metric_name(point),
                point=counter.point,
                quantity=Quantity.VOLUME,
                period_ms=period_ms,
                minimum=0.0,
                maximum=None,
                resolution=counter.count_m3,
                **about,
            )
        )
        if counter.flow_point is not None:
            born.append(
                BornMetric(
                    name=flow_metric_name(point),
                    point=counter.flow_point,
                    quantity=Quantity.FLOW,
                    period_ms=period_ms,
                    minimum=0.0,
                    maximum=counter.flow_max_m3h,
                    resolution=counter.flow_resolution_m3h,
                    **about,
                )
            )
    return tuple(born)


def _register(sheet: RegisterMap, point: PointSection) -> Register:
    register = sheet.register(point.register_)
    assert register is not None, point.register_  # `problems` has seen to it
    return register


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
