"""The door and its sealed segments: restarts, pruning, other code, a lost historian, SIGKILL."""

import os
import signal
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from server.engine.events import ModelPublished, RegistryChanged, Started, hash_of
from server.history.historian import Historian, Reader
from server.intake.door import Door, JournalRule
from server.intake.journal import Journal
from server.intake.journal_reader import JournalReader
from server.intake.segments import numbers_in
from telemetry.errors import StorageError
from telemetry.instant import Instant
from tests.unit.server.test_door import (
    BEGIN,
    EPOCH,
    REGISTRY,
    StepClock,
    arrived,
    begin,
    births,
    data,
    effects,
    run_a_day,
)

ARTEFACT = {"levels": [1.5, 0.1 + 0.2], "days": {"workday": 3}}


def open_door(
    folder: Path, clock: StepClock, *, version: str = "1", rule: JournalRule | None = None
) -> Door:
    return Door(
        journal=Journal(folder / "journal.db"),
        historian=Historian(folder / "historian.db"),
        host_id="mainwatch",
        version=version,
        checkpoint=folder / "engine.checkpoint",
        clock=clock,
        rule=rule,
    )


def published(at: Instant) -> ModelPublished:
    window = (Instant(at - 1_000), at)
    return ModelPublished(
        at=at, zone="north", window=window, artefact=ARTEFACT, hash=hash_of(ARTEFACT)
    )


def held(folder: Path) -> tuple[int, int]:
    with closing(Reader(folder / "historian.db")) as reader:
        return reader.held("gw-01", EPOCH, below=10**6)


def undisturbed(folder: Path, seconds: int) -> list[tuple]:
    folder.mkdir()
    clock = StepClock()
    door = open_door(folder, clock)
    begin(door)
    run_a_day(door, clock, range(seconds))
    door.close()
    return effects(folder)


@pytest.mark.parametrize("lost", ["nothing", "the checkpoint", "all but the journal"])
def test_sealing_and_restarting_changes_nothing(tmp_path: Path, lost: str):
    expected = undisturbed(tmp_path / "whole", 90)
    folder = tmp_path / "parts"
    folder.mkdir()
    clock = StepClock()
    door = open_door(folder, clock)
    begin(door)
    for start in range(0, 90, 15):
        run_a_day(door, clock, range(start, start + 8))
        door.seal()
        run_a_day(door, clock, range(start + 8, start + 15))
        door.close()
        if lost != "nothing":
            (folder / "engine.checkpoint").unlink()
        if lost == "all but the journal":
            for path in folder.glob("historian.db*"):
                path.unlink()
        door = open_door(folder, clock)
    door.close()

    assert len(numbers_in(folder / "journal")) == 6
    assert effects(folder) == expected
    assert held(folder) == (90, 90)


def test_what_is_due_is_kept_by_itself(tmp_path: Path):
    clock = StepClock()
    rule = JournalRule(segment_bytes=3_000, keep_bytes=6_000, keep_ms=10**12)
    door = open_door(tmp_path, clock, rule=rule)
    begin(door)
    for second in range(120):
        run_a_day(door, clock, range(second, second + 1))
        door.keep()
    size = sum(p.stat().st_size for p in (tmp_path / "journal").glob("*.segment"))
    first = JournalReader(tmp_path / "journal.db").first()
    door.close()

    assert size < 20_000
    assert first > 1
    assert (tmp_path / "engine.checkpoint").exists()


def test_a_segment_that_is_old_enough_is_sealed(tmp_path: Path):
    clock = StepClock()
    door = open_door(tmp_path, clock, rule=JournalRule(segment_ms=60_000))
    begin(door)
    door.keep()
    clock.at = Instant(BEGIN + 59_000)
    door.keep()
    before = numbers_in(tmp_path / "journal")
    clock.at = Instant(BEGIN + 60_000)
    door.keep()
    door.close()

    assert (before, numbers_in(tmp_path / "journal")) == ([], [1])


def test_other_code_goes_on_after_everything_that_it_understood_was_pruned(tmp_path: Path):
    clock = StepClock()
    door = open_door(tmp_path, clock)
    begin(door)
    door.admit([published])
    run_a_day(door, clock, range(70))
    door.seal()
    before = effects(tmp_path)
    door.close()
    journal = Journal(tmp_path / "journal.db")
    assert journal.prune(before=Instant(10**15), bytes_max=0, through=journal.last_seq)
    numbered = journal.numbered()
    journal.close()
    door = open_door(tmp_path, clock, version="2")
    settings = {"numbered": list(numbered)}
    door.admit([lambda at: Started(at=at, version="2", settings=settings)])
    first = door.admit([arrived(data(70, 90.0, clock.at))])
    acks = run_a_day(door, clock, range(71, 160))
    registry, models = door.registry, door._engine.models
    door.close()

    assert registry == REGISTRY
    assert models == {"north": ARTEFACT}
    assert [a.offset for a in first.acks] == [71]
    assert first.rebirths == ()
    assert acks == list(range(72, 161))
    assert held(tmp_path) == (160, 160)
    later = effects(tmp_path)
    assert later[: len(before)] == before
    assert not any('"lost":' in e[4] and '"lost":0' not in e[4] for e in later)
    raised = [e[4] for e in later[len(before) :] if e[3] == "AlarmRaised"]
    assert numbered[0] > 0
    assert raised
    assert all(f'"alarm":"A-{n:06}"' not in r for r in raised for n in range(1, numbered[0] + 1))


def test_other_code_begins_at_the_beginning_while_that_is_kept(tmp_path: Path):
    clock = StepClock()
    door = open_door(tmp_path, clock)
    begin(door)
    run_a_day(door, clock, range(50))
    door.seal()
    run_a_day(door, clock, range(50, 90))
    door.close()
    before = effects(tmp_path)
    door = open_door(tmp_path, clock, version="2")
    run_a_day(door, clock, range(90, 95))
    door.close()

    assert effects(tmp_path)[: len(before)] == before
    assert held(tmp_path) == (95, 95)


def test_a_journal_that_newer_code_kept_is_refused_by_what_is_wrong(tmp_path: Path, monkeypatch):
    clock = StepClock()
    door = open_door(tmp_path, clock)
    begin(door)
    monkeypatch.setattr("server.engine.essentials.VERSION", 99)
    door.seal()
    monkeypatch.undo()
    door.close()
    journal = Journal(tmp_path / "journal.db")
    journal.prune(before=Instant(10**15), bytes_max=0, through=10**9)
    journal.close()

    with pytest.raises(StorageError, match=r"kept by newer code.*found 99"):
        open_door(tmp_path, clock, version="2")


def test_a_published_model_comes_back_with_the_journal(tmp_path: Path):
    clock = StepClock()
    door = open_door(tmp_path, clock)
    door.admit([lambda at: RegistryChanged(at=at, registry=REGISTRY)])
    door.admit([published])
    door.close()
    (tmp_path / "engine.checkpoint").unlink()
    door = open_door(tmp_path, clock)

    assert door._engine.models == {"north": ARTEFACT}
    door.close()


def test_a_door_that_was_refused_writes_no_checkpoint(tmp_path: Path, monkeypatch):
    clock = StepClock()
    door = open_door(tmp_path, clock)
    begin(door)

    def refuse(*_: object, **__: object) -> None:
        raise StorageError("no")

    monkeypatch.setattr(door._journal, "record", refuse)
    with pytest.raises(StorageError):
        run_a_day(door, clock, range(3))
    door.close()

    assert not (tmp_path / "engine.checkpoint").exists()


KILLED = """
import sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.unit.server.test_door import StepClock, begin, run_a_day, BEGIN, births, arrived
from tests.unit.server.test_door_seals import open_door
from server.intake.journal import Journal
clock = StepClock()
door = open_door(Path(sys.argv[1]), clock)
first = int(sys.argv[3])
if first == 0:
    begin(door)

def seal():
    while True:
        door.seal()
        door.checkpoint()

threading.Thread(target=seal, daemon=True).start()
for n in range(first, 100_000):
    acks = run_a_day(door, clock, range(n, n + 1))
    print(acks[-1], flush=True)
"""


def test_a_sigkill_while_sealing_loses_and_doubles_nothing(tmp_path: Path):
    expected = undisturbed(tmp_path / "whole", 200)
    folder = tmp_path / "killed"
    folder.mkdir()
    root = str(Path(__file__).parents[3])
    acked = 0
    for _ in range(5):
        command = [sys.executable, "-c", KILLED, str(folder), root, str(acked)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)
        assert child.stdout is not None
        for _ in range(30):
            acked = int(child.stdout.readline())
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        door = open_door(folder, StepClock())
        door.close()
        rows, offsets = held(folder)
        seqs = [seq for seq, _ in JournalReader(folder / "journal.db").read()]

        assert rows == offsets >= acked
        assert seqs == list(range(1, len(seqs) + 1))
        acked = offsets
    found = [e[3:] for e in effects(folder)]

    assert len(numbers_in(folder / "journal")) > 5
    assert [e for e in found if e[0] == "AlarmRaised"]
    assert found[: len(expected)] == [e[3:] for e in expected[: len(found)]]


def test_a_second_birth_after_other_code_is_still_understood(tmp_path: Path):
    clock = StepClock()
    door = open_door(tmp_path, clock)
    begin(door)
    run_a_day(door, clock, range(5))
    door.seal()
    door.close()
    journal = Journal(tmp_path / "journal.db")
    journal.prune(before=Instant(10**15), bytes_max=0, through=10**9)
    journal.close()
    door = open_door(tmp_path, clock, version="2")
    door.admit([partial(arrived(b)) for b in births(clock.at)])
    acks = run_a_day(door, clock, range(5, 9))
    door.close()

    assert acks == [6, 7, 8, 9]
