"""Which periods the engine lets a zone be learnt from, and what the trainer makes of them."""

import pytest

from server.engine.commands import TRAIN
from server.engine.effects import CommandDone
from server.engine.engine import Engine
from server.engine.events import Commanded, RegistryChanged
from server.engine.training import PERIOD_MIN_DAYS, READ_DAYS, note_of
from server.learning import trainer
from telemetry.instant import DAY_MS, HOUR_MS, Instant
from tests.scenarios.town_stream import registry

NOW = Instant(1_790_000_000_000)


def refusals(*commands: tuple[str, str]) -> list[str]:
    """Return what the engine answers to commands of (zone, note)."""
    engine = Engine("mainwatch")
    engine.apply(RegistryChanged(at=NOW, registry=registry()))
    told = []
    for n, (zone, note) in enumerate(commands):
        event = Commanded(at=NOW, key=f"k{n}", actor="Li", verb=TRAIN, subject=zone, note=note)
        (done,) = engine.apply(event)
        assert isinstance(done, CommandDone)
        told.append(done.refused)
    return told


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        (30, 30 - 14, ""),
        (30, 30 - 14 + 1 / 24, ""),  # the clocks were changed
        (30, 30 - 13, "at least 14 days"),
        (132, 100, ""),
        (133, 100, "last 132 days"),
        (20, -1, "that is over"),
        (10, 20, "end after the beginning"),
    ],
)
def test_a_period_is_long_enough_over_and_not_too_old(first, last, words):
    begin, end = NOW - first * DAY_MS, NOW - round(last * 24) * HOUR_MS

    (told,) = refusals(("north", note_of((Instant(begin), Instant(end)))))

    assert (told == "") == (words == "")
    assert words in told


def test_an_unknown_zone_and_a_note_of_no_sense_are_refused():
    told = refusals(("atlantis", note_of(None)), ("north", "{"), ("north", '{"from":1,"to":null}'))

    assert told[0] == "there is no zone atlantis"
    assert told[1].startswith("expected JSON with from and to")
    assert told[2] == "expected instants in ms, was 1, None"


def test_the_engine_and_the_trainer_agree_on_how_far_is_read():
    assert trainer.WINDOW + trainer.REMEMBERED == READ_DAYS
    assert trainer.LEARNT == PERIOD_MIN_DAYS
