"""The journal keeps every event and every recorded effect, in order, through a SIGKILL."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.engine import events
from server.engine.effects import CommandDone
from server.engine.registry import Inflow, Point, Registry, Zone
from server.intake.journal import Derived, Journal
from telemetry.errors import StorageError
from telemetry.instant import Instant
from telemetry.point import PointId, ZoneId
from telemetry.units import Quantity

REGISTRY = Registry(
    zones={
        ZoneId("north"): Zone(
            id=ZoneId("north"), name_zh="北区", name_en="North", timezone="Asia/Shanghai",
            calendar="cn", inflow=(Inflow(point=PointId("n/flow"), sign=1),),
        )
    },
    points={
        PointId("n/flow"): Point(
            id=PointId("n/flow"), zone=ZoneId("north"), quantity=Quantity.FLOW, name_zh="流量",
            name_en="flow", period_ms=1000, x=1.5, low=0.0,
        )
    },
)  # fmt: skip

AT = st.integers(0, 2**45).map(Instant)
TEXT = st.text(max_size=30)
EVENTS = st.one_of(
    st.builds(events.Tick, at=AT),
    st.builds(events.Linked, at=AT, up=st.booleans()),
    st.builds(
        events.Arrived,
        at=AT,
        topic=TEXT.filter(lambda t: "\0" not in t),
        payload=st.binary(max_size=80),
    ),
    st.builds(events.Commanded, at=AT, key=TEXT, actor=TEXT, verb=TEXT, subject=TEXT, note=TEXT),
    st.builds(events.Started, at=AT, version=TEXT, settings=st.dictionaries(TEXT, st.integers())),
    st.builds(
        lambda at, zone, artefact: events.ModelPublished(
            at=at,
            zone=zone,
            window=(Instant(0), at),
            artefact=artefact,
            hash=events.hash_of(artefact),
        ),
        AT,
        TEXT,
        st.dictionaries(TEXT, st.floats(allow_nan=False, allow_infinity=False) | TEXT),
    ),
    st.builds(events.RegistryChanged, at=AT, registry=st.just(REGISTRY)),
    st.builds(
        events.Imported,
        at=AT,
        source=TEXT,
        rows=st.lists(
            st.tuples(
                TEXT,
                st.integers(0, 2**45),
                st.none() | st.floats(allow_nan=False, allow_infinity=False),
                st.sampled_from([0, 64, 192]),
            ),
            max_size=4,
        ).map(tuple),
    ),
)


@given(EVENTS)
def test_every_event_comes_back_from_its_record_as_it_went_in(event: events.Event):
    kind, body = events.to_record(event)

    assert events.from_record(kind, event.at, body) == event


def test_an_unknown_kind_of_event_is_refused_by_name():
    with pytest.raises(ValueError, match="'eclipse'"):
        events.from_record("eclipse", Instant(0), b"")


def test_a_model_that_is_not_the_one_that_was_published_is_refused():
    artefact = {"level": 1.5}
    event = events.ModelPublished(
        at=Instant(1), zone="north", window=(Instant(0), Instant(1)), artefact=artefact,
        hash=events.hash_of(artefact),
    )  # fmt: skip
    kind, body = events.to_record(event)

    with pytest.raises(ValueError, match="model of zone north: expected an artefact with the hash"):
        events.from_record(kind, event.at, body.replace(b"1.5", b"1.6"))


def test_events_are_numbered_without_a_hole_across_restarts(tmp_path: Path):
    journal = Journal(tmp_path / "journal.db")
    first = journal.append([events.Tick(at=Instant(1)), events.Tick(at=Instant(2))])
    journal.close()
    again = Journal(tmp_path / "journal.db")
    second = again.append([events.Tick(at=Instant(3))])

    assert (first, second) == (1, 3)
    assert again.uuid == journal.uuid
    assert again.last_at == 3
    assert [(seq, e.at) for seq, e in again.read(after=1)] == [(2, 2), (3, 3)]
    again.close()


def test_effects_are_recorded_with_how_far_they_were_derived(tmp_path: Path):
    journal = Journal(tmp_path / "journal.db")
    journal.append([events.Tick(at=Instant(5))])
    done = CommandDone(at=Instant(5), key="k")
    journal.record([Derived(seq=1, n=0, effect=done)], through=1)

    assert journal.effects_through == 1
    with pytest.raises(StorageError, match="UNIQUE"):
        journal.record([Derived(seq=1, n=0, effect=done)], through=2)
    assert journal.effects_through == 1
    journal.close()


def test_a_file_that_is_no_journal_is_refused_by_name(tmp_path: Path):
    path = tmp_path / "journal.db"
    path.write_bytes(b"this is not a database, but long enough to look at" * 100)

    with pytest.raises(StorageError, match=r"journal\.db"):
        Journal(path)


WRITER = """
import sys
from pathlib import Path
from server.engine.events import Tick
from server.intake.journal import Journal
journal = Journal(Path(sys.argv[1]))
while True:
    seq = journal.append([Tick(at=n) for n in range(3)])
    print(seq + 2, flush=True)
"""


def test_what_was_committed_before_a_sigkill_is_there_afterwards(tmp_path: Path):
    path = tmp_path / "journal.db"
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        committed = [int(writer.stdout.readline()) for _ in range(20)][-1]
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        journal = Journal(path)
        held = [seq for seq, _event in journal.read(after=0)]
        journal.close()

        assert held == list(range(1, len(held) + 1))
        assert len(held) >= committed
        with sqlite3.connect(path) as db:
            assert db.execute("PRAGMA quick_check").fetchone() == ("ok",)
        db.close()
