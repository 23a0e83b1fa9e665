"""What a recording's gateways would have said: rows as Sparkplug with epochs and offsets.

Pure: rows and acknowledgements in, messages out. Every row keeps its place in its gateway's log, so
that what is not acknowledged is said again, under the offset that it had.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from server.engine.registry import Point, Registry
from server.history.recording import Recording
from server.history.stretch import NO_GATEWAY, REASONS, TIME_QUALITIES, Stretch, filled
from telemetry import extension as mw
from telemetry.instant import Instant
from telemetry.point import PointId, is_name
from telemetry.sample import Quality, Reason, TimeQuality
from telemetry.sparkplug import DataType, MessageKind, Metric, Payload, Property, Topic, encode

DEVICE_POINTS_MAX = 150
"""Points of one device: its birth stays below what a broker takes."""

GATEWAY = "recording"
"""The gateway of samples of which a recording does not tell it."""

HELD_MAX = 500_000
"""Samples of one gateway that may wait for an acknowledgement; more are not read meanwhile."""

_SPARKPLUG_QUALITY = {Quality.BAD: 0, Quality.UNCERTAIN: 500}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One MQTT message of a gateway."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One sample as a gateway says it."""

    point: str
    at: Instant
    value: float | None
    quality: Quality = Quality.GOOD
    reason: Reason = Reason.NONE
    time_quality: TimeQuality = TimeQuality.SYNCHRONISED


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """Rows of one device under consecutive offsets."""

    device: str
    first: int
    rows: tuple[Row, ...]

    @property
    def end(self) -> int:
        return self.first + len(self.rows)


class Speaker:
    """One gateway of a recording: its births, its data, and what is not acknowledged yet."""

    def __init__(
        self, edge: str, points: Sequence[Point], *, group: str, epoch: int, speed: float = 1.0
    ) -> None:
        self.edge = edge
        self.group = group
        self.epoch = epoch
        self.offset = 0
        self.acked = 0
        self.held: deque[_Held] = deque()
        self._seq = 0
        self._bdseq = 0
        self._devices: dict[str, dict[str, Point]] = {}
        self._place: dict[str, tuple[str, str]] = {}
        self._speed = speed
        for n, point in enumerate(points):
            device, name = f"d{n // DEVICE_POINTS_MAX}", f"m{n % DEVICE_POINTS_MAX}"
            self._devices.setdefault(device, {})[name] = point
            self._place[point.id] = (device, name)

    @property
    def pending(self) -> int:
        """Return how many samples have been said and not acknowledged."""
        return sum(len(h.rows) for h in self.held)

    def births(self, at: Instant) -> Iterator[Message]:
        """Yield the birth of the node and those of its devices."""
        self._seq = 0
        metrics = [
            Metric(name=mw.BDSEQ, value=self._bdseq, datatype=DataType.INT64, timestamp=at),
            Metric(name=mw.REBIRTH, value=False, datatype=DataType.BOOLEAN, timestamp=at),
            _whole(mw.EPOCH, self.epoch, at),
            _whole(mw.HEAD, self.offset, at),
            _whole(mw.TAIL, self.acked, at),
            _whole(mw.ACK, None, at),
            _whole(mw.ACK_EPOCH, None, at),
            Metric(name=mw.SACK, value=None, datatype=DataType.BYTES, timestamp=at),
        ]
        yield self._message(MessageKind.NBIRTH, metrics, at)
        for device, points in self._devices.items():
            born = [_whole(mw.EPOCH, self.epoch, at), _whole(mw.OFFSET, None, at)]
            born += [
                Metric(
                    name=name,
                    value=None,
                    datatype=DataType.DOUBLE,
                    timestamp=at,
                    properties=_described(point, self._speed),
                )
                for name, point in points.items()
            ]
            yield self._message(MessageKind.DBIRTH, born, at, device)

    def death(self, at: Instant) -> Message:
        """Return the death of the node: the will of its connection, and its farewell."""
        metrics = [Metric(name=mw.BDSEQ, value=self._bdseq, datatype=DataType.INT64, timestamp=at)]
        payload = Payload(timestamp=at, metrics=tuple(metrics))
        return Message(
            topic=self._topic(MessageKind.NDEATH), payload=encode(payload, with_datatypes=True)
        )

    def say(self, rows: Iterable[Row], *, at: Instant) -> list[Message]:
        """Return the messages of some rows, in their order; rows of unknown points are left out."""
        by_device: dict[str, list[Row]] = {}
        for row in rows:
            if row.point in self._place:
                by_device.setdefault(self._place[row.point][0], []).append(row)
        messages = []
        for device, said in by_device.items():
            held = _Held(device=device, first=self.offset, rows=tuple(said))
            self.offset = held.end
            self.held.append(held)
            messages.append(self._data(held, at))
        return messages

    def say_again(self, at: Instant) -> list[Message]:
        """Return the messages of everything that is not acknowledged."""
        return [self._data(held, at) for held in self.held]

    def acknowledged(self, epoch: int, offset: int) -> None:
        """Forget what the server has committed."""
        if epoch != self.epoch:
            return
        self.acked = max(self.acked, min(offset, self.offset))
        while self.held and self.held[0].end <= self.acked:
            self.held.popleft()

    def _data(self, held: _Held, at: Instant) -> Message:
        metrics = [_whole(mw.EPOCH, self.epoch, at), _whole(mw.OFFSET, held.first, at)]
        metrics += [
            Metric(
                name=self._place[row.point][1],
                value=row.value,
                datatype=DataType.DOUBLE,
                timestamp=row.at,
                properties=_judged(row),
            )
            for row in held.rows
        ]
        return self._message(MessageKind.DDATA, metrics, at, held.device)

    def _message(
        self, kind: MessageKind, metrics: list[Metric], at: Instant, device: str | None = None
    ) -> Message:
        payload = Payload(timestamp=at, metrics=tuple(metrics), seq=self._seq)
        self._seq = (self._seq + 1) % 256
        is_birth = kind in (MessageKind.NBIRTH, MessageKind.DBIRTH)
        return Message(
            topic=self._topic(kind, device), payload=encode(payload, with_datatypes=is_birth)
        )

    def _topic(self, kind: MessageKind, device: str | None = None) -> str:
        return str(Topic(kind=kind, group=self.group, edge=self.edge, device=device))


def speakers_of(
    recording: Recording, registry: Registry, *, group: str, epoch: int, speed: float = 1.0
) -> list[Speaker]:
    """Return the gateways of a recording, each with the points that it reported first."""
    gateway_of = gateways_of(recording)
    by_gateway: dict[str, list[Point]] = {}
    for name in sorted(registry.points):
        if name in recording.points:
            by_gateway.setdefault(gateway_of.get(name, GATEWAY), []).append(registry.points[name])
    return [
        Speaker(edge, points, group=group, epoch=epoch, speed=speed)
        for edge, points in sorted(by_gateway.items())
    ]


def gateways_of(recording: Recording) -> dict[str, str]:
    """Return which gateway first reported each point, as far as the recording tells."""
    found: dict[str, str] = {}
    for stretch in recording.stretches():
        if stretch.gateway is None:
            continue
        pairs = np.unique(np.stack([stretch.point, stretch.gateway]), axis=1)
        for point, gateway in pairs.T.tolist():
            if gateway != NO_GATEWAY and is_name(stretch.gateways[gateway]):
                found.setdefault(recording.points[point], stretch.gateways[gateway])
    return found


def scans_of(
    stretch: Stretch, names: Sequence[str], known: Mapping[PointId, Point]
) -> Iterator[tuple[int, list[Row]]]:
    """Yield each instant of arrival and the rows that arrived then; unknown points are left out."""
    reasons, times = filled(stretch, "reason"), filled(stretch, "time_quality")
    columns = zip(
        stretch.arrived_at.tolist(),
        stretch.at.tolist(),
        stretch.point.tolist(),
        stretch.value.tolist(),
        stretch.quality.tolist(),
        reasons.tolist(),
        times.tolist(),
        strict=True,
    )
    now: int | None = None
    rows: list[Row] = []
    for arrived_at, at, point, value, quality, reason, time_quality in columns:
        if arrived_at != now:
            if rows and now is not None:
                yield now, rows
            now, rows = arrived_at, []
        if PointId(names[point]) in known:
            rows.append(
                _row(
                    names[point], at, value, quality, REASONS[reason], TIME_QUALITIES[time_quality]
                )
            )
    if rows and now is not None:
        yield now, rows


def _row(
    point: str, at: int, value: float, code: int, reason: Reason, time_quality: TimeQuality
) -> Row:
    quality = Quality(code)
    if quality is not Quality.GOOD and reason is Reason.NONE:
        reason = Reason.UNKNOWN
    return Row(
        point=point,
        at=Instant(at),
        value=None if quality is Quality.BAD else value,
        quality=quality,
        reason=Reason.NONE if quality is Quality.GOOD else reason,
        time_quality=time_quality,
    )


def _whole(name: str, value: int | None, at: Instant) -> Metric:
    return Metric(name=name, value=value, datatype=DataType.UINT64, timestamp=at)


def _described(point: Point, speed: float) -> dict[str, Property]:
    texts = {
        mw.POINT: point.id,
        mw.QUANTITY: point.quantity.value,
        mw.UNIT: point.quantity.unit,
        mw.ZONE: point.zone,
        mw.PLACE: point.name_en,
    }
    found = {k: Property(datatype=DataType.STRING, value=v) for k, v in texts.items()}
    period_ms = max(1, round(point.period_ms / speed))
    found[mw.PERIOD_MS] = Property(datatype=DataType.INT64, value=period_ms)
    return found


def _judged(row: Row) -> dict[str, Property]:
    found = {}
    if row.quality is not Quality.GOOD:
        found[mw.QUALITY] = Property(datatype=DataType.INT32, value=_SPARKPLUG_QUALITY[row.quality])
        found[mw.REASON] = Property(datatype=DataType.STRING, value=row.reason.value)
    if row.time_quality is not TimeQuality.SYNCHRONISED:
        found[mw.TIME_QUALITY] = Property(datatype=DataType.STRING, value=row.time_quality.value)
    return found
