"""Does an independent implementation of Sparkplug read what we write, and we what it writes?

The peer is pysparkplug, in an environment of its own because it wants another paho than we do. The
environment is made once and kept in `.cache/peer-venv`; removing that folder renews it.
"""

import fcntl
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from telemetry.sparkplug import DataType, State, decode, decode_state

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("peer")]

PEER = "pysparkplug==0.6.1"
HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache"
NOW = 1_790_000_000_000
EPOCH = 0xF00D_0000_0000_0001


def environment() -> Path:
    """Return the Python of the peer's environment; make it when it is not there."""
    folder = CACHE / "peer-venv"
    python, made = folder / "bin" / "python", folder / f"made-with-{PEER}"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "peer-venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test run may be making it
        if not made.exists():
            run([sys.executable, "-m", "venv", "--clear", str(folder)])
            run([str(python), "-m", "pip", "install", "--quiet", "--no-input", PEER])
            made.touch()
    return python


def run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.SubprocessError) as e:
        said = (getattr(e, "stderr", None) or "").strip().splitlines()
        pytest.skip(f"no environment for {PEER}: {said[-1] if said else e}")


def golden(kind: str) -> str:
    lines = (HERE / "sparkplug" / f"{kind}.hex").read_text(encoding="utf-8").splitlines()
    return "".join(line.partition("#")[0] for line in lines).replace(" ", "")


@pytest.fixture(scope="module")
def peer() -> dict[str, Any]:
    """Return what the peer read of our golden messages, and what it wrote."""
    kinds = ("NBIRTH", "DBIRTH", "DDATA", "NCMD", "NDEATH", "DDEATH", "STATE")
    done = subprocess.run(
        [str(environment()), str(HERE / "sparkplug_peer.py")],
        input=json.dumps({kind: golden(kind) for kind in kinds}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_peer_reads_our_node_birth(peer: dict[str, Any]) -> None:
    assert peer["read"]["NBIRTH"] == {
        "timestamp": NOW,
        "seq": 0,
        "metrics": [
            ["bdSeq", "INT64", 3, NOW, False, False],
            ["Node Control/Rebirth", "BOOLEAN", False, NOW, False, False],
            ["mw/epoch", "UINT64", EPOCH, NOW, False, False],
            ["mw/head", "UINT64", 1203, NOW, False, False],
            ["mw/tail", "UINT64", 0, NOW, False, False],
            ["mw/ack_epoch", "UINT64", None, NOW, False, True],
            ["mw/ack", "UINT64", None, NOW, False, True],
            ["mw/sack", "BYTES", None, NOW, False, True],
        ],
    }


def test_peer_reads_our_device_birth(peer: dict[str, Any]) -> None:
    assert peer["read"]["DBIRTH"] == {
        "timestamp": NOW,
        "seq": 1,
        "metrics": [
            ["mw/epoch", "UINT64", EPOCH, NOW, False, False],
            ["mw/offset", "UINT64", None, NOW, False, True],
            ["pressure", "DOUBLE", 281.5, NOW, False, False],
            ["temperature", "DOUBLE", None, NOW, False, True],
        ],
    }


def test_peer_reads_our_data_by_the_birth(peer: dict[str, Any]) -> None:
    assert peer["read"]["DDATA"] == {
        "timestamp": NOW,
        "seq": 2,
        "metrics": [
            ["mw/epoch", "UINT64", EPOCH, NOW, False, False],
            ["mw/offset", "UINT64", 1200, NOW, False, False],
            ["pressure", "DOUBLE", 280.0, NOW - 60_000, True, False],
            ["pressure", "DOUBLE", 281.5, NOW - 1_000, False, False],
            ["pressure", "DOUBLE", None, NOW, False, True],
        ],
    }


def test_peer_reads_our_command_by_the_birth(peer: dict[str, Any]) -> None:
    assert peer["read"]["NCMD"]["metrics"] == [
        ["mw/ack_epoch", "UINT64", EPOCH, NOW, False, False],
        ["mw/ack", "UINT64", 1200, NOW, False, False],
        ["mw/sack", "BYTES", "0a05b901ac02", NOW, False, False],
    ]


def test_peer_reads_our_deaths_and_state(peer: dict[str, Any]) -> None:
    assert peer["read"]["NDEATH"] == [["bdSeq", "INT64", 3, None, False, False]]
    assert peer["read"]["DDEATH"] == {"timestamp": NOW, "seq": 3}
    assert peer["read"]["STATE"] == {"timestamp": NOW, "online": True}


@pytest.mark.parametrize("kind", ["NBIRTH", "NDATA"])
def test_we_read_every_type_that_the_peer_writes(peer: dict[str, Any], kind: str) -> None:
    born = {m.name: m.datatype for m in decode(bytes.fromhex(peer["written"]["NBIRTH"])).metrics}
    known = {name: datatype for name, datatype in born.items() if datatype is not None}
    payload = decode(bytes.fromhex(peer["written"][kind]), datatypes=known)

    assert (payload.timestamp, payload.seq) == (NOW, 0 if kind == "NBIRTH" else 255)
    assert {m.timestamp for m in payload.metrics} == {NOW}
    for m in payload.metrics:
        datatype, _, n = m.name.partition("/")
        value = m.value.hex() if isinstance(m.value, bytes) else m.value

        assert m.datatype is DataType[datatype]
        assert value == peer["written"]["values"].get(m.name), m.name
        assert m.is_historical == (n == "1")


def test_we_read_the_state_that_the_peer_writes(peer: dict[str, Any]) -> None:
    state = decode_state(bytes.fromhex(peer["written"]["STATE"]))

    assert state == State(online=False, at=NOW)  # type: ignore[arg-type]  # an instant from JSON
