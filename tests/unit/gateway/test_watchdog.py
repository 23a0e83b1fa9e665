"""The watchdog is fed while everything makes progress, over a real datagram socket."""

import asyncio
import socket

import pytest

from gateway.watchdog import NotifySocket, Progress, WatchedClock, feed
from mainwatch.wall_clock import WallClock
from tests.unit.gateway.pit import Machine


class Systemd:
    """What systemd is to a service: a datagram socket."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(0)

    async def hears(self) -> list[str]:
        data = await asyncio.get_running_loop().sock_recv(self.socket, 4_096)
        return data.decode().splitlines()


@pytest.mark.parametrize("is_abstract", [False, True])
def test_the_manager_is_told_on_its_socket(tmp_path, is_abstract):
    name = f"mainwatch-test-{tmp_path.name}"
    where = f"\0{name}" if is_abstract else str(tmp_path / "notify")
    manager = Systemd(where)
    NotifySocket(f"@{name}" if is_abstract else where).tell("READY=1")
    assert asyncio.run(manager.hears()) == ["READY=1"]
    manager.socket.close()


def test_a_manager_that_is_not_there_is_no_reason_to_stop(tmp_path):
    NotifySocket("").tell("READY=1")
    NotifySocket(str(tmp_path / "nobody")).tell("READY=1")


def test_a_stalled_line_starves_the_watchdog_until_it_moves_again(tmp_path):
    manager = Systemd(str(tmp_path / "notify"))
    machine = Machine()
    progress = Progress()

    async def scenario() -> None:
        async with asyncio.TaskGroup() as group, asyncio.timeout(10):
            fed = group.create_task(
                feed(
                    NotifySocket(str(tmp_path / "notify")),
                    progress,
                    clock=machine,
                    summary=lambda: "connected",
                    every_s=0.01,
                )
            )
            progress.beat("line rs485-1", machine.monotonic + 1_000)
            progress.beat("outbox", machine.monotonic + 90_000)
            assert await manager.hears() == ["WATCHDOG=1", "STATUS=connected"]
            machine.pass_ms(1_001)
            while (said := await manager.hears())[0] == "WATCHDOG=1":
                pass
            assert said == ["STATUS=no progress: line rs485-1"]
            progress.beat("line rs485-1", machine.monotonic + 1_000)
            while "WATCHDOG=1" not in await manager.hears():
                pass
            fed.cancel()

    asyncio.run(scenario())
    manager.socket.close()


def test_a_part_that_asks_the_time_is_alive_and_one_that_sleeps_is_not_missed():
    machine, progress = Machine(), Progress()
    clock = WatchedClock(machine, progress, "line a", patience_ms=1_000)
    clock.monotonic_ms()
    machine.pass_ms(900)
    assert progress.stalled(machine.monotonic) == []
    machine.pass_ms(200)
    assert progress.stalled(machine.monotonic) == ["line a"]
    asyncio.run(clock.sleep_until(machine.now() + 60_000))
    assert progress.stalled(machine.monotonic) == []


def test_a_part_that_waits_for_the_outbox_is_not_to_blame():
    machine, progress = Machine(), Progress()
    clock = WatchedClock(machine, progress, "line a", patience_ms=1_000)

    async def scenario() -> None:
        room = asyncio.Event()

        async def put(_scan: str) -> None:
            machine.pass_ms(90_000)
            assert progress.stalled(machine.monotonic) == []
            room.set()

        clock.monotonic_ms()
        await clock.waiting(put)("scan")
        assert room.is_set()

    asyncio.run(scenario())


def test_a_blocked_event_loop_feeds_nobody(tmp_path):
    manager = Systemd(str(tmp_path / "notify"))
    blocked_s = 0.3

    async def scenario() -> None:
        async with asyncio.TaskGroup() as group:
            fed = group.create_task(
                feed(
                    NotifySocket(str(tmp_path / "notify")),
                    Progress(),
                    clock=WallClock(),
                    summary=str,
                    every_s=0.01,
                )
            )
            await manager.hears()
            until = WallClock().monotonic_ms() + blocked_s * 1_000
            while WallClock().monotonic_ms() < until:  # nothing else runs
                pass
            heard = 0
            manager.socket.settimeout(0)
            try:
                while manager.socket.recv(4_096):
                    heard += 1
            except BlockingIOError:
                assert heard <= 1
            fed.cancel()

    asyncio.run(scenario())
    manager.socket.close()
