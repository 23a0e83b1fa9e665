"""The messages of our edge node as bytes: births, data and deaths with their `mw/...` metrics."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.device import BornMetric
from gateway.core.rows import Row
from telemetry import extension
from telemetry.instant import Instant
from telemetry.point import PointId
from telemetry.sample import Quality, Sample, TimeQuality
from telemetry.sparkplug import (
    DataType,
    MessageKind,
    Metric,
    Payload,
    Property,
    Scalar,
    Topic,
    encode,
)
from telemetry.sparkplug_data import encode_data

COMMAND_TYPES = {
    extension.REBIRTH: DataType.BOOLEAN,
    extension.ACK_EPOCH: DataType.UINT64,
    extension.ACK: DataType.UINT64,
    extension.SACK: DataType.BYTES,
}
"""What a host may command, with the types of our birth."""

Vitals = Mapping[str, float | None]
"""How a node or device is, by the names of `mw/health/` metrics without that."""

_SPARKPLUG_QUALITY = {Quality.BAD: 0, Quality.UNCERTAIN: 500}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Who we are on the wire. `host` is "" when no primary host is waited for."""

    group: str
    edge: str
    host: str
    is_acknowledged: bool

    def topic(self, kind: MessageKind, device: str | None = None) -> str:
        """Return the topic of one of our messages."""
        return str(Topic(kind=kind, group=self.group, edge=self.edge, device=device))

    @property
    def state_topic(self) -> str:
        """Return where the primary host says whether it is there."""
        return str(Topic(kind=MessageKind.STATE, host=self.host))


def ndeath(*, bdseq: int, at: Instant) -> bytes:
    """Return the death of the node: the will of each connection, and the farewell."""
    metrics = (_metric(extension.BDSEQ, DataType.INT64, bdseq, at),)
    return encode(Payload(timestamp=at, metrics=metrics), with_datatypes=True)


def nbirth(*, bdseq: int, epoch: int, head: int, tail: int, vitals: Vitals, at: Instant) -> bytes:
    """Return the birth of the node, `seq` 0."""
    metrics = (
        _metric(extension.BDSEQ, DataType.INT64, bdseq, at),
        _metric(extension.REBIRTH, DataType.BOOLEAN, value=False, at=at),
        _transient(extension.EPOCH, DataType.UINT64, epoch, at),
        _transient(extension.HEAD, DataType.UINT64, head, at),
        _transient(extension.TAIL, DataType.UINT64, tail, at),
        _transient(extension.ACK, DataType.UINT64, None, at),
        _transient(extension.ACK_EPOCH, DataType.UINT64, None, at),
        _transient(extension.SACK, DataType.BYTES, None, at),
        *_vital(vitals, at),
    )
    return encode(Payload(timestamp=at, metrics=metrics, seq=0), with_datatypes=True)


def ndata(*, seq: int, head: int, tail: int, vitals: Vitals, at: Instant) -> bytes:
    """Return how far the log reaches, and how the gateway is."""
    metrics = (
        _metric(extension.HEAD, DataType.UINT64, head, at),
        _metric(extension.TAIL, DataType.UINT64, tail, at),
        *_vital(vitals, at),
    )
    return encode(Payload(timestamp=at, metrics=metrics, seq=seq), with_datatypes=False)


def dbirth(
    metrics: tuple[BornMetric, ...],
    *,
    seq: int,
    epoch: int,
    last: Mapping[PointId, Sample],
    vitals: Mapping[str, float],
    at: Instant,
) -> bytes:
    """Return the birth of a device with the last value of each point, null when it has none."""
    born = [
        _transient(extension.EPOCH, DataType.UINT64, epoch, at),
        _transient(extension.OFFSET, DataType.UINT64, None, at),
        *_vital(vitals, at),
    ]
    for m in metrics:
        sample = last.get(m.point)
        value = None if sample is None else sample.value
        born.append(
            Metric(
                name=m.name,
                value=value,
                datatype=DataType.DOUBLE,
                timestamp=at if sample is None or value is None else sample.at,
                properties=_described(m),
            )
        )
    return encode(Payload(timestamp=at, metrics=tuple(born), seq=seq), with_datatypes=True)


def ddata(
    row: Row,
    names: Mapping[PointId, str],
    *,
    seq: int,
    epoch: int,
    at: Instant,
    is_historical: bool,
) -> bytes:
    """Return one row. The k-th sample has the offset `mw/offset` + k."""

    def described(s: Sample) -> Metric:
        return Metric(
            name=names[s.point],
            value=s.value,
            datatype=DataType.DOUBLE,
            timestamp=s.at,
            is_historical=is_historical,
            properties=_judged(s),
        )

    return encode_data(
        row.samples,
        names,
        seq=seq,
        epoch=epoch,
        offset=row.first,
        at=at,
        is_historical=is_historical,
        described=described,
    )


def dreport(
    vitals: Mapping[str, float], *, seq: int, epoch: int, offset: int, at: Instant
) -> bytes:
    """Return how a device is: a DDATA without samples, which takes no offset."""
    metrics = (
        _metric(extension.EPOCH, DataType.UINT64, epoch, at),
        _metric(extension.OFFSET, DataType.UINT64, offset, at),
        *_vital(vitals, at),
    )
    return encode(Payload(timestamp=at, metrics=metrics, seq=seq), with_datatypes=False)


def ddeath(*, seq: int, at: Instant) -> bytes:
    """Return the death of a device."""
    return encode(Payload(timestamp=at, metrics=(), seq=seq), with_datatypes=False)


def _vital(vitals: Vitals, at: Instant) -> list[Metric]:
    return [
        _metric(extension.HEALTH + name, DataType.DOUBLE, value, at)
        for name, value in vitals.items()
    ]


def _metric(name: str, datatype: DataType, value: Scalar | None, at: Instant) -> Metric:
    return Metric(name=name, value=value, datatype=datatype, timestamp=at)


def _transient(name: str, datatype: DataType, value: Scalar | None, at: Instant) -> Metric:
    return Metric(name=name, value=value, datatype=datatype, timestamp=at, is_transient=True)


def _described(m: BornMetric) -> dict[str, Property]:
    found = {
        extension.POINT: Property(datatype=DataType.STRING, value=m.point),
        extension.QUANTITY: Property(datatype=DataType.STRING, value=m.quantity.value),
        extension.UNIT: Property(datatype=DataType.STRING, value=m.quantity.unit),
        extension.ZONE: Property(datatype=DataType.STRING, value=m.zone),
        extension.PLACE: Property(datatype=DataType.STRING, value=m.place),
        extension.PERIOD_MS: Property(datatype=DataType.INT64, value=m.period_ms),
    }
    bounds = (
        (extension.MINIMUM, m.minimum),
        (extension.MAXIMUM, m.maximum),
        (extension.RESOLUTION, m.resolution),
    )
    for name, bound in bounds:
        if bound is not None:
            found[name] = Property(datatype=DataType.DOUBLE, value=bound)
    return found


def _judged(s: Sample) -> dict[str, Property]:
    """Return what is to be said of a sample that is not simply good."""
    found = {}
    if s.quality is not Quality.GOOD:
        quality = _SPARKPLUG_QUALITY[s.quality]
        found[extension.QUALITY] = Property(datatype=DataType.INT32, value=quality)
        found[extension.REASON] = Property(datatype=DataType.STRING, value=s.reason.value)
    if s.time_quality is not TimeQuality.SYNCHRONISED:
        time_quality = s.time_quality.value
        found[extension.TIME_QUALITY] = Property(datatype=DataType.STRING, value=time_quality)
    return found
