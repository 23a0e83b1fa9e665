"""Line protocol: the bytes that InfluxDB's documents want, and a field keeps its type."""

import math
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from server.history.line_protocol import Encoder, head_of

GOLDEN = Path(__file__).parents[2] / "contract/line_protocol/telemetry.txt"

ROWS = [
    ("wenhua-road-12/pressure", 1_795_000_000_000, 281.25, 192),
    ("wenhua-road-12/pressure", 1_795_000_001_000, 281, 192),
    ("wenhua-road-12/pressure", 1_795_000_002_000, -0.0, 64),
    ("wenhua-road-12/pressure", 1_795_000_003_000, None, 0),
    ("wenhua-road-12/pressure", 1_795_000_004_000, math.nan, 192),
    ("wenhua-road-12/pressure", 1_795_000_005_000, math.inf, 192),
    ("inlet/total", 1_795_000_000_000, 123_456_789_012.5, 192),
    ("inlet/total", -1, 1e300, 192),
    ("inlet/total", 0, 5e-324, 192),
    ("文化路 12,号=压力", 1_795_000_000_000, 0.1 + 0.2, 192),
    ("back\\slash", 1_795_000_000_000, 1.0, 192),
]

LINE = re.compile(rb"telemetry,point=((?:\\[,= ]|[^,= ])+) (?:v=([^,= i]+),)?q=(\d+)i (-?\d+)")

ids = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), min_size=1).filter(
    lambda s: not s.endswith("\\")
)


def test_lines_have_the_golden_bytes(golden):
    encoded = Encoder().encode(ROWS)

    golden(GOLDEN, b"\n".join(encoded.lines).decode() + "\n")
    assert encoded.without_value == 3
    assert encoded.unsayable == []


def test_an_id_that_no_tag_can_hold_is_told_and_stops_nobody():
    rows = [(p, 1, 2.0, 192) for p in ("", "two\nlines", "ends with\\", "a\x00b", "fine")]

    encoded = Encoder().encode(rows)

    assert encoded.unsayable == rows[:4]
    assert encoded.lines == [b"telemetry,point=fine v=2.0,q=192i 1"]
    assert head_of("two\nlines") is None


@given(
    st.lists(
        st.tuples(
            ids,
            st.integers(-(2**53), 2**53),
            st.none() | st.floats() | st.integers(-(2**53), 2**53),
            st.sampled_from((0, 64, 192)),
        )
    )
)
def test_every_row_is_one_line_that_says_it_exactly(rows):
    encoded = Encoder().encode(rows)

    assert len(encoded.lines) + len(encoded.unsayable) == len(rows)
    said = [row for row in rows if row not in encoded.unsayable]
    for (point, at, value, quality), line in zip(said, encoded.lines, strict=True):
        found = LINE.fullmatch(line)
        assert found is not None, line
        assert re.sub(r"\\([,= ])", r"\1", found[1].decode()) == point
        assert (int(found[3]), int(found[4])) == (quality, at)
        if value is None or not math.isfinite(value):
            assert found[2] is None
        else:
            assert float(found[2]) == value
            assert not re.fullmatch(rb"-?\d+", found[2]), "a float looks like one"


@given(st.lists(st.tuples(ids, st.integers(0, 9), st.floats(), st.just(192)), max_size=20))
def test_the_same_sample_is_the_same_line_whatever_it_comes_with(rows):
    together = Encoder().encode(rows).lines

    assert together == [line for row in rows for line in Encoder().encode([row]).lines]
