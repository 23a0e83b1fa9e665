"""Does a journal give its effects again, sealed and pruned too, and what would others have said?"""

import pickle
from dataclasses import replace

import pytest

from server.engine import essentials
from server.engine.effects import is_recorded
from server.engine.engine import Engine
from server.intake.journal import Derived, Journal
from server.intake.segments import Snapshot
from server.replay.session import (
    Asked,
    play_journal,
    recorded_said,
    survey,
    verify_journal,
)
from server.replay.what_if import compare
from telemetry.errors import ConfigError, StorageError
from telemetry.instant import Instant
from tests.replay.engine_stream import events
from tests.scenarios.town_stream import START, pressure

QUIET = {"progress": lambda _at, _n: None}


def write(path, *, seal_at=None, prune=False):
    """Write the stream's journal as the door does, sealed after some event where that is wanted."""
    journal, engine = Journal(path), Engine("mainwatch")
    for event in events():
        seq = journal.append([event])
        found = [e for e in engine.apply(event) if is_recorded(e)]
        derived = [Derived(seq=seq, n=n, effect=e) for n, e in enumerate(found)]
        journal.record(derived, through=seq)
        if seq == seal_at:
            journal.settle()
            snapshot = Snapshot(
                seq=seq,
                at=event.at,
                code="test",
                essentials=essentials.write(engine),
                engine=pickle.dumps(engine),
            )
            journal.sealed(journal.seal(seq), snapshot)
            if prune:
                gone = journal.prune(before=Instant(2**60), bytes_max=0, through=seq)
                assert len(gone) == 1
    journal.settle()
    journal.close()
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write(tmp_path_factory.mktemp("whole") / "journal.db")


def test_a_journal_gives_its_recorded_effects_again(whole):
    found = verify_journal(survey(whole), Asked(), **QUIET)

    assert found.divergence is None
    assert found.effects > 10


@pytest.mark.parametrize("prune", [False, True], ids=["sealed", "pruned"])
def test_a_sealed_and_a_pruned_journal_do_too(tmp_path, whole, prune):
    path = write(tmp_path / "journal.db", seal_at=400, prune=prune)
    found = verify_journal(survey(path), Asked(), **QUIET)
    all_of_it = verify_journal(survey(whole), Asked(), **QUIET)

    assert found.divergence is None
    assert (found.effects < all_of_it.effects) == prune


def test_effects_that_are_kept_no_more_are_not_asked_for(tmp_path):
    path = write(tmp_path / "journal.db")
    all_of_it = verify_journal(survey(path), Asked(), **QUIET)
    journal = Journal(path)
    gone = journal.prune_effects(before=Instant(START + 200_000))
    journal.close()
    found = verify_journal(survey(path), Asked(), **QUIET)

    assert gone > 0
    assert found.divergence is None
    assert found.effects == all_of_it.effects - gone


def test_a_journal_is_verified_up_to_an_instant(whole):
    found = verify_journal(survey(whole), Asked(end=Instant(START + 100_000)), **QUIET)

    assert found.divergence is None
    assert 0 < found.effects < verify_journal(survey(whole), Asked(), **QUIET).effects


def test_a_replay_of_a_journal_says_what_the_server_said(whole):
    journal = survey(whole)
    played, trends = play_journal(journal, Asked(), other=None, with_trends=True, **QUIET)

    assert recorded_said(journal, played) == played.said
    assert played.samples > 2_000
    assert max(v for v in trends.high(pressure(0)) if v is not None) > 300


def test_another_limit_shows_what_it_would_have_said(whole):
    journal = survey(whole)
    points = {name: replace(p, low=None) for name, p in journal.registry.points.items()}
    other = replace(journal.registry, points=points)
    played, _ = play_journal(journal, Asked(), other=other, **QUIET)
    found = compare(recorded_said(journal, played), played.said)
    gone = {d.before.kind for d in found.differences if d.after is None}

    assert "pressure_low" in {s.kind for s in recorded_said(journal, played)}
    assert "pressure_low" in gone
    assert "pressure_low" not in {s.kind for s in played.said}


def test_a_part_of_a_journal_is_told_with_all_that_was_known_before(whole):
    journal = survey(whole)
    all_of_it, _ = play_journal(journal, Asked(), other=None, **QUIET)
    start, end = Instant(START + 150_000), Instant(START + 200_000)
    part, _ = play_journal(journal, Asked(start=start, end=end), other=None, **QUIET)

    assert part.said == tuple(s for s in all_of_it.said if start <= s.at < end)
    assert part.said


def test_a_zone_that_is_not_there_is_refused(whole):
    with pytest.raises(ConfigError, match=r"--zone: expected one of journal\.db's, such as north"):
        play_journal(survey(whole), Asked(zones=("west",)), other=None, **QUIET)


def test_a_file_that_is_no_journal_is_named(tmp_path):
    path = tmp_path / "journal.db"
    path.write_bytes(b"no database, whatever its name says" * 100)

    with pytest.raises(StorageError, match=r"journal\.db"):
        survey(path)
