"""Wiring of the control room: a supervisor over two processes, the intake and the desk.

It runs neither: they are programs of their own (`intake.app`, `web.app`), and so is the sink
(`history.influx`) where InfluxDB is configured.
"""

import asyncio
import fcntl
import logging
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from server.config import ServerConfig
from server.history import influx_client
from server.intake import mqtt
from server.supervisor import Child, Supervisor, unless
from telemetry.errors import ConfigError

log = logging.getLogger("mainwatch.server")

Ready = Callable[[dict[str, Any]], None]

_PARTS = ("intake", "desk")

SOCKET_PATH_MAX = 100
"""Bytes: Linux takes 107 in the name of a local socket."""


async def run(
    config: ServerConfig,
    command: Sequence[str],
    *,
    where: Path,
    ready: Ready,
    stop: asyncio.Event,
) -> None:
    """Keep the intake and the desk running; `command` starts this program again, `where` names it.

    Raises `ConfigError` before anything is started when something that both need is not there.
    """
    lock = await _prepare(config, where)
    supervisor = Supervisor()
    try:
        async with asyncio.TaskGroup() as tasks:
            try:
                names = _PARTS if config.influx is None else (*_PARTS, "influx")
                parts = [Child(name=p, command=[*command, "--part", p]) for p in names]
                if await unless(stop, supervisor.start_all(parts, tasks)):
                    ready({"server": config.server.host_id, "page": config.page.address})
                    await stop.wait()
            finally:
                await supervisor.end()
    finally:
        os.close(lock)


async def _prepare(config: ServerConfig, where: Path) -> int:
    """Refuse what cannot work before anything is half-started; return the lock on the folder."""
    data = config.server.data
    socket_path = data / "door.sock"
    if len(os.fsencode(socket_path)) > SOCKET_PATH_MAX:
        raise ConfigError(
            f"{where}: server.data: expected a shorter path, as {socket_path} is the name of a"
            f" local socket and may have {SOCKET_PATH_MAX} bytes"
        )
    try:
        if not data.is_dir():
            raise ConfigError(f"{where}: server.data: expected a folder, found none at {data}")
        lock = os.open(data / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as e:
        raise ConfigError(
            f"{where}: server.data: expected a folder that can be written, {data}: {e.strerror}"
        ) from e
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _refuse_sink(config, where)
        _refuse_taken_port(config, where)
        await _refuse_closed_broker(config, where)
    except BlockingIOError as e:
        os.close(lock)
        raise ConfigError(
            f"{where}: server.data: {data} is in use by another running server"
        ) from e
    except ConfigError:
        os.close(lock)
        raise
    return lock


def _refuse_sink(config: ServerConfig, where: Path) -> None:
    if config.influx is not None and (found := influx_client.problems_at_start(config.influx)):
        raise ConfigError("; ".join(f"{where}: {problem}" for problem in found))


def _refuse_taken_port(config: ServerConfig, where: Path) -> None:
    host, port = config.page.host, config.page.port
    with socket.socket(config.page.family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as e:
            raise ConfigError(
                f"{where}: page.port: expected a free port, {host}:{port}: {e.strerror}"
            ) from e


async def _refuse_closed_broker(config: ServerConfig, where: Path) -> None:
    """Refuse a broker that does not let us in, unless this server has been in service before.

    Once in service, tickets must stay at hand while the broker is away: the intake says so once and
    goes on trying.
    """
    try:
        await mqtt.probe(config.broker, host_id=config.server.host_id)
    except ConfigError as e:
        if not (config.server.data / "engine.checkpoint").exists():
            raise ConfigError(f"{where}: {e}") from e
        log.warning("%s; going on, as this server has been in service before", e)
