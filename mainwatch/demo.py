"""`mainwatch demo`: the whole plant on this machine, each part a process of its own.

Broker, simulator, control room and gateway are started in this order, over real sockets, in a
folder that goes away at the end unless one is named. A burst opens on request or on schedule.
"""

import asyncio
import json
import socket
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mainwatch import broker
from mainwatch.demo_report import Report, Story, compile_report
from mainwatch.load import configs_folder, read_toml
from mainwatch.wall_clock import WallClock
from server.supervisor import Child, Supervisor, unless
from telemetry.errors import ConfigError, MainwatchError, Unavailable

BURST_AFTER_S = 60.0
"""When a demo that somebody watches opens its burst, unless told otherwise."""
BURST_PIPE = "P-EAST-030"
CONTROL_PORT = 15019
GATEWAY = "gw-01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the command line asks of a demo."""

    headless: bool
    seconds: float | None
    burst_after_s: float | None
    burst_pipe: str | None
    burst_m3h: float
    report: Path | None
    port: int
    folder: Path | None
    broker: str | None
    days: int | None


async def run(wishes: Wishes, *, stop: asyncio.Event) -> None:
    """Run the plant until `stop` or until its time is over.

    Raises `ConfigError` when it cannot start, `MainwatchError` when its report is not clean.
    """
    if wishes.headless and wishes.seconds is None:
        raise ConfigError("--headless: expected --for S beside it, as nobody could end the demo")
    if wishes.report is not None:
        _refuse_unwritable(wishes.report)
    if wishes.folder is None:
        with tempfile.TemporaryDirectory(prefix="mainwatch-demo-") as folder:
            await _run_in(Path(folder), wishes, stop)
    else:
        try:
            wishes.folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise ConfigError(f"--folder {wishes.folder}: cannot be made: {e.strerror}") from e
        await _run_in(wishes.folder.resolve(), wishes, stop)


async def _run_in(folder: Path, wishes: Wishes, stop: asyncio.Event) -> None:
    plant = Plant(folder, wishes)
    report: Report | None = None
    try:
        async with asyncio.TaskGroup() as tasks:
            try:
                if await unless(stop, plant.start(tasks)):
                    await _play(plant, wishes, stop)
                    if wishes.report is not None:
                        report = await plant.report()
            finally:
                await plant.end()
    except BaseExceptionGroup as group:
        mine = group.subgroup(MainwatchError)
        raise (mine or group) from None
    if report is not None and wishes.report is not None:
        text = json.dumps(report.body, ensure_ascii=False, indent=2)
        wishes.report.write_text(text + "\n", encoding="utf-8")
        print(text, flush=True)
        if report.problems:
            raise MainwatchError("; ".join(report.problems))


async def _play(plant: "Plant", wishes: Wishes, stop: asyncio.Event) -> None:
    """Let the plant live: keys, the scheduled burst, the end."""
    say(f"page: {plant.page}")
    say(f"open a burst yourself: {plant.burst_command}")
    clock = WallClock()
    begun = clock.monotonic_ms() / 1000
    burst_after = wishes.burst_after_s
    if burst_after is None and not wishes.headless:
        burst_after = BURST_AFTER_S
    if burst_after is not None:
        say(f"a burst of {wishes.burst_m3h:g} m³/h opens in {burst_after:g} s at {plant.pipe}")
    say("Ctrl-C ends everything")
    until = begun + wishes.seconds if wishes.seconds is not None else None
    while not stop.is_set():
        now = clock.monotonic_ms() / 1000
        if burst_after is not None and now >= begun + burst_after:
            burst_after = None
            await plant.burst()
        if until is not None and now >= until:
            return
        await plant.tell_news()
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.5)


class Plant:
    """The running processes and what has happened to them; `configs` are those of its town."""

    def __init__(self, folder: Path, wishes: Wishes, configs: Path | None = None) -> None:
        self._folder = folder
        self._wishes = wishes
        self._clock = WallClock()
        self._supervisor = Supervisor()
        self._configs = configs or configs_folder() / "demo"
        self._control = ("127.0.0.1", _free_port(CONTROL_PORT if wishes.port else 0))
        self._page_port = wishes.port or _free_port()
        self._story = Story(data=folder, page=self.page, gateway=GATEWAY)
        self.pipe = wishes.burst_pipe or BURST_PIPE

    @property
    def page(self) -> str:
        """Return the address of the dispatchers' page."""
        return f"http://127.0.0.1:{self._page_port}/"

    @property
    def burst_command(self) -> str:
        """Return what a person types to open a burst."""
        host, port = self._control
        control = "" if port == CONTROL_PORT else f" --control {host}:{port}"
        return f"mainwatch sim burst {self.pipe} --m3h {self._wishes.burst_m3h:g}{control}"

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Start every part in order, each when the one before it serves."""
        _refuse_taken(self._page_port)
        for part in ("server", "gateway"):
            try:
                (self._folder / part).mkdir(mode=0o700, exist_ok=True)
            except OSError as e:
                raise ConfigError(f"--folder {self._folder}: {e.strerror}: {part}") from e
        port = _free_port()
        kind, command = broker.command(self._wishes.broker, port=port, folder=self._folder)
        say(f"broker: {kind}")
        self._story.broker = kind
        await self._supervisor.start(self._child("broker", command, says_ready=False), tasks)
        await _wait_for(port)
        where = {"broker.port": port}
        days = self._days()
        say(f"simulator: solving the town and writing {days} days of its past")
        await self._supervisor.start(self._program("sim", self._sim_keys()), tasks)
        say("control room: learning from the past, then opening the page")
        server = {
            "server.data": str(self._folder / "server"),
            "page.port": self._page_port,
            "history.bootstrap": str(self._folder / "history"),
        }
        await self._supervisor.start(self._program("server", {**server, **where}), tasks)
        say("gateway: reading the instruments")
        gateway = {"gateway.data": str(self._folder / "gateway")}
        gateway |= {f"line.{n}.port": str(p) for n, p in enumerate(self._modbus)}
        await self._supervisor.start(self._program("gateway", {**gateway, **where}), tasks)

    async def burst(self) -> None:
        """Open the burst, over the simulator's own control socket."""
        from firmware_sim.control import ask

        message = {"burst": {"pipe": self.pipe, "m3h": self._wishes.burst_m3h}}
        self._story.burst_at = self._clock.now()
        self._story.burst = await ask(*self._control, message)
        say(f"burst open at {self.pipe}")

    async def tell_news(self) -> None:
        """Print what the control room has said since the last time."""
        for line in await asyncio.to_thread(self._story.news):
            say(line)

    async def report(self) -> Report:
        """Return what happened, once everything sent so far has had time to arrive."""
        return await compile_report(self._story)

    async def end(self) -> None:
        """End every part."""
        say("ending")
        await self._supervisor.end()

    def _days(self) -> int:
        if self._wishes.days is not None:
            return self._wishes.days
        return int(read_toml(self._configs / "sim.toml")["history"]["days"])

    def _sim_keys(self) -> dict[str, Any]:
        converters = read_toml(self._configs / "sim.toml")["converter"]
        self._modbus = [_free_port() for _ in converters]
        keys: dict[str, Any] = {
            "control.port": self._control[1],
            "history.out": str(self._folder / "history"),
            "history.days": self._days(),
        }
        return keys | {f"converter.{n}.port": port for n, port in enumerate(self._modbus)}

    def _program(self, name: str, keys: dict[str, Any]) -> Child:
        command = [sys.executable, "-m", "mainwatch", name]
        command += ["--config", str(self._configs / f"{name}.toml")]
        for key, value in keys.items():
            command += ["--set", f"{key}={json.dumps(value, ensure_ascii=False)}"]
        return self._child(name, command)

    def _child(self, name: str, command: Any, *, says_ready: bool = True) -> Child:
        log_path = self._folder / "log" / f"{name}.log"
        return Child(name=name, command=command, log_path=log_path, says_ready=says_ready)


def _refuse_unwritable(report: Path) -> None:
    try:
        report.open("a", encoding="utf-8").close()
    except OSError as e:
        raise ConfigError(f"--report {report}: cannot be written: {e.strerror}") from e


def say(line: str) -> None:
    """Print one step of a long work."""
    print(f"demo: {line}", flush=True)


def _free_port(wanted: int = 0) -> int:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return _free_port()
        return int(probe.getsockname()[1])


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as e:
            raise ConfigError(
                f"--port {port}: expected a free port for the page, found it in use:"
                " choose another, or 0 for any"
            ) from e


async def _wait_for(port: int) -> None:
    """Return when something listens on a loopback port. Raises `Unavailable` after 15 s."""
    for _ in range(150):
        try:
            _reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
            continue
        writer.close()
        await writer.wait_closed()
        return
    raise Unavailable(f"the broker did not listen on port {port} within 15 s")
