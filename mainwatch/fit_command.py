"""`mainwatch scan` and `mainwatch poll`: what a fitter asks a line, beside a running gateway.

A serial line is taken from the gateway while the tool runs, and that is said; a Modbus TCP
converter is asked over a connection of its own. The line's place comes from the gateway's file, or
from the command, and then the gateway's file says whose line it is.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from telemetry.errors import ConfigError

DEFAULT_CONFIG = Path("/etc/mainwatch/gateway.toml")
"""Where a gateway of this machine has its file."""

EXIT_OK = 0
EXIT_FOUND = 1


def add_tools(commands: Any) -> None:
    """Add both commands to the command line."""
    scan = commands.add_parser(
        "scan",
        help="who answers on a line: units 1 to 247, and at which speed",
        epilog="example: mainwatch scan --serial /dev/serial/by-id/usb-FTDI-port0 --detect",
    )
    _add_place(scan)
    scan.add_argument("--units", default="1-247", metavar="LIST", help="such as 1-10,17")
    scan.add_argument(
        "--detect", action="store_true", help="try speeds and parities until one fits"
    )
    scan.add_argument(
        "--patience", type=float, default=0.015, metavar="S", help="for slow devices, such as 0.2"
    )
    scan.set_defaults(run=_run_scan, extra="gateway")
    poll = commands.add_parser(
        "poll",
        help="what every register says now: raw words, all word orders, value, quality",
        epilog="example: mainwatch poll --config /etc/mainwatch/gateway.toml --device pt-1",
    )
    _add_place(poll)
    poll.add_argument("--device", metavar="ID", help="only this device of the file")
    poll.add_argument("--unit", type=int, help="a device that no file speaks of")
    poll.add_argument("--address", type=int, default=0, help="its first word")
    poll.add_argument("--count", type=int, default=2, help="how many words")
    poll.add_argument(
        "--table", choices=("holding", "input", "coil", "discrete"), default="holding"
    )
    poll.set_defaults(run=_run_poll, extra="gateway")


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="the gateway's TOML file")
    parser.add_argument("--line", metavar="NAME", help="one line of the file")
    parser.add_argument("--serial", metavar="PORT", help="a serial port instead")
    parser.add_argument("--host", help="a Modbus TCP device or converter instead")
    parser.add_argument("--port", type=int, default=502)
    parser.add_argument("--rtu", action="store_true", help="serial frames over that connection")
    parser.add_argument("--baud", type=int)
    parser.add_argument("--parity", choices=("none", "even", "odd"))
    parser.add_argument(
        "--timeout", type=float, metavar="S", help="for a device to begin its answer"
    )
    parser.add_argument("--devices", type=Path, help="folder of register maps")
    parser.add_argument("--json", action="store_true", help="for machines")


def _run_scan(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from gateway.core.fitters_view import units_of
    from gateway.fitting import scan
    from gateway.line_loan import borrowed
    from mainwatch.wall_clock import WallClock

    try:
        units = units_of(options.units)
    except ValueError as e:
        raise ConfigError(f"--units: {e}") from e

    async def run() -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = []
        for section, folder in _lines(options):
            async with borrowed(section, folder, tell=_tell):
                found = await scan(
                    section,
                    units,
                    clock=WallClock(),
                    is_detecting=options.detect,
                    patience_s=options.patience,
                    tell=_tell,
                )
            told += [{"line": section.name, **asdict(one)} for one in found]
        return told

    found = asyncio.run(run())
    if options.json:
        print(json.dumps({"found": found}, ensure_ascii=False))
    else:
        _table(
            ("line", "unit", "baud", "parity", "answers", "ms"),
            [
                (
                    f["line"],
                    f["unit"],
                    f["baud"] or "",
                    f["parity"],
                    f"exception {f['exception']}" if f["exception"] else "data",
                    f["turnaround_ms"],
                )
                for f in found
            ],
        )
    return EXIT_OK if found else EXIT_FOUND


def _run_poll(options: argparse.Namespace) -> int:
    from gateway.line_loan import borrowed
    from mainwatch.load import configs_folder, load_register_maps

    async def run() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for section, folder in _lines(options):
            async with borrowed(section, folder, tell=_tell):
                if options.unit is None:
                    maps = load_register_maps(options.devices or configs_folder() / "devices")
                    rows += await _poll_configured(section, maps, options.device)
                else:
                    rows.append(await _poll_words(section, options))
        return rows

    rows = asyncio.run(run())
    if not rows:
        raise ConfigError(f"--device: expected a device of the file, was {options.device!r}")
    if options.json:
        print(json.dumps({"registers": rows}, ensure_ascii=False))
    else:
        _table(_HEAD, [_row(row) for row in rows])
    return EXIT_OK if all(row["words"] for row in rows) else EXIT_FOUND


async def _poll_configured(section: Any, maps: Any, device: str | None) -> list[dict[str, Any]]:
    from gateway.fitting import poll
    from mainwatch.wall_clock import WallClock
    from telemetry.units import HOUSE_UNITS

    rows = []
    async for one in poll(section, maps, device=device, clock=WallClock()):
        sample = one.samples[0] if one.samples else None
        rows.append(
            {
                "device": one.device,
                "unit": one.unit,
                "register": one.register.name,
                "address": one.register.address,
                "words": list(one.words),
                "orders": _orders(one.words),
                "point": sample.point if sample else "",
                "value": sample.value if sample else None,
                "in": HOUSE_UNITS[one.register.quantity],
                "quality": sample.quality.name.lower() if sample else "bad",
                "reason": sample.reason.value if sample else "unknown",
                "exception": one.exception,
                "turnaround_ms": one.turnaround_ms,
            }
        )
    return rows


async def _poll_words(section: Any, options: argparse.Namespace) -> dict[str, Any]:
    from gateway.core.device import NoAnswer, Words
    from gateway.core.poll_plan import Block
    from gateway.fitting import read_words
    from mainwatch.wall_clock import WallClock
    from telemetry.register_map import Table

    table = Table(options.table)
    block = Block(table=table, address=options.address, count=options.count, registers=())
    reply = await read_words(section, options.unit, block, clock=WallClock())
    words = tuple(reply.words) if isinstance(reply, Words) else ()
    turnaround_s = reply.turnaround_s if isinstance(reply, Words) else None
    return {
        "device": "",
        "unit": options.unit,
        "register": options.table,
        "address": options.address,
        "words": list(words),
        "orders": _orders(words),
        "point": "",
        "value": None,
        "in": "",
        "quality": "good" if words else "bad",
        "reason": "" if isinstance(reply, Words) else reply.reason.value,
        "exception": reply.code if isinstance(reply, NoAnswer) else 0,
        "turnaround_ms": None if turnaround_s is None else round(1000 * turnaround_s, 1),
    }


def _orders(words: tuple[int, ...]) -> dict[str, dict[str, float | None]]:
    """Return the first two words in the four orders; what is no finite number is null."""
    from math import isfinite

    from gateway.core.fitters_view import four_orders

    if len(words) < 2:
        return {}
    return {
        r.order: {
            "float32": r.float32 if isfinite(r.float32) else None,
            "int32": r.int32,
            "uint32": r.uint32,
        }
        for r in four_orders(words[:2])
    }


def _lines(options: argparse.Namespace) -> list[tuple[Any, Path]]:
    """Return the lines to ask, each with the data folder of the gateway that may be using it."""
    from gateway.config import GatewayConfig, problems
    from gateway.line_config import LineSection
    from mainwatch.load import configs_folder, load, load_register_maps, refuse

    path = options.config or (DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else None)
    config = None if path is None else load(path, GatewayConfig)
    if options.serial is None and options.host is None:
        if config is None or path is None:
            raise ConfigError("--config: required without --serial or --host")
        maps = load_register_maps(options.devices or configs_folder() / "devices")
        refuse(path, problems(config, maps))
        lines = [one for one in config.line if options.line in {None, one.name}]
        if not lines:
            names = ", ".join(one.name for one in config.line)
            raise ConfigError(f"--line: expected one of {names}, was {options.line!r}")
        return [(_hurried(one, options), config.gateway.data) for one in lines]
    kind = "rtu" if options.serial else "rtu-over-tcp" if options.rtu else "tcp"
    body = {"name": "line", "kind": kind, "baud": options.baud, "parity": options.parity}
    where = {"serial": options.serial} if options.serial else {"host": options.host}
    if options.host:
        where["port"] = options.port
    try:
        section = LineSection.model_validate({**body, **where})
    except ValueError as e:
        raise ConfigError(f"--baud, --serial, --host: {e}") from e
    folder = Path("/nonexistent")
    for known in config.line if config is not None else ():
        if _place(known) == _place(section) and config is not None:
            section = section.model_copy(update={"name": known.name})
            folder = config.gateway.data
    return [(_hurried(section, options), folder)]


def _hurried(section: Any, options: argparse.Namespace) -> Any:
    found = {"timeout_s": options.timeout, "baud": options.baud, "parity": options.parity}
    return section.model_copy(update={k: v for k, v in found.items() if v is not None})


def _place(section: Any) -> str:
    if section.is_serial:
        return str(Path(section.serial).resolve())
    return f"{section.host}:{section.tcp_port}"


_HEAD = (
    "device", "unit", "register", "address", "words", *("ABCD", "CDAB", "BADC", "DCBA"),
    "value", "in", "quality", "ms",
)  # fmt: skip


def _row(row: dict[str, Any]) -> tuple[object, ...]:
    orders = [row["orders"].get(name, {}).get("float32") for name in _HEAD[5:9]]
    quality = row["quality"] + (f" {row['reason']}" if row["reason"] else "")
    quality += f" {row['exception']}" if row["exception"] else ""
    return (
        row["device"],
        row["unit"],
        row["register"],
        row["address"],
        " ".join(f"{word:04x}" for word in row["words"]),
        *("" if value is None else f"{value:.6g}" for value in orders),
        "" if row["value"] is None else f"{row['value']:.6g}",
        row["in"],
        quality,
        row["turnaround_ms"],
    )


def _table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    cells = [head, *(tuple("" if c is None else str(c) for c in row) for row in rows)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(head))]
    for row in cells:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())


def _tell(text: str) -> None:
    print(f"mainwatch: {text}", file=sys.stderr, flush=True)
