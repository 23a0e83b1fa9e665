"""Child processes under one roof: nothing is left when it is told to end, at whatever moment."""

import asyncio
import sys

import pytest

from server import supervisor
from server.supervisor import Child, Supervisor, unless
from tests.unit.gateway.field import until

SERVES = "import time; print('{}', flush=True); time.sleep(60)"
NEVER_SERVES = "import time; time.sleep(60)"
GOES_SLOWLY = """
import signal, time, sys
def go(*_):
    time.sleep(0.5)
    sys.exit()
signal.signal(signal.SIGTERM, go)
print('{}', flush=True)
time.sleep(60)
"""


def child(name: str, program: str) -> Child:
    return Child(name=name, command=[sys.executable, "-c", program])


def is_gone(it: Child) -> bool:
    return it.process is not None and it.process.returncode is not None


def test_a_child_that_fell_is_started_again():
    async def story() -> None:
        keeper, it = Supervisor(), child("a", SERVES)
        async with asyncio.TaskGroup() as tasks:
            await keeper.start(it, tasks)
            first = it.process
            first.kill()
            await until(lambda: it.process is not first)
            await keeper.end()
        assert is_gone(it)

    asyncio.run(story())


def test_a_child_that_waits_to_be_started_again_is_not_started_after_the_end(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(supervisor, "RESTART_S", (0.1,))

    async def story() -> None:
        keeper = Supervisor()
        slow, fallen = child("slow", GOES_SLOWLY), child("fallen", SERVES)
        async with asyncio.TaskGroup() as tasks:
            await keeper.start_all([slow, fallen], tasks)
            fallen.process.kill()
            await until(lambda: fallen.restarts == 1)
            await keeper.end()
        assert is_gone(slow)
        assert is_gone(fallen)

    asyncio.run(story())


def test_who_is_told_to_end_before_all_serve_does_not_wait_for_them():
    async def story() -> bool:
        keeper, stop = Supervisor(), asyncio.Event()
        children = [child("first", SERVES), child("second", NEVER_SERVES)]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_set_when(stop, lambda: children[1].process is not None))
            is_done = await unless(stop, keeper.start_all(children, tasks))
            await keeper.end()
        assert all(is_gone(it) for it in children)
        return is_done

    assert not asyncio.run(story())


async def _set_when(stop: asyncio.Event, condition) -> None:
    await until(condition)
    stop.set()
