"""Many pretend gateways with logs of their own over a real broker, as cheap as they can be made.

A gateway here is a TCP connection, a log whose samples are a function of their offset, and what the
server has acknowledged of it. Messages are the bytes that a gateway sends (checked against the
codec), made of parts that were encoded before.
"""

import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from telemetry import extension as mw
from telemetry.instant import Instant
from telemetry.sparkplug import (
    DataType,
    MessageKind,
    Metric,
    Payload,
    Property,
    Topic,
    decode,
    decode_state,
    encode,
    parse_topic,
)

GROUP = "bench"
DEVICE = "d1"
HOST = "mainwatch"
KEEPALIVE_S = 600
_ACKS = {mw.ACK: DataType.UINT64, mw.ACK_EPOCH: DataType.UINT64, mw.REBIRTH: DataType.BOOLEAN}


def point_of(edge: str, n: int) -> str:
    """Return the point that the n-th metric of a gateway reports."""
    return f"{edge}/p{n:03}/pressure"


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(number: int, body: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(body)) + body


class Connection:
    """The few packets of MQTT 3.1.1 that a gateway needs, over a blocking socket."""

    def __init__(self, port: int, name: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        body = b"\x00\x04MQTT\x04\x02" + KEEPALIVE_S.to_bytes(2) + len(name).to_bytes(2)
        self.socket.sendall(_packet(0x10, body + name.encode()))
        self._stream = self.socket.makefile("rb")
        kind, answer = self.receive()
        assert (kind, answer[1]) == (0x20, 0), answer

    def subscribe(self, *topics: str) -> None:
        """Ask for topics with QoS 0."""
        body = b"\x00\x01" + b"".join(len(t).to_bytes(2) + t.encode() + b"\x00" for t in topics)
        self.socket.sendall(_packet(0x82, body))

    def receive(self) -> tuple[int, bytes]:
        """Return the first byte and the body of the next packet. Raises `EOFError` at the end."""
        kind = self._stream.read(1)
        if not kind:
            raise EOFError
        size = shift = 0
        while True:
            byte = self._stream.read(1)[0]
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return kind[0], self._stream.read(size)

    def close(self) -> None:
        """Hang up."""
        self.socket.shutdown(socket.SHUT_RDWR)
        self._stream.close()
        self.socket.close()


def _packet(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + _varint(len(body)) + body


def publication(topic: str, payload: bytes) -> bytes:
    """Return a PUBLISH of QoS 0."""
    return _packet(0x30, len(topic).to_bytes(2) + topic.encode() + payload)


@dataclass(slots=True)
class Gateway:
    """One edge node: its log from offset 0, what was sent of it, and what was acknowledged."""

    edge: str
    epoch: int
    points: int
    link: Connection
    sent: int = 0
    acked: int = 0
    seq: int = 0
    heard_at: float = 0.0
    """When the last acknowledgement came that said more than the one before."""
    under_way: deque[tuple[int, float]] = field(default_factory=deque)
    """Ends of the messages that are not acknowledged, and when each was sent."""

    def names(self) -> list[str]:
        """Return the names of its device's metrics."""
        return [f"p{n:03}" for n in range(self.points)]

    def births(self, at: Instant) -> bytes:
        """Return the packets of NBIRTH and DBIRTH; `seq` begins anew."""

        def metric(name: str, value: int | None, kind: DataType = DataType.UINT64) -> Metric:
            return Metric(name=name, value=value, datatype=kind, timestamp=at)

        node = (
            metric(mw.BDSEQ, 0, DataType.INT64),
            metric(mw.REBIRTH, value=False, kind=DataType.BOOLEAN),
            metric(mw.EPOCH, self.epoch),
            metric(mw.HEAD, self.sent),
            metric(mw.TAIL, 0),
            metric(mw.ACK, None),
            metric(mw.ACK_EPOCH, None),
            metric(mw.SACK, None, DataType.BYTES),
        )
        device = (
            metric(mw.EPOCH, self.epoch),
            metric(mw.OFFSET, None),
            *(
                Metric(
                    name=name,
                    value=None,
                    datatype=DataType.DOUBLE,
                    timestamp=at,
                    properties=_properties(point_of(self.edge, n)),
                )
                for n, name in enumerate(self.names())
            ),
        )
        self.seq = 1
        birth = encode(Payload(timestamp=at, metrics=node, seq=0), with_datatypes=True)
        born = encode(Payload(timestamp=at, metrics=device, seq=1), with_datatypes=True)
        return publication(self.topic(MessageKind.NBIRTH), birth) + publication(
            self.topic(MessageKind.DBIRTH), born
        )

    def topic(self, kind: MessageKind) -> str:
        """Return where a message of it goes."""
        device = DEVICE if kind.startswith("D") else None
        return str(Topic(kind=kind, group=GROUP, edge=self.edge, device=device))

    def scan(self, first: int, at: Instant) -> bytes:
        """Return the packet of one scan, whose first sample has the offset `first`."""
        self.seq = (self.seq + 1) % 256
        return publication(
            self.topic(MessageKind.DDATA),
            payload_of(self.epoch, first, at=at, seq=self.seq, names=self.names()),
        )


def _properties(point: str) -> dict[str, Property]:
    text = DataType.STRING
    return {
        mw.POINT: Property(datatype=text, value=point),
        mw.QUANTITY: Property(datatype=text, value="pressure"),
        mw.UNIT: Property(datatype=text, value="kPa"),
        mw.ZONE: Property(datatype=text, value="north"),
        mw.PLACE: Property(datatype=text, value="a street"),
        mw.PERIOD_MS: Property(datatype=DataType.INT64, value=1000),
    }


def value_at(offset: int) -> float:
    """Return the value of the sample with that offset: a pressure that falls now and then."""
    is_low = offset // 5_000 % 4 == 3
    return (90.0 if is_low else 300.0) + (offset * 7919 % 97) / 10


def payload_of(epoch: int, first: int, *, at: Instant, seq: int, names: list[str]) -> bytes:
    """Return one scan as a gateway's DDATA. The codec gives the same bytes (`check_bytes`)."""
    stamp = b"\x18" + _varint(at)
    parts = [
        b"\x08" + _varint(at),
        _field(2, _field(1, mw.EPOCH.encode()) + stamp + b"\x58" + _varint(epoch)),
        _field(2, _field(1, mw.OFFSET.encode()) + stamp + b"\x58" + _varint(first)),
    ]
    for k, name in enumerate(names):
        value = b"\x69" + struct.pack("<d", value_at(first + k))
        parts.append(_field(2, _field(1, name.encode()) + stamp + value))
    return b"".join([*parts, b"\x18" + _varint(seq)])


def check_bytes() -> None:
    """Raise unless our short cut gives the bytes of the codec."""
    at, names = Instant(1_795_000_000_000), ["p000", "p001"]
    metrics = [
        Metric(name=mw.EPOCH, value=7, datatype=DataType.UINT64, timestamp=at),
        Metric(name=mw.OFFSET, value=900, datatype=DataType.UINT64, timestamp=at),
    ]
    for k, name in enumerate(names):
        value = value_at(900 + k)
        metrics.append(Metric(name=name, value=value, datatype=DataType.DOUBLE, timestamp=at))
    payload = Payload(timestamp=at, metrics=tuple(metrics), seq=9)
    expected = encode(payload, with_datatypes=False)
    if payload_of(7, 900, at=at, seq=9, names=names) != expected:
        raise AssertionError("the benchmark's messages are not those of the codec")


class Fleet:
    """The gateways, and one connection that hears what the server says to all of them."""

    def __init__(
        self, port: int, *, gateways: int, points: int, seconds: Callable[[], float]
    ) -> None:
        check_bytes()
        self._seconds = seconds
        self.gateways = [
            Gateway(
                edge=f"gw-{n:03}",
                epoch=10_000_000_000_000_000_000 + n,
                points=points,
                link=Connection(port, f"gw-{n:03}"),
            )
            for n in range(gateways)
        ]
        self._by_edge = {g.edge: g for g in self.gateways}
        self.delays: list[float] = []
        self.rebirths = 0
        self.online = threading.Event()
        self.progress = threading.Condition()
        self._ears = Connection(port, "ears")
        self._ears.subscribe(f"spBv1.0/STATE/{HOST}", f"spBv1.0/{GROUP}/NCMD/+")
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hang up everywhere."""
        for gateway in self.gateways:
            gateway.link.close()
        self._ears.close()
        self._thread.join(5)

    def _listen(self) -> None:
        while True:
            try:
                kind, body = self._ears.receive()
            except (EOFError, OSError, ValueError):
                return
            if kind >> 4 == 3:
                size = int.from_bytes(body[:2])
                self._hear(body[2 : 2 + size].decode(), body[2 + size :])

    def _hear(self, topic: str, body: bytes) -> None:
        now = self._seconds()
        if topic.startswith("spBv1.0/STATE/"):
            if decode_state(body).online:
                self.online.set()
            else:
                self.online.clear()
            return
        gateway = self._by_edge[parse_topic(topic).edge]
        said = {m.name: m.value for m in decode(body, datatypes=_ACKS).metrics}
        with self.progress:
            if mw.REBIRTH in said:
                self.rebirths += 1
            offset = said.get(mw.ACK)
            if isinstance(offset, int) and said.get(mw.ACK_EPOCH) == gateway.epoch:
                if offset > gateway.acked:
                    gateway.acked, gateway.heard_at = offset, now
                while gateway.under_way and gateway.under_way[0][0] <= offset:
                    self.delays.append(now - gateway.under_way.popleft()[1])
            self.progress.notify_all()
