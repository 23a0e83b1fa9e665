"""The polling of one line: its own task, schedule and failures; no other line waits for it."""

import logging
from collections.abc import Awaitable, Callable, Sequence

from gateway.core.device import (
    BUSY_PAUSE_MS,
    BUSY_TRIES,
    Device,
    NoAnswer,
    Reply,
    Scan,
    Words,
    identity_block,
    is_single,
)
from gateway.core.isolation import Isolation, told
from gateway.core.poll_plan import Block, Poll
from gateway.core.schedule import Schedule, Slot
from gateway.modbus import BUSY, Line
from gateway.pace import Pace
from telemetry.instant import MINUTE_MS, SECOND_MS, Clock, Instant

log = logging.getLogger("mainwatch.gateway.poller")

REFUSED_ADDRESS = frozenset({0x02, 0x03})
"""Exceptions that a part of a block may be to blame for."""

USAGE_MS = 10 * SECOND_MS
"""Over how long the live share of a line's time is taken."""

IDENTITY_MS = 10 * SECOND_MS
"""How often a device that is not the right one is asked who it is."""


class Poller:
    """The devices of one line, each poll on its own grid."""

    def __init__(
        self,
        line: Line,
        devices: Sequence[Device],
        *,
        clock: Clock,
        put: Callable[[Scan], Awaitable[None]],
        pace: Pace,
    ) -> None:
        self.line = line
        self.statistics = line.statistics
        self.statistics.devices = {d.id: d.statistics for d in devices}
        self._devices = devices
        self._clock = clock
        self._put = put
        self._pace = pace
        self._entries: list[tuple[Device, Poll, Slot]] = []
        self._busy: dict[str, int] = {}
        self._ask_who_ms: dict[str, int] = {}
        self._opened = 0
        self._used_s = 0.0
        self._used_ms = 0
        self._told_ms = -MINUTE_MS
        self._told_skipped = 0

    async def run(self) -> None:
        """Poll until cancelled."""
        clock = self._clock
        now_ms = clock.monotonic_ms()
        self._used_ms = self.statistics.last_progress_ms = now_ms
        schedule = Schedule(start_ms=now_ms + SECOND_MS - clock.now() % SECOND_MS)
        self._enter(schedule)
        try:
            while True:
                slots = [slot for _, _, slot in self._entries]
                n, due_ms = schedule.pick(slots, clock.monotonic_ms())
                wait_ms = due_ms - clock.monotonic_ms()
                if wait_ms > 0:
                    self.statistics.last_progress_ms = clock.monotonic_ms()
                    wait_ms = min(wait_ms, SECOND_MS)
                    await clock.sleep_until(Instant(clock.now() + wait_ms))
                    continue
                await self._pace.polling()
                await self._poll(schedule, *self._entries[n])
                self._let_go(schedule, clock.monotonic_ms())
                self._measure(clock.monotonic_ms())
        finally:
            self.line.end()

    def _enter(self, schedule: Schedule) -> None:
        """Put all polls into the schedule; those that were there stay where they are."""
        before = {
            (device.id, slot.is_low, slot.period_ms): slot for device, _, slot in self._entries
        }
        self._entries = [
            (
                device,
                poll,
                before.get(
                    (device.id, poll.is_low, poll.period_ms),
                    Slot(
                        period_ms=poll.period_ms,
                        is_low=poll.is_low,
                        due_ms=schedule.first_due(),
                    ),
                ),
            )
            for device in self._devices
            for poll in device.polls
        ]
        self.statistics.needed = sum(d.needed for d in self._devices)

    async def _poll(self, schedule: Schedule, device: Device, poll: Poll, slot: Slot) -> None:
        """Make one poll, hand on its scan and put it back into the schedule."""
        polls = device.polls
        was_alive = device.alive
        await self._meet(device)
        replies = await self._ask(device, poll)
        now_ms = self._clock.monotonic_ms()
        if replies is None:  # what is asked has changed: once more at once
            self._enter(schedule)
            return
        if self._is_busy(device, replies[-1]):
            schedule.put_off(slot, until_ms=now_ms + BUSY_PAUSE_MS)
            return
        scan = device.scan(poll, replies, now_ms=now_ms)
        self._schedule(schedule, device, slot, now_ms)
        if device.replan(now_ms) or device.polls is not polls:
            self._enter(schedule)
        if was_alive is not device.alive:
            level = logging.INFO if device.alive else logging.WARNING
            said = "is back" if device.alive else "does not answer"
            log.log(level, "device %s on line %s %s", device.id, self.line.name, said)
        if scan is not None and scan.samples:
            await self._put(scan)

    def _schedule(self, schedule: Schedule, device: Device, slot: Slot, now_ms: int) -> None:
        pause_ms = device.pause_ms()
        mine = [s for d, _, s in self._entries if d is device]
        if pause_ms is not None:  # one probe for all its polls
            for other in mine:
                other.is_probe = True
                schedule.put_off(other, until_ms=max(other.due_ms, now_ms + pause_ms))
            schedule.put_off(slot, until_ms=now_ms + pause_ms)
            return
        for other in mine:
            if other.is_probe and other is not slot:
                other.due_ms = min(other.due_ms, now_ms)
            other.is_probe = False
        self._count(device, schedule.done(slot, now_ms=now_ms), is_low=slot.is_low)

    async def _ask(self, device: Device, poll: Poll) -> list[Reply] | None:
        """Return the replies to a poll's blocks, up to the first that found nobody.

        None when the device has refused a part and its plan is another one now.
        """
        replies: list[Reply] = []
        for block in poll.blocks:
            reply = await self._read(device, block)
            refused = isinstance(reply, NoAnswer) and reply.code in REFUSED_ADDRESS
            if refused and not is_single(block) and await self._isolate(device, block):
                return None
            replies.append(reply)
            if isinstance(reply, NoAnswer) and (not reply.answered or reply.code == BUSY):
                break
        return replies

    async def _read(self, device: Device, block: Block) -> Reply:
        device.statistics.requests += 1
        given_up = not device.alive
        return await self.line.read(
            device.unit,
            block,
            patience_s=device.patience_s(self.line.timeout_s) if given_up else None,
            pause_s=device.pause_s,
        )

    async def _isolate(self, device: Device, block: Block) -> bool:
        """Find what of a block is refused; say whether that was found out."""
        search = Isolation(block)
        while search.verdict is None:
            reply = await self._read(device, search.next)
            if isinstance(reply, NoAnswer) and reply.code not in REFUSED_ADDRESS:
                return False  # no answer, or busy: another time
            search.told(refused=isinstance(reply, NoAnswer))
        device.learn(block, search.verdict)
        log.warning(
            "device %s on line %s: %s", device.id, self.line.name, told(block, search.verdict)
        )
        return True

    async def _meet(self, device: Device) -> None:
        """Ask a device who it is, where it can say, when it may be another one."""
        if self.statistics.opened != self._opened:
            self._opened = self.statistics.opened
            for d in self._devices:
                d.line_was_lost()
        now_ms = self._clock.monotonic_ms()
        if not device.wants_identity or not device.alive:
            return
        if now_ms < self._ask_who_ms.get(device.id, now_ms):
            return
        self._ask_who_ms[device.id] = now_ms + IDENTITY_MS
        assert device.identity is not None
        reply = await self._read(device, identity_block(device.identity))
        if isinstance(reply, Words):
            said = device.identified(reply.words)
            if said:
                log.warning("device %s on line %s: %s", device.id, self.line.name, said)

    def _is_busy(self, device: Device, reply: Reply) -> bool:
        """Say whether a device asks for patience and has not asked too often."""
        if not isinstance(reply, NoAnswer) or reply.code != BUSY:
            self._busy.pop(device.id, None)
            return False
        device.statistics.busy += 1
        tries = self._busy[device.id] = self._busy.get(device.id, 0) + 1
        if tries <= BUSY_TRIES:
            return True
        self._busy.pop(device.id)
        return False

    def _let_go(self, schedule: Schedule, now_ms: int) -> None:
        """Count what low priority has missed, even when it is never its turn."""
        for device, _, slot in self._entries:
            self._count(device, schedule.overdue(slot, now_ms=now_ms), is_low=True)

    def _measure(self, now_ms: int) -> None:
        """Know what share of its time the line was held lately."""
        elapsed_ms = now_ms - self._used_ms
        if elapsed_ms >= USAGE_MS:
            s = self.statistics
            s.used = (s.used_s - self._used_s) * SECOND_MS / elapsed_ms
            self._used_ms, self._used_s = now_ms, s.used_s

    def _count(self, device: Device, missed: int, *, is_low: bool) -> None:
        if not missed:
            return
        s, d = self.statistics, device.statistics
        if is_low:
            s.skipped_low += missed
            d.skipped_low += missed
        else:
            s.skipped += missed
            d.skipped += missed
        now_ms, skipped = self._clock.monotonic_ms(), s.skipped + s.skipped_low
        if now_ms - self._told_ms >= MINUTE_MS:
            log.warning(
                "line %s is too slow: %d more polls skipped (it needs %.0f %% of its time)",
                self.line.name,
                skipped - self._told_skipped,
                100 * s.needed,
            )
            self._told_skipped, self._told_ms = skipped, now_ms
