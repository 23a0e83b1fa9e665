"""A desk with a journal made by hand."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from server.servicecore.desk import Desk
from tests.support.books import book
from tests.support.passwords import hashed_quickly
from tests.support.plant import AT, Journal, ManualClock, burst
from tests.support.templates import migrated_once

Result = TypeVar("Result")


@pytest.fixture(autouse=True, scope="session")
def _databases_begin_as_copies() -> Iterator[None]:
    with migrated_once():
        yield


@pytest.fixture(autouse=True, scope="session")
def _passwords_are_hashed_quickly() -> Iterator[None]:
    with hashed_quickly():
        yield


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.db")
    yield made
    made.close()


@pytest.fixture
def with_desk(tmp_path: Path) -> Callable[[Callable[[Desk], Awaitable[Result]]], Result]:
    """Return a function that opens a desk on the test's folder, uses it, and closes it."""

    def use(act: Callable[[Desk], Awaitable[Result]]) -> Result:
        async def run() -> Result:
            desk = await Desk.open(
                tmp_path / "desk.db", journal=tmp_path / "journal.db", clock=ManualClock()
            )
            try:
                return await act(desk)
            finally:
                await desk.close()

        return asyncio.run(run())

    return use


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def run(tmp_path: Path, clock: ManualClock, journal: Journal):
    """Run an act on a desk that has caught up with the journal, under the policy of a name."""

    def use(act: Callable[[Desk], Awaitable[Result]], *, policy: str = "demo-water") -> Result:
        async def inside() -> Result:
            desk = await Desk.open(
                tmp_path / "desk.db",
                journal=tmp_path / "journal.db",
                clock=clock,
                book=book(policy),
            )
            try:
                await desk.catch_up()
                return await act(desk)
            finally:
                await desk.close()

        return asyncio.run(inside())

    return use


@pytest.fixture
def run_burst(run, journal: Journal):
    """Run an act on a desk that has the ticket of a burst."""
    journal.record(*burst(1, at=AT))
    return run
