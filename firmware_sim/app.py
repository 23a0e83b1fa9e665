"""Wiring: write the history, then move the water on each second and show it in the registers."""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from firmware_sim import history
from firmware_sim.config import SimConfig, problems
from firmware_sim.control import Control
from firmware_sim.core.instruments import Instrument, Site, instrument
from firmware_sim.core.plant import Plant, TankRule
from firmware_sim.core.town import Town
from firmware_sim.hydraulics import Hydraulics
from firmware_sim.modbus_server import Converter, Device
from telemetry.errors import ConfigError, RefusedCommand
from telemetry.instant import SECOND_MS, Clock, Instant
from telemetry.point import PointId, ZoneId
from telemetry.register_map import RegisterMap

log = logging.getLogger("mainwatch.sim")

CATCH_UP_MS = 30 * SECOND_MS
"""When the machine slept or the history took its time, the water follows in steps of this size."""


async def run(
    config: SimConfig,
    maps: Mapping[str, RegisterMap],
    *,
    clock: Clock,
    ready: Callable[[dict[str, object]], None],
    stop: asyncio.Event,
) -> None:
    """Play the town until `stop` is set. Raises `ConfigError` before anything is served."""
    if found := problems(config, maps):
        raise ConfigError("; ".join(found))
    water = _water(config)
    try:
        instruments = _instruments(config, maps, water)
        _refuse_taken_ports(config)
        now = clock.now()
        begin = history.begins_at(config, now) if config.history.days else now
        plant = _plant(config, water, instruments, at=begin)
        if config.history.days:
            history.prepare(config.history.out)
            await _write_history(config, plant, water, now=now, stop=stop)
        if not stop.is_set():
            await _serve(config, maps, Field(plant, water, clock), ready=ready, stop=stop)
    finally:
        water.close()


class Field:
    """The water and its plant as commands see them, at the present instant."""

    def __init__(self, plant: Plant, water: Hydraulics, clock: Clock) -> None:
        self.plant = plant
        self.clock = clock
        self._water = water
        self._since: dict[str, Instant] = {}

    def answer(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        """Carry out one command of the control socket. Raises `RefusedCommand`."""
        match command:
            case {"burst": {"pipe": str(pipe), "m3h": float() | int() as m3h, **more}} if not more:
                burst = self._water.open_burst(pipe, float(m3h))
                self._since[pipe] = self.clock.now()
                log.info("%s burst, %g m3/h", pipe, burst.m3h)
                return asdict(burst) | {"at": self._since[pipe]}
            case {"stop_burst": str(pipe)}:
                burst = self._water.close_burst(pipe)
                del self._since[pipe]
                log.info("%s is shut", pipe)
                return asdict(burst) | {"at": self.clock.now()}
            case {"status": dict()}:
                return self._status()
            case _:
                raise RefusedCommand(
                    'expected {"burst": {"pipe": NAME, "m3h": NUMBER}}, {"stop_burst": NAME}'
                    f' or {{"status": {{}}}}, was {str(dict(command))[:200]}'
                )

    def _status(self) -> Mapping[str, Any]:
        bursts = [
            asdict(b) | {"at": self._since[b.pipe], "now_m3h": round(now, 2)}
            for b, now in self._water.bursts()
        ]
        return {
            "at": self.plant.at,
            "level_m": round(self.plant.level_m, 3),
            "is_pumping": self.plant.is_pumping,
            "bursts": bursts,
        }


def _water(config: SimConfig) -> Hydraulics:
    customers = [
        p.node
        for c in config.converter
        for d in c.device
        for p in d.point
        if p.node is not None and p.flow_point is not None
    ]
    plant = config.plant
    return Hydraulics(config.sim.network, tank=plant.tank, pump=plant.pump, customers=customers)


def _instruments(
    config: SimConfig, maps: Mapping[str, RegisterMap], water: Hydraulics
) -> tuple[Instrument, ...]:
    """Return every instrument, in the order of the file."""
    found = []
    for n, converter in enumerate(config.converter):
        for m, device in enumerate(converter.device):
            for k, p in enumerate(device.point):
                key = f"converter[{n}].device[{m}].point[{k}]"
                if p.node is not None:
                    water.node(p.node, key=f"{key}.node")
                if p.link is not None:
                    water.link(p.link, key=f"{key}.link")
                register = maps[device.map].register(p.register_name)
                assert register is not None
                made = instrument(
                    seed=config.sim.seed,
                    device=device.id,
                    zone=ZoneId(device.zone),
                    point=PointId(p.point),
                    register=register,
                    site=Site(node=p.node, link=p.link),
                    flow_point=PointId(p.flow_point) if p.flow_point else None,
                )
                found.append(made)
    return tuple(found)


def _plant(
    config: SimConfig, water: Hydraulics, instruments: tuple[Instrument, ...], *, at: Instant
) -> Plant:
    zone = ZoneInfo(config.sim.timezone)

    def offset_ms(instant: Instant) -> int:
        ahead = datetime.fromtimestamp(instant / 1000, zone).utcoffset() or timedelta()
        return round(ahead.total_seconds() * 1000)

    seed = config.sim.seed
    rule = TankRule(
        **asdict(water.tank),
        on_below_m=config.plant.pump_on_below_m,
        off_above_m=config.plant.pump_off_above_m,
    )
    town = Town(water.users, seed=seed, offset_ms=offset_ms)
    return Plant(at=at, water=water, town=town, tank=rule, instruments=instruments, seed=seed)


async def _write_history(
    config: SimConfig, plant: Plant, water: Hydraulics, *, now: Instant, stop: asyncio.Event
) -> None:
    given_up = threading.Event()

    def write() -> None:
        history.write(
            config,
            plant,
            water,
            until=history.ends_at(config, now),
            is_stopped=lambda: stop.is_set() or given_up.is_set(),
        )

    log.info("writing %d days of history into %s", config.history.days, config.history.out)
    # The thread is waited for even when we are cancelled: the engine must not be closed under it.
    with ThreadPoolExecutor(max_workers=1) as pool:
        try:
            await asyncio.get_running_loop().run_in_executor(pool, write)
        finally:
            given_up.set()


async def _serve(
    config: SimConfig,
    maps: Mapping[str, RegisterMap],
    field: Field,
    *,
    ready: Callable[[dict[str, object]], None],
    stop: asyncio.Event,
) -> None:
    converters = [
        Converter(
            name=c.name,
            host=c.host,
            port=c.port,
            devices=[Device(unit=d.unit, sheet=maps[d.map]) for d in c.device],
        )
        for c in config.converter
    ]
    places = [
        (converters[n], d.unit)
        for n, c in enumerate(config.converter)
        for d in c.device
        for _ in d.point
    ]
    control = Control(host=config.control.host, port=config.control.port, answer=field.answer)
    try:
        for n, converter in enumerate(converters):
            await converter.start(key=f"converter[{n}].port")
        field.plant.advance(field.clock.now(), step_ms=CATCH_UP_MS)
        await _show(field.plant, places)
        await control.start(key="control.port")
        ready(
            {
                "points": len(places),
                "converters": {c.name: c.port for c in converters},
                "control": control.port,
                "history": str(config.history.out) if config.history.days else None,
            }
        )
        async with asyncio.TaskGroup() as tasks:
            moving = tasks.create_task(
                _move(field, places, step_ms=round(config.sim.step_s * SECOND_MS))
            )
            await stop.wait()
            moving.cancel()
    finally:
        await control.stop()
        for converter in converters:
            await converter.stop()


async def _move(field: Field, places: list[tuple[Converter, int]], *, step_ms: int) -> None:
    """Move the water on, step by step, with the clock."""
    plant = field.plant
    while True:
        due = Instant(plant.at + step_ms)
        await field.clock.sleep_until(due)
        now = field.clock.now()
        # On the grid while we keep up, so that a run depends on the machine as little as can be.
        plant.advance(due if now < due + step_ms else now, step_ms=CATCH_UP_MS)
        await _show(plant, places)


async def _show(plant: Plant, places: list[tuple[Converter, int]]) -> None:
    truths = plant.truths()
    for i, truth, (converter, unit) in zip(plant.instruments, truths, places, strict=True):
        r = i.register
        words = i.words(truth, plant.at)
        await converter.show(unit, table=r.table, address=r.address, words=words)


def _refuse_taken_ports(config: SimConfig) -> None:
    """Raise `ConfigError` for a port in use, before weeks of history are written in vain."""
    wanted = [("control.port", config.control.host, config.control.port)]
    wanted += [(f"converter[{n}].port", c.host, c.port) for n, c in enumerate(config.converter)]
    for key, host, port in wanted:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as e:
                raise ConfigError(
                    f"{key}: expected a free port, was {port} which is in use at {host}"
                    f" ({e.strerror})"
                ) from e
