"""Which mark holds where, and what is left of them when one is taken back."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from server.history.marks import Mark, holding, without
from telemetry.instant import Instant

LAST = 12


def marks_of(drawn: list[tuple[int, int, int | None, str]]) -> dict[int, Mark]:
    return {
        n: Mark(
            point="p",
            start=Instant(start),
            end=Instant(start + width),
            quality=quality,
            reason=author,
            author=author,
            at=Instant(n),
        )
        for n, (start, width, quality, author) in enumerate(drawn, 1)
    }


DRAWN = st.lists(
    st.tuples(
        st.integers(0, LAST - 3),
        st.integers(1, 3),
        st.sampled_from([0, 64, None]),
        st.sampled_from(["engine", "Eng"]),
    ),
    min_size=1,
    max_size=6,
).map(marks_of)


def judged(marks: dict[int, Mark]) -> list[int | None]:
    """Return the quality that holds at each instant, as the historian's judge finds it."""
    found: list[int | None] = [None] * (LAST + 1)
    for _, mark in sorted(marks.items()):
        for at in range(mark.start, mark.end):
            found[at] = mark.quality
    return found


@given(DRAWN)
def test_what_holds_is_what_was_said_last_of_each_instant(marks):
    found: list[int | None] = [None] * (LAST + 1)
    parts = holding(marks)
    for part in parts:
        for at in range(part.start, part.end):
            found[at] = marks[part.revision].quality

    assert found == judged(marks)
    assert all(a.end <= b.start for a, b in pairwise(parts))


@given(DRAWN, st.data())
def test_a_mark_that_is_taken_back_is_as_if_it_had_never_been_made(marks, data):
    revision = data.draw(st.sampled_from(sorted(marks)))
    gone = marks[revision]
    same = (gone.quality, gone.reason, gone.author)
    left = {
        r: m
        for r, m in marks.items()
        if (m.quality, m.reason, m.author) != same or m.start < gone.start or m.end > gone.end
    }
    said = [Mark(**{**fields(gone), "quality": None}), *without(marks, revision)]
    after = {**marks, **{len(marks) + n: m for n, m in enumerate(said, 1)}}

    stretch = slice(gone.start, gone.end)
    assert judged(after)[stretch] == judged(left)[stretch]
    assert judged(after)[: gone.start] == judged(marks)[: gone.start]
    assert judged(after)[gone.end :] == judged(marks)[gone.end :]


def fields(mark: Mark) -> dict[str, object]:
    return {name: getattr(mark, name) for name in Mark.__slots__}
