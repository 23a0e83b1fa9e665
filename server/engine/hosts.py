"""The Sparkplug host application without its sockets: from MQTT messages to samples, once each.

Births tell what a metric is. Offsets decide what is new, so data are taken in whatever was lost,
repeated or reordered before them. What breaks the contract is counted and dropped, never raised.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from server.engine.claims import Claims
from server.engine.effects import (
    Accepted,
    AckDue,
    Effect,
    GatewayChanged,
    MessageDropped,
    PointSeen,
    RebirthDue,
)
from server.engine.events import Arrived, Event, RegistryChanged
from server.engine.nodes import Binding, Device, Node
from server.engine.offsets import (
    OFFSET_MAX,
    Row,
    accepted,
    bd_seq_in,
    offset_in,
    place_and_scan,
    row_of,
    undated_in,
)
from server.engine.opening import (
    AHEAD_MAX_MS,
    TEXT_MAX,
    VALUE_MAX,
    binding_of,
    path_of,
    points_in,
    quantity_and_unit,
    text_of,
    whole_of,
)
from server.engine.registry import Registry
from server.engine.shapes import Scan
from telemetry import extension
from telemetry.errors import ContractError
from telemetry.instant import Instant
from telemetry.ranges import OFFSET_MAX as EPOCH_MAX
from telemetry.sparkplug import MessageKind, Metric, Payload, Topic, decode, parse_topic

NODES_MAX = 10_000
"""Edge nodes of one host; a message of one more is dropped."""

SOURCES_MAX = 1_000
"""Sources whose dropped messages are counted apart; all further ones share one count."""

TOLD_EVERY = 100

_IGNORED = (MessageKind.NCMD, MessageKind.DCMD, MessageKind.STATE)
_NODE = ""
"""The name under which a node keeps its own metrics, beside those of its devices."""


_topic_of = lru_cache(maxsize=2 * NODES_MAX)(parse_topic)
"""The same few topics come again and again; what is no topic raises each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    at: Instant
    topic: Topic
    data: bytes


class Hosts:
    """Every edge node that has spoken."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[str, str], Node] = {}
        self._claims = Claims()
        self._bare: dict[str, str] = {}
        """Which group's node has the bare name of an edge id: its first with a log."""
        self._dropped: dict[str, int] = {}

    def to_json(self) -> dict[str, Any]:
        """Return all that is known of gateways and their points, as plain values."""
        return {
            "nodes": [node.to_json() for node in self._nodes.values()],
            "claims": self._claims.to_json(),
            "bare": self._bare,
            "dropped": self._dropped,
        }

    @classmethod
    def from_json(cls, body: dict[str, Any], registry: Registry) -> "Hosts":
        """Return what `to_json` wrote, under the registry of that time."""
        hosts = cls()
        nodes = [Node.from_json(node) for node in body["nodes"]]
        hosts._nodes = {(node.group, node.edge): node for node in nodes}
        hosts._claims = Claims.from_json(body["claims"], registry)
        hosts._bare, hosts._dropped = body["bare"], body["dropped"]
        return hosts

    def apply(self, event: Event) -> list[Effect]:
        """Open a message; or look at the points with a new registry."""
        if isinstance(event, RegistryChanged):
            return [*self._claims.registry_changed(event.registry, at=event.at)]
        if not isinstance(event, Arrived):
            return []
        try:
            topic = _topic_of(event.topic)
        except ContractError as e:
            return self._drop(event.at, f"topic {event.topic[:TEXT_MAX]}", str(e))
        if topic.kind in _IGNORED:
            return []
        source = f"{topic.group}/{topic.edge}"
        try:
            node = self._node(topic)
        except ContractError as e:
            return self._drop(event.at, source, str(e))
        message = _Message(at=event.at, topic=topic, data=event.payload)
        try:
            effects = self._open(message, node)
        except ContractError as e:
            effects = self._drop(event.at, source, f"{topic.kind}: {e}")
        because = node.birth_to_ask_for(at=event.at)
        if because:
            effects.append(RebirthDue(group=node.group, edge=node.edge, because=because))
        return effects

    def _node(self, topic: Topic) -> Node:
        key = (topic.group, topic.edge)
        node = self._nodes.get(key)
        if node is None:
            if len(self._nodes) >= NODES_MAX:
                raise ContractError(f"expected at most {NODES_MAX} edge nodes, this is one more")
            node = self._nodes[key] = Node(group=topic.group, edge=topic.edge)
        return node

    def _drop(self, at: Instant, source: str, because: str) -> list[Effect]:
        if source not in self._dropped and len(self._dropped) >= SOURCES_MAX:
            source = "others"
        count = self._dropped[source] = self._dropped.get(source, 0) + 1
        if count != 1 and count % TOLD_EVERY:
            return []
        because = because[: 2 * TEXT_MAX]
        return [MessageDropped(at=at, source=source, because=because, count=count)]

    def _open(self, message: _Message, node: Node) -> list[Effect]:
        kind = message.topic.kind
        name = message.topic.device or _NODE
        known = node.devices.get(name)
        if kind is MessageKind.DDATA and known is not None and known.is_born:
            scan = known.scans.read(message.data, value_max=VALUE_MAX)
            if scan is not None and _is_plain(scan, message.at):
                return self._scan(message, node, known, scan)
        payload, complaints = self._decoded(message, node, name)
        if kind is MessageKind.NDEATH:
            return self._node_died(message, node, payload)
        if kind is MessageKind.NBIRTH:
            return self._node_born(message, node, payload)
        self._follow(node, payload.seq)
        if kind is MessageKind.DBIRTH:
            return self._device_born(message, node, name, payload)
        if kind is MessageKind.DDEATH:
            if known is not None:
                known.is_alive = False
            return []
        return [*complaints, *self._data(message, node, name, payload)]

    def _decoded(self, message: _Message, node: Node, name: str) -> tuple[Payload, list[Effect]]:
        """Decode; of a log's data that stay unreadable birth after birth, what can be read."""
        known = node.devices.get(name)
        datatypes = known.datatypes if known else {}
        try:
            return decode(message.data, datatypes=datatypes), []
        except ContractError as e:
            is_of_a_log = message.topic.kind is MessageKind.DDATA and node.epoch is not None
            if not is_of_a_log:
                raise
            payload = decode(message.data, datatypes=datatypes, is_lenient=True)
            if not _is_hopeless(node, name):
                raise
            because = f"{e}: what of device {name} cannot be read is kept as bad samples"
        return payload, self._drop(message.at, f"{node.group}/{node.edge}", because)

    def _follow(self, node: Node, seq: int | None) -> None:
        """Note a hole in the sequence of messages, and go on from what has come."""
        if not node.is_born:
            node.want_birth("it speaks and was not born here")
        elif not node.is_online:
            node.want_birth("it speaks after its death")
        if seq is None:
            return
        expected = (node.seq + 1) % 256
        if node.is_born and seq != expected:
            node.want_birth(f"sequence {expected} was expected, {seq} came")
        node.seq = seq

    def _node_born(self, message: _Message, node: Node, payload: Payload) -> list[Effect]:
        at = message.at
        metrics = {metric.name: metric for metric in payload.metrics}
        epoch = offset_in(metrics, extension.EPOCH, highest=EPOCH_MAX)
        bd_seq = bd_seq_in(metrics)
        is_news = not node.is_online or bd_seq != node.bd_seq or epoch != node.epoch
        node.epoch = epoch
        if epoch is not None:
            node.is_bare = self._bare.setdefault(node.edge, node.group) == node.group
        node.bd_seq = bd_seq
        node.seq = payload.seq or 0
        node.hears_acks = extension.ACK in metrics and epoch is not None
        node.is_online = True
        node.born()
        effects: list[Effect] = []
        if is_news:
            effects.append(_changed(at, node, "it was born"))
        effects += self._learn(message, node, _NODE, payload)
        if epoch is None:
            return [*effects, *self._foreign(message, node, _NODE, payload.metrics, payload)]
        head = offset_in(metrics, extension.HEAD)
        cursor = node.cursors.of(epoch)
        if head is not None and head < cursor.offset:
            because = (
                f"its log went back: {cursor.offset} samples were taken in and it will give"
                f" offset {head} again, so what it reads now is taken for a repetition"
            )
            effects.append(_changed(at, node, because))
        return [*effects, *self._tail(at, node, metrics), *_acknowledge(node, epoch)]

    def _device_born(
        self, message: _Message, node: Node, name: str, payload: Payload
    ) -> list[Effect]:
        if not node.is_born:
            return []
        effects = self._learn(message, node, name, payload)
        if node.epoch is not None:
            return effects
        return [*effects, *self._foreign(message, node, name, payload.metrics, payload)]

    def _learn(self, message: _Message, node: Node, name: str, payload: Payload) -> list[Effect]:
        """Take a birth's metrics as what this device says from now on."""
        device = node.device(name)
        metrics: dict[str, Binding | None] = {}
        effects: list[Effect] = []
        for metric in payload.metrics:
            point = text_of(metric, extension.POINT)
            if not point and node.epoch is None:
                point = path_of(metric, edge=node.edge, device=name)
            if not point:
                metrics[metric.name] = None
                continue
            is_refused, seen = self._claims.claim(
                PointSeen(
                    at=message.at,
                    point=point,
                    gateway=node.gateway,
                    device=name,
                    metric=metric.name[:TEXT_MAX],
                    quantity=quantity_and_unit(metric)[0],
                    zone=text_of(metric, extension.ZONE),
                    place=text_of(metric, extension.PLACE),
                    period_ms=whole_of(metric, extension.PERIOD_MS),
                    status="",
                )
            )
            effects += seen
            metrics[metric.name] = binding_of(metric, point=point, is_refused=is_refused)
        device.metrics = metrics
        device.datatypes = {m.name: m.datatype for m in payload.metrics if m.datatype is not None}
        device.aliases = {m.alias: m.name for m in payload.metrics if m.alias is not None}
        device.is_born = True
        device.is_alive = True
        device.scans.forget()
        return effects

    def _node_died(self, message: _Message, node: Node, payload: Payload) -> list[Effect]:
        """Believe a death only when it belongs to the last birth: an old will may come late."""
        died = bd_seq_in({metric.name: metric for metric in payload.metrics})
        if not node.is_online or died != node.bd_seq:
            return []
        node.is_online = False
        return [_changed(message.at, node, "it died or its connection was lost")]

    def _data(self, message: _Message, node: Node, name: str, payload: Payload) -> list[Effect]:
        if not node.is_born:
            return []
        if node.epoch is None:
            return self._foreign(message, node, name, payload.metrics, payload)
        if message.topic.kind is MessageKind.NDATA:
            metrics = {metric.name: metric for metric in payload.metrics}
            effects = self._tail(message.at, node, metrics)
            return [*effects, *_acknowledge(node, node.epoch)]
        return self._own(message, node, name, payload)

    def _tail(self, at: Instant, node: Node, metrics: dict[str, Metric]) -> list[Effect]:
        """Give up what a gateway says it no longer has, and say how much that is."""
        tail = offset_in(metrics, extension.TAIL)
        head = offset_in(metrics, extension.HEAD)
        if tail is None or node.epoch is None:
            return []
        if head is not None and tail > head:
            raise ContractError(f"expected mw/tail up to mw/head {head}, was {tail}")
        lost = node.cursors.of(node.epoch).skip_to(tail)
        return [_changed(at, node, "it no longer has what is missing", lost)] if lost else []

    def _own(self, message: _Message, node: Node, name: str, payload: Payload) -> list[Effect]:
        """Take in one device's scan from a gateway's log: each offset once."""
        epoch, first, scan = place_and_scan(payload)
        device, effects = self._device_of(message, node, name, scan)
        if device is None:
            return effects
        undated = undated_in(payload, scan)
        if undated is not None:
            if not _is_hopeless(node, name):
                raise undated
            because = f"{undated}: what device {name} sends undated is kept as bad samples"
            effects += self._drop(message.at, f"{node.group}/{node.edge}", because)
        points = points_in(scan, device)
        if points is not None:
            device.scans.learn(message.data, payload, points)
        rows = [row_of(metric, device, payload, at=message.at) for metric in scan]
        new = node.cursors.of(epoch).take(first, first + len(scan))
        for lo, hi in new:
            effects += accepted(message.at, node.gateway, epoch, lo, rows[lo - first : hi - first])
        if new:
            effects += self._unbelievable(message, rows, scan)
        return [*effects, *_acknowledge(node, epoch)]

    def _scan(self, message: _Message, node: Node, device: Device, scan: Scan) -> list[Effect]:
        """Take in a scan of a known shape: what `_own` does, without a look at each sample."""
        self._follow(node, scan.seq)
        if not device.is_alive:
            node.want_birth(f"device {message.topic.device} speaks after its death")
        shape = scan.shape
        end = scan.first + len(scan.values)
        new = node.cursors.of(shape.epoch).take(scan.first, end)
        effects: list[Effect] = [
            Accepted(
                at=message.at,
                gateway=node.gateway,
                epoch=shape.epoch,
                first_offset=lo,
                samples=scan.samples(lo - scan.first, hi - scan.first),
                is_historical=shape.is_historical,
            )
            for lo, hi in new
        ]
        return [*effects, *_acknowledge(node, shape.epoch)]

    def _device_of(
        self, message: _Message, node: Node, name: str, scan: list[Metric]
    ) -> tuple[Device | None, list[Effect]]:
        """Return who can read this scan: nobody, while a birth is missing and may still come."""
        device = node.devices.get(name)
        if device is not None and device.is_born:
            if not device.is_alive:
                node.want_birth(f"device {name} speaks after its death")
            unborn = [m.name for m in scan if m.name not in device.metrics]
            if not unborn:
                return device, []
            subject = f"metric {unborn[0][:TEXT_MAX]} of device {name}"
        else:
            device, subject = Device(), f"device {name}"
        node.want_birth(f"{subject} is in no birth")
        if not node.is_given_up(subject):
            return None, []
        source = f"{node.group}/{node.edge}"
        because = f"{subject} is in no birth, however often asked for: its samples are not kept"
        return device, self._drop(message.at, source, because)

    def _unbelievable(self, message: _Message, rows: list[Row], scan: list[Metric]) -> list[Effect]:
        """Tell of samples that were let go because they claim to come from the future.

        Their offsets are taken all the same: left in the log they would block it until that day.
        """
        for (sample, _), metric in zip(rows, scan, strict=True):
            if sample is None and (metric.timestamp or 0) > message.at + AHEAD_MAX_MS:
                source = f"{message.topic.group}/{message.topic.edge}"
                because = f"{metric.name[:TEXT_MAX]} is dated {metric.timestamp}, over 1 h ahead"
                return self._drop(message.at, source, because)
        return []

    def _foreign(
        self,
        message: _Message,
        node: Node,
        name: str,
        metrics: tuple[Metric, ...],
        payload: Payload,
    ) -> list[Effect]:
        """Take in what a node without a log says, as it comes: it can neither repeat nor resume."""
        device = node.devices.get(name)
        if device is None or not device.is_born:
            node.want_birth(f"device {name} is in no birth")
            return []
        undated = undated_in(payload, metrics)
        if undated is not None:
            raise undated
        rows: list[Row] = []
        for metric in metrics:
            known = metric.name or device.aliases.get(metric.alias or 0, "")
            if known not in device.metrics:
                node.want_birth(f"metric {known[:TEXT_MAX]} of device {name} is in no birth")
            elif device.metrics[known] is not None:
                rows.append(row_of(metric, device, payload, at=message.at, name=known))
        first = node.foreign_offset
        node.foreign_offset += len(rows)
        return accepted(message.at, node.gateway, 0, first, rows)


def _acknowledge(node: Node, epoch: int) -> list[Effect]:
    if not node.hears_acks:
        return []
    cursor = node.cursors.of(epoch)
    return [
        AckDue(
            group=node.group,
            edge=node.edge,
            epoch=epoch,
            offset=cursor.offset,
            ranges=cursor.islands(),
        )
    ]


def _changed(at: Instant, node: Node, because: str, lost: int = 0) -> GatewayChanged:
    return GatewayChanged(
        at=at,
        gateway=node.gateway,
        online=node.is_online,
        epoch=node.epoch or 0,
        because=because,
        lost=lost,
    )


def _is_hopeless(node: Node, name: str) -> bool:
    """Say whether a device's unreadable data would come again for ever; if not, ask for births.

    What breaks the contract inside a log comes again and holds up everything behind it. A birth may
    mend how it is read; after several, its samples are bad ones and its offsets are taken.
    """
    subject = f"what device {name} sends"
    if node.is_given_up(subject):
        return True
    node.want_birth(f"{subject} cannot be read")
    return False


def _is_plain(scan: Scan, at: Instant) -> bool:
    """Say whether neither instants nor offsets of a scan need a closer look."""
    is_of_now = max(scan.at) <= at + AHEAD_MAX_MS
    return is_of_now and scan.first + len(scan.values) <= OFFSET_MAX
