"""One Modbus TCP line: its connection, its requests one at a time, and the polling of its devices.

No failure of the field leaves this file as an exception: it becomes a `NoAnswer`. After any reply
that was missing or wrong the connection is dropped, so that a late one can never be taken for the
answer to the next question.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException

from gateway.core.device import Device, NoAnswer, Reply, Scan, Words
from gateway.core.poll_plan import Block
from gateway.core.schedule import next_due
from telemetry.instant import MINUTE_MS, SECOND_MS, Clock, Instant
from telemetry.register_map import Table
from telemetry.sample import Reason

log = logging.getLogger("mainwatch.gateway.modbus")

RECONNECT_MIN_MS = 500
RECONNECT_MAX_MS = 5_000

_NOBODY_BEHIND = {0x0A, 0x0B}
"""Exceptions by which a converter says that the device behind it does not answer."""

_REFUSED_ADDRESS = {0x02, 0x03}

# It tells every lost reply; we tell the first and the last.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)


class Line:
    """The connection to one device or converter, made when it is needed."""

    def __init__(self, *, name: str, host: str, port: int, timeout_s: float, clock: Clock) -> None:
        self.name = name
        self._where = f"line {name} ({host}:{port})"
        self._host = host
        self._port = port
        self._timeout_s = timeout_s
        self._clock = clock
        self._client: AsyncModbusTcpClient | None = None
        self._is_up: bool | None = None
        self._failures = 0
        self._not_before_ms = 0
        self._transaction = 0
        """The last transaction id. They go on over connections, where pymodbus would begin again at
        1: a converter that hands a late reply to the next connection must not hit its question."""

    async def read(self, unit: int, block: Block) -> tuple[Reply, int]:
        """Return the words of a block, or why there are none, and the exception code or 0."""
        client = await self._connected()
        if client is None:
            return self._nothing(Reason.LINE_DOWN), 0
        holding = block.table is Table.HOLDING
        ask = client.read_holding_registers if holding else client.read_input_registers
        try:
            reply = await ask(block.address, count=block.count, device_id=unit)
        except ConnectionException:
            self.close()
            return self._nothing(Reason.LINE_DOWN), 0
        except ModbusException:  # no reply in time, or one that does not belong to the question
            reason = Reason.TIMEOUT if client.connected else Reason.LINE_DOWN
            self.close()
            return self._nothing(reason), 0
        code: int = reply.exception_code if reply.isError() else 0
        if code in _NOBODY_BEHIND:
            return self._nothing(Reason.TIMEOUT), code
        if code:
            return self._nothing(Reason.DEVICE_EXCEPTION, answered=True), code
        right = reply.function_code == (3 if holding else 4) and reply.dev_id == unit
        if not right or len(reply.registers) != block.count:
            self.close()
            return self._nothing(Reason.WRONG_REPLY, answered=True), 0
        return Words(at=self._clock.now(), words=tuple(reply.registers)), 0

    def close(self) -> None:
        """Drop the connection; the next request makes a new one."""
        if self._client is not None:
            self._transaction = self._client.ctx.next_tid
            self._client.close()
            self._client = None

    async def _connected(self) -> AsyncModbusTcpClient | None:
        """Return the connection, or None when there is none and it is too early to try again."""
        if self._client is not None and self._client.connected:
            return self._client
        self.close()
        if self._clock.monotonic_ms() < self._not_before_ms:
            return None
        client = AsyncModbusTcpClient(
            self._host,
            port=self._port,
            name=self.name,
            timeout=self._timeout_s,
            retries=0,
            reconnect_delay=0,  # we say when
        )
        try:
            answered = await client.connect()
        except BaseException:
            client.close()
            raise
        self._note(is_up=answered)
        if answered:
            self._failures = 0
            self._client = client
            client.ctx.next_tid = self._transaction
            return client
        client.close()
        pause_ms = min(RECONNECT_MAX_MS, RECONNECT_MIN_MS << min(self._failures, 10))
        self._failures += 1
        self._not_before_ms = self._clock.monotonic_ms() + pause_ms
        return None

    def _note(self, *, is_up: bool) -> None:
        if is_up is not self._is_up:
            level = logging.INFO if is_up else logging.WARNING
            log.log(level, "%s %s", self._where, "answers" if is_up else "does not answer")
            self._is_up = is_up

    def _nothing(self, reason: Reason, *, answered: bool = False) -> NoAnswer:
        return NoAnswer(at=self._clock.now(), reason=reason, answered=answered)


class Poller:
    """The polling of all devices of one line, each on its own grid."""

    def __init__(
        self,
        line: Line,
        devices: Sequence[Device],
        *,
        clock: Clock,
        put: Callable[[Scan], Awaitable[None]],
    ) -> None:
        self.skipped = 0
        """Polls that were missed because the line, or storing, was too slow."""
        self.line_name = line.name
        self._line = line
        self._devices = devices
        self._clock = clock
        self._put = put
        self._told_ms = -MINUTE_MS
        self._told_skipped = 0

    async def run(self) -> None:
        """Poll until cancelled."""
        clock = self._clock
        start_ms = clock.monotonic_ms() + SECOND_MS - clock.now() % SECOND_MS
        due = [start_ms] * len(self._devices)
        try:
            while True:
                n = min(range(len(due)), key=due.__getitem__)
                wait_ms = due[n] - clock.monotonic_ms()
                if wait_ms > 0:
                    await clock.sleep_until(Instant(clock.now() + wait_ms))
                device = self._devices[n]
                await self._poll(device)
                now_ms = clock.monotonic_ms()
                pause_ms = device.pause_ms()
                if pause_ms is not None:
                    due[n] = now_ms + pause_ms
                    continue
                due[n], missed = next_due(
                    due[n], start_ms=start_ms, period_ms=device.period_ms, now_ms=now_ms
                )
                self._count(missed, now_ms)
        finally:
            self._line.close()

    async def _poll(self, device: Device) -> None:
        replies = await self._ask(device)
        scan = device.scan(replies, now_ms=self._clock.monotonic_ms())
        if scan is None:
            return
        if scan.alive is not None:
            level = logging.INFO if scan.alive else logging.WARNING
            said = "is back" if scan.alive else "does not answer"
            log.log(level, "device %s on line %s %s", device.id, self._line.name, said)
        await self._put(scan)

    async def _ask(self, device: Device) -> list[Reply]:
        """Return the replies to a device's blocks, up to the first that found nobody."""
        replies: list[Reply] = []
        n = 0
        while n < len(device.blocks):
            block = device.blocks[n]
            reply, code = await self._line.read(device.unit, block)
            if code in _REFUSED_ADDRESS and device.close_holes(block):
                log.info("device %s refuses to be read across unused registers", device.id)
                replies.clear()
                n = 0
                continue
            replies.append(reply)
            if isinstance(reply, NoAnswer) and not reply.answered:
                break
            n += 1
        return replies

    def _count(self, missed: int, now_ms: int) -> None:
        self.skipped += missed
        if self.skipped > self._told_skipped and now_ms - self._told_ms >= MINUTE_MS:
            more = self.skipped - self._told_skipped
            log.warning("line %s is too slow: %d more polls skipped", self._line.name, more)
            self._told_skipped = self.skipped
            self._told_ms = now_ms
