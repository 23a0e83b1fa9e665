"""Parse the command line, load the files, hand over to one program.

Exit codes: 0 fine, 1 ran and found something wrong, 2 could not run (usage, configuration), 3 the
disk is full: make room and start again.
"""

import argparse
import asyncio
import ctypes
import gc
import json
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mainwatch.fit_command import add_tools
from mainwatch.load import configs_folder
from telemetry.errors import ConfigError, MainwatchError, RefusedCommand, is_disk_full

EXIT_OK = 0
EXIT_FOUND = 1
EXIT_CANNOT = 2
EXIT_DISK_FULL = 3

GC_THRESHOLD = 20_000
"""Objects made before the gateway looks for cycles: a few polls' worth of samples, some 2 MB."""

M_ARENA_MAX = -8
"""`mallopt` of glibc: how many heaps there may be. Each thread would get its own."""

Ready = Callable[[dict[str, Any]], None]
Program = Callable[[Ready, asyncio.Event], Awaitable[None]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s: %(message)s"
    )
    for noisy in ("pymodbus", "asyncio", "transitions", "amqtt", "alembic", "mainwatch.mqtt"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return EXIT_OK
    except (ConfigError, RefusedCommand) as e:
        print(f"mainwatch: {e}", file=sys.stderr)
        return EXIT_CANNOT
    except MainwatchError as e:
        print(f"mainwatch: {e}", file=sys.stderr)
        return EXIT_DISK_FULL if is_disk_full(e) else EXIT_FOUND
    except ModuleNotFoundError as e:
        print(
            f"mainwatch: the package {e.name!r} is missing: install mainwatch[{options.extra}]",
            file=sys.stderr,
        )
        return EXIT_CANNOT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mainwatch", description="Telemetry gateway and leak dispatch for water mains."
    )
    parser.add_argument("--version", action="version", version=f"mainwatch {version('mainwatch')}")
    from mainwatch.balance_command import add_balance
    from mainwatch.recording_command import add_recordings

    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_demo(commands)
    gateway = _add_program(commands, "gateway", "run an edge node", _run_gateway)
    gateway.add_argument(
        "--notify", default="", metavar="SOCKET", help="where systemd waits to hear from us"
    )
    server = _add_program(commands, "server", "run the control room", _run_server)
    server.add_argument("--part", choices=("intake", "desk", "influx"), help=argparse.SUPPRESS)
    _add_sim(commands)
    add_recordings(commands)
    _add_replay(commands)
    add_balance(commands)
    add_tools(commands)
    check = commands.add_parser(
        "check",
        help="read configuration files and recordings, say what is wrong, touch nothing",
        epilog="example: mainwatch check /etc/mainwatch/gateway.toml",
    )
    check.add_argument("files", nargs="+", type=Path, metavar="FILE", help="or recording's folder")
    check.add_argument("--devices", type=Path, help="folder of register maps")
    check.set_defaults(run=_run_check, extra="all")
    _add_verify_audit(commands)
    _add_keeping(commands)
    return parser


def _add_program(
    commands: Any, name: str, what: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=what, epilog=f"example: mainwatch {name} --config /etc/mainwatch/{name}.toml"
    )
    _add_config(parser)
    parser.set_defaults(run=run, extra=name)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="its TOML file")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="override one key"
    )
    parser.add_argument("--devices", type=Path, help="folder of register maps")


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser(
        "demo",
        help="the whole plant on this machine: water, meters, gateway, control room, one burst",
        epilog="example: mainwatch demo --headless --for 120 --burst-after 40 --report demo.json",
    )
    demo.add_argument("--headless", action="store_true", help="ask nothing; end by itself")
    demo.add_argument("--for", dest="seconds", type=float, metavar="S", help="end after S seconds")
    demo.add_argument("--burst-after", type=float, metavar="S", help="open a burst after S seconds")
    demo.add_argument("--burst-pipe", metavar="PIPE", help="which pipe bursts")
    demo.add_argument("--burst-m3h", type=float, default=40.0, metavar="M3H", help="how much")
    demo.add_argument("--report", type=Path, metavar="FILE", help="write what happened as JSON")
    demo.add_argument("--port", type=int, default=8420, help="of the page; 0 takes a free one")
    demo.add_argument("--folder", type=Path, help="keep its files here instead of a passing folder")
    demo.add_argument("--broker", choices=("mosquitto", "amqtt"), help="instead of the one found")
    demo.add_argument("--days", type=int, metavar="D", help="days of history to begin with")
    demo.set_defaults(run=_run_demo, extra="all")


def _add_keeping(commands: Any) -> None:
    from mainwatch.keeping_command import add

    add(commands, _serve)


def _add_verify_audit(commands: Any) -> None:
    parser = commands.add_parser(
        "verify-audit",
        help="check the audit trail's chain, and against exported heads",
        epilog="example: mainwatch verify-audit /var/lib/mainwatch/servicecore.db",
    )
    parser.add_argument("database", type=Path, metavar="FILE", help="servicecore.db")
    parser.add_argument("--heads", type=Path, metavar="FILE", help="heads kept elsewhere")
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    parser.set_defaults(run=_run_verify_audit, extra="server")


def _add_sim(commands: Any) -> None:
    from mainwatch.sim_command import add_acts

    add_acts(_add_program(commands, "sim", "run the pretend field", _run_sim))


def _add_replay(commands: Any) -> None:
    from mainwatch.replay_command import add_replay

    add_replay(commands)


def _run_gateway(options: argparse.Namespace) -> int:
    from gateway.app import run
    from gateway.config import GatewayConfig, problems
    from mainwatch.load import load, load_register_maps, refuse
    from mainwatch.wall_clock import WallClock

    path = _config(options, "gateway.toml")
    config = load(path, GatewayConfig, options.set)
    maps = load_register_maps(_devices(options))
    refuse(path, problems(config, maps))
    _keep_one_heap()
    # Samples by the thousand, and hardly a cycle: what is loaded now stays, and need not be walked.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    given = [config]
    del config  # `run` alone has it then, and lets it go
    return _serve(
        lambda ready, stop: run(
            given.pop(), maps, clock=WallClock(), ready=ready, stop=stop, notify=options.notify
        ),
        path,
    )


def _keep_one_heap() -> None:
    """Let all threads allocate from one heap, if the C library can: they need it in turn."""
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    if tune is not None:
        tune(M_ARENA_MAX, 1)


def _run_sim(options: argparse.Namespace) -> int:
    from mainwatch.sim_command import serve

    return serve(options, _config(options, "sim.toml"), _devices(options), _serve)


def _run_server(options: argparse.Namespace) -> int:
    from mainwatch.load import SHIPPED_CALENDARS, load, load_trainer, refuse, rule_book
    from mainwatch.wall_clock import WallClock
    from server.config import ServerConfig, problems

    path = _config(options, "server.toml")
    config = load(path, ServerConfig, options.set)
    refuse(path, problems(config))
    match options.part:
        case "intake":
            from server.intake.app import run as intake

            calendars = {*SHIPPED_CALENDARS, *(z.calendar for z in config.zone)}
            trainer = load_trainer(calendars, own=config.rules.folder)
            promises = rule_book(config).promises
            return _serve(
                lambda ready, stop: intake(
                    config,
                    clock=WallClock(),
                    ready=ready,
                    stop=stop,
                    trainer=trainer,
                    promises=promises,
                )
            )
        case "desk":
            from server.web.app import run as desk

            book = rule_book(config)
            return _serve(
                lambda ready, stop: desk(
                    config, book=book, clock=WallClock(), ready=ready, stop=stop
                )
            )
        case "influx":
            from server.history.influx import run as part

            return _serve(
                lambda ready, stop: part(config, clock=WallClock(), ready=ready, stop=stop)
            )
        case _:
            from server.app import run

            rule_book(config)  # refused here, not by a process that is restarted for ever

            command = [sys.executable, "-m", "mainwatch", "server", "--config", str(path)]
            for override in options.set:
                command += ["--set", override]
            return _serve(
                lambda ready, stop: run(config, command, where=path, ready=ready, stop=stop)
            )


def _run_verify_audit(options: argparse.Namespace) -> int:
    from mainwatch.audit import verify

    return verify(options.database, heads=options.heads, as_json=options.json)


def _run_demo(options: argparse.Namespace) -> int:
    from mainwatch.demo import Wishes, run

    wishes = Wishes(
        headless=options.headless,
        seconds=options.seconds,
        burst_after_s=options.burst_after,
        burst_pipe=options.burst_pipe,
        burst_m3h=options.burst_m3h,
        report=options.report,
        port=options.port,
        folder=options.folder,
        broker=options.broker,
        days=options.days,
    )
    return _serve(lambda _ready, stop: run(wishes, stop=stop))


def _run_check(options: argparse.Namespace) -> int:
    from mainwatch.check import findings, notes, plans

    found = []
    for path in options.files:
        wrong = findings(path, _devices(options))
        for note in () if wrong else notes(path):
            print(note)
        for plan in () if wrong else plans(path, _devices(options)):
            print("\n".join((*plan.reads, *plan.advice)))
            wrong += [f"{path}: {finding}" for finding in plan.findings]
        found += wrong
    for line in found:
        print(line)
    if not found:
        print(f"{len(options.files)} file(s): nothing wrong")
    return EXIT_FOUND if found else EXIT_OK


def _config(options: argparse.Namespace, name: str) -> Path:
    if options.config is None:
        raise ConfigError(f"--config: required; an example is {configs_folder() / 'demo' / name}")
    return Path(options.config)


def _devices(options: argparse.Namespace) -> Path:
    return Path(options.devices or configs_folder() / "devices")


def _serve(program: Program, path: Path | None = None) -> int:
    """Run a program until it ends or a signal asks it to; say on one line when it serves.

    What it refuses is told with the name of its file, where `path` gives one.
    """
    try:
        asyncio.run(_until_signalled(program))
    except BaseExceptionGroup as group:
        error = _first(group)
    except ConfigError as e:
        error = e
    else:
        return EXIT_OK
    if isinstance(error, ConfigError) and path is not None:
        raise ConfigError(f"{path}: {error}") from error
    raise error


async def _until_signalled(program: Program) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def ready(body: dict[str, Any]) -> None:
        print(json.dumps(body, ensure_ascii=False), flush=True)

    await program(ready, stop)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error to report out of a group: ours before any other."""
    flat: list[BaseException] = []
    waiting: list[BaseException] = [group]
    while waiting:
        error = waiting.pop(0)
        if isinstance(error, BaseExceptionGroup):
            waiting += error.exceptions
        else:
            flat.append(error)
    return next((e for e in flat if isinstance(e, MainwatchError)), flat[0])
