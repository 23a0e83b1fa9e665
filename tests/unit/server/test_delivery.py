"""Delivery: every good line arrives, every bad one is put aside, and patience has its bounds."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.history.delivery import (
    PAUSE_MAX_S,
    RETRY_AFTER_MAX_S,
    SINGLES_MAX,
    Answer,
    Backoff,
    Delivery,
    Meaning,
    meaning,
)


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (204, "", Meaning.TAKEN),
        (200, "", Meaning.STOP),
        (302, "", Meaning.STOP),
        (400, "partial write: field type conflict dropped=1", Meaning.WRONG_LINES),
        (400, "partial write: points beyond retention policy dropped=3", Meaning.EXPIRED),
        (422, "unable to parse", Meaning.WRONG_LINES),
        (401, "", Meaning.STOP),
        (403, "", Meaning.STOP),
        (404, "", Meaning.STOP),
        (413, "", Meaning.TOO_LARGE),
        (429, "", Meaning.AGAIN),
        (500, "", Meaning.AGAIN),
        (503, "", Meaning.AGAIN),
        (0, "refused", Meaning.AGAIN),
    ],
)
def test_every_answer_has_one_meaning(status, text, expected):
    assert meaning(Answer(status=status, text=text)) is expected


def serve(delivery: Delivery, bad: set[bytes], bytes_max: int, moods: random.Random) -> list[bytes]:
    """Play a server with wrong lines, a bound and bad moods; return what it has stored."""
    stored = []
    for _ in range(100_000):
        piece = delivery.piece
        if not piece:
            return stored
        assert len(piece) <= delivery.limit
        if moods.random() < 0.2:
            before = list(piece)
            assert delivery.answered(Answer(status=503)) is Meaning.AGAIN
            assert list(delivery.piece) == before, "what was not taken comes again"
        elif len(b"\n".join(piece)) > bytes_max:
            delivery.answered(Answer(status=413))
        else:
            stored += [line for line in piece if line not in bad]
            wrong = bad.intersection(piece)
            delivery.answered(Answer(status=400 if wrong else 204, text="wrong"))
    raise AssertionError("it never ends")


@given(
    st.integers(0, 300), st.sets(st.integers(0, 299), max_size=40), st.integers(1, 300),
    st.integers(5, 2_000), st.integers(),
)  # fmt: skip
def test_good_lines_are_stored_and_wrong_ones_put_aside_whatever_the_server_does(
    n, wrong, limit, bytes_max, seed
):
    lines = [f"line-{k}".encode() for k in range(n)]
    bad = {f"line-{k}".encode() for k in wrong}.intersection(lines)
    too_long = {line for line in lines if len(line) > bytes_max}
    if len(bad | too_long) > SINGLES_MAX:
        return
    delivery = Delivery(lines=lines, limit=limit)

    stored = serve(delivery, bad, bytes_max, random.Random(seed))

    assert set(stored) == set(lines) - bad - too_long
    assert {r.line for r in delivery.refused} == bad | too_long
    assert delivery.taken == n - len(delivery.refused)


def test_a_wrong_line_is_found_in_few_requests():
    lines = [b"%d" % k for k in range(5_000)]
    delivery, requests = Delivery(lines=lines, limit=5_000), 0

    while piece := delivery.piece:
        requests += 1
        delivery.answered(Answer(status=400 if b"4321" in piece else 204, text="wrong"))

    assert [r.line for r in delivery.refused] == [b"4321"]
    assert requests <= 2 * 13 + 1


def test_where_all_lines_are_wrong_a_person_is_wanted_and_nothing_more_is_put_aside():
    delivery = Delivery(lines=[b"%d" % k for k in range(5_000)], limit=5_000)

    said = Meaning.WRONG_LINES
    while said is Meaning.WRONG_LINES:
        said = delivery.answered(Answer(status=400, text="wrong"))

    assert said is Meaning.STOP
    assert len(delivery.refused) == SINGLES_MAX


def test_what_is_older_than_the_server_keeps_is_counted_and_not_sent_again():
    delivery = Delivery(lines=[b"a", b"b", b"c"], limit=5_000)

    delivery.answered(
        Answer(status=400, text="partial write: points beyond retention policy dropped=2")
    )

    assert (delivery.expired, delivery.taken, list(delivery.piece)) == (2, 1, [])


def test_pauses_double_up_to_a_bound_and_come_from_the_seed():
    pauses = [Backoff(random.Random(3)).failed(None) for _ in range(2)]
    assert pauses[0] == pauses[1]

    backoff = Backoff(random.Random(3))
    grown = [backoff.failed(None) for _ in range(40)]
    ceilings = [min(PAUSE_MAX_S, 0.5 * 2**k) for k in range(40)]

    assert all(c / 2 <= p <= c for p, c in zip(grown, ceilings, strict=True))
    assert len(set(grown[10:])) == 30, "jitter keeps many servers apart"
    backoff.succeeded()
    assert backoff.failed(None) <= 0.5


def test_retry_after_is_obeyed_within_reason():
    backoff = Backoff(random.Random(3))

    assert backoff.failed(7.0) == 7.0
    assert backoff.failed(0.0) > 0
    assert backoff.failed(1e12) == RETRY_AFTER_MAX_S
