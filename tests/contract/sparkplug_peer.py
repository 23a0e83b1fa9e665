"""What the peer runs in its own environment: pysparkplug reads our messages and writes its own.

Standard input: {"NBIRTH": hex, ...}. Standard output: {"read": {...}, "written": {...}}.
"""

import json
import sys
from datetime import UTC, datetime
from typing import Any

import pysparkplug as peer  # type: ignore[import-not-found]  # only in the environment of the peer

NOW = 1_790_000_000_000


def read(messages: dict[str, str]) -> dict[str, Any]:
    """Return what the peer understands of our messages, as plain values."""
    nbirth = peer.NBirth.decode(bytes.fromhex(messages["NBIRTH"]))
    dbirth = peer.DBirth.decode(bytes.fromhex(messages["DBIRTH"]))
    ddata = peer.DData.decode(bytes.fromhex(messages["DDATA"]), birth=dbirth)
    ncmd = peer.NCmd.decode(bytes.fromhex(messages["NCMD"]), birth=nbirth)
    ndeath = peer.NDeath.decode(bytes.fromhex(messages["NDEATH"]))
    ddeath = peer.DDeath.decode(bytes.fromhex(messages["DDEATH"]))
    state = peer.State.decode(bytes.fromhex(messages["STATE"]))
    return {
        "NBIRTH": plain(nbirth),
        "DBIRTH": plain(dbirth),
        "DDATA": plain(ddata),
        "NCMD": plain(ncmd),
        "NDEATH": [metric(ndeath.bd_seq_metric)],
        "DDEATH": {"timestamp": ddeath.timestamp, "seq": ddeath.seq},
        "STATE": {"timestamp": state.timestamp, "online": state.online},
    }


def plain(payload: Any) -> dict[str, Any]:
    return {
        "timestamp": payload.timestamp,
        "seq": getattr(payload, "seq", None),
        "metrics": [metric(m) for m in payload.metrics],
    }


def metric(m: Any) -> list[Any]:
    value = m.value.hex() if isinstance(m.value, bytes) else m.value
    return [m.name, m.datatype.name, value, m.timestamp, m.is_historical, m.is_null]


VALUES: dict[str, list[Any]] = {
    "INT8": [-128, -1, 127],
    "INT16": [-32768, -1, 32767],
    "INT32": [-(2**31), -1, 2**31 - 1],
    "INT64": [-(2**63), -1, 2**63 - 1],
    "UINT8": [0, 255],
    "UINT16": [0, 65535],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**63 + 1, 2**64 - 1],
    "FLOAT": [0.0, -1.5],
    "DOUBLE": [0.1, -1e300],
    "BOOLEAN": [True, False],
    "STRING": ["", "文化路12号"],
    "TEXT": ["text"],
    "UUID": ["0b5f8a2e-95d5-4d3c-9a70-0123456789ab"],
    "DATETIME": [datetime.fromtimestamp(NOW / 1000, UTC)],
    "BYTES": [b"\x00\xff"],
    "FILE": [b"file"],
    "INT16_ARRAY": [(1, -1)],
}


def written() -> dict[str, Any]:
    """Return a birth and a message of data with every type, in the peer's bytes."""
    metrics = tuple(
        peer.Metric(
            timestamp=NOW,
            name=f"{datatype}/{n}",
            datatype=peer.DataType[datatype],
            value=value,
            is_historical=n == 1,
        )
        for datatype, values in VALUES.items()
        for n, value in enumerate([*values, None])
    )
    return {
        "NBIRTH": peer.NBirth(timestamp=NOW, seq=0, metrics=metrics).encode().hex(),
        "NDATA": peer.NData(timestamp=NOW, seq=255, metrics=metrics).encode().hex(),
        "STATE": peer.State(timestamp=NOW, online=False).encode().hex(),
        "values": {
            f"{datatype}/{n}": NOW
            if datatype == "DATETIME"
            else "0100ffff"
            if datatype == "INT16_ARRAY"
            else value.hex()
            if isinstance(value, bytes)
            else value
            for datatype, values in VALUES.items()
            for n, value in enumerate(values)
        },
    }


if __name__ == "__main__":
    json.dump({"read": read(json.load(sys.stdin)), "written": written()}, sys.stdout)
