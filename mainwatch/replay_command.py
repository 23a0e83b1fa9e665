"""`mainwatch replay`: run what was recorded again, score it, compare it, verify it, play it out."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mainwatch.load import load_trainer
from telemetry.errors import ConfigError
from telemetry.instant import Instant

if TYPE_CHECKING:
    from server.engine.registry import Registry
    from server.history.recording import Recording
    from server.learning.trainer import Trainer
    from server.replay.result import Result
    from server.replay.session import Asked

Progress = Callable[[Instant, int], None]

BROKER = "127.0.0.1:1883"
STEPS = 10
"""Lines of progress where there is no terminal."""


def add_replay(commands: Any) -> None:
    """Give the command its options."""
    replay: argparse.ArgumentParser = commands.add_parser(
        "replay",
        help="run a recording or a journal again: score it, compare it, verify it",
        epilog="example: mainwatch replay recordings/winter --score --report winter.html",
    )
    add = replay.add_argument
    add("source", type=Path, metavar="RECORDING_OR_JOURNAL", help="a folder, or a journal.db")
    add("--verify", action="store_true", help="of a journal: do the recorded effects come again?")
    add("--config", type=Path, metavar="FILE", help="what if: with this server.toml's registry")
    add("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="override one key")
    add("--from", dest="start", metavar="INSTANT", help="such as 2026-01-01T00:00:00Z")
    add("--to", dest="end", metavar="INSTANT", help="itself excluded")
    add("--zone", action="append", default=[], metavar="ZONE", help="this zone; may be repeated")
    add("--point", action="append", default=[], metavar="POINT", help="this point; may be repeated")
    add(
        "--compare-clean",
        metavar="START..END",
        help="learn from these days, and once more from the trailing ones, and tell both",
    )
    add("--score", action="store_true", help="against the recording's truth.jsonl")
    add("--events", type=Path, metavar="FILE", help="score this events.jsonl; run nothing")
    add("--out", type=Path, metavar="FOLDER", help="write events.jsonl and summary.json")
    add("--report", type=Path, metavar="FILE", help="write a page that stands alone")
    add("--json", action="store_true", help="print the summary as one JSON object")
    live = replay.add_argument_group("onto a live broker, as if the gateways were speaking")
    live.add_argument("--speed", type=float, metavar="N", help="so many times as fast")
    live.add_argument("--broker", default=BROKER, metavar="HOST:PORT")
    live.add_argument(
        "--group", default="replay", help="Sparkplug group that the server listens to"
    )
    live.add_argument("--host-id", default="mainwatch", help="the server's; wait for it")
    live.add_argument("--username", metavar="NAME")
    for name in ("password", "ca", "cert", "key"):
        live.add_argument(f"--{name}-file", type=Path, metavar="FILE")
    replay.set_defaults(run=run, extra="server")


def run(options: argparse.Namespace) -> int:
    """Do what was asked and return the exit code."""
    _refuse_combinations(options)
    if options.speed is not None:
        return _play_out(options)
    return _journal(options) if _is_journal(options.source) else _recording(options)


def _recording(options: argparse.Namespace) -> int:
    from server.history.recording import open_recording
    from server.replay import session, what_if
    from server.replay.said import read

    recording = open_recording(options.source)
    asked = _asked(options)
    if options.compare_clean is not None:
        return _compared(options, recording, asked)
    other = _registry(options)
    with _progress("replay", recording.begin, recording.end) as progress:
        if options.events is not None:
            played = session.judged(recording, asked, read(options.events))
        else:
            played = session.play_recording(
                recording, asked, other=other, progress=progress, trainer=_trainer(recording, other)
            )
    difference = None
    if other is not None:
        with _progress("as it is", recording.begin, recording.end) as progress:
            today = session.play_recording(
                recording, asked, other=None, progress=progress, trainer=_trainer(recording, None)
            )
        difference = what_if.compare(today.said, played.said)
    trends = (
        session.trends_of(recording, asked, played) if options.report or options.score else None
    )
    score = session.score_recording(recording, played, trends) if options.score else None
    return _deliver(
        options,
        _result(options, recording, played=played, trends=trends, score=score, what_if=difference),
    )


def _compared(options: argparse.Namespace, recording: "Recording", asked: "Asked") -> int:
    """Run a recording twice: learning from the trailing days, and from a clean period."""
    from server.replay import session, what_if
    from server.replay.versions import (
        CLEAN,
        TRAILING,
        Version,
        Versions,
        commands_of,
        refuse_period,
    )

    period = _period(options.compare_clean)
    asked.refuse_unknown(recording.registry(), recording.folder)
    begin, end = session.span_of(recording, asked)
    refuse_period(period, begin=begin, end=end)
    is_scored = options.score or (recording.folder / "truth.jsonl").exists()
    trends, sides = None, []
    for name in (TRAILING, CLEAN):
        with _progress(name, recording.begin, recording.end) as progress:
            played = session.play_recording(
                recording,
                asked,
                other=None,
                progress=progress,
                trainer=_trainer(recording, None),
                training=commands_of(period, recording.registry()) if name == CLEAN else (),
            )
        if trends is None and (is_scored or options.report):
            trends = session.trends_of(recording, asked, played)
        score = session.score_recording(recording, played, trends) if is_scored else None
        sides.append(Version(name=name, played=played, score=score))
    trailing, clean = sides
    result = _result(
        options,
        recording,
        played=clean.played,
        trends=trends,
        score=clean.score,
        what_if=what_if.compare(trailing.played.said, clean.played.said),
        versions=Versions(period=period, trailing=trailing, clean=clean),
    )
    return _deliver(options, result)


def _result(options: argparse.Namespace, recording: "Recording", **done: Any) -> "Result":
    """Return what a replay of a recording came to, with what went in."""
    from server.replay.keep import digest_of
    from server.replay.result import Result

    return Result(
        name=recording.name,
        source=recording.description.recording.source,
        licence=recording.description.recording.licence,
        version=version("mainwatch"),
        inputs=f"sha256 {digest_of(recording.folder)}",
        parameters=_parameters(options),
        **done,
    )


def _trainer(recording: "Recording", other: "Registry | None") -> "Trainer":
    zones = (recording.registry() if other is None else other).zones.values()
    trainer: Trainer = load_trainer(z.calendar for z in zones)
    return trainer


def _journal(options: argparse.Namespace) -> int:
    from server.replay import session, what_if
    from server.replay.result import Result

    if options.score or options.events:
        raise ConfigError(f"--score: expected a recording with labels, was {options.source}")
    journal = session.survey(_journal_path(options.source))
    asked = _asked(options)
    begin, end = journal.begin, journal.end
    if options.verify:
        return _verify(options, journal, asked)
    other = _registry(options)
    with _progress("replay", begin, end) as progress:
        played, trends = session.play_journal(
            journal, asked, other=other, progress=progress, with_trends=bool(options.report)
        )
    difference = None
    if other is not None:
        difference = what_if.compare(session.recorded_said(journal, played), played.said)
    result = Result(
        name=f"journal {journal.reader.uuid[:8]}",
        source="the journal of a server",
        licence="",
        version=version("mainwatch"),
        inputs=f"journal {journal.reader.uuid}, through event {journal.events}",
        parameters=_parameters(options),
        played=played,
        trends=trends,
        score=None,
        what_if=difference,
    )
    return _deliver(options, result)


def _verify(options: argparse.Namespace, journal: Any, asked: "Asked") -> int:
    from server.replay import session
    from server.replay.verify import differences

    with _progress("verify", journal.begin, journal.end) as progress:
        found = session.verify_journal(journal, asked, progress=progress)
    place = found.divergence
    if options.json:
        body = None if place is None else {
            "seq": place.seq, "n": place.n, "expected": place.expected, "found": place.found
        }  # fmt: skip
        print(json.dumps({"effects": found.effects, "divergence": body}, ensure_ascii=False))
    elif place is None:
        print(f"{found.effects} recorded effects came again, byte for byte")
    else:
        for line in differences(place):
            print(line)
    return 0 if place is None else 1


def _deliver(options: argparse.Namespace, result: "Result") -> int:
    """Write and print what was asked for."""
    from server.replay.keep import write_whole
    from server.replay.said import line_of

    if options.out is not None:
        write_whole(options.out / "events.jsonl", (f"{line_of(s)}\n" for s in result.played.said))
        text = json.dumps(result.summary(), ensure_ascii=False, indent=1)
        write_whole(options.out / "summary.json", [text, "\n"])
    if options.report is not None:
        from server.replay.report import page_of

        write_whole(options.report, [page_of(result)])
    if options.json:
        print(json.dumps(result.summary(), ensure_ascii=False))
    else:
        for line in result.text():
            print(line)
        for path in (options.out, options.report):
            if path is not None:
                print(path)
    return 0


def _play_out(options: argparse.Namespace) -> int:
    import asyncio
    import secrets

    from mainwatch.wall_clock import WallClock
    from server.config import BrokerSection
    from server.history.recording import open_recording
    from server.replay.onto_broker import Wishes, play_out
    from telemetry.loopback import broker_problems

    recording = open_recording(options.source)
    asked = _asked(options)
    asked.refuse_unknown(recording.registry(), options.source)
    host, _, port = options.broker.rpartition(":")
    if not port.isdigit() or not host:
        raise ConfigError(f"--broker: expected HOST:PORT, was {options.broker!r}")
    files = {f"{n}_file": getattr(options, f"{n}_file") for n in ("password", "ca", "cert", "key")}
    broker = BrokerSection(host=host, port=int(port), username=options.username, **files)
    wrong = broker_problems(
        host,
        username=options.username,
        password=options.password_file,
        ca=options.ca_file,
        cert=options.cert_file,
        key=options.key_file,
    )
    if wrong:
        raise ConfigError("; ".join(wrong))
    with _progress("play", recording.begin, recording.end) as progress:
        wishes = Wishes(
            broker=broker,
            group=options.group,
            host_id=options.host_id,
            speed=options.speed,
            asked=asked,
            epoch=secrets.randbits(62),
        )
        done = asyncio.run(play_out(recording, wishes, clock=WallClock(), progress=progress))
    if options.json:
        print(json.dumps({"sent": done.sent, "acknowledged": done.acknowledged}))
    else:
        print(f"{done.sent} samples sent, {done.acknowledged} acknowledged by the server")
    return 0 if done.sent == done.acknowledged else 1


def _refuse_combinations(options: argparse.Namespace) -> None:
    if options.speed is not None:
        if options.speed <= 0:
            raise ConfigError(f"--speed: expected more than 0, was {options.speed}")
        if _is_journal(options.source):
            raise ConfigError(f"--speed: expected a recording, was {options.source}")
    if options.verify and not _is_journal(options.source):
        raise ConfigError(f"--verify: expected a journal, was {options.source}")
    if options.compare_clean is not None:
        _refuse_comparison(options)
    if options.events is not None and not options.score:
        raise ConfigError("--events: expected --score with it")
    if options.verify and (options.config or options.zone or options.point or options.start):
        raise ConfigError("--verify: expected no --config, --zone, --point or --from with it")


def _refuse_comparison(options: argparse.Namespace) -> None:
    if _is_journal(options.source):
        raise ConfigError(
            f"--compare-clean: expected a recording, as a journal has the models published"
            f" then, was {options.source}"
        )
    others = ("config", "events", "speed", "verify")
    if found := [f"--{name}" for name in others if getattr(options, name) not in (None, False)]:
        raise ConfigError(f"--compare-clean: expected no {', '.join(found)} with it")


def _is_journal(source: Path) -> bool:
    if source.is_dir():
        return (source / "journal.db").is_file() and not (source / "recording.toml").exists()
    if not source.exists():
        raise ConfigError(f"{source}: expected a recording's folder or a journal, found none")
    return True


def _journal_path(source: Path) -> Path:
    return source / "journal.db" if source.is_dir() else source


def _registry(options: argparse.Namespace) -> "Registry | None":
    """Return the registry of another server.toml, if one was given."""
    if options.config is None:
        return None
    from mainwatch.load import load, refuse, seeded_registry
    from server.config import ServerConfig, problems

    config: ServerConfig = load(options.config, ServerConfig, options.set)
    refuse(options.config, problems(config))
    registry: Registry = seeded_registry(config)
    return registry


def _asked(options: argparse.Namespace) -> "Asked":
    from server.replay.session import Asked

    return Asked(
        start=_instant("--from", options.start),
        end=_instant("--to", options.end),
        zones=tuple(options.zone),
        points=tuple(options.point),
    )


def _instant(option: str, text: str | None) -> Instant | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ConfigError(f"{option}: expected an instant such as 2026-01-01T00:00:00Z, was {text}")
    return Instant(round(found.timestamp() * 1000))


def _period(text: str) -> tuple[Instant, Instant]:
    start, _, end = text.partition("..")
    begin, beyond = (_instant("--compare-clean", part or None) for part in (start, end))
    if begin is None or beyond is None:
        raise ConfigError(
            "--compare-clean: expected START..END, such as"
            f" 2026-01-01T00:00:00Z..2026-02-01T00:00:00Z, was {text}"
        )
    return begin, beyond


def _parameters(options: argparse.Namespace) -> dict[str, str]:
    """Return what was asked, for the record; files by their names and hashes."""
    from server.replay.keep import digest_of_file

    found = {
        name: ", ".join(value) if isinstance(value, list) else str(value)
        for name, value in (
            ("from", options.start),
            ("to", options.end),
            ("zone", options.zone),
            ("point", options.point),
            ("set", options.set),
            ("compare-clean", options.compare_clean),
        )
        if value
    }
    for name, path in (("config", options.config), ("events", options.events)):
        if path is not None:
            found[name] = f"{path.name} sha256 {digest_of_file(path)}"
    return found


@contextmanager
def _progress(what: str, begin: int, end: int) -> Iterator[Progress]:
    """Show how far it is: a bar on a terminal, a line for each tenth elsewhere."""
    whole = max(1, end - begin)
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress as Bar

        with Bar(console=Console(stderr=True)) as bar:
            task = bar.add_task(what, total=whole)
            yield lambda at, _samples: bar.update(task, completed=min(whole, at - begin))
        return
    told = 0

    def step(at: Instant, _samples: int) -> None:
        nonlocal told
        part = min(STEPS, (at - begin) * STEPS // whole)
        if part > told:
            told = part
            print(f"{what}: {100 * told // STEPS} %", file=sys.stderr, flush=True)

    yield step
    if told < STEPS:
        print(f"{what}: 100 %", file=sys.stderr, flush=True)
