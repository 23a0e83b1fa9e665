"""The Sparkplug codec: what goes in comes out, and nothing from outside breaks it."""

import contextlib
import math
import random
import struct
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from telemetry.errors import ContractError
from telemetry.extension import PAYLOAD_MAX
from telemetry.instant import Instant
from telemetry.sample import Quality, Reason
from telemetry.sparkplug import (
    DECODE_MAX,
    INSTANT_MAX,
    METRICS_MAX,
    DataType,
    MessageKind,
    Metric,
    Payload,
    Property,
    Scalar,
    State,
    Topic,
    decode,
    decode_state,
    encode,
    encode_state,
    parse_topic,
)

INTEGERS = {
    DataType.INT8: (-(2**7), 2**7 - 1),
    DataType.INT16: (-(2**15), 2**15 - 1),
    DataType.INT32: (-(2**31), 2**31 - 1),
    DataType.INT64: (-(2**63), 2**63 - 1),
    DataType.UINT8: (0, 2**8 - 1),
    DataType.UINT16: (0, 2**16 - 1),
    DataType.UINT32: (0, 2**32 - 1),
    DataType.UINT64: (0, 2**64 - 1),
    DataType.DATETIME: (0, 2**64 - 1),
}
TEXTS = (DataType.STRING, DataType.TEXT, DataType.UUID)
BYTES = (
    DataType.DATASET,
    DataType.BYTES,
    DataType.FILE,
    DataType.TEMPLATE,
    *(d for d in DataType if d >= DataType.INT8_ARRAY),
)
NESTED = (DataType.PROPERTY_SET, DataType.PROPERTY_SET_LIST)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
instant = st.integers(0, INSTANT_MAX).map(Instant)


def values(datatype: DataType) -> st.SearchStrategy[Scalar]:
    if datatype in INTEGERS:
        lowest, highest = INTEGERS[datatype]
        return st.integers(lowest, highest) | st.sampled_from([lowest, highest])
    if datatype is DataType.FLOAT:
        return st.floats(width=32, allow_nan=False)
    if datatype is DataType.DOUBLE:
        return st.floats(allow_nan=False)
    if datatype is DataType.BOOLEAN:
        return st.booleans()
    return text if datatype in TEXTS else st.binary(max_size=12)


def typed(datatypes: list[DataType]) -> st.SearchStrategy[tuple[DataType, Scalar | None]]:
    return st.sampled_from(datatypes).flatmap(
        lambda d: st.tuples(st.just(d), st.none() | values(d))
    )


properties = st.dictionaries(
    text,
    typed([d for d in DataType if d not in BYTES]).map(
        lambda pair: Property(datatype=pair[0], value=pair[1])
    ),
    max_size=3,
)


@st.composite
def metrics(draw: st.DrawFn, name: str) -> Metric:
    datatype, value = draw(typed([d for d in DataType if d not in NESTED]))
    return Metric(
        name=name,
        value=value,
        datatype=datatype,
        timestamp=draw(st.none() | instant),
        alias=draw(st.none() | st.integers(0, 2**64 - 1)),
        is_historical=draw(st.booleans()),
        is_transient=draw(st.booleans()),
        properties=draw(properties),
    )


@st.composite
def payloads(draw: st.DrawFn) -> Payload:
    names = draw(st.lists(text.filter(bool), max_size=4, unique=True))
    return Payload(
        timestamp=draw(st.none() | instant),
        seq=draw(st.none() | st.integers(0, 255)),
        metrics=tuple(draw(metrics(name)) for name in names),
    )


def one(value: Scalar | None, datatype: DataType | None, **more: object) -> Payload:
    metric = Metric(name="x", value=value, datatype=datatype)
    return Payload(timestamp=None, metrics=(replace(metric, **more),))  # type: ignore[arg-type]  # fields of Metric


def field(number: int, data: bytes | int) -> bytes:
    """Return one field of the wire format: a whole number, or bytes with their length."""
    if isinstance(data, int):
        return varint(number << 3) + varint(data)
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def foreign(*fields: bytes) -> bytes:
    """Return a payload of one metric called x, from a node that is not ours."""
    return field(2, field(1, b"x") + b"".join(fields))


@given(payloads())
@settings(max_examples=150)
def test_payload_with_datatypes_comes_back_as_it_was(payload: Payload) -> None:
    assert decode(encode(payload, with_datatypes=True)) == payload


@given(payloads())
@settings(max_examples=150)
def test_payload_without_datatypes_comes_back_by_those_of_the_birth(payload: Payload) -> None:
    born = {m.name: m.datatype for m in payload.metrics if m.datatype is not None}
    data = encode(payload, with_datatypes=False)

    assert decode(data, datatypes=born) == payload
    assert [m.datatype for m in decode(data).metrics] == [None] * len(payload.metrics)


@given(payloads(), st.randoms(use_true_random=False), st.integers(1, 6))
@settings(max_examples=300)
def test_damaged_payload_is_a_payload_or_a_contract_error(
    payload: Payload, chance: random.Random, blows: int
) -> None:
    data = bytearray(encode(payload, with_datatypes=chance.random() < 0.5))
    for _ in range(blows):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                data.insert(at, chance.randrange(256))
            case 2:
                del data[at:]
            case 3:
                data[at:at] = data[: chance.randrange(len(data) + 1)]

    assert_payload_or_contract_error(bytes(data))


@given(st.binary(max_size=200))
@example(b"\x0b" * 200)  # groups within groups
@example(b"\xff" * 11)
@settings(max_examples=300)
def test_random_bytes_are_a_payload_or_a_contract_error(data: bytes) -> None:
    assert_payload_or_contract_error(data)
    assert_payload_or_contract_error(field(2, data))
    assert_payload_or_contract_error(foreign(field(9, data)))


def assert_payload_or_contract_error(data: bytes) -> None:
    for datatype in DataType:
        with contextlib.suppress(ContractError):
            assert isinstance(decode(data, datatypes={"x": datatype}), Payload)


@pytest.mark.parametrize(
    ("data", "because"),
    [
        (b"\x00" * (DECODE_MAX + 1), "at most 262144 bytes, were 262145"),
        (field(2, field(1, b"x")) * (METRICS_MAX + 1), "at most 5000 metrics, were 5001"),
        (b"\x08", "expected a Sparkplug payload"),
        (field(3, 256), "seq in 0 to 255, was 256"),
        (field(2, b""), "a name or an alias"),
        (field(2, field(1, b"")), "a name or an alias"),
        (field(2, field(1, b"\xff")), "expected a Sparkplug payload"),
        (foreign(field(15, b"\xed\xa0\x80")), "expected a Sparkplug payload"),
        (foreign(field(4, 35)), "'x': expected a datatype in 1 to 34, was 35"),
        (foreign(field(4, 1), field(10, 256)), "'x': expected INT8, was 256"),
        (foreign(field(4, 5), field(10, 256)), "'x': expected UINT8, was 256"),
        (foreign(field(4, 7), field(11, 2**32)), "'x': expected UINT32, was 4294967296"),
        (foreign(field(4, 10), field(15, b"7")), "'x': expected DOUBLE, was string_value '7'"),
        (foreign(field(4, 11), field(10, 1)), "'x': expected BOOLEAN, was int_value 1"),
        (foreign(field(4, 20), field(16, b"")), "'x': expected PROPERTY_SET, was bytes_value"),
        (foreign(field(3, 2**63)), "'x': expected an instant"),
        (field(1, INSTANT_MAX + 1), "'payload': expected an instant"),
        (foreign(field(9, field(1, b"a"))), "were 1 keys and 0 values"),
        (foreign(field(9, field(2, b""))), "were 0 keys and 1 values"),
        (foreign(field(9, field(1, b"a") + field(2, b""))), "'x a': expected a datatype"),
        (
            foreign(field(9, field(1, b"a") + field(2, field(1, 99)))),
            "'x a': expected a datatype in 1 to 34, was 99",
        ),
        (
            foreign(field(9, field(1, b"a") + field(2, field(1, 17) + field(8, b"b")))),
            "'x a': expected BYTES, was string_value 'b'",
        ),
    ],
)
def test_breach_of_the_contract_is_told(data: bytes, because: str) -> None:
    with pytest.raises(ContractError) as refused:
        decode(data)

    assert because in str(refused.value)


@pytest.mark.parametrize(
    ("datatype", "written", "value"),
    [
        (DataType.INT8, field(10, 0xFF), -1),  # in the width of the type
        (DataType.INT8, field(10, 0xFFFF_FFFF), -1),  # sign extended to the field
        (DataType.INT16, field(10, 0x8000), -(2**15)),
        (DataType.INT16, field(11, 2**64 - 2), -2),
        (DataType.INT32, field(11, 0xFFFF_FFFF), -1),
        (DataType.INT64, field(10, 7), 7),
        (DataType.UINT32, field(11, 2**32 - 1), 2**32 - 1),
        (DataType.FLOAT, b"\x69" + struct.pack("<d", 1.5), 1.5),
        (DataType.DOUBLE, b"\x65" + struct.pack("<f", 1.5), 1.5),
        (DataType.STRING, field(7, 1) + field(15, b"ignored"), None),
        (DataType.DOUBLE, b"", None),  # a null that does not say so
        (DataType.DATASET, field(17, b"\xff\x00"), b"\xff\x00"),
        (DataType.TEMPLATE, field(18, b"\xff\x00"), b"\xff\x00"),
        (DataType.INT8_ARRAY, field(16, b"\xff\x00"), b"\xff\x00"),
    ],
)
def test_foreign_ways_to_write_a_value_are_understood(
    datatype: DataType, written: bytes, value: Scalar | None
) -> None:
    metric = decode(foreign(field(4, datatype), written)).metrics[0]

    assert (datatype, value) == (metric.datatype, metric.value)
    assert metric == decode(foreign(written), datatypes={"x": datatype}).metrics[0]


def test_nested_property_sets_stay_bytes() -> None:
    inner = field(1, b"deep") + field(2, field(1, 12) + field(8, b"down"))
    data = foreign(
        field(9, field(1, b"set") + field(2, field(1, 20) + field(9, inner))),
    )

    assert decode(data).metrics[0].properties == {
        "set": Property(datatype=DataType.PROPERTY_SET, value=inner)
    }


def test_unknown_fields_metadata_uuid_and_body_are_passed_over() -> None:
    data = foreign(field(8, b"\xff"), field(99, b"new")) + field(4, b"id") + field(5, b"\xff")

    assert decode(data) == one(None, None)


def test_metric_may_have_an_alias_in_place_of_its_name() -> None:
    metric = decode(field(2, field(2, 0) + field(10, 5))).metrics[0]

    assert Metric(name="", alias=0, value=5) == metric


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("datatype", [DataType.FLOAT, DataType.DOUBLE])
def test_what_is_no_finite_number_passes_through(value: float, datatype: DataType) -> None:
    metric = decode(encode(one(value, datatype), with_datatypes=True)).metrics[0]

    assert repr(value) == repr(metric.value)


def test_whole_number_may_stand_for_a_float() -> None:
    assert decode(encode(one(3, DataType.DOUBLE), with_datatypes=True)).metrics[0].value == 3.0


def test_named_values_of_ours_travel_as_what_they_are() -> None:
    data = encode(one(Reason.TIMEOUT, DataType.STRING), with_datatypes=True)
    number = encode(one(Quality.GOOD, DataType.INT32), with_datatypes=True)

    assert (decode(data), decode(number)) == (
        one("timeout", DataType.STRING),
        one(192, DataType.INT32),
    )


@pytest.mark.parametrize(
    ("payload", "because"),
    [
        (one(128, DataType.INT8), "'x': expected INT8 in -128 to 127, was 128"),
        (one(-1, DataType.UINT64), "'x': expected UINT64 in 0 to"),
        (one(1.0, DataType.INT32), "'x': expected INT32 in"),
        (one(value=True, datatype=DataType.INT32), "'x': expected INT32 in"),
        (one(value=True, datatype=DataType.DOUBLE), "'x': expected DOUBLE, was True"),
        (one("1", DataType.DOUBLE), "'x': expected DOUBLE, was '1'"),
        (one(10**400, DataType.DOUBLE), "'x': expected DOUBLE, was 1000"),
        (one(1e39, DataType.FLOAT), "'x': expected FLOAT up to"),
        (one(1, DataType.BOOLEAN), "'x': expected BOOLEAN, was 1"),
        (one(b"a", DataType.STRING), "'x': expected STRING, was b'a'"),
        (one("a", DataType.BYTES), "'x': expected BYTES, was 'a'"),
        (one("\ud800", DataType.STRING), "can't"),
        (one(b"", DataType.PROPERTY_SET), "'x': expected a datatype that has a place here"),
        (one(1, None), "'x': expected a metric with a datatype"),
        (one(1, DataType.INT8, name=""), "a name or an alias"),
        (one(1, DataType.INT8, alias=-1), "'x': expected an alias of 64 bits, was -1"),
        (one(1, DataType.INT8, timestamp=-1), "'x': expected an instant"),
        (
            one(1, DataType.INT8, properties={"a": Property(datatype=DataType.FILE, value=b"")}),
            "'x a': expected a datatype that has a place here",
        ),
        (Payload(timestamp=None, metrics=(), seq=256), "seq in 0 to 255, was 256"),
        (Payload(timestamp=Instant(INSTANT_MAX + 1), metrics=()), "expected an instant"),
        (
            Payload(timestamp=None, metrics=one(1, DataType.INT8).metrics * (METRICS_MAX + 1)),
            "at most 5000 metrics",
        ),
        (one("a" * PAYLOAD_MAX, DataType.STRING), "at most 131072 bytes"),
    ],
)
def test_our_own_mistake_is_a_value_error(payload: Payload, because: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  the text is compared below
        encode(payload, with_datatypes=False)

    assert because in str(refused.value)


ids = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/+#\0"), min_size=1)


@given(st.sampled_from(MessageKind), ids, ids, ids)
def test_topic_comes_back_from_its_text(kind: MessageKind, a: str, b: str, c: str) -> None:
    if kind is MessageKind.STATE:
        topic = Topic(kind=kind, host=a)
    else:
        topic = Topic(kind=kind, group=a, edge=b, device=c if kind.startswith("D") else None)

    assert parse_topic(str(topic)) == topic


@pytest.mark.parametrize(
    "text",
    [
        "",
        "spBv1.0",
        "spAv1.0/demo/NDATA/gw-01",
        "spBv1.0/demo/NDATA",
        "spBv1.0/demo/NDATA/",
        "spBv1.0//NDATA/gw-01",
        "spBv1.0/demo/NDATA/gw-01/inlet",
        "spBv1.0/demo/DDATA/gw-01",
        "spBv1.0/demo/DDATA/gw-01/inlet/more",
        "spBv1.0/demo/STATE/gw-01",
        "spBv1.0/STATE/",
        "STATE/mainwatch",
        "spBv1.0/demo/ndata/gw-01",
        "spBv1.0/demo/NDATA/+",
        "spBv1.0/demo/NDATA/#",
        "spBv1.0/demo/NDATA/a\0",
        "spBv1.0/demo/NDATA/\ud800",
        "spBv1.0/demo/NDATA/" + "a" * 2000,
    ],
)
def test_what_is_no_topic_is_a_contract_error(text: str) -> None:
    with pytest.raises(ContractError, match="expected a"):
        parse_topic(text)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Topic(kind=MessageKind.DDATA, group="demo", edge="gw-01"),
        lambda: Topic(kind=MessageKind.NDATA, group="demo", edge="gw-01", device="inlet"),
        lambda: Topic(kind=MessageKind.NDATA, group="demo", edge="a/b"),
        lambda: Topic(kind=MessageKind.STATE),
    ],
)
def test_topic_without_its_ids_cannot_be_made(build: Callable[[], Topic]) -> None:
    with pytest.raises(ValueError, match="expected the ids of a"):
        build()


@given(st.booleans(), instant)
def test_state_comes_back_as_it_was(online: bool, at: Instant) -> None:  # noqa: FBT001  hypothesis names them
    assert decode_state(encode_state(online=online, at=at)) == State(online=online, at=at)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"ONLINE",
        b"\xff",
        b"[" * 500,
        b"{}",
        b"[true, 1]",
        b'{"online": true}',
        b'{"online": 1, "timestamp": 1}',
        b'{"online": true, "timestamp": true}',
        b'{"online": true, "timestamp": 1.5}',
        b'{"online": true, "timestamp": NaN}',
        b'{"online": true, "timestamp": "1"}',
        b'{"online": true, "timestamp": -1}',
        b'{"online": true, "timestamp": 99999999999999999999}',
        b'{"online": true, "timestamp": 1, "more": "' + b"a" * 500 + b'"}',
    ],
)
def test_what_is_no_state_is_a_contract_error(data: bytes) -> None:
    with pytest.raises(ContractError, match="expected"):
        decode_state(data)


@given(st.binary(max_size=60))
def test_random_bytes_are_a_state_or_a_contract_error(data: bytes) -> None:
    with contextlib.suppress(ContractError):
        assert isinstance(decode_state(data), State)
