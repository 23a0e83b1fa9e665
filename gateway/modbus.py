"""One Modbus line: opened when it is needed, one request at a time, under the rules of the bus.

No failure of the field leaves this file as an exception: it becomes a `NoAnswer`.

Rule 1: frames are parted by 3.5 characters of silence.
Rule 2: after any reply that was missing or wrong a serial line is left quiet, so that a late one
comes when nobody waits for it; a TCP connection is dropped.
Rule 3: as no time is long enough, the device is not asked again for what has the length of a reply
that is missing: one register more is read instead and not used, until the device has answered and
`DOUBT_S` has passed. Where it refuses that, something shorter is asked first (a fence).
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from pymodbus.exceptions import ConnectionException, ModbusException
from pymodbus.pdu import ModbusPDU

from gateway.core.device import NoAnswer, Reply, Words
from gateway.core.line_timing import reply_octets
from gateway.core.poll_plan import Block
from gateway.core.rtu_reply import Heard
from gateway.core.statistics import LineStatistics
from gateway.line_loan import Loan
from gateway.wire import Client, Disturbed, Place, Wire
from telemetry.instant import Clock
from telemetry.register_map import BITS_PER_READ_MAX, REGISTERS_PER_READ_MAX, Table
from telemetry.sample import Reason

log = logging.getLogger("mainwatch.gateway.modbus")

REOPEN_MIN_MS = 500
REOPEN_MAX_MS = 5_000

OPEN_S = 3.0
"""How long a converter may take to accept a connection."""

DRAIN_S = 0.02
"""What an adapter may hold back: the shortest quiet after a device that is given up anyway."""

DOUBTS_MAX = 16
"""So many missing replies of one device are remembered; older ones do not come any more."""

DOUBT_S = 5.0
"""So late a reply may overtake, or be overtaken by, the answers to later questions."""

NOBODY_BEHIND = frozenset({0x0A, 0x0B})
"""Exceptions by which a converter says that the device behind it does not answer."""

BUSY = 0x06

REFUSED = frozenset({0x01, 0x02, 0x03})
"""Exceptions by which a device says that it does not give so much."""

ADDRESSES = 65_536

_FUNCTIONS = {Table.COIL: 1, Table.DISCRETE: 2, Table.HOLDING: 3, Table.INPUT: 4}


@dataclass(slots=True, kw_only=True)
class _Doubt:
    """A reply that is missing: what it would be, and whether the device has answered since."""

    table: Table
    octets: int
    since_s: float
    is_answered: bool = False


class Line:
    """The connection to the devices of one line, made when it is needed."""

    def __init__(
        self,
        place: Place,
        *,
        name: str,
        timeout_s: float,
        quiet_s: float,
        connect_pause_s: float,
        clock: Clock,
        may_open: Callable[[str, str], bool] | None = None,
        loan: Loan | None = None,
    ) -> None:
        self.name = name
        self.place = place
        self.timeout_s = timeout_s
        self.statistics = LineStatistics()
        self._where = f"line {name} ({place})"
        self._quiet_s = quiet_s
        self._connect_pause_s = connect_pause_s
        self._clock = clock
        self._loan = loan
        self._may_open = may_open
        """Asked, with the line's name and its port, whether the port is still the same."""
        self._wire: Wire | None = None
        self._is_up: bool | None = None
        self._failures = 0
        self._not_before_ms = 0
        self._free_s = 0.0
        """From when on the line may be used again, in the loop's time."""
        self._doubts: dict[int, deque[_Doubt]] = {}
        """By unit: replies that may still come."""
        self._told_foreign: set[tuple[int, int]] = set()
        self._transaction = 0
        """The last transaction id. They go on over connections, where pymodbus would begin again at
        1: a converter that hands a late reply to the next connection must not hit its question."""

    async def read(
        self, unit: int, block: Block, *, patience_s: float | None = None, pause_s: float = 0.0
    ) -> Reply:
        """Return the words of a block, or why there are none.

        `patience_s` is how long the device may take to begin its answer, if not as long as the
        line's others; it is then given up already, and no quiet is wasted on it. `pause_s` is what
        the device wants after its answer.
        """
        if self._loan is not None:
            await self._loan.before_use(self._clock, close=self.close)
        reply = await self._read(unit, block, patience_s, pause_s)
        self.statistics.last_progress_ms = self._clock.monotonic_ms()
        return reply

    def end(self) -> None:
        """Close it for good, and let others have it."""
        self.close()
        if self._loan is not None:
            self._loan.release()

    def close(self) -> None:
        """Close it; the next request opens it again."""
        if self._wire is not None:
            self._transaction = self._wire.client.ctx.next_tid
            self._wire.close()
            self._wire = None
        self.statistics.is_up = False

    async def _read(
        self, unit: int, block: Block, patience_s: float | None, pause_s: float
    ) -> Reply:
        wire = await self._opened()
        if wire is None:
            return self._nothing(Reason.LINE_DOWN)
        missing = self._missing(wire, unit, block.table)
        if reply_octets(block.table, block.count) not in missing:
            return await self._ask(wire, unit, block, patience_s, pause_s)
        self.statistics.fences += 1
        for other in _others(block, missing):
            reply = await self._ask(wire, unit, other, patience_s, pause_s)
            if isinstance(reply, Words) and other.count > block.count:
                return replace(reply, words=reply.words[: block.count])
            if isinstance(reply, NoAnswer) and reply.code not in REFUSED:
                return reply
        return await self._ask(wire, unit, block, patience_s, pause_s)

    def _missing(self, wire: Wire, unit: int, table: Table) -> set[int]:
        """Return the lengths of replies from a table that may still come; forget the others."""
        doubts = self._doubts.get(unit)
        if not doubts:
            return set()
        now_s = wire.now_s()
        kept = [d for d in doubts if not d.is_answered or now_s - d.since_s < DOUBT_S]
        self._doubts[unit] = deque(kept, maxlen=DOUBTS_MAX)
        return {d.octets for d in kept if d.table is table}

    def _answered(self, unit: int) -> None:
        """Take note that a device has answered something since."""
        for doubt in self._doubts.get(unit, ()):
            doubt.is_answered = True

    async def _ask(
        self, wire: Wire, unit: int, block: Block, patience_s: float | None, pause_s: float
    ) -> Reply:
        """Make one request, and leave the line as its outcome demands."""
        timing = self.place.timing
        wire_s = timing.wire_s(block.table, block.count)
        wire.begin(patience_s=wire_s + (self.timeout_s if patience_s is None else patience_s))
        self.statistics.requests += 1
        try:
            reply = await self._answer(wire, unit, block)
        except ConnectionException:
            self._drop()
            return self._nothing(Reason.LINE_DOWN)
        except ModbusException:
            return self._failed(wire, unit, block, is_short=patience_s is not None)
        finally:
            wire.give_up()
            self.statistics.used_s += timing.gap_s + wire.now_s() - wire.ready_s
        self._free_s = wire.heard_s + timing.gap_s + pause_s
        self.statistics.echoes += wire.judgement.echoed
        code: int = reply.exception_code if reply.isError() else 0
        if code:
            self._answered(unit)
        if code in NOBODY_BEHIND:
            return self._nothing(Reason.TIMEOUT, code=code)
        if code:
            return self._nothing(Reason.DEVICE_EXCEPTION, answered=True, code=code)
        words = _words(reply, unit, block)
        if words is None:
            return self._failed(wire, unit, block, answered=True)
        self._answered(unit)
        turnaround_s = max(0.0, wire.heard_s - wire.sent_s - wire_s - timing.gap_s)
        return Words(at=self._clock.now(), words=words, turnaround_s=turnaround_s)

    def _failed(
        self,
        wire: Wire,
        unit: int,
        block: Block,
        *,
        answered: bool = False,
        is_short: bool = False,
    ) -> NoAnswer:
        """Take note of a reply that is missing or wrong."""
        if not self.place.is_framed:
            was_open = wire.is_open
            self._drop()
            if answered:
                return self._nothing(Reason.WRONG_REPLY, answered=True)
            return self._nothing(Reason.TIMEOUT if was_open else Reason.LINE_DOWN)
        if not wire.is_open:
            self._drop()
            return self._nothing(Reason.LINE_DOWN)
        heard = wire.judgement.heard
        self.statistics.foreign += heard is Heard.FOREIGN
        self.statistics.noise += heard is Heard.NOISE
        doubts = self._doubts.setdefault(unit, deque(maxlen=DOUBTS_MAX))
        octets = reply_octets(block.table, block.count)
        doubts.append(_Doubt(table=block.table, octets=octets, since_s=wire.now_s()))
        quiet_s = DRAIN_S if is_short else max(DRAIN_S, self._quiet_s)
        self._free_s = wire.now_s() + quiet_s
        self.statistics.used_s += quiet_s
        if heard is Heard.FOREIGN:
            self._tell_foreign(wire.judgement.frame[0], unit)
        if heard in {Heard.OTHER, Heard.NOISE} or answered:
            return self._nothing(Reason.WRONG_REPLY, answered=heard is Heard.OTHER or answered)
        return self._nothing(Reason.TIMEOUT)

    async def _answer(self, wire: Wire, unit: int, block: Block) -> ModbusPDU:
        """Ask when the line is free and silent, and return what is answered."""
        while True:
            await self._silence(wire)
            try:
                return await _request(wire.client, unit, block)
            except Disturbed:
                continue

    async def _silence(self, wire: Wire) -> None:
        """Wait until the line is free and was silent for as long as parts two frames."""
        await wire.silence(self._free_s)
        self.statistics.late += wire.late
        self.statistics.noise_octets += wire.unasked
        wire.late = wire.unasked = 0

    async def _opened(self) -> Wire | None:
        """Return the opened line, or None when it is not there or it is too early to try again."""
        if self._wire is not None and self._wire.is_open:
            return self._wire
        if self._wire is not None:
            self._drop()
        if self._clock.monotonic_ms() < self._not_before_ms:
            return None
        wire = Wire(self.place, name=self.name, open_s=max(self.timeout_s, OPEN_S))
        is_other = self._may_open is not None and not self._may_open(self.name, self.place.serial)
        self.statistics.other_port += is_other
        opened = not is_other and await wire.open()
        self._note(is_up=opened, why=wire.refusal)
        if opened:
            self._failures = 0
            self._wire = wire
            wire.client.ctx.next_tid = self._transaction
            self._free_s = wire.now_s() + self._connect_pause_s
            self.statistics.opened += 1
            return wire
        pause_ms = min(REOPEN_MAX_MS, REOPEN_MIN_MS << min(self._failures, 10))
        self._failures += 1
        self._not_before_ms = self._clock.monotonic_ms() + pause_ms
        return None

    def _drop(self) -> None:
        self.close()
        if self.place.is_framed:
            self._note(is_up=False)

    def _note(self, *, is_up: bool, why: str = "does not answer") -> None:
        self.statistics.is_up = is_up
        if is_up is not self._is_up:
            level = logging.INFO if is_up else logging.WARNING
            log.log(level, "%s %s", self._where, "answers" if is_up else why)
            self._is_up = is_up

    def _tell_foreign(self, answering: int, asked: int) -> None:
        """Say once which unit answers for which."""
        if (answering, asked) not in self._told_foreign:
            self._told_foreign.add((answering, asked))
            log.warning("%s: unit %d answers when %d is asked", self._where, answering, asked)

    def _nothing(self, reason: Reason, *, answered: bool = False, code: int = 0) -> NoAnswer:
        return NoAnswer(at=self._clock.now(), reason=reason, answered=answered, code=code)


async def _request(client: Client, unit: int, block: Block) -> ModbusPDU:
    ask = {
        Table.COIL: client.read_coils,
        Table.DISCRETE: client.read_discrete_inputs,
        Table.HOLDING: client.read_holding_registers,
        Table.INPUT: client.read_input_registers,
    }[block.table]
    return await ask(block.address, count=block.count, device_id=unit)


def _words(reply: ModbusPDU, unit: int, block: Block) -> tuple[int, ...] | None:
    """Return what a reply holds; None when it is not the one to the question."""
    if reply.function_code != _FUNCTIONS[block.table] or reply.dev_id != unit:
        return None
    if block.table.is_of_bits:
        bits = reply.bits
        whole = len(bits) == (block.count + 7) // 8 * 8
        return tuple(map(int, bits[: block.count])) if whole else None
    return tuple(reply.registers) if len(reply.registers) == block.count else None


def _others(block: Block, missing: set[int]) -> Iterator[Block]:
    """Return reads at the same place whose replies are not missing: a longer and a shorter one."""
    of_bits = block.table.is_of_bits
    per_item, item = (1, 8) if of_bits else (2, 1)
    here = reply_octets(block.table, block.count) // per_item
    longest = BITS_PER_READ_MAX // 8 if of_bits else REGISTERS_PER_READ_MAX
    for lengths in (range(here + 1, longest + 1), range(here - 1, 0, -1)):
        length = next((n for n in lengths if n * per_item not in missing), None)
        if length is not None and block.address + length * item <= ADDRESSES:
            count = length * item
            yield Block(table=block.table, address=block.address, count=count, registers=())
