"""The sink's queue: bounded, in the historian's transactions, and nothing is ever missing."""

import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.engine.events import Imported
from server.history.delivery import LINES_MAX
from server.history.line_protocol import Encoder
from server.history.sink_entry import pack, unpack
from server.history.sink_ledger import Ledger, Told
from server.history.sink_source import Source
from telemetry.errors import StorageError
from telemetry.instant import Instant
from tests.support.influx import Writer, accepted

T = 1_795_000_000_000


def drain(folder: Path, *, stop_after: int | None = None) -> list[bytes]:
    """Deliver everything, or so many batches, to nobody; return the lines in their order."""
    ledger, source = Ledger(folder / "influx.db"), Source(folder / "historian.db")
    lines: list[bytes] = []
    batches = 0
    try:
        while batches != stop_after and (work := source.next(ledger.done, ledger.at_work)):
            assert len(work.rows) <= LINES_MAX
            lines += Encoder().encode(work.rows).lines
            ledger.settle(done=work.done, at_work=work.at_work, told=Told())
            batches += 1
        return lines
    finally:
        source.close()
        ledger.close()


@pytest.fixture
def write(tmp_path: Path):
    """Return a function that opens the intake's end; what it opens is closed."""
    writers: list[Writer] = []

    def start(**how: object) -> Writer:
        if writers:
            writers[-1].close()
        writers.append(Writer(tmp_path, **how))
        return writers[-1]

    yield start
    writers[-1].close()


Start = Callable[..., Writer]


@given(
    st.lists(
        st.tuples(
            st.text(min_size=1, max_size=9).filter(lambda s: s.isprintable()),
            st.integers(-(2**60), 2**60),
            st.none() | st.floats(allow_nan=False),
            st.sampled_from((0, 64, 192)),
        ),
        min_size=1,
    )
)
def test_an_entry_comes_back_as_it_was(rows):
    assert unpack(pack(*map(list, zip(*rows, strict=True)))) == rows


def test_a_damaged_entry_is_told():
    with pytest.raises(StorageError, match="damaged"):
        unpack(b"nonsense")


def test_what_the_historian_takes_in_is_delivered_once_and_then_forgotten(
    write: Start, tmp_path: Path
):
    writer = write()
    writer.say(3, at=T)
    writer.say(2, at=T + 9_000, point="b/flow")
    writer.take(accepted(("a/pressure", T + 10_000, None, 0), at=T + 10_000, first_offset=90))

    lines = drain(tmp_path)

    assert lines[:5] and set(lines[:5]) == writer.lines
    assert lines[5:] == [b"telemetry,point=a/pressure q=0i %d" % (T + 10_000)]
    assert drain(tmp_path) == []
    writer.say(1, at=T + 11_000)
    assert writer.counts() == (1, 0)


def test_small_entries_are_sent_together_and_large_ones_cut(write: Start, tmp_path: Path):
    writer = write()
    drain(tmp_path)
    for k in range(40):
        writer.say(1, at=T + k)
    writer.say(2 * LINES_MAX + 1, at=T + 99_000_000, step_ms=1)

    assert len(drain(tmp_path, stop_after=1)) == 40
    assert writer.counts() == (43, 0)
    assert len(drain(tmp_path)) == 2 * LINES_MAX + 1


def test_a_failed_write_queues_nothing(write: Start, tmp_path: Path):
    writer = write()
    before = writer.counts()

    def fail(db: sqlite3.Connection, parts: object, through: int) -> None:
        writer.queue.enqueue(db, parts, through)
        raise LookupError

    writer.historian.accompany(fail)
    with pytest.raises(LookupError):
        writer.historian.write([accepted(("a/p", T, 1.0, 192), at=T)], through=1)

    assert writer.counts() == before
    assert drain(tmp_path) == []


def test_beyond_its_bound_the_queue_owes_and_all_of_it_is_read_back(
    write: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    writer = write(bytes_max=2_000)
    drain(tmp_path)
    for k in range(200):
        writer.say(20, at=T + k * 20_000)

    _queued, owed = writer.counts()
    assert owed == 1, "hours without a server are one row"
    size = writer.historian._db.execute("SELECT SUM(LENGTH(payload)) FROM sink_queue").fetchone()[0]
    assert 0 < size <= 2_000
    assert sorted(drain(tmp_path)) == sorted(writer.lines), "each once"
    assert [r.message for r in caplog.records if "queue is full" in r.message] != []

    writer.say(1, at=T + 9_000_000)
    assert writer.counts() == (1, 0), "there is room again"
    assert len(drain(tmp_path)) == 1


def test_late_samples_that_arrive_while_it_owes_are_read_back_too(write: Start, tmp_path: Path):
    writer = write(bytes_max=400)
    drain(tmp_path)
    for k in range(50):
        writer.say(20, at=T + k * 20_000)
    late = [("b/flow", T - 86_400_000 + k, k / 2, 192) for k in range(100)]
    late += [("old/flow", T - 400 * 86_400_000, 1.0, 192), ("new/flow", T * 2, 1.0, 192)]  # clocks
    writer.take(accepted(*late, at=T + 2_000_000, first_offset=5_000, is_historical=True))

    assert sorted(drain(tmp_path)) == sorted(writer.lines | set(Encoder().encode(late).lines))


def test_what_arrives_while_it_is_read_back_is_not_missed(write: Start, tmp_path: Path):
    writer = write(bytes_max=100)
    drain(tmp_path)
    writer.say(100, at=T)
    lines = drain(tmp_path)
    for k in range(1, 60):
        writer.say(100, at=T + k * 100_000)
        lines += drain(tmp_path, stop_after=k % 3)

    lines += drain(tmp_path)

    assert set(lines) == writer.lines
    writer.say(1, at=T + 10_000_000)
    assert writer.counts()[1] <= 1


def test_reading_back_goes_on_where_it_was_left(write: Start, tmp_path: Path):
    writer = write(bytes_max=100)
    drain(tmp_path)
    for k in range(6):
        writer.say(3_000, at=T + k * 3_000_000)

    first = drain(tmp_path, stop_after=2)
    second = drain(tmp_path)

    assert set(first) | set(second) == writer.lines
    assert len(first) + len(second) <= len(writer.lines) + 1, "but for the one at the cut"


def test_what_is_owed_is_read_back_from_sealed_days_too(write: Start, tmp_path: Path):
    writer = write(bytes_max=100)
    drain(tmp_path)
    for k in range(5):
        writer.say(500, at=T + k * 86_400_000)
    writer.historian.settle()
    assert list((tmp_path / "historian").glob("*.parquet")), "some days are sealed by now"

    assert sorted(drain(tmp_path)) == sorted(writer.lines)


def test_a_damaged_day_is_told_and_nothing_of_it_counts_as_delivered(write: Start, tmp_path: Path):
    writer = write(bytes_max=100)
    drain(tmp_path)
    for k in range(5):
        writer.say(500, at=T + k * 86_400_000)
    writer.historian.settle()
    day = sorted((tmp_path / "historian").glob("*.parquet"))[1]
    sound = day.read_bytes()
    day.write_bytes(sound[: len(sound) // 2])
    ledger, source = Ledger(tmp_path / "influx.db"), Source(tmp_path / "historian.db")

    lines: list[bytes] = []

    def read_on() -> None:
        while work := source.next(ledger.done, ledger.at_work):
            lines.extend(Encoder().encode(work.rows).lines)
            ledger.settle(done=work.done, at_work=work.at_work, told=Told())

    for _ in range(3):
        with pytest.raises(StorageError, match=day.name):
            read_on()
    day.write_bytes(sound)

    read_on()

    assert set(lines) == writer.lines
    source.close()
    ledger.close()


def test_imported_history_is_owed_not_queued(write: Start, tmp_path: Path):
    writer = write()
    drain(tmp_path)
    rows = tuple(("a/pressure", T + k, 1.0 + k, 192) for k in range(12_000))
    writer.take(Imported(at=Instant(T + 99_000), source="winter", rows=rows))

    assert writer.counts() == (0, 1)
    assert sorted(drain(tmp_path)) == sorted(Encoder().encode(rows).lines)


def test_a_new_target_is_given_all_history(write: Start, tmp_path: Path):
    writer = write(target="one")
    writer.say(50, at=T)
    assert set(drain(tmp_path)) == writer.lines

    again = write(target="two", now=T + 1)
    assert set(drain(tmp_path)) == writer.lines
    again.say(1, at=T + 5_000)
    assert drain(tmp_path) != []


def test_what_came_while_the_sink_was_switched_off_is_owed(write: Start, tmp_path: Path):
    writer = write()
    writer.say(5, at=T)
    drain(tmp_path)
    off = [accepted(("a/pressure", T + 7_000, 9.0, 192), at=T + 7_000, first_offset=70)]
    writer.historian.accompany(lambda *_: None)
    writer.historian.write(off, through=9)

    write(now=T + 8_000)

    assert b"telemetry,point=a/pressure v=9.0,q=192i %d" % (T + 7_000) in drain(tmp_path)
    write(now=T + 9_000)
    assert drain(tmp_path) == [], "only once"


def test_a_historian_from_an_older_copy_does_not_hide_its_samples_behind_the_ledger(
    write: Start, tmp_path: Path
):
    writer = write()
    for k in range(9):
        writer.say(1, at=T + k * 1_000)
    assert len(drain(tmp_path)) == 9
    writer.close()
    for file in tmp_path.glob("historian.db*"):
        file.unlink()

    fresh = Writer(tmp_path)
    fresh.say(4, at=T + 60_000)
    lines = drain(tmp_path)
    fresh.close()

    assert fresh.lines <= set(lines)


def test_a_lost_ledger_means_sending_again(write: Start, tmp_path: Path):
    writer = write()
    writer.say(3, at=T)
    drain(tmp_path)
    for file in tmp_path.glob("influx.db*"):
        file.unlink()

    assert set(drain(tmp_path)) == writer.lines


def test_lag_counts_what_waits_and_since_when(write: Start, tmp_path: Path):
    writer = write(bytes_max=300)
    drain(tmp_path)
    for k in range(30):
        writer.say(10, at=T + k * 10_000)
    source, ledger = Source(tmp_path / "historian.db"), Ledger(tmp_path / "influx.db")

    lag = source.lag(ledger.done)

    assert (lag.rows, lag.oldest, lag.is_reading_back) == (300, T, True)
    source.close()
    ledger.close()
    drain(tmp_path)
    source, ledger = Source(tmp_path / "historian.db"), Ledger(tmp_path / "influx.db")
    assert source.lag(ledger.done).rows == 0
    assert source.lag(ledger.done).oldest is None
    source.close()
    ledger.close()


class Life:
    """A sink's queue through whatever happens: what was stored, and what was delivered of it."""

    def __init__(self, folder: Path, bytes_max: int) -> None:
        self.folder, self.bytes_max, self.now = folder, bytes_max, T
        self.stored: set[bytes] = set()
        self.got: set[bytes] = set()
        self.offset = 0
        self.writer = Writer(folder, bytes_max=bytes_max, now=T)

    def say(self, n: int) -> None:
        self.writer.say(n, at=self.now)

    def late(self, n: int) -> None:
        rows = [("b/flow", self.now - 86_400_000 * n - k, float(n), 192) for k in range(n)]
        offset = self.now - T + 10**9
        self.writer.take(accepted(*rows, at=self.now, first_offset=offset, is_historical=True))
        self.stored |= set(Encoder().encode(rows).lines)

    def imported(self, n: int) -> None:
        rows = tuple(("c/flow", self.now - 10**9 + k, float(k), 192) for k in range(n))
        self.writer.take(Imported(at=Instant(self.now), source=f"s{self.now}", rows=rows))
        self.stored |= set(Encoder().encode(rows).lines)

    def drain(self, n: int) -> None:
        self.got |= set(drain(self.folder, stop_after=n % 4))

    def crash(self, _n: int) -> None:
        self.got |= set(deliver_without_a_note(self.folder))

    def restart(self, _n: int) -> None:
        self.stored |= self.writer.lines
        offset = self.writer.offset
        self.writer.close()
        self.writer = Writer(self.folder, bytes_max=self.bytes_max, now=self.now)
        self.writer.offset = offset

    def switched_off(self, n: int) -> None:
        self.writer.historian.accompany(lambda *_: None)
        self.say(n)
        self.restart(n)

    def lose_ledger(self, _n: int) -> None:
        for file in self.folder.glob("influx.db*"):
            file.unlink()


ACTS = (
    *(Life.say, Life.late, Life.imported, Life.drain, Life.crash, Life.restart),
    *(Life.switched_off, Life.lose_ledger),
)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(ACTS), st.integers(1, 40)), min_size=3, max_size=30),
    st.sampled_from((100, 2_000, 1_000_000)),
)
def test_whatever_happens_in_whatever_order_everything_stored_is_delivered(acts, bytes_max):
    with tempfile.TemporaryDirectory() as folder:
        life = Life(Path(folder), bytes_max)
        for act, n in acts:
            life.now += 60_000
            act(life, n)
        life.got |= set(drain(life.folder))
        life.writer.close()

    assert life.got == life.stored | life.writer.lines


def deliver_without_a_note(folder: Path) -> list[bytes]:
    """Deliver a batch and die before it is written down."""
    ledger, source = Ledger(folder / "influx.db"), Source(folder / "historian.db")
    work = source.next(ledger.done, ledger.at_work)
    source.close()
    ledger.close()
    return [] if work is None else Encoder().encode(work.rows).lines


def test_a_queue_is_written_while_its_ledger_is_locked(write: Start, tmp_path: Path):
    writer = write()
    writer.say(1, at=T)
    drain(tmp_path)
    lock = sqlite3.connect(tmp_path / "influx.db", isolation_level=None)
    lock.execute("PRAGMA locking_mode=EXCLUSIVE")
    lock.execute("BEGIN EXCLUSIVE")

    writer.say(1, at=T + 1_000)

    lock.close()
    assert len(drain(tmp_path)) == 1
