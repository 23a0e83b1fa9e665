"""The outbox on a real disk: nothing committed is lost, no offset comes twice, it is bounded."""

import contextlib
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import outbox as outbox_module
from gateway.core.device import BornMetric, Scan
from gateway.core.pulse import CounterState
from gateway.core.rows import Row, pack, unpack
from gateway.outbox import Outbox
from telemetry.errors import ConfigError, StorageError
from telemetry.instant import Instant
from telemetry.point import PointId
from telemetry.sample import Quality, Reason, Sample, TimeQuality
from telemetry.units import Quantity

POINTS = (PointId("north-inlet/flow"), PointId("north-inlet/volume"))


def births(*points: PointId) -> dict[str, tuple[BornMetric, ...]]:
    metrics = tuple(
        BornMetric(
            name=point.partition("/")[2],
            point=point,
            quantity=Quantity.FLOW,
            zone="north",
            place="北区入口",
            period_ms=1_000,
            minimum=None,
            maximum=2_500.0,
            resolution=0.01,
        )
        for point in points
    )
    return {"north-inlet": metrics}


def opened(folder: Path, *, max_bytes: int = 10_000_000, boot: str = "boot-1") -> Outbox:
    return Outbox(folder, max_bytes=max_bytes, births=births(*POINTS), boot=boot)


def scan(n: int, *, counted: int | None = None) -> Scan:
    samples = tuple(Sample(point=p, at=Instant(1_000 * n), value=n + 0.5) for p in POINTS)
    state = CounterState(point=POINTS[1], base=7, raw=counted or 0, at=Instant(1_000 * n))
    return Scan(device="north-inlet", samples=samples, counters=() if counted is None else (state,))


def everything(outbox: Outbox, since: int = 0) -> list[Row]:
    rows: list[Row] = []
    while more := outbox.read(rows[-1].end if rows else since, rows=50):
        rows += more
    return rows


samples = st.builds(
    lambda at, value, quality, reason, time: Sample(
        point=POINTS[0],
        at=Instant(at),
        value=None if quality is Quality.BAD else value,
        quality=quality,
        reason=Reason.NONE if quality is Quality.GOOD else reason,
        time_quality=time,
    ),
    st.integers(1_800_000_000_000, 1_800_000_900_000),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(Quality),
    st.sampled_from([r for r in Reason if r is not Reason.NONE]),
    st.sampled_from(TimeQuality),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(samples, min_size=1, max_size=40))
def test_a_row_gives_back_the_samples_it_took(scanned):
    assert unpack(pack(scanned), [s.point for s in scanned]) == tuple(scanned)


@settings(max_examples=150, deadline=None)
@given(st.lists(samples, min_size=1, max_size=20), st.data())
def test_a_damaged_row_is_told_or_read_but_never_anything_else(scanned, data):
    body = bytearray(pack(scanned))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= data.draw(st.integers(1, 255))

    with contextlib.suppress(StorageError):
        assert len(unpack(bytes(body), [s.point for s in scanned])) == len(scanned)


def test_offsets_count_samples_and_go_on_after_reopening(tmp_path):
    outbox = opened(tmp_path)
    assert outbox.append([scan(0), scan(1)]) == [0, 2]
    epoch = outbox.epoch
    outbox.close()

    outbox = opened(tmp_path)
    assert outbox.append([scan(2)]) == [4]
    rows = everything(outbox)
    outbox.close()

    assert outbox.epoch == epoch
    assert [(r.first, r.end) for r in rows] == [(0, 2), (2, 4), (4, 6)]
    assert [r.samples for r in rows] == [scan(n).samples for n in range(3)]


def test_every_new_file_is_a_new_epoch(tmp_path):
    epochs = set()
    for n in range(5):
        folder = tmp_path / str(n)
        folder.mkdir()
        outbox = opened(folder)
        epochs.add(outbox.epoch)
        outbox.close()

    assert len(epochs) == 5
    assert all(0 < e < 2**63 for e in epochs)


def test_reading_begins_at_the_row_that_holds_the_offset(tmp_path):
    outbox = opened(tmp_path)
    outbox.append([scan(n) for n in range(5)])

    firsts = [[r.first for r in outbox.read(offset, rows=2)] for offset in (0, 2, 3, 8, 10)]
    outbox.close()

    assert firsts == [[0, 2], [2, 4], [2, 4], [8], []]


def test_an_acknowledgement_survives_and_may_be_taken_back(tmp_path):
    outbox = opened(tmp_path)
    outbox.append([scan(n) for n in range(5)])
    assert not outbox.was_acknowledged
    outbox.acknowledge(6)
    outbox.acknowledge(4)  # a late one
    outbox.close()
    outbox = opened(tmp_path)
    assert (outbox.acked, outbox.was_acknowledged) == (6, True)

    assert outbox.rewind(2) == 2
    outbox.close()

    outbox = opened(tmp_path)
    assert outbox.acked == 2
    assert [r.first for r in everything(outbox, 2)] == [2, 4, 6, 8]
    outbox.close()


def test_counters_are_committed_with_their_samples(tmp_path):
    outbox = opened(tmp_path)
    outbox.append([scan(0, counted=41), scan(1, counted=42)])
    outbox.close()

    outbox = opened(tmp_path)
    state = outbox.counters()[POINTS[1]]
    outbox.close()

    assert (state.base, state.raw, state.at) == (7, 42, 1_000)


def test_the_ring_gives_up_acknowledged_rows_first(tmp_path):
    outbox = opened(tmp_path, max_bytes=140_000)
    for start in range(0, 3_000, 10):
        outbox.append([scan(n) for n in range(start, start + 10)])
        if start == 2_000:
            outbox.acknowledge(outbox.head)
    outbox.tidy()
    kept = everything(outbox)
    outbox.close()

    assert outbox.shed_samples == 0
    assert outbox.tail == kept[0].first > 0
    assert kept[-1].end == outbox.head == 6_000
    assert kept[0].first <= outbox.acked


def test_a_full_ring_sheds_the_oldest_counts_them_and_moves_its_tail(tmp_path):
    outbox = opened(tmp_path, max_bytes=200_000)
    for start in range(0, 6_000, 50):
        outbox.append([scan(n) for n in range(start, start + 50)])
    outbox.tidy()
    kept = everything(outbox)
    head, tail, shed = outbox.head, outbox.tail, outbox.shed_samples
    outbox.close()

    assert shed == tail > 0
    assert (kept[0].first, kept[-1].end) == (tail, head)
    assert head == 12_000
    reopened = opened(tmp_path)
    assert (reopened.shed_samples, reopened.tail, reopened.head) == (shed, tail, head)
    assert reopened.append([scan(1)]) == [12_000]
    reopened.close()


def test_birth_and_death_numbers_count_on_and_turn_at_256(tmp_path):
    outbox = opened(tmp_path)
    first = [outbox.next_bdseq() for _ in range(255)]
    outbox.close()
    outbox = opened(tmp_path)

    assert first == list(range(255))
    assert [outbox.next_bdseq() for _ in range(2)] == [255, 0]
    outbox.close()


def test_rows_of_points_that_are_configured_no_more_can_still_be_told(tmp_path):
    outbox = opened(tmp_path)
    outbox.append([scan(0)])
    outbox.close()

    outbox = Outbox(
        tmp_path, max_bytes=10_000_000, births=births(PointId("elsewhere/flow")), boot="b"
    )
    (row,) = everything(outbox)
    outbox.close()

    assert row.samples == scan(0).samples
    assert row.layout.metrics == births(*POINTS)["north-inlet"]


@pytest.mark.parametrize("damage", [b"this is no database, but it is long enough " * 200, None])
def test_a_damaged_file_is_moved_aside_and_a_new_epoch_begins(tmp_path, damage):
    outbox = opened(tmp_path)
    outbox.append([scan(n) for n in range(2_000)])
    outbox.close()
    path = tmp_path / "outbox.db"
    whole = path.read_bytes()
    path.write_bytes(damage or whole[:8192] + b"\xff" * 12_288 + whole[20_480:])

    again = opened(tmp_path)

    assert again.moved_aside
    assert (tmp_path / "outbox.damaged-1.db").exists()
    assert again.epoch != outbox.epoch
    assert again.append([scan(0)]) == [0]
    again.close()


def test_a_damaged_row_is_sent_as_bad_so_that_offsets_stay_whole(tmp_path):
    outbox = opened(tmp_path)
    outbox.append([scan(0), scan(1)])
    with contextlib.closing(sqlite3.connect(tmp_path / "outbox.db")) as db, db:
        db.execute("UPDATE row SET body = x'01ff' WHERE first = 0")
    outbox.close()
    outbox = opened(tmp_path)

    broken, whole = everything(outbox)
    outbox.close()

    assert [s.reason for s in broken.samples] == [Reason.UNKNOWN] * 2
    assert whole.samples == scan(1).samples


def test_a_failed_commit_changes_nothing_and_may_be_tried_again(tmp_path):
    outbox = opened(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "outbox.db")) as other:
        outbox._db.execute("PRAGMA busy_timeout=0")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError):
            outbox.append([scan(0)])
        other.rollback()

    assert outbox.head == 0
    assert outbox.append([scan(0)]) == [0]
    assert len(everything(outbox)) == 1
    outbox.close()


def test_housekeeping_that_fails_neither_fails_a_commit_nor_doubles_it(tmp_path, monkeypatch):
    outbox = opened(tmp_path)

    def full() -> int:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "_trim", full)
        firsts = [outbox.append([scan(n)]) for n in range(outbox_module.TIDY_COMMITS + 5)]
    outbox.append([scan(0)])
    outbox.close()

    assert firsts == [[2 * n] for n in range(outbox_module.TIDY_COMMITS + 5)]
    reopened = opened(tmp_path)
    assert reopened.head == 2 * len(firsts) + 2
    reopened.close()


def test_two_gateways_cannot_share_a_folder(tmp_path):
    outbox = opened(tmp_path)

    with pytest.raises(ConfigError, match=r"gateway\.data: .* is in use by another gateway"):
        opened(tmp_path)
    outbox.close()


def test_a_folder_that_is_missing_or_cannot_be_written_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"gateway\.data: expected a folder, found none at .*no"):
        opened(tmp_path / "no")
    with pytest.raises(ConfigError, match=r"gateway\.data: cannot write in /proc"):
        opened(Path("/proc"))
    with pytest.raises(ConfigError, match=r"gateway\.data: cannot write in x+"):
        opened(Path("x" * 300))


_WRITER = """
import sys
from pathlib import Path
from tests.unit.gateway.test_outbox import opened, scan

outbox = opened(Path(sys.argv[1]))
n = outbox.head // 2
while True:
    outbox.append([scan(n), scan(n + 1)])
    n += 2
    if n % 6 == 0:
        outbox.acknowledge(outbox.head - 4)
    print(outbox.epoch, outbox.head, flush=True)
"""


def test_what_was_committed_before_a_kill_is_there_after_it(tmp_path):
    told = []
    for _ in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        told += [tuple(map(int, writer.stdout.readline().split())) for _ in range(70)]
        writer.send_signal(signal.SIGKILL)
        told += [tuple(map(int, line.split())) for line in writer.stdout]
        writer.wait()
        writer.stdout.close()

    outbox = opened(tmp_path)
    rows = everything(outbox)
    outbox.close()

    heads = [head for _, head in told]
    assert len({epoch for epoch, _ in told}) == 1
    assert heads == sorted(set(heads))  # no offset was given twice
    assert heads[-1] <= outbox.head <= heads[-1] + 4  # the last commit may not have been told
    assert [r.first for r in rows] == list(range(0, outbox.head, 2))
    assert all(r.samples == scan(r.first // 2).samples for r in rows)
    assert outbox_module.TIDY_COMMITS < 70  # so that each life wrote its state at least once
