"""A plant with one burst, and a browser without scripts that looks at it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from server.config import PageSection
from server.servicecore.desk import Desk
from server.servicecore.rulebook import RuleBook
from server.web.application import create_app
from tests.support.built_once import built_once
from tests.support.passwords import hashed_quickly
from tests.support.plant import (
    AT,
    History,
    Journal,
    ManualClock,
    born,
    burst,
    registry,
    seen,
)
from tests.support.templates import migrated_once

Act = Callable[[httpx.AsyncClient, Desk], Awaitable[object]]


@pytest.fixture(autouse=True, scope="session")
def _databases_begin_as_copies() -> Iterator[None]:
    with migrated_once():
        yield


@pytest.fixture(autouse=True, scope="session")
def _applications_are_built_once() -> Iterator[None]:
    with built_once():
        yield


@pytest.fixture(autouse=True, scope="session")
def _passwords_are_hashed_quickly() -> Iterator[None]:
    with hashed_quickly():
        yield


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    """Return a folder with a journal (a burst, a proposal) and a historian."""
    journal, history = Journal(tmp_path / "journal.db"), History(tmp_path / "historian.db")
    journal.record(born(AT - 60_000), seen("north-12/pressure", AT - 60_000))
    journal.record(*burst(1, at=AT - 5_000))
    journal.record(*burst(2, at=AT - 4_000, zone="east", mode="confirm"))
    history.say(AT - 1_000, {"north-12/pressure": 281.25, "north-27/pressure": None})
    journal.close()
    history.close()
    return tmp_path


@pytest.fixture
def browse(plant: Path) -> Callable[..., object]:
    """Return a function that lets a browser act on the plant."""

    def use(act: Act, page: PageSection | None = None, book: RuleBook | None = None) -> object:
        async def run() -> object:
            clock = ManualClock(AT)
            desk = await Desk.open(
                plant / "desk.db", journal=plant / "journal.db", clock=clock, book=book
            )
            await desk.registry_acts.seed(registry())
            await desk.catch_up()
            stop = asyncio.Event()
            app = create_app(
                desk, history=plant / "historian.db", clock=clock, stop=stop, page=page
            )
            try:
                async with httpx.AsyncClient(
                    transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1:8420"
                ) as browser:
                    return await act(browser, desk)
            finally:
                await desk.close()

        return asyncio.run(run())

    return use
