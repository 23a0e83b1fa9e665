"""Sparkplug B 3.0: topics and payloads, to bytes and back.

What we write is strict: a wrong value is a mistake of ours and raises `ValueError`. What we read
may come from anybody: whatever the bytes, it is a payload or a `ContractError`. Whether a value
makes sense (a NaN, an instant of tomorrow) is for the reader of the payload to judge.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from google.protobuf.message import DecodeError

from telemetry.errors import ContractError
from telemetry.extension import NAMESPACE, PAYLOAD_MAX
from telemetry.instant import Instant
from telemetry.sparkplug_schema import PayloadMessage
from telemetry.sparkplug_values import (
    METRIC_FIELDS,
    PROPERTY_FIELDS,
    DataType,
    Scalar,
    read_datatype,
    read_value,
    write_value,
)

__all__ = [
    "DataType",
    "MessageKind",
    "Metric",
    "Payload",
    "Property",
    "Scalar",
    "State",
    "Topic",
    "decode",
    "decode_state",
    "encode",
    "encode_state",
    "parse_topic",
]

DECODE_MAX = 262_144
"""Bytes. Twice what our gateways send at most; a longer payload is refused unread."""

METRICS_MAX = 5_000
"""Metrics in one payload, read or written."""

INSTANT_MAX = 253_402_300_799_999
"""The last millisecond of the year 9999: what is above is no count of milliseconds."""

STATE_MAX = 512
"""Bytes of a STATE payload; ours have some fifty."""

TOPIC_MAX = 1_024
"""Characters of a topic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Property:
    """One property of a metric; `value` is None when it is null."""

    datatype: DataType
    value: Scalar | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric; `value` is None when it is null.

    Foreign nodes may send an alias for the name, which is then empty. Read without a datatype, in
    the message or from the birth, whole numbers come as if they were unsigned.
    """

    name: str
    value: Scalar | None
    datatype: DataType | None = None
    timestamp: Instant | None = None
    alias: int | None = None
    is_historical: bool = False
    is_transient: bool = False
    properties: Mapping[str, Property] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """One message. Commands and the will have no `seq`."""

    timestamp: Instant | None
    metrics: tuple[Metric, ...]
    seq: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Whether a host application is there; `at` is the same in its birth and in its will."""

    online: bool
    at: Instant


class MessageKind(StrEnum):
    """The verbs of Sparkplug: N... of an edge node, D... of a device, STATE of a host."""

    NBIRTH = "NBIRTH"
    DBIRTH = "DBIRTH"
    NDATA = "NDATA"
    DDATA = "DDATA"
    NDEATH = "NDEATH"
    DDEATH = "DDEATH"
    NCMD = "NCMD"
    DCMD = "DCMD"
    STATE = "STATE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """Where a message goes; `str` gives the text.

    >>> str(Topic(kind=MessageKind.DDATA, group="demo", edge="gw-01", device="inlet"))
    'spBv1.0/demo/DDATA/gw-01/inlet'
    >>> str(Topic(kind=MessageKind.STATE, host="mainwatch"))
    'spBv1.0/STATE/mainwatch'
    """

    kind: MessageKind
    group: str = ""
    edge: str = ""
    device: str | None = None
    host: str = ""

    def __post_init__(self) -> None:
        text = str(self)
        parts = text.split("/")
        if len(parts) != _LEVELS[self.kind] or "" in parts or _NOT_IN_A_TOPIC.search(text):
            raise ValueError(f"expected the ids of a {self.kind} topic, was {text!r:.80}")

    def __str__(self) -> str:
        if self.kind is MessageKind.STATE:
            return f"{NAMESPACE}/STATE/{self.host}"
        node = f"{NAMESPACE}/{self.group}/{self.kind}/{self.edge}"
        return node if self.device is None else f"{node}/{self.device}"


_LEVELS = {kind: 5 if kind.startswith("D") else 4 for kind in MessageKind} | {MessageKind.STATE: 3}

_NOT_IN_A_TOPIC = re.compile("[+#\0\ud800-\udfff]")
"""Wildcards, and what MQTT cannot carry: the null character and half a surrogate pair."""


def parse_topic(text: str) -> Topic:
    """Return the topic that `text` spells. Raises `ContractError`."""
    parts = text.split("/") if len(text) <= TOPIC_MAX else []
    try:
        match parts:
            case [ns, "STATE", host] if ns == NAMESPACE:
                return Topic(kind=MessageKind.STATE, host=host)
            case [ns, group, kind, edge] if ns == NAMESPACE:
                return Topic(kind=MessageKind(kind), group=group, edge=edge)
            case [ns, group, kind, edge, device] if ns == NAMESPACE:
                return Topic(kind=MessageKind(kind), group=group, edge=edge, device=device)
    except ValueError as e:
        raise ContractError(f"expected a Sparkplug topic: {e}") from e
    raise ContractError(f"expected a Sparkplug topic, was {text[:80]!r}")


def encode_state(*, online: bool, at: Instant) -> bytes:
    """Encode a STATE payload: JSON, not protobuf."""
    _instant(at, "STATE")
    return json.dumps({"online": online, "timestamp": at}, separators=(",", ":")).encode()


def decode_state(data: bytes) -> State:
    """Decode a STATE payload. Raises `ContractError`."""
    if len(data) > STATE_MAX:
        raise ContractError(f"expected a STATE of at most {STATE_MAX} bytes, were {len(data)}")
    try:
        body = json.loads(data.decode())
    except (ValueError, RecursionError) as e:
        raise ContractError(f"expected a STATE in JSON: {e}") from e
    match body:
        case {"online": bool(online), "timestamp": int(at)} if not isinstance(at, bool):
            if 0 <= at <= INSTANT_MAX:
                return State(online=online, at=Instant(at))
    raise ContractError(f"expected online (true or false) and timestamp (ms), was {body!r:.80}")


def encode(payload: Payload, *, with_datatypes: bool) -> bytes:
    """Encode a payload. Births carry the datatypes, data and commands need not.

    Raises `ValueError` for what the contract does not allow us to send.
    """
    message = PayloadMessage()
    if payload.timestamp is not None:
        message.timestamp = _instant(payload.timestamp, "payload")
    if payload.seq is not None:
        if not 0 <= payload.seq <= 255:
            raise ValueError(f"expected seq in 0 to 255, was {payload.seq}")
        message.seq = payload.seq
    if len(payload.metrics) > METRICS_MAX:
        raise ValueError(f"expected at most {METRICS_MAX} metrics, were {len(payload.metrics)}")
    add = message.metrics.add
    for metric in payload.metrics:
        _write_metric(add(), metric, with_datatypes=with_datatypes)
    data: bytes = message.SerializeToString()
    if len(data) > PAYLOAD_MAX:
        raise ValueError(f"expected a payload of at most {PAYLOAD_MAX} bytes, was {len(data)}")
    return data


def _write_metric(to: Any, metric: Metric, *, with_datatypes: bool) -> None:
    name, datatype = metric.name, metric.datatype
    if datatype is None:
        raise ValueError(f"{name!r}: expected a metric with a datatype, was without")
    if name:
        to.name = name
    if metric.alias is not None or not name:
        to.alias = _alias(metric.alias, name)
    if metric.timestamp is not None:
        to.timestamp = _instant(metric.timestamp, name)
    if with_datatypes:
        to.datatype = datatype
    if metric.is_historical:
        to.is_historical = True
    if metric.is_transient:
        to.is_transient = True
    if metric.properties:
        for key, one in metric.properties.items():
            to.properties.keys.append(key)
            written = to.properties.values.add(type=one.datatype)
            write_value(written, one.datatype, one.value, PROPERTY_FIELDS, f"{name} {key}")
    write_value(to, datatype, metric.value, METRIC_FIELDS, name)


def _alias(alias: int | None, name: str) -> int:
    if alias is None:
        raise ValueError("expected a metric with a name or an alias, was without both")
    if not 0 <= alias < 1 << 64:
        raise ValueError(f"{name!r}: expected an alias of 64 bits, was {alias}")
    return alias


def _instant(at: Instant, where: str) -> Instant:
    if not 0 <= at <= INSTANT_MAX:
        raise ValueError(f"{where!r}: expected an instant in 0 to {INSTANT_MAX} ms, was {at}")
    return at


_NO_DATATYPES: Mapping[str, DataType] = {}


def decode(
    data: bytes,
    *,
    datatypes: Mapping[str, DataType] = _NO_DATATYPES,
    is_lenient: bool = False,
) -> Payload:
    """Decode a payload. Raises `ContractError`, whatever the bytes, and nothing else.

    `datatypes` are those of the birth by metric name, for messages that carry none; a metric is
    returned with the datatype it was read by. `is_lenient` takes a metric that breaks the contract
    for a null, so that at least its place is known.
    """
    if len(data) > DECODE_MAX:
        raise ContractError(f"expected at most {DECODE_MAX} bytes, were {len(data)}")
    try:
        message = PayloadMessage.FromString(data)
    except (DecodeError, ValueError) as e:  # protobuf without its C part raises UnicodeDecodeError
        raise ContractError(f"expected a Sparkplug payload: {e}") from e
    seq = message.seq if message.HasField("seq") else None
    if seq is not None and seq > 255:
        raise ContractError(f"expected seq in 0 to 255, was {seq}")
    read = _read_what_can_be if is_lenient else _read_metric
    if len(message.metrics) > METRICS_MAX:
        raise ContractError(f"expected at most {METRICS_MAX} metrics, were {len(message.metrics)}")
    return Payload(
        timestamp=_read_instant(message, "payload"),
        metrics=tuple([read(m, datatypes) for m in message.metrics]),
        seq=seq,
    )


def _read_instant(of: Any, where: str) -> Instant | None:
    at: int = of.timestamp
    if at > INSTANT_MAX:
        raise ContractError(f"{where!r}: expected an instant up to {INSTANT_MAX} ms, was {at}")
    return Instant(at) if at or of.HasField("timestamp") else None


def _read_metric(of: Any, datatypes: Mapping[str, DataType]) -> Metric:
    name: str = of.name
    alias: int | None = of.alias if of.HasField("alias") else None
    if not name and alias is None:
        raise ContractError("expected a metric with a name or an alias, was without both")
    code = of.datatype
    datatype = read_datatype(code, name) if code else datatypes.get(name)
    if of.is_null:
        value = None
    elif datatype is DataType.DOUBLE and of.HasField("double_value"):  # nearly every sample
        value = of.double_value
    else:
        value = read_value(of, datatype, METRIC_FIELDS, name)
    return Metric(
        name=name,
        value=value,
        datatype=datatype,
        timestamp=_read_instant(of, name),
        alias=alias,
        is_historical=of.is_historical,
        is_transient=of.is_transient,
        properties=_read_properties(of.properties, name) if of.HasField("properties") else {},
    )


def _read_what_can_be(of: Any, datatypes: Mapping[str, DataType]) -> Metric:
    try:
        return _read_metric(of, datatypes)
    except ContractError:
        at: int = of.timestamp
        return Metric(
            name=of.name,
            value=None,
            timestamp=Instant(at) if 0 < at <= INSTANT_MAX else None,
            is_historical=of.is_historical,
        )


def _read_properties(of: Any, where: str) -> dict[str, Property]:
    if len(of.keys) != len(of.values):
        raise ContractError(
            f"{where!r}: expected a value for each property,"
            f" were {len(of.keys)} keys and {len(of.values)} values"
        )
    found = {}
    for key, written in zip(of.keys, of.values, strict=True):
        name = f"{where} {key}"
        datatype = read_datatype(written.type, name)
        value = None if written.is_null else read_value(written, datatype, PROPERTY_FIELDS, name)
        found[key] = Property(datatype=datatype, value=value)
    return found
