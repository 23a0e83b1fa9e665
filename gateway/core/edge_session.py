"""A Sparkplug edge node without a socket: facts in, messages and decisions out.

Rule 1: data follow the births of the node and of their device, and nothing is published unless the
primary host is online.
Rule 2: only an acknowledgement of our epoch that does not reach beyond our head confirms anything.
Rule 3: what was sent and is not confirmed is sent again on the next connection, with fresh `seq`.

Instants `at` are wall time and go onto the wire; `now_ms` is monotonic and measures patience.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from gateway.core import messages
from gateway.core.device import BornMetric, Scan
from gateway.core.messages import COMMAND_TYPES, Node
from gateway.core.rows import Row, with_retired
from telemetry import extension
from telemetry.errors import ContractError
from telemetry.instant import Instant
from telemetry.point import PointId
from telemetry.ranges import decode_ranges
from telemetry.sample import Sample
from telemetry.sparkplug import MessageKind, decode, decode_state

KEEPALIVE_S = 30

WINDOW_ROWS = 256
WINDOW_BYTES = 262_144
"""What may be on its way without an acknowledgement: a broker drops what a host cannot take."""

FETCH_ROWS = 64
FETCH_BYTES = 65_536
"""What is asked of the outbox at a time, so that a long backlog never holds up a command."""

ACK_PATIENCE_MS = 12_000
"""Without progress for so long something on the way is broken: start over where it is confirmed."""

RESUME_PATIENCE_MS = 1_000
"""After a birth the host says what it has; so long we wait rather than send it twice."""

RESEND_MS = 2_000
"""What the host lacks while it has later rows is lost after so long: sent again, no more often."""

STATE_PATIENCE_MS = 60_000
"""A broker that never shows the host's STATE, not even a retained one, is asked anew."""

REPORT_MS = 10_000
LATE_MS = 5_000

UNACKNOWLEDGED_MS = 2 * KEEPALIVE_S * 1_000
"""With a host that never acknowledges, what a dead connection can swallow: kept so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Send this, never retained."""

    topic: str
    payload: bytes
    qos: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """Every sample below `offset` is committed at the server."""

    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewind:
    """The server has less than it once had: hold on to everything from `offset` on."""

    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """Disconnect now, and connect again unless we were asked to stop."""

    because: str


Output = Publish | Confirm | Rewind | Leave


class _Phase(Enum):
    AWAY = auto()
    WAITING = auto()
    BORN = auto()


class EdgeSession:
    """The conversation of one gateway with its host, over as many connections as it takes."""

    def __init__(
        self,
        *,
        node: Node,
        births: Mapping[str, tuple[BornMetric, ...]],
        epoch: int,
        acked: int,
        head: int,
        tail: int,
    ) -> None:
        self.node = node
        self.epoch = epoch
        self.acked = acked
        self.head = head
        self.tail = tail
        self.ignored = 0
        """Commands and acknowledgements that broke the contract."""
        self.vitals: Mapping[str, float | None] = {}
        """How the gateway is; a name that is new is declared at the next birth."""
        self._told_vitals: dict[str, float | None] = {}
        self.vitals_of: Callable[[str], Mapping[str, float]] = lambda _device: {}
        """How a device is, by names of the same set at any time."""
        self._told_of: dict[str, Mapping[str, float]] = {}
        self._births = dict(births)
        self._names = {d: {m.point: m.name for m in births[d]} for d in births}
        self._last: dict[PointId, Sample] = {}
        self._deaths: dict[str, int] = {}
        """Devices that do not answer, with the offset after the last sample before their death."""
        self._told_dead: set[str] = set()
        self._phase = _Phase.AWAY
        self._bdseq = 0
        self._seq = 0
        self._sent = acked
        self._on_the_way: deque[tuple[int, int, int]] = deque()
        """End, bytes and instant of sending of each row that is sent and not confirmed."""
        self._bytes = 0
        self._row_bytes = 0
        """The size of the last row that was sent."""
        self._progress_ms = 0
        self._connected_ms = 0
        self._reported_ms = 0
        self._born_at = Instant(0)
        self._host_at: Instant | None = None
        self._may_rewind = False
        self._is_resumed = False
        self._is_idle = True
        """Whether all that was sent is confirmed, so that patience begins with the next row."""
        self._resent_ms = 0
        self._held: tuple[tuple[int, int], ...] = ()
        """What the host has committed beyond the acknowledged prefix, as it said on this birth."""

    @property
    def is_born(self) -> bool:
        """Say whether data may be published."""
        return self._phase is _Phase.BORN

    def will(self, *, bdseq: int, at: Instant) -> Publish:
        """Return the will of the connection that is about to be made."""
        self._bdseq = bdseq
        payload = messages.ndeath(bdseq=bdseq, at=at)
        return Publish(topic=self.node.topic(MessageKind.NDEATH), payload=payload, qos=1)

    def connected(self, *, at: Instant, now_ms: int) -> list[Output]:
        """Take note that the broker has accepted us and our subscriptions."""
        self._phase = _Phase.WAITING
        self._host_at = None  # the broker's retained STATE is the newest there is
        self._connected_ms = now_ms
        return [] if self.node.host else self._born(at=at, now_ms=now_ms)

    def lost(self) -> None:
        """Take note that the connection is gone, whoever ended it."""
        self._phase = _Phase.AWAY
        self._restart_from(self.acked)

    def leaving(self, *, at: Instant) -> list[Output]:
        """Return the farewell of an intended disconnect."""
        if self._phase is not _Phase.BORN:
            return []
        self._phase = _Phase.AWAY
        payload = messages.ndeath(bdseq=self._bdseq, at=at)
        return [Publish(topic=self.node.topic(MessageKind.NDEATH), payload=payload)]

    def stored(self, scans: Sequence[Scan], firsts: Sequence[int], *, head: int, tail: int) -> None:
        """Take note of scans that are on the disk from the offsets `firsts` on."""
        self.head = head
        self.tail = tail
        for scan, first in zip(scans, firsts, strict=True):
            for sample in scan.samples:
                self._last[sample.point] = sample
            if scan.alive is False:
                self._deaths[scan.device] = first + len(scan.samples)
            elif scan.alive:
                self._deaths.pop(scan.device, None)

    def wants(self) -> tuple[int, int] | None:
        """Return from which offset rows are wanted, and how many; None when there are none."""
        if not (self.is_born and self._is_resumed) or self._sent >= self.head:
            return None
        if not self.node.is_acknowledged:
            return self._sent, FETCH_ROWS
        room = WINDOW_ROWS - len(self._on_the_way)
        room_bytes = WINDOW_BYTES - self._bytes
        if room <= 0 or room_bytes <= 0:
            return None
        # What does not fit would be read for nothing; rows are as long as the last one was.
        likely = 1 + min(room_bytes, FETCH_BYTES) // (self._row_bytes or FETCH_BYTES)
        return self._sent, min(room, likely, FETCH_ROWS)

    def send(self, rows: Sequence[Row], *, at: Instant, now_ms: int) -> list[Output]:
        """Return the messages of rows that `wants` asked for, as far as the window allows."""
        out: list[Output] = []
        for row in rows:
            if self._phase is not _Phase.BORN or row.end <= self._sent:
                continue
            if self.node.is_acknowledged and self._bytes >= WINDOW_BYTES:
                break
            if any(lo <= row.first and row.end <= hi for lo, hi in self._held):
                self._remember(row.end, 0, now_ms)
                continue
            out += self._row(row, at=at, now_ms=now_ms)
            out += self._tell_deaths(at=at)
        return out

    def received(self, topic: str, payload: bytes, *, at: Instant, now_ms: int) -> list[Output]:
        """Take a message from the broker: the host's STATE or a command."""
        try:
            if self.node.host and topic == self.node.state_topic:
                return self._host_said(payload, at=at, now_ms=now_ms)
            if topic == self.node.topic(MessageKind.NCMD):
                return self._commanded(payload, at=at, now_ms=now_ms)
        except ContractError:
            self.ignored += 1
        return []

    def tick(self, *, at: Instant, now_ms: int) -> list[Output]:
        """Let a second pass: report, confirm what is old enough, and lose patience."""
        if self._phase is _Phase.WAITING:
            waited = now_ms - self._connected_ms >= STATE_PATIENCE_MS
            unseen = self._host_at is None
            return [Leave(because="no STATE of the host was seen")] if waited and unseen else []
        if self._phase is not _Phase.BORN:
            return []
        self._is_resumed |= now_ms - self._progress_ms >= RESUME_PATIENCE_MS
        out = self._tell_deaths(at=at)
        if now_ms - self._reported_ms >= REPORT_MS:
            self._reported_ms = now_ms
            out.append(self._report(at))
            out += self._device_reports(at=at)
        if not self.node.is_acknowledged:
            old = [end for end, _, ms in self._on_the_way if now_ms - ms >= UNACKNOWLEDGED_MS]
            return [*out, *self._confirm(old[-1], now_ms=now_ms)] if old else out
        if self._on_the_way and now_ms - self._progress_ms >= ACK_PATIENCE_MS:
            out += [*self.leaving(at=at), Leave(because="the host acknowledges nothing")]
        return out

    def _report(self, at: Instant) -> Publish:
        """Return how far the log reaches, and which of the born vitals have changed."""
        told = self._told_vitals
        news = {n: v for n, v in self.vitals.items() if n in told and told[n] != v}
        told.update(news)
        payload = messages.ndata(
            seq=self._next_seq(), head=self.head, tail=self.tail, vitals=news, at=at
        )
        return Publish(topic=self.node.topic(MessageKind.NDATA), payload=payload)

    def _host_said(self, payload: bytes, *, at: Instant, now_ms: int) -> list[Output]:
        state = decode_state(payload)
        if self._host_at is not None and state.at < self._host_at:
            return []
        self._host_at = state.at
        if state.online and self._phase is _Phase.WAITING:
            return self._born(at=at, now_ms=now_ms)
        if not state.online and self._phase is _Phase.BORN:
            return [*self.leaving(at=at), Leave(because="the host went offline")]
        return []

    def _commanded(self, payload: bytes, *, at: Instant, now_ms: int) -> list[Output]:
        command = {m.name: m.value for m in decode(payload, datatypes=COMMAND_TYPES).metrics}
        out: list[Output] = []
        if extension.ACK in command:
            epoch, offset = command.get(extension.ACK_EPOCH), command[extension.ACK]
            if epoch == self.epoch and type(offset) is int and offset <= self.head:
                sack = command.get(extension.SACK)
                data = sack if isinstance(sack, bytes) else b""
                self._held = decode_ranges(data, base=offset)
                out += self._acknowledged(offset, now_ms=now_ms)
                self._send_lost_again(now_ms)
            else:
                self.ignored += 1
        if command.get(extension.REBIRTH) is True and self._phase is _Phase.BORN:
            out += self._birth_messages(at=at)
        return out

    def _acknowledged(self, offset: int, *, now_ms: int) -> list[Output]:
        may_rewind, self._may_rewind = self._may_rewind, False
        self._is_resumed = True
        if offset >= self.acked:
            return self._confirm(offset, now_ms=now_ms)
        if not may_rewind:  # a late one: they are cumulative
            return []
        # The first word after a birth is where the server stands: it was restored from a backup.
        self.acked = max(offset, min(self.tail, self.acked))
        self._restart_from(self.acked)
        return [Rewind(offset=self.acked)]

    def _send_lost_again(self, now_ms: int) -> None:
        """Go back to the oldest row on its way when the host has later ones for long enough."""
        if not self._held or not self._on_the_way:
            return
        since = max(self._on_the_way[0][2], self._resent_ms)
        if self.node.is_acknowledged and now_ms - since >= RESEND_MS:
            self._resent_ms = now_ms
            # What was sent after the last that arrived may still arrive.
            self._held = (*self._held, (self._held[-1][1], self._sent))
            self._restart_from(self.acked)

    def _confirm(self, offset: int, *, now_ms: int) -> list[Output]:
        if offset <= self.acked:
            return []
        self.acked = offset
        self._sent = max(self._sent, offset)
        self._progress_ms = now_ms
        while self._on_the_way and self._on_the_way[0][0] <= offset:
            self._bytes -= self._on_the_way.popleft()[1]
        self._is_idle = not self._on_the_way
        return [Confirm(offset=offset)]

    def _restart_from(self, offset: int) -> None:
        self._sent = offset
        self._on_the_way.clear()
        self._bytes = 0

    def _born(self, *, at: Instant, now_ms: int) -> list[Output]:
        self._phase = _Phase.BORN
        self._born_at = at
        self._reported_ms = now_ms
        self._progress_ms = now_ms
        self._is_resumed = not self.node.is_acknowledged
        self._is_idle = True
        self._held = ()
        self._restart_from(self.acked)
        return self._birth_messages(at=at)

    def _birth_messages(self, *, at: Instant) -> list[Output]:
        """Return every birth, then the deaths of those devices whose last words are sent."""
        self._seq = 0
        self._told_dead.clear()
        self._may_rewind = True
        self._told_vitals = dict(self.vitals)
        node = messages.nbirth(
            bdseq=self._bdseq,
            epoch=self.epoch,
            head=self.head,
            tail=self.tail,
            vitals=self._told_vitals,
            at=at,
        )
        births = [self._dbirth(device, at=at) for device in self._births]
        topic = self.node.topic(MessageKind.NBIRTH)
        return [Publish(topic=topic, payload=node), *births, *self._tell_deaths(at=at)]

    def _dbirth(self, device: str, *, at: Instant) -> Publish:
        self._told_dead.discard(device)
        vitals = self._told_of[device] = dict(self.vitals_of(device))
        payload = messages.dbirth(
            self._births[device],
            seq=self._next_seq(),
            epoch=self.epoch,
            last=self._last,
            vitals=vitals,
            at=at,
        )
        return Publish(topic=self.node.topic(MessageKind.DBIRTH, device), payload=payload)

    def _device_reports(self, *, at: Instant) -> list[Output]:
        """Return what has changed in how the living devices are."""
        out: list[Output] = []
        for device, told in self._told_of.items():
            now = dict(self.vitals_of(device))
            news = {n: v for n, v in now.items() if told.get(n) != v}
            if not news or device in self._told_dead:
                continue
            self._told_of[device] = now
            payload = messages.dreport(
                news, seq=self._next_seq(), epoch=self.epoch, offset=self.head, at=at
            )
            topic = self.node.topic(MessageKind.DDATA, device)
            out.append(Publish(topic=topic, payload=payload))
        return out

    def _row(self, row: Row, *, at: Instant, now_ms: int) -> list[Output]:
        out: list[Output] = []
        names = self._names.setdefault(row.device, {})
        if any(m.point not in names for m in row.layout.metrics):
            # The configuration has changed since: the server learns what the old rows speak of.
            born = with_retired(self._births.get(row.device, ()), row.layout)
            self._births[row.device] = born
            names.update({m.point: m.name for m in born})
            out += self._birth_messages(at=at)
        if row.device in self._told_dead:
            out.append(self._dbirth(row.device, at=at))
        # After a step back of the clock what is read now is older than the birth, and not late.
        late = row.samples[0].at < min(self._born_at, at) - LATE_MS
        payload = messages.ddata(
            row, names, seq=self._next_seq(), epoch=self.epoch, at=at, is_historical=late
        )
        out.append(Publish(topic=self.node.topic(MessageKind.DDATA, row.device), payload=payload))
        self._row_bytes = len(payload)
        self._remember(row.end, len(payload), now_ms)
        return out

    def _remember(self, end: int, size: int, now_ms: int) -> None:
        """Note what is on its way; without acknowledgements only by the second, to stay small."""
        self._sent = end
        if self._is_idle:
            self._progress_ms = now_ms
            self._is_idle = False
        if not self.node.is_acknowledged:
            now_ms += -now_ms % 1_000
            if self._on_the_way and self._on_the_way[-1][2] == now_ms:
                self._bytes -= self._on_the_way.pop()[1]
        self._on_the_way.append((end, size, now_ms))
        self._bytes += size

    def _tell_deaths(self, *, at: Instant) -> list[Output]:
        """Return the deaths that are due: a device dies after its last sample, not before."""
        out: list[Output] = []
        for device, offset in self._deaths.items():
            if offset <= self._sent and device not in self._told_dead:
                self._told_dead.add(device)
                payload = messages.ddeath(seq=self._next_seq(), at=at)
                topic = self.node.topic(MessageKind.DDEATH, device)
                out.append(Publish(topic=topic, payload=payload))
        return out

    def _next_seq(self) -> int:
        self._seq = (self._seq + 1) % 256
        return self._seq
