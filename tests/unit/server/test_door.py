"""The door: journal, then engine, then disk, then out; recovery is the same fold."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from server.engine.events import Arrived, Commanded, Imported, RegistryChanged, Started, Tick
from server.engine.registry import Point, Registry, Zone
from server.history.historian import Historian, Reader
from server.intake.door import Door
from server.intake.journal import Journal
from telemetry import extension as mw
from telemetry.instant import Instant
from telemetry.point import PointId, ZoneId
from telemetry.sparkplug import DataType, MessageKind, Metric, Payload, Property, Topic, encode
from telemetry.units import Quantity

BEGIN = Instant(1_795_000_000_000)
EPOCH = 77
POINT = PointId("a/pressure")
REGISTRY = Registry(
    zones={
        ZoneId("north"): Zone(
            id=ZoneId("north"), name_zh="北", name_en="North", timezone="Asia/Shanghai",
            calendar="cn", inflow=(),
        )
    },
    points={
        POINT: Point(
            id=POINT, zone=ZoneId("north"), quantity=Quantity.PRESSURE, name_zh="压力",
            name_en="pressure", period_ms=1000, low=180.0,
        )
    },
)  # fmt: skip


class StepClock:
    """A clock that a test moves, wall time and monotonic time apart."""

    def __init__(self) -> None:
        self.at = BEGIN
        self.monotonic = 0

    def now(self) -> Instant:
        return self.at

    def monotonic_ms(self) -> int:
        return self.monotonic

    async def sleep_until(self, at: Instant) -> None:
        self.at = at


def open_door(folder: Path, clock: StepClock, version: str = "1") -> Door:
    return Door(
        journal=Journal(folder / "journal.db"),
        historian=Historian(folder / "historian.db"),
        host_id="mainwatch",
        version=version,
        checkpoint=folder / "engine.checkpoint",
        clock=clock,
    )


def metric(name: str, value: object, kind: DataType, at: Instant, **more: object) -> Metric:
    return Metric(name=name, value=value, datatype=kind, timestamp=at, **more)


def births(at: Instant) -> list[tuple[str, bytes]]:
    node = [
        metric(mw.BDSEQ, 0, DataType.INT64, at),
        metric(mw.REBIRTH, value=False, kind=DataType.BOOLEAN, at=at),
        metric(mw.EPOCH, EPOCH, DataType.UINT64, at),
        metric(mw.HEAD, 0, DataType.UINT64, at),
        metric(mw.TAIL, 0, DataType.UINT64, at),
        metric(mw.ACK, None, DataType.UINT64, at),
        metric(mw.ACK_EPOCH, None, DataType.UINT64, at),
        metric(mw.SACK, None, DataType.BYTES, at),
    ]
    text = partial(Property, datatype=DataType.STRING)
    device = [
        metric(mw.EPOCH, EPOCH, DataType.UINT64, at),
        metric(mw.OFFSET, None, DataType.UINT64, at),
        metric(
            "pressure", None, DataType.DOUBLE, at,
            properties={
                mw.POINT: text(value=POINT),
                mw.QUANTITY: text(value="pressure"),
                mw.UNIT: text(value="kPa"),
                mw.ZONE: text(value="north"),
                mw.PLACE: text(value="A"),
                mw.PERIOD_MS: Property(datatype=DataType.INT64, value=1000),
            },
        ),
    ]  # fmt: skip
    return [
        (
            str(Topic(kind=MessageKind.NBIRTH, group="demo", edge="gw-01")),
            encode(Payload(timestamp=at, metrics=tuple(node), seq=0), with_datatypes=True),
        ),
        (
            str(Topic(kind=MessageKind.DBIRTH, group="demo", edge="gw-01", device="pt")),
            encode(Payload(timestamp=at, metrics=tuple(device), seq=1), with_datatypes=True),
        ),
    ]


def data(offset: int, value: float, at: Instant) -> tuple[str, bytes]:
    metrics = (
        metric(mw.EPOCH, EPOCH, DataType.UINT64, at),
        metric(mw.OFFSET, offset, DataType.UINT64, at),
        metric("pressure", value, DataType.DOUBLE, at),
    )
    return (
        str(Topic(kind=MessageKind.DDATA, group="demo", edge="gw-01", device="pt")),
        encode(
            Payload(timestamp=at, metrics=metrics, seq=(2 + offset) % 256), with_datatypes=False
        ),
    )


def arrived(message: tuple[str, bytes]) -> partial[Arrived]:
    return partial(_arrived, *message)


def _arrived(topic: str, payload: bytes, at: Instant) -> Arrived:
    return Arrived(at=at, topic=topic, payload=payload)


def run_a_day(door: Door, clock: StepClock, seconds: range) -> list[int]:
    """Feed one sample and one tick a second; the pressure is far too low from second 40 on."""
    acks = []
    for n in seconds:
        clock.at = Instant(BEGIN + n * 1000)
        value = 300.0 if n < 40 else 90.0
        out = door.admit([arrived(data(n, value, clock.at)), lambda at: Tick(at=at)])
        acks += [a.offset for a in out.acks]
    return acks


def begin(door: Door) -> None:
    door.admit([lambda at: RegistryChanged(at=at, registry=REGISTRY)])
    door.admit([lambda at: Started(at=at, version="1", settings={})])
    door.admit([arrived(b) for b in births(BEGIN)])


def effects(folder: Path) -> list[tuple]:
    with closing(sqlite3.connect(folder / "journal.db")) as db:
        return db.execute("SELECT seq, n, at, kind, body FROM effect ORDER BY seq, n").fetchall()


def test_a_sample_is_acknowledged_once_the_journal_has_it_and_the_historian_follows(tmp_path: Path):
    clock = StepClock()
    door = open_door(tmp_path, clock)
    begin(door)
    message = data(0, 300.0, BEGIN)
    out = door.admit([arrived(message)])
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        last = db.execute("SELECT body FROM event ORDER BY seq DESC LIMIT 1").fetchone()[0]
    door.checkpoint()

    assert [(a.edge, a.epoch, a.offset) for a in out.acks] == [("gw-01", EPOCH, 1)]
    assert last == message[0].encode() + b"\0" + message[1]
    with closing(Reader(tmp_path / "historian.db")) as reader:
        assert reader.held("gw-01", EPOCH, below=1) == (1, 1)
    door.close()


def test_a_restart_in_the_middle_changes_nothing(tmp_path: Path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    clock = StepClock()
    door = open_door(whole, clock)
    begin(door)
    run_a_day(door, clock, range(90))
    door.close()
    clock = StepClock()
    door = open_door(parts, clock)
    begin(door)
    for start in range(0, 90, 15):
        run_a_day(door, clock, range(start, start + 15))
        door.close()
        door = open_door(parts, clock)
    door.close()

    assert any(kind == "AlarmRaised" for _, _, _, kind, _ in effects(whole))
    assert effects(parts) == effects(whole)


@pytest.mark.parametrize("spoil", ["deleted", "another version", "broken"])
def test_a_checkpoint_is_only_a_cache(tmp_path: Path, spoil: str):
    clock = StepClock()
    door = open_door(tmp_path, clock)
    begin(door)
    run_a_day(door, clock, range(50))
    door.close()
    before = effects(tmp_path)
    checkpoint = tmp_path / "engine.checkpoint"
    if spoil == "deleted":
        checkpoint.unlink()
    if spoil == "broken":
        checkpoint.write_bytes(checkpoint.read_bytes()[:-9] + b"123456789")
    door = open_door(tmp_path, clock, version="2" if spoil == "another version" else "1")
    run_a_day(door, clock, range(50, 60))
    door.close()

    assert effects(tmp_path)[: len(before)] == before
    with closing(Reader(tmp_path / "historian.db")) as reader:
        assert reader.held("gw-01", EPOCH, below=100) == (60, 60)


def test_an_instant_never_goes_back_at_the_door(tmp_path: Path):
    clock = StepClock()
    door = open_door(tmp_path, clock)
    clock.at = Instant(BEGIN + 5_000)
    door.admit([lambda at: Tick(at=at)])
    clock.at = BEGIN
    door.admit([lambda at: Tick(at=at)])
    door.close()

    with closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        at = [row[0] for row in db.execute("SELECT at FROM event ORDER BY seq")]
    assert at == [BEGIN + 5_000, BEGIN + 5_000]


def test_time_goes_on_at_half_speed_while_a_clock_that_was_set_back_catches_up(tmp_path: Path):
    clock = StepClock()
    door = open_door(tmp_path, clock)
    seen = []
    for second in range(11):
        clock.monotonic = 1000 * second
        clock.at = Instant(BEGIN + 1000 * second - (4000 if second > 1 else 0))
        door.admit([lambda at: Tick(at=at)])
        seen.append(door.now() - BEGIN)
    door.close()

    behind = [1500, 2000, 2500, 3000, 3500, 4000, 4500]
    assert seen == [0, 1000, *behind, 5000, 6000]


def test_closing_waits_for_an_admission_that_nobody_waits_for_any_more(tmp_path: Path):
    clock = StepClock()
    door = open_door(tmp_path, clock)
    begin(door)
    begun, may_go_on = threading.Event(), threading.Event()

    def slow(at: Instant) -> Tick:
        begun.set()
        assert may_go_on.wait(10)
        return Tick(at=at)

    admitting = threading.Thread(target=door.admit, args=([arrived(data(0, 1.0, BEGIN)), slow],))
    closing = threading.Thread(target=door.close)
    admitting.start()
    assert begun.wait(10)
    closing.start()
    closing.join(0.1)
    assert closing.is_alive()
    may_go_on.set()
    admitting.join(10)
    closing.join(10)

    again = open_door(tmp_path, clock)
    out = again.admit([arrived(data(0, 1.0, BEGIN))])
    again.close()
    assert [a.offset for a in out.acks] == [1]


@pytest.mark.parametrize("offset", [2**63, 2**64 - 1])
def test_what_no_database_can_hold_does_not_stop_the_intake(tmp_path: Path, offset: int):
    clock = StepClock()
    door = open_door(tmp_path, clock)
    begin(door)

    door.admit([arrived(data(offset, 1.0, BEGIN))])
    out = door.admit([arrived(data(0, 1.0, BEGIN))])
    door.close()

    assert [a.offset for a in out.acks] == [1]


@pytest.mark.parametrize("kept", ["nothing", "an older copy"])
def test_a_historian_that_outlived_its_journal_takes_in_what_comes_then(tmp_path: Path, kept: str):
    clock = StepClock()
    door = open_door(tmp_path, clock)
    begin(door)
    door.admit([partial(_imported, n=2)])
    door.close()
    copy = (tmp_path / "journal.db").read_bytes()
    door = open_door(tmp_path, clock)
    run_a_day(door, clock, range(30))
    door.close()
    for name in ("journal.db", "engine.checkpoint"):
        (tmp_path / name).unlink()
    if kept == "an older copy":
        (tmp_path / "journal.db").write_bytes(copy)

    door = open_door(tmp_path, clock)
    if kept == "nothing":
        begin(door)
        door.admit([partial(_imported, n=2)])
    run_a_day(door, clock, range(40))
    door.close()

    with closing(Reader(tmp_path / "historian.db")) as reader:
        assert reader.held("gw-01", EPOCH, below=100) == (40, 40)
        past = reader.series("b/pressure", Instant(0), BEGIN, 1)
    assert [bucket.count for bucket in past] == [2]


def _imported(at: Instant, n: int) -> Imported:
    rows = tuple(("b/pressure", k, 1.0, 192) for k in range(n))
    return Imported(at=at, source="past", rows=rows)


def test_a_command_with_the_same_key_is_done_once(tmp_path: Path):
    clock = StepClock()
    door = open_door(tmp_path, clock)
    begin(door)
    run_a_day(door, clock, range(90))
    alarm = next(body for _, _, _, kind, body in effects(tmp_path) if kind == "AlarmRaised")
    assert "A-000001" in alarm

    def acknowledge(at: Instant) -> Commanded:
        return Commanded(
            at=at, key="k1", actor="Li", verb="acknowledge_alarm", subject="A-000001", note=""
        )

    door.admit([acknowledge])
    door.admit([acknowledge])
    door.close()

    kinds = [kind for _, _, _, kind, _ in effects(tmp_path)]
    assert kinds.count("AlarmAcknowledged") == 1
    assert kinds.count("CommandDone") == 1


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_door import StepClock, begin, effects, open_door, run_a_day
folder = Path(sys.argv[1])
clock = StepClock()
door = open_door(folder, clock)
start = int(sys.argv[3])
if start == 0:
    begin(door)
for n in range(start, 300):
    acks = run_a_day(door, clock, range(n, n + 1))
    print(acks[-1], flush=True)
"""


def test_sigkill_at_any_moment_loses_no_acknowledged_sample_and_doubles_no_effect(tmp_path: Path):
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    clock = StepClock()
    door = open_door(undisturbed, clock)
    begin(door)
    run_a_day(door, clock, range(120))
    door.close()
    folder = tmp_path / "killed"
    folder.mkdir()
    acked = 0
    while acked < 120:
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(folder), str(Path(__file__).parent), str(acked)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        for _ in range(45):
            acked = int(child.stdout.readline())
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        door = open_door(folder, StepClock())
        door.close()
        with closing(Reader(folder / "historian.db")) as reader:
            rows, distinct = reader.held("gw-01", EPOCH, below=10_000)

        assert rows == distinct >= acked
    raised = [e[3:] for e in effects(folder) if e[3] in ("AlarmRaised", "DispatchRequested")]
    expected = [e[3:] for e in effects(undisturbed) if e[3] in ("AlarmRaised", "DispatchRequested")]

    assert expected
    assert raised[: len(expected)] == expected
