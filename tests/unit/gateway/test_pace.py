"""A busy loop: the sender goes before the polls, and no poll waits for it for ever."""

import asyncio
import logging

import pytest

from gateway.pace import BUSY_MS, LATE_MS, LOOK_MS, Pace
from mainwatch.wall_clock import WallClock
from telemetry.instant import MINUTE_MS
from tests.support.plant import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def pace(clock: ManualClock) -> Pace:
    return Pace(clock)


async def may_begin(pace: Pace, *, within_s: float = 0.03) -> bool:
    try:
        await asyncio.wait_for(pace.polling(), within_s)
    except TimeoutError:
        return False
    return True


def test_a_loop_that_is_on_time_polls_while_another_sends(pace):
    async def scenario() -> None:
        pace.looked(late_ms=LATE_MS)
        with pace.sending():
            assert await may_begin(pace)

    asyncio.run(scenario())


def test_a_late_loop_lets_the_sender_go_first_and_then_every_line_poll_once(pace):
    begun = []

    async def line(n: int) -> None:
        await pace.polling()
        begun.append(n)

    async def scenario() -> None:
        pace.looked(late_ms=LATE_MS + 1)
        async with asyncio.TaskGroup() as group:
            with pace.sending():
                for n in range(3):
                    group.create_task(line(n))
                await asyncio.sleep(0.01)
                assert not begun
            with (
                pace.sending()
            ):  # the sender's next turn begins at once: they had their right to go
                await asyncio.sleep(0.01)
                assert sorted(begun) == [0, 1, 2]

    asyncio.run(scenario())


def test_nobody_waits_when_nobody_sends(pace):
    async def scenario() -> None:
        pace.looked(late_ms=1_000)
        assert await may_begin(pace)
        with pytest.raises(ZeroDivisionError), pace.sending():
            _ = 1 / 0
        assert await may_begin(pace)

    asyncio.run(scenario())


def test_a_sender_that_waits_for_a_slow_disk_holds_up_no_poll_for_long(pace):
    async def scenario() -> None:
        pace.looked(late_ms=1_000)
        with pace.sending():
            assert not await may_begin(pace)
            assert await may_begin(pace, within_s=5)

    asyncio.run(scenario())


def test_a_loop_is_busy_until_it_was_on_time_for_long_enough(pace, clock):
    async def scenario() -> None:
        pace.looked(late_ms=1_000)
        with pace.sending():
            clock.at += BUSY_MS - 1
            pace.looked(late_ms=0)
            assert not await may_begin(pace)
            clock.at += 1
            assert await may_begin(pace)

    asyncio.run(scenario())


def test_the_loop_is_watched():
    async def scenario() -> None:
        pace = Pace(WallClock())
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(pace.run())
            await asyncio.sleep(0)
            loop = asyncio.get_running_loop()
            until = loop.time() + (LOOK_MS + 2 * LATE_MS) / 1000
            while loop.time() < until:
                pass  # what a loop with too much to do is like
            await asyncio.sleep(0.005)
            with pace.sending():
                assert not await may_begin(pace)
            watching.cancel()

    asyncio.run(scenario())


@pytest.mark.parametrize(("late", "is_told"), [(4, False), (5, True)])
def test_a_processor_that_is_too_slow_is_told_once_a_minute(pace, clock, caplog, late, is_told):
    caplog.set_level(logging.WARNING)
    for n in range(1, 11):
        clock.at += MINUTE_MS // 10
        pace.looked(late_ms=1_000 if n <= late else 0)
    assert (len(caplog.messages) == 1) is is_told
    if is_told:
        assert "too slow for all that is polled: late in 50 % of the last minute" in caplog.text
    for _ in range(10):
        clock.at += MINUTE_MS // 10
        pace.looked(late_ms=0)
    assert len(caplog.messages) == int(is_told)
