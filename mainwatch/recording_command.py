"""`mainwatch export` and `mainwatch import`: recordings out of the server and into it."""

import argparse
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mainwatch.progress import progress
from telemetry.errors import ConfigError, RefusedCommand
from telemetry.instant import Instant

EXIT_OK = 0


def add_recordings(commands: Any) -> None:
    """Add the two subcommands."""
    _add_export(commands)
    _add_import(commands)


def _add_export(commands: Any) -> None:
    export = commands.add_parser(
        "export",
        help="write a recording, or CSV, from the historian, a journal or a recording",
        epilog="example: mainwatch export /var/lib/mainwatch --out march --zone north"
        " --from 2026-03-01T00:00:00+08:00 --to 2026-04-01T00:00:00+08:00",
    )
    export.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="the server's data folder, its historian.db or journal.db, or a recording's folder",
    )
    export.add_argument("--out", type=Path, required=True, metavar="PATH", help="is made; or file")
    export.add_argument("--format", choices=("recording", "csv"), default="recording")
    export.add_argument("--from", dest="begin", metavar="INSTANT", help="read at this or later")
    export.add_argument("--to", dest="end", metavar="INSTANT", help="read before this")
    export.add_argument("--zone", action="append", metavar="ZONE", help="again for more")
    export.add_argument("--point", action="append", metavar="POINT", help="again for more")
    export.add_argument("--journal", type=Path, metavar="FILE", help="that knows the points")
    export.add_argument("--name", default="", help="of the recording")
    export.add_argument("--licence", default="not stated", help="of the data")
    export.add_argument("--json", action="store_true", help="say what was written as JSON")
    export.set_defaults(run=_run_export, extra="server")


def _add_import(commands: Any) -> None:
    parser = commands.add_parser(
        "import",
        help="make a recording of CSV, BattLeDIM's folder, EPANET's series or InfluxDB's results",
        epilog="example: mainwatch import logger.csv --out winter --timezone Europe/Rome"
        " --separator ';' --decimal , --column 'P1=mill-lane/pressure,bar,north'",
    )
    parser.add_argument("sources", nargs="+", type=Path, metavar="SOURCE", help="file or folder")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="is made")
    parser.add_argument("--kind", choices=("csv", "battledim", "epanet", "influx"), default="csv")
    parser.add_argument("--mapping", type=Path, metavar="FILE", help="TOML: docs/recordings.md")
    for option, key in _KEYS.items():
        parser.add_argument(f"--{option}", metavar=key.rpartition(".")[2].upper())
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="COLUMN=POINT,UNIT,ZONE",
        help="of CSV, or a series of InfluxDB; again for more",
    )
    parser.add_argument("--network", type=Path, metavar="FILE", help="EPANET's .inp")
    parser.add_argument("--start", metavar="INSTANT", help="of EPANET's hour 0")
    parser.add_argument("--zone", help="of every point of EPANET's")
    parser.add_argument("--quantity", choices=("pressure", "flow", "demand", "level", "head"))
    parser.add_argument("--json", action="store_true", help="say what was written as JSON")
    parser.set_defaults(run=_run_import, extra="server")


_KEYS = {
    "name": "recording.name",
    "source-name": "recording.source",
    "licence": "recording.licence",
    "timezone": "recording.timezone",
    "calendar": "recording.calendar",
    "layout": "input.layout",
    "time-column": "input.time_column",
    "time-format": "input.time_format",
    "separator": "input.separator",
    "decimal": "input.decimal",
    "encoding": "input.encoding",
    "point-column": "input.point_column",
    "value-column": "input.value_column",
    "quality-column": "input.quality_column",
}
"""Options that say what a key of the mapping file says, and win over it."""


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let whoever stops the work find nothing of it left behind."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise RefusedCommand("stopped before it was done: nothing was written") from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _run_import(options: argparse.Namespace) -> int:
    from server.history.importing.run import Order, run

    order = Order(
        kind=options.kind,
        sources=tuple(options.sources),
        folder=options.out,
        mapping=_mapping(options),
        software=_software(),
    )
    with _stoppable():
        rows = run(order, step=progress, say=lambda line: print(line, file=sys.stderr))
    print(json.dumps({"out": str(options.out), "samples": rows}) if options.json else options.out)
    return EXIT_OK


def _mapping(options: argparse.Namespace) -> Any:
    """Return the mapping file with the options in it."""
    from mainwatch.load import read_toml
    from server.history.importing.mapping import mapping_of

    body = read_toml(options.mapping) if options.mapping is not None else {}
    for option, key in _KEYS.items():
        value = getattr(options, option.replace("-", "_"))
        if value is not None:
            table, _, name = key.partition(".")
            body.setdefault(table, {})[name] = value
    body["point"] = [*body.get("point", ()), *map(_column, options.column)]
    if options.kind == "epanet":
        _add_epanet(options, body.setdefault("epanet", {}))
    return mapping_of(body, where=str(options.mapping or "options"))


def _column(text: str) -> dict[str, str]:
    from telemetry.units import quantity_of

    column, equals, rest = text.rpartition("=")
    parts = [part.strip() for part in rest.split(",")]
    if not equals or len(parts) != 3:
        raise ConfigError(f"--column: expected COLUMN=POINT,UNIT,ZONE, was {text!r}")
    try:
        quantity = quantity_of(parts[1])
    except ValueError as e:
        raise ConfigError(f"--column {column}: {e}") from None
    found = {"column": column, "id": parts[0], "unit": parts[1], "zone": parts[2]}
    return found | {"quantity": quantity.value}


def _add_epanet(options: argparse.Namespace, section: dict[str, Any]) -> None:
    """Put the options of EPANET into its table; files of the command line have one quantity."""
    if options.network is not None:
        section["network"] = options.network
    elif options.mapping is not None and "network" in section:
        section["network"] = options.mapping.parent / section["network"]
    for key in ("start", "zone"):
        if getattr(options, key) is not None:
            section[key] = getattr(options, key)
    if options.mapping is not None and section.get("files"):
        for entry in section["files"]:
            if isinstance(entry, dict) and "file" in entry:
                entry["file"] = options.mapping.parent / entry["file"]
        return
    if options.quantity is None:
        raise ConfigError("--quantity: expected what the files hold, found none")
    section["files"] = [{"file": p, "quantity": options.quantity} for p in options.sources]


def _run_export(options: argparse.Namespace) -> int:
    from server.history.export import Wanted, to_csv, to_recording

    wanted = Wanted(
        begin=_instant("--from", options.begin),
        end=_instant("--to", options.end),
        zones=options.zone,
        points=options.point,
    )
    left_out: set[str] = set()
    source = _source(options, left_out)
    if options.name:
        head = source.description.recording.model_copy(update={"name": options.name})
        renamed = source.description.model_copy(update={"recording": head})
        source = replace(source, description=renamed)
    with _stoppable(), progress(f"export {options.source}", source.rows) as told:
        if options.format == "csv":
            rows = to_csv(source, wanted, options.out, progress=told)
        else:
            rows = to_recording(source, wanted, options.out, software=_software(), progress=told)
    if left_out:
        names = ", ".join(sorted(left_out)[:8])
        print(f"left out: {len(left_out)} points in test: {names}", file=sys.stderr)
    print(json.dumps({"out": str(options.out), "samples": rows}) if options.json else options.out)
    return EXIT_OK


def _source(options: argparse.Namespace, left_out: set[str]) -> Any:
    """Return what is exported; points that no registry knows get into `left_out`.

    Raises `ConfigError` when it is none of what can be.
    """
    from server.history import kept
    from server.history.export import Source, described, of_recording
    from server.history.recording import open_recording
    from server.intake import arrivals

    path: Path = options.source
    if (path / "recording.toml").exists():
        return of_recording(open_recording(path))
    if path.is_dir():
        path /= "historian.db"
    if not path.is_file():
        raise ConfigError(
            f"{options.source}: expected a recording, a server's data folder, its historian.db or"
            " its journal.db, found none"
        )
    is_journal = path.name.startswith("journal")
    journal = path if is_journal else options.journal or path.with_name("journal.db")
    if not journal.is_file():
        raise ConfigError(f"{journal}: expected the journal that knows the points, found none")
    description = described(
        arrivals.registry_in(journal),
        name=options.name or path.absolute().parent.name,
        source=f"exported from {path.name}",
        licence=options.licence,
    )
    ids = [p.id for p in description.point]
    scan = arrivals.stretches if is_journal else kept.stretches
    return Source(
        description=description,
        read=lambda begin, end, points: scan(path, ids, begin, end, points, left_out=left_out),
        marks=() if is_journal else kept.marks(path),
    )


def _software() -> str:
    return f"mainwatch {version('mainwatch')}"


def _instant(option: str, text: str | None) -> Instant | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        expected = "expected an instant such as 2026-01-01T00:00:00Z"
        raise ConfigError(f"{option}: {expected}, was {text}")
    return Instant(round(found.timestamp() * 1000))
