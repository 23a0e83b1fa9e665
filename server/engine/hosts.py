"""The Sparkplug host application without its sockets: from MQTT messages to samples, once each.

Births tell what a metric is. Offsets decide what is new, so data are taken in whatever was lost,
repeated or reordered before them. What breaks the contract is counted and dropped, never raised.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
from server.engine.opening import (
    AHEAD_MAX_MS,
    TEXT_MAX,
    binding_of,
    path_of,
    quantity_and_unit,
    sample_of,
    text_of,
    whole_of,
)
from server.engine.samples import Samples
from telemetry import extension
from telemetry.errors import ContractError
from telemetry.instant import Instant
from telemetry.ranges import OFFSET_MAX as EPOCH_MAX
from telemetry.sample import Reason, Sample
from telemetry.sparkplug import MessageKind, Metric, Payload, Topic, decode, parse_topic

NODES_MAX = 10_000
"""Edge nodes of one host; a message of one more is dropped."""

SOURCES_MAX = 1_000
"""Sources whose dropped messages are counted apart; all further ones share one count."""

TOLD_EVERY = 100

OFFSET_MAX = 2**63 - 1
"""The wire has 64 bits for an offset, databases 63: what is above is refused at the door."""

_IGNORED = (MessageKind.NCMD, MessageKind.DCMD, MessageKind.STATE)
_NODE = ""
"""The name under which a node keeps its own metrics, beside those of its devices."""

_Row = tuple[Sample | None, bool]
"""One offset of a log: its sample, if it is kept, and whether it is historical."""


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

    def apply(self, event: Event) -> list[Effect]:
        """Open a message; or look at the points with a new registry."""
        if isinstance(event, RegistryChanged):
            return [*self._claims.registry_changed(event.registry, at=event.at)]
        if not isinstance(event, Arrived):
            return []
        try:
            topic = parse_topic(event.topic)
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
        payload, complaints = self._decoded(message, node, name)
        if kind is MessageKind.NDEATH:
            return self._node_died(message, node, payload)
        if kind is MessageKind.NBIRTH:
            return self._node_born(message, node, payload)
        self._follow(node, payload)
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

    def _follow(self, node: Node, payload: Payload) -> None:
        """Note a hole in the sequence of messages, and go on from what has come."""
        if not node.is_born:
            node.want_birth("it speaks and was not born here")
        elif not node.is_online:
            node.want_birth("it speaks after its death")
        if payload.seq is None:
            return
        expected = (node.seq + 1) % 256
        if node.is_born and payload.seq != expected:
            node.want_birth(f"sequence {expected} was expected, {payload.seq} came")
        node.seq = payload.seq

    def _node_born(self, message: _Message, node: Node, payload: Payload) -> list[Effect]:
        at = message.at
        metrics = {metric.name: metric for metric in payload.metrics}
        epoch = _offset_in(metrics, extension.EPOCH, highest=EPOCH_MAX)
        bd_seq = _bd_seq_in(metrics)
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
        head = _offset_in(metrics, extension.HEAD)
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
        return effects

    def _node_died(self, message: _Message, node: Node, payload: Payload) -> list[Effect]:
        """Believe a death only when it belongs to the last birth: an old will may come late."""
        died = _bd_seq_in({metric.name: metric for metric in payload.metrics})
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
        tail = _offset_in(metrics, extension.TAIL)
        head = _offset_in(metrics, extension.HEAD)
        if tail is None or node.epoch is None:
            return []
        if head is not None and tail > head:
            raise ContractError(f"expected mw/tail up to mw/head {head}, was {tail}")
        lost = node.cursors.of(node.epoch).skip_to(tail)
        return [_changed(at, node, "it no longer has what is missing", lost)] if lost else []

    def _own(self, message: _Message, node: Node, name: str, payload: Payload) -> list[Effect]:
        """Take in one device's scan from a gateway's log: each offset once."""
        epoch, first, scan = _place_and_scan(payload)
        device, effects = self._device_of(message, node, name, scan)
        if device is None:
            return effects
        undated = _undated(payload, scan)
        if undated is not None:
            if not _is_hopeless(node, name):
                raise undated
            because = f"{undated}: what device {name} sends undated is kept as bad samples"
            effects += self._drop(message.at, f"{node.group}/{node.edge}", because)
        rows = [_row(metric, device, payload, at=message.at) for metric in scan]
        new = node.cursors.of(epoch).take(first, first + len(scan))
        for lo, hi in new:
            effects += _accept(message.at, node.gateway, epoch, lo, rows[lo - first : hi - first])
        if new:
            effects += self._unbelievable(message, rows, scan)
        return [*effects, *_acknowledge(node, epoch)]

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

    def _unbelievable(
        self, message: _Message, rows: list[_Row], scan: list[Metric]
    ) -> list[Effect]:
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
        undated = _undated(payload, metrics)
        if undated is not None:
            raise undated
        rows: list[_Row] = []
        for metric in metrics:
            known = metric.name or device.aliases.get(metric.alias or 0, "")
            if known not in device.metrics:
                node.want_birth(f"metric {known[:TEXT_MAX]} of device {name} is in no birth")
            elif device.metrics[known] is not None:
                rows.append(_row(metric, device, payload, at=message.at, name=known))
        first = node.foreign_offset
        node.foreign_offset += len(rows)
        return _accept(message.at, node.gateway, 0, first, rows)


def _row(metric: Metric, device: Device, payload: Payload, *, at: Instant, name: str = "") -> _Row:
    """Return the sample of one offset, or none where its point is refused or its instant absurd."""
    read_at = metric.timestamp if metric.timestamp is not None else payload.timestamp
    binding = device.metrics.get(name or metric.name)
    if binding is None or binding.is_refused:
        return None, metric.is_historical
    if read_at is None:
        return Sample.bad(binding.point, at, Reason.UNKNOWN), metric.is_historical
    if read_at > at + AHEAD_MAX_MS:
        return None, metric.is_historical
    return sample_of(metric, binding, at=read_at), metric.is_historical


def _accept(at: Instant, gateway: str, epoch: int, first: int, rows: list[_Row]) -> list[Effect]:
    """Return one effect for each unbroken run of kept samples, historical ones apart."""
    effects: list[Effect] = []
    run: list[Sample] = []
    was_historical = False
    for n, (sample, is_historical) in enumerate([*rows, (None, False)]):
        if run and (sample is None or is_historical != was_historical):
            effects.append(
                Accepted(
                    at=at,
                    gateway=gateway,
                    epoch=epoch,
                    first_offset=first + n - len(run),
                    samples=Samples.of(run),
                    is_historical=was_historical,
                )
            )
            run = []
        if sample is not None:
            run.append(sample)
            was_historical = is_historical
    return effects


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


def _place_and_scan(payload: Payload) -> tuple[int, int, list[Metric]]:
    """Return the epoch and the first offset of a message, and the samples in it."""
    epoch = first = None
    scan = []
    for metric in payload.metrics:
        if metric.name == extension.EPOCH:
            epoch = _offset(metric, highest=EPOCH_MAX)
        elif metric.name == extension.OFFSET:
            first = _offset(metric)
        elif not metric.name.startswith(extension.PREFIX):
            scan.append(metric)
    if epoch is None or first is None:
        raise ContractError("expected mw/epoch and mw/offset before the samples, one is absent")
    if first + len(scan) > OFFSET_MAX:
        raise ContractError(f"expected offsets up to {OFFSET_MAX}, was {first}")
    return epoch, first, scan


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


def _undated(payload: Payload, scan: Sequence[Metric]) -> ContractError | None:
    """Return what is wrong when a metric has no instant of its own and none of its message."""
    if payload.timestamp is not None:
        return None
    names = [m.name for m in scan if m.timestamp is None]
    if not names:
        return None
    return ContractError(f"expected an instant with {names[0][:TEXT_MAX]!r}, was none")


def _offset_in(metrics: dict[str, Metric], name: str, *, highest: int = OFFSET_MAX) -> int | None:
    metric = metrics.get(name)
    return None if metric is None or metric.value is None else _offset(metric, highest=highest)


def _offset(metric: Metric, *, highest: int = OFFSET_MAX) -> int:
    value = metric.value
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= highest:
        because = f"expected 0 to {highest} in {metric.name}, was {value!r}"
        raise ContractError(because[:TEXT_MAX])
    return value


def _bd_seq_in(metrics: dict[str, Metric]) -> int | None:
    metric = metrics.get(extension.BDSEQ)
    return metric.value if metric is not None and isinstance(metric.value, int) else None
