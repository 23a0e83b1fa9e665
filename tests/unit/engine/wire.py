"""A gateway's side of the wire, as the engine's tests need it: messages as `Arrived` events."""

from server.engine.events import Arrived
from telemetry.sparkplug import (
    DataType,
    MessageKind,
    Metric,
    Payload,
    Property,
    Topic,
    encode,
)

U64, F64, STR, I32 = DataType.UINT64, DataType.DOUBLE, DataType.STRING, DataType.INT32


def text(value):
    return Property(datatype=STR, value=value)


def reading(name, at, value, *, historical=False, quality=None, reason=None, time=None):
    properties = {}
    if quality is not None:
        properties["Quality"] = Property(datatype=I32, value=quality)
    if reason is not None:
        properties["mw/reason"] = text(reason)
    if time is not None:
        properties["mw/time"] = text(time)
    return Metric(
        name=name,
        value=value,
        datatype=F64,
        timestamp=at,
        is_historical=historical,
        properties=properties,
    )


class Wire:
    """One edge node with a log."""

    def __init__(self, edge="gw-01", *, group="demo", epoch=7, foreign=False):
        self.group, self.edge, self.epoch, self.foreign = group, edge, epoch, foreign
        self.seq = 0
        self.bd_seq = 0
        self.offset = 0

    def event(self, kind, at, metrics, *, device=None, seq=True):
        if kind is MessageKind.NBIRTH:
            self.seq = 0
        payload = Payload(timestamp=at, metrics=tuple(metrics), seq=self.seq if seq else None)
        if seq:
            self.seq = (self.seq + 1) % 256
        births = kind in (MessageKind.NBIRTH, MessageKind.DBIRTH, MessageKind.NDEATH)
        topic = Topic(kind=kind, group=self.group, edge=self.edge, device=device)
        data = encode(payload, with_datatypes=births)
        return Arrived(at=at, topic=str(topic), payload=data)

    def nbirth(self, at, *, head=0, tail=0):
        metrics = [Metric(name="bdSeq", value=self.bd_seq, datatype=DataType.INT64)]
        if not self.foreign:
            metrics += [
                Metric(name="mw/epoch", value=self.epoch, datatype=U64),
                Metric(name="mw/head", value=head, datatype=U64),
                Metric(name="mw/tail", value=tail, datatype=U64),
                Metric(name="mw/ack", value=None, datatype=U64),
                Metric(name="mw/ack_epoch", value=None, datatype=U64),
            ]
        return self.event(MessageKind.NBIRTH, at, metrics)

    def dbirth(self, at, device, points, *, quantity="pressure"):
        metrics = []
        if not self.foreign:
            metrics += [
                Metric(name="mw/epoch", value=self.epoch, datatype=U64),
                Metric(name="mw/offset", value=None, datatype=U64),
            ]
        for name, point in points.items():
            properties = {
                "mw/point": text(point),
                "mw/quantity": text("flow" if point.endswith("flow") else quantity),
                "mw/zone": text("north"),
                "mw/place": text("Wenhua Road 12"),
                "mw/period_ms": Property(datatype=DataType.INT64, value=1000),
            }
            metrics.append(
                Metric(
                    name=name,
                    value=None,
                    datatype=F64,
                    properties={} if self.foreign else properties,
                )
            )
        return self.event(MessageKind.DBIRTH, at, metrics, device=device)

    def ddata(self, at, device, readings, *, offset=None, epoch=None):
        metrics = list(readings)
        if not self.foreign:
            if offset is None:
                offset, self.offset = self.offset, self.offset + len(metrics)
            metrics = [
                Metric(name="mw/epoch", value=epoch or self.epoch, datatype=U64, timestamp=at),
                Metric(name="mw/offset", value=offset, datatype=U64, timestamp=at),
                *metrics,
            ]
        return self.event(MessageKind.DDATA, at, metrics, device=device)

    def ndata(self, at, *, head, tail):
        return self.event(
            MessageKind.NDATA,
            at,
            [
                Metric(name="mw/head", value=head, datatype=U64),
                Metric(name="mw/tail", value=tail, datatype=U64),
            ],
        )

    def ndeath(self, at, *, bd_seq=None):
        value = self.bd_seq if bd_seq is None else bd_seq
        metrics = [Metric(name="bdSeq", value=value, datatype=DataType.INT64)]
        return self.event(MessageKind.NDEATH, at, metrics, seq=False)
