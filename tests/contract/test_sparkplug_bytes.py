"""Are these the bytes? Golden files of every message, each field on a line that a person can check.

The lines are written by a reader of the wire format that knows nothing of our codec.
"""

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from telemetry import extension
from telemetry.instant import Instant
from telemetry.ranges import encode_ranges
from telemetry.sparkplug import (
    DataType,
    Metric,
    Payload,
    Property,
    Scalar,
    State,
    decode,
    decode_state,
    encode,
    encode_state,
)

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "wire-contract.md"

NOW = Instant(1_790_000_000_000)
EPOCH = 0xF00D_0000_0000_0001  # above 2**63: must not come back negative


def mw(name: str, datatype: DataType, value: Scalar | None, **more: object) -> Metric:
    return Metric(name=name, datatype=datatype, value=value, timestamp=NOW, **more)  # type: ignore[arg-type]  # only flags


def text(value: str) -> Property:
    return Property(datatype=DataType.STRING, value=value)


def double(value: float) -> Property:
    return Property(datatype=DataType.DOUBLE, value=value)


def pressure(at: int, value: float | None, **more: object) -> Metric:
    return Metric(
        name="pressure",
        datatype=DataType.DOUBLE,
        value=value,
        timestamp=Instant(at),
        **more,  # type: ignore[arg-type]  # only flags
    )


BDSEQ = Metric(name="bdSeq", datatype=DataType.INT64, value=3, timestamp=NOW)

NBIRTH = Payload(
    timestamp=NOW,
    seq=0,
    metrics=(
        BDSEQ,
        mw(extension.REBIRTH, DataType.BOOLEAN, value=False),
        mw(extension.EPOCH, DataType.UINT64, EPOCH, is_transient=True),
        mw(extension.HEAD, DataType.UINT64, 1203, is_transient=True),
        mw(extension.TAIL, DataType.UINT64, 0, is_transient=True),
        mw(extension.ACK_EPOCH, DataType.UINT64, None, is_transient=True),
        mw(extension.ACK, DataType.UINT64, None, is_transient=True),
        mw(extension.SACK, DataType.BYTES, None, is_transient=True),
    ),
)

DBIRTH = Payload(
    timestamp=NOW,
    seq=1,
    metrics=(
        mw(extension.EPOCH, DataType.UINT64, EPOCH, is_transient=True),
        mw(extension.OFFSET, DataType.UINT64, None, is_transient=True),
        pressure(
            NOW,
            281.5,
            properties={
                extension.POINT: text("wenhua-road-12/pressure"),
                extension.QUANTITY: text("pressure"),
                extension.UNIT: text("kPa"),
                extension.ZONE: text("north"),
                extension.PLACE: text("文化路12号 Wenhua Road 12"),
                extension.PERIOD_MS: Property(datatype=DataType.INT64, value=1000),
                extension.MINIMUM: double(0.0),
                extension.MAXIMUM: double(1600.0),
                extension.RESOLUTION: double(0.5),
            },
        ),
        Metric(name="temperature", datatype=DataType.DOUBLE, value=None, timestamp=NOW),
    ),
)

DDATA = Payload(
    timestamp=NOW,
    seq=2,
    metrics=(
        mw(extension.EPOCH, DataType.UINT64, EPOCH),
        mw(extension.OFFSET, DataType.UINT64, 1200),
        pressure(NOW - 60_000, 280.0, is_historical=True),
        pressure(NOW - 1_000, 281.5),
        pressure(
            NOW,
            None,
            properties={
                extension.QUALITY: Property(datatype=DataType.INT32, value=0),
                extension.REASON: text("timeout"),
                extension.TIME_QUALITY: text("doubtful"),
            },
        ),
    ),
)

MESSAGES = {
    "NBIRTH": (NBIRTH, True),
    "DBIRTH": (DBIRTH, True),
    "NDATA": (
        Payload(
            timestamp=NOW,
            seq=255,
            metrics=(
                mw(extension.HEAD, DataType.UINT64, 1206),
                mw(extension.TAIL, DataType.UINT64, 0),
            ),
        ),
        False,
    ),
    "DDATA": (DDATA, False),
    "NDEATH": (
        Payload(timestamp=None, metrics=(Metric(name="bdSeq", datatype=DataType.INT64, value=3),)),
        True,
    ),
    "DDEATH": (Payload(timestamp=NOW, seq=3, metrics=()), False),
    "NCMD": (
        Payload(
            timestamp=NOW,
            metrics=(
                mw(extension.ACK_EPOCH, DataType.UINT64, EPOCH),
                mw(extension.ACK, DataType.UINT64, 1200),
                mw(
                    extension.SACK,
                    DataType.BYTES,
                    encode_ranges([(1210, 1215), (1400, 1700)], base=1200),
                ),
            ),
        ),
        False,
    ),
    "DCMD": (
        Payload(
            timestamp=NOW,
            metrics=(Metric(name="valve", datatype=DataType.INT16, value=-1, timestamp=NOW),),
        ),
        False,
    ),
}


@pytest.mark.parametrize("kind", MESSAGES)
def test_payload_has_the_golden_bytes(kind: str, golden: Callable[[Path, str], None]) -> None:
    payload, with_datatypes = MESSAGES[kind]

    golden(
        HERE / "sparkplug" / f"{kind}.hex", explain(encode(payload, with_datatypes=with_datatypes))
    )


@pytest.mark.parametrize("kind", MESSAGES)
def test_golden_bytes_read_back_as_the_payload(kind: str) -> None:
    payload, _ = MESSAGES[kind]
    born = {m.name: m.datatype for m in payload.metrics if m.datatype is not None}

    assert decode(bytes_of(kind), datatypes=born) == payload


def test_state_is_json_in_the_golden_bytes(golden: Callable[[Path, str], None]) -> None:
    data = encode_state(online=True, at=NOW)

    golden(HERE / "sparkplug" / "STATE.hex", f"{data.hex(' ')}  # {data.decode()}\n")
    assert data == b'{"online":true,"timestamp":1790000000000}'
    assert decode_state(data) == State(online=True, at=NOW)


def test_small_payload_is_what_the_wire_format_says_by_hand() -> None:
    payload = Payload(
        timestamp=NOW,
        seq=7,
        metrics=(
            Metric(name="level", datatype=DataType.DOUBLE, value=2.5, timestamp=NOW),
            Metric(name="mw/offset", datatype=DataType.UINT64, value=2**64 - 1, timestamp=NOW),
            Metric(name="gone", datatype=DataType.INT8, value=-2, is_historical=True),
            Metric(name="", alias=300, datatype=DataType.STRING, value=None),
        ),
    )
    first = tagged(1, b"level") + number(3, NOW) + varint(13 << 3 | 1) + struct.pack("<d", 2.5)
    second = tagged(1, b"mw/offset") + number(3, NOW) + number(11, 2**64 - 1)
    third = tagged(1, b"gone") + number(4, 1) + number(5, 1) + number(10, 254)
    fourth = number(2, 300) + number(4, 12) + number(7, 1)

    with_datatypes = b"".join(
        (
            number(1, NOW),
            tagged(2, tagged(1, b"level") + number(3, NOW) + number(4, 10) + first[-9:]),
            tagged(2, tagged(1, b"mw/offset") + number(3, NOW) + number(4, 8) + second[-11:]),
            tagged(2, third),
            tagged(2, fourth),
            number(3, 7),
        )
    )
    without = b"".join(
        (
            number(1, NOW),
            tagged(2, first),
            tagged(2, second),
            tagged(2, third.replace(number(4, 1), b"", 1)),
            tagged(2, fourth.replace(number(4, 12), b"", 1)),
            number(3, 7),
        )
    )

    assert with_datatypes == encode(payload, with_datatypes=True)
    assert without == encode(payload, with_datatypes=False)
    assert decode(with_datatypes) == payload


def test_protobuf_without_its_c_part_reads_and_refuses_the_same() -> None:
    script = """
import sys
from google.protobuf.internal import api_implementation
from telemetry.errors import ContractError
from telemetry.sparkplug import decode
assert api_implementation.Type() == "python"
print(repr(decode(bytes.fromhex(sys.argv[1]))))
for bad in ("12030a01ff", "08", "0b" * 200):
    try:
        decode(bytes.fromhex(bad))
    except ContractError:
        print("refused")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, bytes_of("DBIRTH").hex()],
        env={"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python", "PYTHONIOENCODING": "utf-8"},
        cwd=HERE.parents[1],
        capture_output=True,
        encoding="utf-8",
        timeout=30,
        check=False,
    )

    assert [repr(DBIRTH), *["refused"] * 3] == done.stdout.splitlines(), done.stderr


def test_document_shows_the_golden_message() -> None:
    shown = DOCUMENT.read_text(encoding="utf-8")

    assert (HERE / "sparkplug" / "DDATA.hex").read_text(encoding="utf-8") in shown


def bytes_of(kind: str) -> bytes:
    lines = (HERE / "sparkplug" / f"{kind}.hex").read_text(encoding="utf-8").splitlines()
    return bytes.fromhex("".join(line.partition("#")[0] for line in lines))


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def tagged(field: int, data: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(data)) + data


Fields = dict[int, tuple[str, object]]

_VALUE: Fields = {
    1: ("type", None), 2: ("is_null", None), 3: ("int_value", None), 4: ("long_value", None),
    5: ("float_value", None), 6: ("double_value", None), 7: ("boolean_value", None),
    8: ("string_value", str),
}  # fmt: skip
_METRIC: Fields = {
    1: ("name", str), 2: ("alias", None), 3: ("timestamp", None), 4: ("datatype", None),
    5: ("is_historical", None), 6: ("is_transient", None), 7: ("is_null", None),
    9: ("properties", {1: ("key", str), 2: ("value", _VALUE)}), 10: ("int_value", None),
    11: ("long_value", None), 12: ("float_value", None), 13: ("double_value", None),
    14: ("boolean_value", None), 15: ("string_value", str), 16: ("bytes_value", bytes),
}  # fmt: skip
_PAYLOAD: Fields = {1: ("timestamp", None), 2: ("metric", _METRIC), 3: ("seq", None)}


def explain(data: bytes, fields: Fields | None = None, depth: int = 0) -> str:
    """Return the bytes in hex, one field a line, each with its meaning behind a #."""
    out = ""
    at = 0
    while at < len(data):
        start = at
        tag, at = read_varint(data, at)
        name, inside = (fields or _PAYLOAD)[tag >> 3]
        if tag & 7 == 0:
            meaning, at = read_varint(data, at)
            out += line(data[start:at], f"{name} {meaning}", depth)
        elif tag & 7 == 1:
            at += 8
            out += line(
                data[start:at], f"{name} {struct.unpack('<d', data[at - 8 : at])[0]}", depth
            )
        else:
            size, begin = read_varint(data, at)
            at = begin + size
            if isinstance(inside, dict):
                out += line(data[start:begin], f"{name}, {size} bytes", depth)
                out += explain(data[begin:at], inside, depth + 1)
            else:
                body = data[begin:at]
                shown = repr(body.decode()) if inside is str else body.hex(" ")
                out += line(data[start:at], f"{name} {shown}", depth)
    return out


def line(data: bytes, meaning: str, depth: int) -> str:
    return "  " * depth + f"{data.hex(' ')}  # {meaning}\n"


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while data[at] > 0x7F:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | data[at] << shift, at + 1
