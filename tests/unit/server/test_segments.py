"""Sealed segments: whole or not at all, chained, and what is wrong in one is named."""

import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.engine.effects import CommandDone
from server.engine.events import Arrived, Event, Tick
from server.intake import journal_reader, segments
from server.intake.journal import Derived, Journal
from server.intake.journal_reader import JournalReader
from server.intake.segments import Header, Segment, Snapshot, path_of, seal
from server.servicecore.recorded import Cursor, read_after
from telemetry.errors import StorageError
from telemetry.instant import Instant

NOTHING = Snapshot(seq=0, at=Instant(0), code="", essentials=b"", engine=b"")


def arrived(n: int) -> Event:
    return Arrived(at=Instant(1_000 * n), topic="spBv1.0/g/DDATA/e/d", payload=bytes([n % 256]) * n)


def snapshot(seq: int) -> Snapshot:
    return Snapshot(
        seq=seq, at=Instant(seq), code="code", essentials=b"{}", engine=b"engine %d" % seq
    )


def filled(folder: Path, count: int = 30, *, per_segment: int = 10) -> Journal:
    """Return a journal with three events to a block and a segment for every ten of them."""
    journal = Journal(folder / "journal.db")
    for n in range(1, count + 1):
        journal.append([arrived(n)])
        if n % per_segment == 0:
            journal.sealed(journal.seal(n), snapshot(n))
    return journal


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "BLOCK_BYTES", 3 * (14 + 28))


ROWS = st.lists(
    st.tuples(st.integers(0, 2**50), st.sampled_from(["tick", "arrived"]), st.binary(max_size=90)),
    min_size=1,
    max_size=40,
)


@settings(max_examples=50)
@given(rows=ROWS, first=st.integers(1, 2**40), previous=st.sampled_from(["", "ab" * 32]))
def test_what_is_sealed_comes_back_as_it_was(tmp_path_factory, rows, first, previous):
    folder = tmp_path_factory.mktemp("segments")
    kept = [(first + n, at, kind, body) for n, (at, kind, body) in enumerate(rows)]
    header = Header(
        journal="j", number=3, first=first, last=first + len(rows) - 1, begins=Instant(0),
        ends=Instant(9), previous=previous,
    )  # fmt: skip
    digest = seal(folder, header, snapshot(first - 1), kept)
    segment = Segment(path_of(folder, 3), previous=previous)

    assert segment.header == header
    assert segment.snapshot() == snapshot(first - 1)
    assert list(segment.rows(after=first)) == kept[1:]
    assert segment.hash == digest


def test_events_leave_the_open_file_and_are_read_as_if_they_had_not(tmp_path: Path):
    journal = filled(tmp_path, 25)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        left = [seq for (seq,) in db.execute("SELECT seq FROM event ORDER BY seq")]
    whole = list(JournalReader(tmp_path / "journal.db").read())
    part = [seq for seq, _ in journal.read(after=17)]
    kinds = (journal.count("arrived"), journal.has("arrived"), journal.has("tick"))
    journal.close()
    again = Journal(tmp_path / "journal.db")
    next_seq = again.append([Tick(at=Instant(0))])
    again.close()

    assert left == [21, 22, 23, 24, 25]
    assert whole == [(n, arrived(n)) for n in range(1, 26)]
    assert part == list(range(18, 26))
    assert kinds == (25, True, False)
    assert next_seq == 26


def test_a_journal_that_is_sealed_to_its_end_goes_on_counting(tmp_path: Path):
    filled(tmp_path, 20).close()
    journal = Journal(tmp_path / "journal.db")

    assert (journal.last_seq, journal.append([Tick(at=Instant(5))])) == (20, 21)
    journal.close()


def frames(path: Path) -> list[tuple[bytes, int, int]]:
    """Return kind, begin and size of each frame's body."""
    data = path.read_bytes()
    at = len(segments.FORMAT)
    found = []
    while at < len(data):
        kind, size = segments.FRAME.unpack_from(data, at)
        found.append((kind, at + segments.FRAME.size, size))
        at += segments.FRAME.size + size + 32
    return found


def spoil(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x40
    path.chmod(0o600)
    path.write_bytes(data)


def test_a_changed_byte_is_told_with_its_file_and_event(tmp_path: Path):
    filled(tmp_path).close()
    path = path_of(tmp_path / "journal", 2)
    blocks = [f for f in frames(path) if f[0] == b"E"]
    spoil(path, blocks[1][1] + blocks[1][2] // 2)
    read: list[int] = []
    with pytest.raises(StorageError, match=r"000002\.segment: event \d+:.*hash") as refusal:
        read += (seq for seq, _ in JournalReader(tmp_path / "journal.db").read())
    rows_before = [seq for seq, *_ in _until_spoilt(path)]

    assert f"event {rows_before[-1] + 1}:" in str(refusal.value)
    assert rows_before[0] == 11


def _until_spoilt(path: Path) -> list[tuple[int, int, str, bytes]]:
    rows = []
    try:
        for row in Segment(path, previous=None).rows(after=0):
            rows.append(row)  # noqa: PERF402  what came before the error is wanted
    except StorageError:
        pass
    return rows


@pytest.mark.parametrize("kind", [b"S", b"J", b"P"])
def test_a_changed_snapshot_is_told_with_its_file(tmp_path: Path, kind: bytes):
    filled(tmp_path).close()
    path = path_of(tmp_path / "journal", 2)
    begin = next(begin for found, begin, _ in frames(path) if found == kind)
    spoil(path, begin + 2)

    with pytest.raises(StorageError, match=r"000002\.segment: its snapshot"):
        Segment(path, previous=None).snapshot()


def test_every_place_of_a_segment_is_guarded(tmp_path: Path):
    filled(tmp_path, 10).close()
    path = path_of(tmp_path / "journal", 1)
    whole = path.read_bytes()
    path.chmod(0o600)
    for place in range(len(whole)):
        data = bytearray(whole)
        data[place] ^= 0x10
        path.write_bytes(data)
        with pytest.raises(StorageError, match=r"000001\.segment"):
            list(JournalReader(tmp_path / "journal.db").read())


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_segment_is_told_with_its_file(tmp_path: Path, kept: float):
    filled(tmp_path).close()
    path = path_of(tmp_path / "journal", 2)
    data = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(data[: int(len(data) * kept)])

    with pytest.raises(StorageError, match=r"000002\.segment"):
        list(JournalReader(tmp_path / "journal.db").read())


def test_an_exchanged_segment_breaks_the_chain(tmp_path: Path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    filled(here).close()
    journal = Journal(there / "journal.db")
    with closing(sqlite3.connect(here / "journal.db")) as db:
        uuid = db.execute("SELECT value FROM meta WHERE key = 'uuid'").fetchone()[0]
    journal.uuid = uuid
    for n in range(1, 21):
        journal.append([arrived(n + 1)])
        if n % 10 == 0:
            journal.sealed(journal.seal(n), snapshot(n))
    journal.close()
    target = path_of(here / "journal", 2)
    target.unlink()
    target.write_bytes(path_of(there / "journal", 2).read_bytes())

    with pytest.raises(StorageError, match=r"000002\.segment: .*exchanged"):
        list(JournalReader(here / "journal.db").read())


def test_a_segment_of_another_journal_is_refused_by_name(tmp_path: Path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    filled(here).close()
    filled(there).close()
    target = path_of(here / "journal", 1)
    target.unlink()
    target.write_bytes(path_of(there / "journal", 1).read_bytes())

    with pytest.raises(StorageError, match=r"000001\.segment: expected segment 1 of journal"):
        list(JournalReader(here / "journal.db").read())


def test_a_crash_between_sealing_and_letting_go_loses_and_doubles_nothing(tmp_path: Path):
    journal = filled(tmp_path, 25)
    journal.seal(25)
    (tmp_path / "journal" / "000009.new").write_bytes(b"half of one")
    journal.close()
    again = Journal(tmp_path / "journal.db")
    events = [seq for seq, _ in again.read(after=0)]
    again.sealed(again.seal(25), snapshot(25))
    after = [seq for seq, _ in again.read(after=0)]
    again.close()

    assert events == after == list(range(1, 26))
    assert sorted(p.name for p in (tmp_path / "journal").iterdir()) == [
        "000001.segment", "000002.segment", "000003.segment",
    ]  # fmt: skip


def test_segments_of_what_an_older_copy_does_not_know_are_put_aside(tmp_path: Path):
    journal = filled(tmp_path, 15)
    journal.close()
    copy = (tmp_path / "journal.db").read_bytes()
    journal = Journal(tmp_path / "journal.db")
    for n in range(16, 21):
        journal.append([arrived(n)])
    journal.sealed(journal.seal(20), snapshot(20))
    journal.close()
    (tmp_path / "journal.db").write_bytes(copy)
    again = Journal(tmp_path / "journal.db")

    assert [seq for seq, _ in again.read(after=0)] == list(range(1, 16))
    assert [p.suffix for p in sorted((tmp_path / "journal").iterdir())] == [".segment", ".aside"]
    again.close()


def test_pruning_takes_the_oldest_and_never_what_somebody_has_yet_to_follow(tmp_path: Path):
    journal = filled(tmp_path, 45)
    reader = JournalReader(tmp_path / "journal.db")
    too_early = journal.prune(before=Instant(1), bytes_max=10**9, through=99)
    held_up = journal.prune(before=Instant(45_000), bytes_max=0, through=15)
    kept = [seq for seq, _ in reader.read()]
    first = reader.first()
    gone = journal.prune(before=Instant(25_000), bytes_max=10**9, through=99)

    assert too_early == []
    assert [p.name for p in held_up] == ["000001.segment"]
    assert (kept, first) == (list(range(11, 46)), 11)
    assert [p.name for p in gone] == ["000002.segment"]
    assert reader.oldest() == snapshot(20)
    journal.close()


def test_the_open_file_alone_still_begins_with_a_snapshot(tmp_path: Path):
    journal = filled(tmp_path, 25)
    journal.prune(before=Instant(10**9), bytes_max=0, through=99)
    reader = JournalReader(tmp_path / "journal.db")

    assert [seq for seq, _ in reader.read()] == [21, 22, 23, 24, 25]
    assert reader.oldest() == snapshot(20) == next(journal.snapshots())
    journal.close()


def test_a_reader_that_is_overtaken_by_sealing_misses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(journal_reader, "_STEP", 2)
    journal = filled(tmp_path, 5)
    reader = JournalReader(tmp_path / "journal.db")
    seen = []
    for n, (seq, _event) in enumerate(reader.read(), 6):
        seen.append(seq)
        if n <= 60:
            journal.append([arrived(n)])
        if n % 7 == 0 and n < 60:
            journal.sealed(journal.seal(n), snapshot(n))
    journal.close()

    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) > 40


def test_effects_stay_readable_by_cursor_when_events_are_sealed_and_pruned(tmp_path: Path):
    path = tmp_path / "journal.db"
    journal = filled(tmp_path, 30)
    for seq in (3, 15, 30):
        done = CommandDone(at=Instant(1_000 * seq), key=f"k{seq}")
        journal.record([Derived(seq=seq, n=0, effect=done)], through=seq)
    journal.prune(before=Instant(10**9), bytes_max=0, through=99)
    start = Cursor(journal="", seq=0, n=-1)
    all_of_them = read_after(path, start, limit=9)
    pruned = journal.prune_effects(before=Instant(10_000))
    later = read_after(path, Cursor(journal=journal.uuid, seq=3, n=0), limit=9)

    assert [e.seq for e in all_of_them] == [3, 15, 30]
    assert pruned == 1
    assert [e.seq for e in later] == [15, 30]
    with pytest.raises(StorageError, match="have been pruned"):
        read_after(path, Cursor(journal=journal.uuid, seq=2, n=0), limit=9)
    journal.close()


def test_the_newest_effect_is_never_pruned(tmp_path: Path):
    journal = filled(tmp_path, 5)
    done = CommandDone(at=Instant(1), key="k")
    journal.record([Derived(seq=1, n=0, effect=done)], through=5)

    assert journal.prune_effects(before=Instant(10**12)) == 0
    journal.close()


def test_a_header_that_says_too_much_is_refused(tmp_path: Path):
    filled(tmp_path, 10).close()
    path = path_of(tmp_path / "journal", 1)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, len(segments.FORMAT) + 1, 2**31)
    path.chmod(0o600)
    path.write_bytes(data)

    with pytest.raises(StorageError, match=r"000001\.segment"):
        Segment(path, previous=None)
