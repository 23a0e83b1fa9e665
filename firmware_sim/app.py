"""Wiring: write the history, then move the water on each second and show it in the registers."""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from firmware_sim import assembly, history
from firmware_sim.commands import Commands
from firmware_sim.config import SimConfig, TcpLineSection, problems
from firmware_sim.control import Control
from firmware_sim.core.events import Event
from firmware_sim.core.pace import Pace
from firmware_sim.ledger import Ledger
from firmware_sim.recording import description
from firmware_sim.scenario_config import ScenarioConfig
from firmware_sim.wires import LiveWires
from firmware_sim.world import Maps, World, origin_of
from telemetry.errors import ConfigError, RefusedCommand
from telemetry.instant import SECOND_MS, Clock, Instant

log = logging.getLogger("mainwatch.sim")

CATCH_UP_MS = 30 * SECOND_MS
"""When the machine slept or the history took its time, the water follows in steps of this size."""


async def run(
    config: SimConfig,
    maps: Maps,
    *,
    clock: Clock,
    ready: Callable[[dict[str, object]], None],
    stop: asyncio.Event,
    scenario: ScenarioConfig | None = None,
) -> None:
    """Play the town until `stop` is set. Raises `ConfigError` before anything is served."""
    if found := problems(config, maps):
        raise ConfigError("; ".join(found))
    now = clock.now()
    # A story starts now: the town's clocks are put forward to its time of day.
    origin = origin_of(config, scenario, earliest=now) if scenario else now
    water = assembly.water_of(config, shift_ms=origin - now)
    try:
        _refuse_taken_ports(config)
        begin = history.begins_at(config, now) if config.history.days else now
        world = World.of(config, maps, water, at=begin, shift_ms=origin - now)
        if scenario is not None:
            world.take_in(scenario, origin=origin, shift_ms=origin - now)
        if config.history.days:
            history.prepare(config.history.out)
            await _write_history(world, now=now, stop=stop)
        if not stop.is_set():
            wires = LiveWires(config, maps, at=now)
            world.field.wires = wires
            world.field.schedule(world.scheduled)
            pace = Pace(begin=now, speed=scenario.scenario.speed if scenario else 1.0)
            town = _Town(world, wires, clock, pace)
            await _serve(town, scenario=scenario, ready=ready, stop=stop)
    finally:
        water.close()


class _Town:
    """The field as it is played now, on real wires, with its ledger if one is kept."""

    def __init__(self, world: World, wires: LiveWires, clock: Clock, pace: Pace) -> None:
        self.world = world
        self.wires = wires
        self.clock = clock
        self.pace = pace
        self.field = world.field
        self.ledger: Ledger | None = None
        self._first = clock.now()
        out = world.config.ledger.out
        if out is not None:
            self.ledger = Ledger(
                out,
                history.columns_of(self.field.plant.instruments, with_flows=False),
                label_of=world.label_of,
                with_reasons=False,
                with_arrivals=False,
                instant_of=pace.wall,
            )
            self.field.witnesses.append(self.ledger)

    def move(self, wall: Instant) -> None:
        """Move the field to an instant of the clock and show it."""
        self._advance(wall)
        said = self.wires.show(self.field.plant.instruments, self.field)
        if self.ledger is not None:
            self.ledger.add(wall, said)
            if leaks := self.field.plant.leaks():
                self.ledger.flow(wall, leaks)

    def catch_up(self) -> None:
        """Move the field to the present, between two steps."""
        self._advance(self.clock.now())

    def _advance(self, wall: Instant) -> None:
        self.field.advance(self.pace.town(wall), step_ms=CATCH_UP_MS, refused=_tell_refusal)

    def close(self) -> None:
        """Write the rest of the ledger."""
        if self.ledger is None:
            return
        config = self.world.config
        text = description(
            config,
            self.field.plant.instruments,
            first=self._first,
            last=self.clock.now(),
            cadence_ms=round(config.sim.step_s * SECOND_MS),
            place_of=self.world.place_of,
            story="as the registers said",
            with_flows=False,
        )
        self.ledger.close(text)


def _tell_refusal(event: Event, error: RefusedCommand) -> None:
    log.error("%s of the scenario did not happen: %s", event.id, error)


async def _write_history(world: World, *, now: Instant, stop: asyncio.Event) -> None:
    given_up = threading.Event()
    config = world.config
    span = history.Span(
        folder=config.history.out,
        until=history.ends_at(config, now),
        cadence_ms=config.history.cadence_s * SECOND_MS,
    )
    log.info("writing %d days of history into %s", config.history.days, config.history.out)
    # The thread is waited for even when we are cancelled: the engine must not be closed under it.
    with ThreadPoolExecutor(max_workers=1) as pool:
        try:
            await asyncio.get_running_loop().run_in_executor(
                pool,
                lambda: world.write(span, is_stopped=lambda: stop.is_set() or given_up.is_set()),
            )
        finally:
            given_up.set()


async def _serve(
    town: _Town,
    *,
    scenario: ScenarioConfig | None,
    ready: Callable[[dict[str, object]], None],
    stop: asyncio.Event,
) -> None:
    config, field = town.world.config, town.field
    answer = Commands(field, catch_up=town.catch_up).answer
    control = Control(host=config.control.host, port=config.control.port, answer=answer)
    try:
        await town.wires.start()
        town.move(town.clock.now())
        await control.start(key="control.port")
        ready(
            {
                "points": len(field.plant.instruments),
                **town.wires.told(),
                "control": control.port,
                "history": str(config.history.out) if config.history.days else None,
                "scenario": scenario.scenario.name if scenario else None,
            }
        )
        async with asyncio.TaskGroup() as tasks:
            moving = tasks.create_task(_move(town, step_ms=round(config.sim.step_s * SECOND_MS)))
            await stop.wait()
            moving.cancel()
    finally:
        await control.stop()
        await town.wires.stop()
        town.close()


async def _move(town: _Town, *, step_ms: int) -> None:
    """Move the water on, step by step, with the clock."""
    at = town.pace.begin
    while True:
        due = Instant(at + step_ms)
        await town.clock.sleep_until(due)
        now = town.clock.now()
        # On the grid while we keep up, so that a run depends on the machine as little as can be.
        at = due if now < due + step_ms else now
        town.move(at)


def _refuse_taken_ports(config: SimConfig) -> None:
    """Raise `ConfigError` for a port in use, before weeks of history are written in vain."""
    wanted = [("control.port", config.control.host, config.control.port)]
    wanted += [
        (f"{key}.port", line.host, line.port)
        for key, line in config.lines
        if isinstance(line, TcpLineSection)
    ]
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
