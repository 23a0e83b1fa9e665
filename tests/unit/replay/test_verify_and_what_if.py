"""Is the first divergence the first, and is every difference of two runs told once?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.replay.verify import Divergence, differences, verify
from server.replay.what_if import Change, compare, json_of, text_of
from telemetry.instant import DAY_MS, MINUTE_MS
from tests.unit.replay.facts import said

EFFECTS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3)), unique=True, max_size=12).map(
    lambda rows: [(seq, n, "CommandDone", f'{{"key":"{seq}.{n}"}}') for seq, n in sorted(rows)]
)
MINUTE = MINUTE_MS / DAY_MS


@given(EFFECTS)
def test_equal_streams_verify(effects):
    assert verify(effects, iter(effects)).divergence is None
    assert verify(effects, effects).effects == len(effects)


@given(EFFECTS, st.data())
def test_the_first_effect_that_is_not_there_is_told(effects, data):
    if not effects:
        return
    gone = data.draw(st.integers(0, len(effects) - 1))
    found = verify(effects, effects[:gone] + effects[gone + 1 :])
    seq, n, kind, body = effects[gone]

    assert found.effects == gone
    assert found.divergence == Divergence(seq=seq, n=n, expected=f"{kind} {body}", found=None)


@given(EFFECTS, st.data())
def test_the_first_effect_that_is_another_is_told(effects, data):
    if not effects:
        return
    spoilt = data.draw(st.integers(0, len(effects) - 1))
    seq, n, kind, body = effects[spoilt]
    others = [*effects[:spoilt], (seq, n, kind, "{}"), *effects[spoilt + 1 :]]
    place = verify(others, effects).divergence

    assert (place.seq, place.n) == (seq, n)
    assert list(differences(place))[1:] == [f"  expected {kind} {{}}", f"  found    {kind} {body}"]


def changes(before, after):
    return [d.changes for d in compare(before, after).differences]


def test_two_equal_runs_differ_in_nothing():
    run = [said("A-1", event="alarm"), said("INC-1", event="incident"), said("INC-1")]
    found = compare(run, run)

    assert (found.same, found.differences) == (3, ())
    assert list(text_of(found)) == ["0 differences, 3 the same"]


def test_what_is_gone_and_what_is_new_is_told():
    assert changes([said("INC-1", day=10)], []) == [(Change.GONE,)]
    assert changes([], [said("INC-1", day=10)]) == [(Change.NEW,)]
    assert changes([said("INC-1", day=10)], [said("INC-1", day=12)]) == [
        (Change.GONE,),
        (Change.NEW,),
    ]


@pytest.mark.parametrize(
    ("day", "more", "expected", "text"),
    [
        (10 + 5 * MINUTE, {}, Change.LATER, "5.0 min later"),
        (10 - 5 * MINUTE, {}, Change.EARLIER, "5.0 min earlier"),
        (10, {"mode": "auto"}, Change.MODE, "mode confirm → auto"),
        (10, {"severity": 1}, Change.SEVERITY, "severity 2 → 1"),
        (10, {"kind": "burst"}, Change.KIND, "kind leak → burst"),
    ],
)
def test_what_is_another_is_told_with_both(day, more, expected, text):
    found = compare([said("INC-1", day=10)], [said("INC-7", day=day, **more)])

    assert [d.changes for d in found.differences] == [(expected,)]
    assert text in next(text_of(found))
    assert json_of(found)["counts"] == {f"dispatch_{expected}": 1}


def test_the_nearest_of_several_belong_together():
    before = [said("INC-1", day=10), said("INC-2", day=10.5)]
    after = [said("INC-1", day=10.49), said("INC-2", day=10.01), said("INC-3", day=10.9)]
    found = compare(before, sorted(after, key=lambda s: s.at))

    assert [(d.before and d.before.id, d.after and d.after.id) for d in found.differences] == [
        ("INC-1", "INC-2"),
        ("INC-2", "INC-1"),
        (None, "INC-3"),
    ]


def test_an_incident_counts_once_by_its_opening():
    run = [said("INC-1", event="incident"), said("INC-1", event="incident", day=10.6)]

    assert compare(run, run[:1]).same == 1
    assert compare(run, run[:1]).differences == ()
