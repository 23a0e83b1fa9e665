"""An edge session in a world without sockets: its outbox, its host and all that it said."""

from dataclasses import dataclass, field

from gateway.core.device import BornMetric, Scan
from gateway.core.edge_session import EdgeSession, Leave, Output, Publish
from gateway.core.messages import Node
from gateway.core.rows import Layout, Row
from telemetry.instant import Instant
from telemetry.point import PointId
from telemetry.sample import Reason, Sample
from telemetry.sparkplug import (
    MessageKind,
    Payload,
    Topic,
    decode,
    encode_state,
    parse_topic,
)
from telemetry.units import Quantity
from tests.unit.gateway.field import START, ack

EPOCH = 2**62 + 5
NCMD = str(Topic(kind=MessageKind.NCMD, group="demo", edge="gw-01"))
STATE = str(Topic(kind=MessageKind.STATE, host="mainwatch"))


def metric(device: str, name: str = "pressure") -> BornMetric:
    return BornMetric(
        name=name,
        point=PointId(f"{device}/{name}"),
        quantity=Quantity.PRESSURE,
        zone="north",
        place="文化路12号",
        period_ms=1_000,
        minimum=0.0,
        maximum=1_600.0,
        resolution=0.1,
    )


BIRTHS = {d: (metric(d),) for d in ("pt-1", "pt-2")}


@dataclass
class World:
    """A session, the outbox it reads from, and everything that it has said."""

    host: str = "mainwatch"
    is_acknowledged: bool = True
    rows: list[Row] = field(default_factory=list)
    said: list[Output] = field(default_factory=list)
    now_ms: int = 0
    bdseq: int = -1

    def __post_init__(self) -> None:
        node = Node(
            group="demo", edge="gw-01", host=self.host, is_acknowledged=self.is_acknowledged
        )
        self.session = EdgeSession(node=node, births=BIRTHS, epoch=EPOCH, acked=0, head=0, tail=0)

    @property
    def at(self) -> Instant:
        return Instant(START + self.now_ms)

    @property
    def head(self) -> int:
        return self.rows[-1].end if self.rows else 0

    def do(self, outputs: list[Output]) -> list[Output]:
        self.said += outputs
        if any(isinstance(o, Leave) for o in outputs):
            self.session.lost()
        return outputs

    def connect(self) -> list[Output]:
        self.bdseq += 1
        self.said.append(self.session.will(bdseq=self.bdseq, at=self.at))
        return self.do(self.session.connected(at=self.at, now_ms=self.now_ms))

    def state(self, *, online: bool, at: int | None = None) -> list[Output]:
        stamp = self.at if at is None else Instant(at)
        return self.hear(STATE, encode_state(online=online, at=stamp))

    def hear(self, topic: str, payload: bytes) -> list[Output]:
        return self.do(self.session.received(topic, payload, at=self.at, now_ms=self.now_ms))

    def ack(
        self, offset: int, *, epoch: int = EPOCH, ranges: tuple[tuple[int, int], ...] = ()
    ) -> list[Output]:
        return self.hear(NCMD, ack(epoch, offset, ranges=ranges))

    def store(self, device: str = "pt-1", *, alive: bool | None = None, value: float | None = 1.0):
        point = BIRTHS[device][0].point
        sample = (
            Sample.bad(point, self.at, Reason.TIMEOUT)
            if value is None
            else Sample(point=point, at=self.at, value=value)
        )
        first = self.head
        layout = Layout(device=device, metrics=BIRTHS[device])
        self.rows.append(Row(first=first, layout=layout, samples=(sample,)))
        scan = Scan(device=device, samples=(sample,), alive=alive)
        self.session.stored([scan], [first], head=self.head, tail=0)

    def pump(self) -> list[Output]:
        """Send all that the session wants, as the uplink does."""
        said: list[Output] = []
        while (wanted := self.session.wants()) is not None:
            offset, count = wanted
            rows = [r for r in self.rows if r.end > offset][:count]
            said += self.do(self.session.send(rows, at=self.at, now_ms=self.now_ms))
        return said

    def tick(self, ms: int = 1_000) -> list[Output]:
        self.now_ms += ms
        return self.do(self.session.tick(at=self.at, now_ms=self.now_ms))

    def live(self) -> None:
        """Connect to a host that says at once that it has what we think it has."""
        self.connect()
        self.state(online=True)
        self.ack(self.session.acked)


def published(outputs: list[Output]) -> list[tuple[Topic, Payload]]:
    return [(parse_topic(o.topic), decode(o.payload)) for o in outputs if isinstance(o, Publish)]


def kinds(outputs: list[Output]) -> list[str]:
    return [
        f"{t.kind} {t.device}" if t.device else str(t.kind.value) for t, _ in published(outputs)
    ]


def value(payload: Payload, name: str):
    return next(m.value for m in payload.metrics if m.name == name)
