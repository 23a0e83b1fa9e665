"""Judgements of people on samples: marks with their author, refused with a reason."""

import json

import pytest

from server.engine.commands import MARK_QUALITY
from server.engine.effects import CommandDone, QualityMarked
from server.engine.engine import Engine
from server.engine.events import Commanded, RegistryChanged
from server.engine.marking import MARKS_MAX, Statement, note_of, read
from telemetry.instant import Instant
from tests.scenarios.town_stream import START, pressure, registry

P = pressure(0)


def told(note: str, *, key: str = "k", subject: str = P) -> Commanded:
    return Commanded(at=START, key=key, actor="Eng", verb=MARK_QUALITY, subject=subject, note=note)


def stretch(begin: int, end: int, quality: int | None = 0) -> Statement:
    return Statement(
        begin=Instant(begin), end=Instant(end), quality=quality, reason="frozen", author="Eng"
    )


def engine() -> Engine:
    made = Engine("mainwatch")
    made.apply(RegistryChanged(at=START, registry=registry()))
    return made


def test_a_judgement_becomes_marks_in_its_order_once():
    room = engine()
    command = told(note_of([stretch(1_000, 9_000, None), stretch(3_000, 4_000)]))

    first, again = room.run([command, command])

    assert [(e.begin, e.end, e.quality) for e in first if isinstance(e, QualityMarked)] == [
        (1_000, 9_000, None),
        (3_000, 4_000, 0),
    ]
    assert {(e.point, e.reason, e.author) for e in first[:2]} == {(P, "frozen", "Eng")}
    assert first[2:] == [CommandDone(at=START, key="k")]
    assert again == []


FIELDS = {"begin": 1, "end": 2, "quality": 0, "reason": "x", "author": "Eng"}


@pytest.mark.parametrize(
    ("note", "words"),
    [
        ("", "expected JSON with marks"),
        ("[1]", "expected JSON with marks"),
        (json.dumps({"marks": []}), "expected 1 to 500 marks, were 0"),
        (json.dumps({"marks": [{"begin": 1}]}), "expected JSON with marks"),
        (json.dumps({"marks": [{**FIELDS, "end": 1}]}), "expected an end after the beginning"),
        (json.dumps({"marks": [{**FIELDS, "begin": -1}]}), "expected an end after"),
        (json.dumps({"marks": [{**FIELDS, "end": 2**60}]}), "expected an end after"),
        (json.dumps({"marks": [{**FIELDS, "begin": 1.5}]}), "expected an end after"),
        (json.dumps({"marks": [{**FIELDS, "quality": 7}]}), "expected a quality or null, was 7"),
        (json.dumps({"marks": [{**FIELDS, "author": None}]}), "expected texts"),
        (note_of([stretch(1, 2)] * (MARKS_MAX + 1)), "were 501"),
    ],
)
def test_a_note_that_says_no_marks_is_refused_and_nothing_is_marked(note, words):
    (done,) = engine().apply(told(note))

    assert isinstance(done, CommandDone)
    assert words in done.refused


def test_what_was_written_is_read_again():
    marks = [stretch(1_000, 9_000, None), stretch(3_000, 4_000, 64)]

    assert read(note_of(marks)) == marks


def test_a_point_that_nobody_accepted_is_refused():
    (done,) = engine().apply(told(note_of([stretch(1, 2)]), subject="gone/pressure"))

    assert done == CommandDone(
        at=START, key="k", refused="there is no accepted point gone/pressure"
    )
