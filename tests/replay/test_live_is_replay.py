"""What a server said while it lived is what its journal says again, byte for byte.

Random streams pass a real door in random batches, with segments sealed and the process begun anew
at random moments, with and without its checkpoint. Then the journal is read back and run again: one
event at a time, in other chunks, and under other hash seeds.
"""

import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.engine.effects import Accepted, AckDue
from server.engine.events import Arrived, Event, Linked, Started, Tick
from server.history.historian import Historian
from server.intake.door import Door
from server.intake.journal import Journal
from server.intake.journal_reader import JournalReader
from telemetry.instant import Instant
from tests.replay.engine_stream import events as stream
from tests.replay.journal_replay import HOST, digest, replayed
from tests.unit.server.test_door import StepClock

ROOT = Path(__file__).parents[2]
STREAM = stream()


def disturbed(chance: random.Random) -> list[Event]:
    """Return a part of the stream with messages lost, repeated, swapped, mutated and made up.

    The clock may leap before the part and after it, as when the machine slept; sometimes the server
    was down meanwhile.
    """
    start = chance.randrange(6, 700)
    found: list[Event] = list(STREAM[:6])
    if chance.random() < 0.5:
        found += [
            Started(at=STREAM[start].at, version="1", settings={}),
            Linked(at=STREAM[start].at, up=True),
        ]
    for event in STREAM[start : start + 350]:
        found.append(event)
        if not isinstance(event, Arrived):
            continue
        fate = chance.random()
        if fate < 0.03:
            found.pop()
        elif fate < 0.06:
            found.append(event)
        elif fate < 0.08 and len(found) > 8:
            found[-1], found[-2] = found[-2], found[-1]
        elif fate < 0.10:
            data = bytearray(event.payload)
            data[chance.randrange(len(data))] = chance.randrange(256)
            found[-1] = replace(event, payload=bytes(data))
        elif fate < 0.11:
            found.append(replace(event, topic=f"spBv1.0/demo/NDATA/gw-{chance.randrange(4)}"))
    last = chance.choice([found[-1].at, found[-1].at + 130_000, STREAM[-1].at])
    return found + [Tick(at=Instant(last + 1_000 * n)) for n in range(1, 40)]


class _Live:
    """A door that is closed and opened again, and what it let out over its lives."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.clock = StepClock()
        self.clock.at = Instant(0)
        self.door = self._open()
        self.acks: list[AckDue] = []

    def _open(self) -> Door:
        return Door(
            journal=Journal(self._folder / "journal.db"),
            historian=Historian(self._folder / "historian.db"),
            host_id=HOST,
            version="1",
            checkpoint=self._folder / "engine.checkpoint",
            clock=self.clock,
        )

    def pass_the_door(self, batch: list[Event]) -> None:
        """Admit a batch; its events get one instant, that of the last, as live ones do."""
        self.clock.at = Instant(max(self.clock.at, batch[-1].at))
        self.acks += self.door.admit([lambda at, e=e: replace(e, at=at) for e in batch]).acks

    def begin_anew(self, *, is_cache_lost: bool) -> None:
        """Close the door and open it again."""
        self.door.close()
        if is_cache_lost:
            (self._folder / "engine.checkpoint").unlink()
        self.door = self._open()


def live(folder: Path, events: list[Event], chance: random.Random) -> _Live:
    """Run events through a door in random batches, sealing and restarting at random."""
    it = _Live(folder)
    waiting = list(events)
    while waiting:
        size = chance.choice((1, 1, 2, 7, 40))
        it.pass_the_door(waiting[:size])
        del waiting[:size]
        fate = chance.random()
        if fate < 0.05:
            it.door.seal()
        elif fate < 0.08:
            it.begin_anew(is_cache_lost=chance.random() < 0.5)
    it.door.close()
    return it


def recorded(folder: Path) -> list[tuple[int, int, str, str]]:
    return list(JournalReader(folder / "journal.db").recorded())


def recorded_again(lines: list[str]) -> list[tuple[int, int, str, str]]:
    """Return the recorded effects of a replay, numbered as the door numbers them."""
    found = []
    counts: dict[int, int] = {}
    for line in lines:
        seq, _, rest = line.split(" ", 2)
        if rest.startswith(("Accepted(", "AckDue(", "RebirthDue(")):
            continue
        kind, body = rest.split(" ", 1)
        n = counts.get(int(seq), 0)
        counts[int(seq)] = n + 1
        found.append((int(seq), n, kind, body))
    return found


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32))
def test_live_is_replay_over_random_streams_batches_seals_and_restarts(
    tmp_path_factory: pytest.TempPathFactory, seed: int
):
    chance = random.Random(seed)
    folder = tmp_path_factory.mktemp("live")
    it = live(folder, disturbed(chance), chance)
    path = folder / "journal.db"
    one_by_one = list(replayed(path))
    sizes = [chance.choice((1, 3, 17, 100, 999)) for _ in range(9)]

    assert recorded_again(one_by_one) == recorded(folder)
    assert list(replayed(path, sizes)) == one_by_one
    assert [a.offset for a in it.acks] == _acks_let_out(one_by_one, it.acks)


def _acks_let_out(lines: list[str], said: list[AckDue]) -> list[int]:
    """Return what a replay acknowledges, as far as a batch let it out: the last of each edge."""
    replayed_acks = [line.split(" ", 2)[2] for line in lines if " AckDue(" in line]
    found = []
    at = 0
    for ack in said:
        at = replayed_acks.index(repr(ack), at)
        found.append(ack.offset)
    return found


@pytest.mark.parametrize("hash_seed", ["0", "1", "31337"])
def test_the_hash_seed_changes_nothing_in_a_replay(tmp_path: Path, hash_seed: str):
    chance = random.Random(hash_seed)
    live(tmp_path, disturbed(chance), chance)
    here = digest(replayed(tmp_path / "journal.db"))

    done = subprocess.run(
        [sys.executable, "-m", "tests.replay.journal_replay", str(tmp_path / "journal.db")],
        cwd=ROOT,
        env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    assert done.stdout == here


def test_the_whole_stream_says_the_same_live_and_again(tmp_path: Path):
    live(tmp_path, STREAM, random.Random(1))
    lines = list(replayed(tmp_path / "journal.db"))
    found = recorded(tmp_path)

    assert recorded_again(lines) == found
    assert {"AlarmRaised", "IncidentOpened", "CommandDone"} <= {kind for _, _, kind, _ in found}
    assert any(f" {Accepted.__name__}(" in line for line in lines)
