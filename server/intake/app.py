"""Wiring of the intake process: the only writer of the journal."""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import telemetry
from server import engine
from server.config import InfluxSection, ServerConfig
from server.engine import essentials
from server.engine.events import Imported, RegistryChanged, Started
from server.engine.registry import Promise, Registry
from server.history import recording
from server.history.historian import Historian
from server.history.keeping import Keeping
from server.history.sink_queue import SinkQueue
from server.intake import state
from server.intake.door import Door, JournalRule
from server.intake.journal import Journal
from server.intake.loop import Intake
from server.intake.state import StateFile
from server.learning.trainer import Trainer
from telemetry.instant import DAY_MS, HOUR_MS, Clock, Instant

log = logging.getLogger("mainwatch.intake")

Ready = Callable[[dict[str, Any]], None]


async def run(
    config: ServerConfig,
    *,
    clock: Clock,
    ready: Ready,
    stop: asyncio.Event,
    trainer: Trainer | None = None,
    promises: Mapping[str, Promise] | None = None,
) -> None:
    """Run the only writer of the journal. Raises `StorageError` when its disk refuses.

    Without a trainer nothing is learnt, and limits and falls are all that is judged. `promises` are
    the policy's by kind of place, for the registry that a new server begins with.
    Whatever it ends with is written to `intake.state` first, for the desk to show.
    """
    said = StateFile(config.server.data)
    try:
        said.make(at=clock.now())
        await _serve(config, clock, ready, stop, said, trainer, promises or {})
        said.say(state.ENDED, at=clock.now())
    except (Exception, BaseExceptionGroup) as e:
        said.fell(e, at=clock.now())
        raise


async def _serve(
    config: ServerConfig,
    clock: Clock,
    ready: Ready,
    stop: asyncio.Event,
    said: StateFile,
    trainer: Trainer | None,
    promises: Mapping[str, Promise],
) -> None:
    data = config.server.data
    journal = Journal(data / "journal.db")
    historian = Historian(data / "historian.db", keeping=Keeping.of(config.history))
    if config.influx is not None:
        _queue_for(config.influx, historian, data, at=Instant(max(clock.now(), journal.last_at)))
    door = await asyncio.to_thread(
        Door,
        journal=journal,
        historian=historian,
        host_id=config.server.host_id,
        version=f"{version('mainwatch')}+{_code()}",
        checkpoint=data / "engine.checkpoint",
        clock=clock,
        rule=_rule(config),
    )
    try:
        await asyncio.to_thread(_open_door, door, journal, config, promises)
        serving = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            intake = Intake(config, door, clock, trainer)
            tasks.create_task(intake.run(data / "door.sock", stop, serving))
            await serving.wait()
            said.say(state.SERVING, at=clock.now())
            ready({"intake": config.server.host_id, "journal": journal.uuid})
    finally:
        await asyncio.to_thread(door.close)


def _rule(config: ServerConfig) -> JournalRule:
    rule = config.journal
    return JournalRule(
        segment_bytes=round(rule.segment_max_mb * 1e6),
        segment_ms=round(rule.segment_max_h * HOUR_MS),
        keep_ms=round(rule.keep_days * DAY_MS),
        keep_bytes=round(rule.keep_max_mb * 1e6),
        effects_ms=round(rule.effects_keep_days * DAY_MS),
    )


def _queue_for(influx: InfluxSection, historian: Historian, data: Path, *, at: Instant) -> None:
    """Let every write of the historian queue for InfluxDB too."""
    queue = SinkQueue(
        target=influx.target,
        bytes_max=round(influx.queue_max_mb * 1e6),
        ledger=data / "influx.db",
    )
    historian.write([], through=historian.through, also=partial(queue.open, now=at))
    historian.accompany(queue.enqueue)


def _open_door(
    door: Door, journal: Journal, config: ServerConfig, promises: Mapping[str, Promise]
) -> None:
    """Tell the engine what it must know first: the registry, the past, and that we have started."""
    registry = config.registry().promised(promises)
    if door.registry == Registry() != registry:  # later the desk's database is the master
        door.admit([lambda at: RegistryChanged(at=at, registry=registry)])
    folder = config.history.bootstrap
    if folder is not None and not journal.has("started"):
        name = recording.name_of(folder)
        held = journal.count("imported")
        for n, rows in enumerate(recording.days(folder)):
            if n >= held:
                door.admit([partial(_imported, name, rows)])
        log.info("history %s: taken in", name)
    settings = config.model_dump(mode="json", exclude={"zone", "point"})
    settings[essentials.NUMBERED] = list(journal.numbered())
    door.admit([lambda at: Started(at=at, version=version("mainwatch"), settings=settings)])


def _code() -> str:
    """Return a digest of the fold's own text: other code does not understand its checkpoints."""
    digest = hashlib.sha256()
    for package in (engine, telemetry):
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _imported(name: str, rows: tuple[recording.Row, ...], at: Instant) -> Imported:
    return Imported(at=at, source=name, rows=rows)
