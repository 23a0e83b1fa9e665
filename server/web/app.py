"""Wiring of the desk process: the service core and its pages."""

import asyncio
import socket
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from server.config import ServerConfig
from server.servicecore.desk import Desk
from server.servicecore.door_client import DoorClient
from server.servicecore.rulebook import RuleBook
from server.servicecore.watch import Watch
from server.web.application import create_app
from telemetry.instant import Clock

Ready = Callable[[dict[str, Any]], None]

PAGE_END_S = 3
"""How long open pages have to let go when the desk ends."""


async def run(
    config: ServerConfig, *, book: RuleBook, clock: Clock, ready: Ready, stop: asyncio.Event
) -> None:
    """Run the service core and its pages. Raises `StorageError` when the journal is another one."""
    data = config.server.data
    desk = await Desk.open(
        data / "servicecore.db", journal=data / "journal.db", clock=clock, book=book
    )
    try:
        if not await desk.registry_acts.seed(config.registry()):
            await desk.registry_acts.follow_policy()
        door = DoorClient(desk, data / "door.sock")
        pages = create_app(
            desk,
            history=data / "historian.db",
            clock=clock,
            stop=stop,
            page=config.page,
            sink=None if config.influx is None else data / "influx.db",
            balance=config.balance,
        )
        await _greet(desk, config)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(desk.follow(stop))
            tasks.create_task(door.run(stop))
            tasks.create_task(Watch(desk, data / "audit-heads.jsonl", clock=clock).run(stop))
            await _serve_pages(pages, config, ready, stop)
    finally:
        await desk.close()


async def _greet(desk: Desk, config: ServerConfig) -> None:
    """Tell how the first administrator gets in; the link works once, for a day."""
    token = await desk.people.first_link() if config.page.sign_in else ""
    if token:
        link = f"{config.page.address}welcome/{token}"
        print(  # noqa: T201  for the person who starts it, not for a log
            f"first administrator: open {link} within 24 hours; it works once", file=sys.stderr
        )


class _Pages(uvicorn.Server):
    """A web server that leaves the signals to us."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def _serve_pages(
    pages: FastAPI, config: ServerConfig, ready: Ready, stop: asyncio.Event
) -> None:
    with socket.create_server(
        (config.page.host, config.page.port), family=config.page.family, backlog=128
    ) as listener:
        server = _Pages(
            uvicorn.Config(
                pages,
                lifespan="off",
                log_level="warning",
                access_log=False,
                ssl_certfile=config.page.cert_file,
                ssl_keyfile=config.page.key_file,
                timeout_graceful_shutdown=PAGE_END_S,
            )
        )
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(server.serve(sockets=[listener]))
            ready({"desk": config.server.host_id, "page": config.page.address})
            await stop.wait()
            server.should_exit = True
            await serving
