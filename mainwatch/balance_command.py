"""`mainwatch balance`: the night flow and the water balance of zones, month by month."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from telemetry.errors import ConfigError
from telemetry.instant import HOUR_MS, Instant

if TYPE_CHECKING:
    from server.balance.account import ZoneMonth
    from server.balance.answer import BalanceAnswer
    from server.config import BalanceSection
    from server.engine.registry import Registry

EXIT_OK = 0


def add_balance(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "balance",
        help="night flow, water balance and real losses of zones, by month",
        epilog="example: mainwatch balance /var/lib/mainwatch --zone north --month 2026-03"
        " --facts /etc/mainwatch/server.toml",
    )
    parser.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="a recording's folder, the server's data folder, or its historian.db",
    )
    parser.add_argument("--month", action="append", metavar="YYYY-MM", help="again for more")
    parser.add_argument("--zone", action="append", metavar="ZONE", help="again for more")
    parser.add_argument(
        "--facts", type=Path, metavar="FILE", help="TOML with [[balance]] tables: docs/balance.md"
    )
    parser.add_argument("--journal", type=Path, metavar="FILE", help="that knows the points")
    parser.add_argument("--json", action="store_true", help="one JSON list, nothing else")
    parser.set_defaults(run=_run, extra="server")


def _run(options: argparse.Namespace) -> int:
    from server.balance.answer import answer_of
    from server.web.balances import worded
    from server.web.words import CATALOGUES

    words = CATALOGUES["en"]
    answers = [answer_of(m, lambda note: worded(words, note)) for m in _months(options)]
    if options.json:
        print(json.dumps([a.model_dump() for a in answers], ensure_ascii=False))
        return EXIT_OK
    for answer in answers:
        print("\n".join(lines(answer)))
    return EXIT_OK


def _months(options: argparse.Namespace) -> "Iterator[ZoneMonth]":
    """Yield the months that are asked for, zone by zone; without any, all that have data."""
    from server.balance.local import month_bounds

    for month in options.month or ():
        month_bounds(month, "UTC")  # a month that is none is refused before anything is read
    facts = _facts(options.facts)
    if (options.source / "recording.toml").exists():
        yield from _of_recording(options, facts)
    else:
        yield from _of_historian(options, facts)


def _facts(path: Path | None) -> "dict[str, BalanceSection]":
    """Return what a file says of zones, by zone. Raises `ConfigError` with every mistake in it."""
    if path is None:
        return {}
    from pydantic import BaseModel, ConfigDict, ValidationError

    from mainwatch.load import read_toml, refuse
    from server.config import BalanceSection, balance_problems
    from telemetry.mistakes import told

    class Facts(BaseModel):
        """The tables of the file that are read here; a server's other tables are passed over."""

        model_config = ConfigDict(frozen=True)
        balance: tuple[BalanceSection, ...]

    try:
        found = Facts.model_validate({"balance": read_toml(path).get("balance", [])})
    except ValidationError as e:
        raise ConfigError("; ".join(f"{path}: {line}" for line in told(e))) from None
    refuse(path, balance_problems(found.balance))
    return {b.zone: b for b in found.balance}


def _of_recording(
    options: argparse.Namespace, facts: "dict[str, BalanceSection]"
) -> "Iterator[ZoneMonth]":
    from server.balance.account import account
    from server.balance.layout import layout_of
    from server.balance.local import floor_hour
    from server.balance.sources import hours_of_recording
    from server.history.recording import open_recording

    recording = open_recording(options.source)
    registry = recording.registry()
    # Its last instant stands for a period of its own.
    until = Instant(recording.end + min(recording.cadence_ms, HOUR_MS))
    for zone in _zones(options, registry):
        told = _of(facts, zone)
        layout = layout_of(registry, zone, customers=told.customers)
        begin = floor_hour(recording.begin, layout.timezone)
        end = Instant(floor_hour(until - 1, layout.timezone) + HOUR_MS)
        hours = hours_of_recording(recording, layout.points, begin, end)
        for month in options.month or _held(begin, end, layout.timezone):
            yield account(layout, hours, month, told, until=end)


def _of_historian(
    options: argparse.Namespace, facts: "dict[str, BalanceSection]"
) -> "Iterator[ZoneMonth]":
    from contextlib import closing

    from server.balance.sources import month_of_historian
    from server.history.reader import Reader
    from server.intake import arrivals

    path: Path = options.source
    if path.is_dir():
        path /= "historian.db"
    journal = options.journal or path.with_name("journal.db")
    for needed, what in ((path, "a recording or a historian"), (journal, "the server's journal")):
        if not needed.is_file():
            raise ConfigError(f"{needed}: expected {what}, found none")
    registry = arrivals.registry_in(journal)
    with closing(Reader(path)) as reader:
        extent = reader.extent()
        newest = reader.newest_arrival()
    if extent is None:
        raise ConfigError(f"{path}: expected samples, found none")
    until = min(extent[1], newest) if newest is not None else extent[1]
    for zone in _zones(options, registry):
        told = _of(facts, zone)
        timezone = registry.zones[zone].timezone
        for month in options.month or _held(extent[0], until, timezone):
            yield month_of_historian(path, registry, zone, month, told, until=until)


def _of(facts: "dict[str, BalanceSection]", zone: str) -> "BalanceSection":
    from server.config import BalanceSection

    return facts.get(zone) or BalanceSection(zone=zone)


def _zones(options: argparse.Namespace, registry: "Registry") -> list[Any]:
    known = list(registry.zones)
    for zone in options.zone or ():
        if zone not in known:
            there = ", ".join(known) or "none"
            raise ConfigError(f"--zone: expected one of {there}, was {zone}")
    return options.zone or known


def _held(begin: int, end: int, timezone: str) -> list[str]:
    """Return every month that holds a part of [begin, end)."""
    from server.balance.local import month_bounds, month_of

    found = []
    at = begin
    while at < end:
        found.append(month_of(Instant(at), timezone))
        at = month_bounds(found[-1], timezone)[1]
    return found


def lines(answer: "BalanceAnswer") -> Iterator[str]:
    """Yield a zone's month for people: its night flow, its balance, what is missing."""
    yield f"{answer.zone} {answer.month}"
    yield from _night_lines(answer)
    supplied = answer.supplied
    yield _line("system input", _amount(supplied))
    yield _line("metered consumption", _amount(answer.metered))
    yield _line("unmetered", _amount(answer.unmetered))
    most = "" if answer.is_whole or answer.losses is None else "at most "
    yield _line("water losses", most + _amount(answer.losses))
    yield _line("real losses, top-down", _amount(answer.real_above))
    below = answer.real_below
    told = "not known"
    if below is not None:
        told = f"{below.likely:.0f} m³ ({below.low:.0f} to {below.high:.0f})"
        if supplied is not None:
            told += f", {below.likely / supplied.m3 * 100:.1f} % of input"
    yield _line("real losses, bottom-up", told)
    share, rates = answer.non_revenue_share, answer.rates
    yield _line("non-revenue water", "not known" if share is None else f"{share * 100:.1f} %")
    if rates is not None:
        loss = "not known" if rates.loss is None else f"{rates.loss:.1f} %"
        yield _line("CJJ 92", f"gross loss rate {rates.gross:.1f} %, loss rate {loss}")
    if answer.ili is not None:
        yield _line("ILI", f"{answer.ili:.2f} (by {_FROM[answer.real_from]})")
    for note in answer.notes:
        yield f"  - {note.text}"


_FROM = {"above": "the balance", "below": "night flow"}


def _night_lines(answer: "BalanceAnswer") -> Iterator[str]:
    night = answer.night
    known = [n for n in night.nights if n.m3h is not None]
    if night.median_m3h is None or not known:
        yield _line("night flow", "not known")
        return
    yield _line("night flow", f"{night.median_m3h:.1f} m³/h, median of the month")
    last = known[-1]
    told = f"{last.night} {last.m3h:.1f} m³/h"
    if last.excess_m3h is not None:
        side = "above" if last.excess_m3h >= 0 else "below"
        told += f", {abs(last.excess_m3h):.1f} {side} its 28-night median (± {last.sigma_m3h:.1f})"
    yield _line("last night", told)
    if night.use is not None:
        use = night.use
        span = f"{use.low:.1f}" if use.low == use.high else f"{use.low:.1f} to {use.high:.1f}"
        yield _line("night use", f"{span} m³/h, {use.source.replace('_', ' ')}")


def _amount(amount: Any) -> str:
    return "not known" if amount is None else f"{amount.m3:.0f} ± {amount.error:.0f} m³"


def _line(name: str, told: str) -> str:
    return f"  {name:<24}{told}"
