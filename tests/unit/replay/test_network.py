"""Are ways along the mains as long as the pipes say?"""

from math import inf

import pytest

from server.replay.network import network_of, read_network
from server.replay.poisson import interval, rate
from telemetry.errors import ConfigError

SQUARE = """
[JUNCTIONS]
 a 1 ; a comment
 b 1
 c 1
 d 1
[TANKS]
 t 1 0 0 0 0
[PIPES]
;id from to length
 ab a b 200 100 0.1
 bc b c 250 100 0.1
[VALVES]
 cd c d 100 PRV 40
[COORDINATES]
 a 0 0
 b 200 0
"""


def test_ways_lead_through_valves_and_not_where_no_pipe_is():
    mains = network_of(SQUARE)
    a, d, t = (mains.at_node(n) for n in "adt")

    assert mains.distance_m(a, d) == 450.0
    assert mains.distance_m(a, t) == inf
    assert mains.distance_m(a, mains.at_pipe("bc")) == 325.0
    assert mains.distance_m(mains.at_pipe("bc"), mains.at_pipe("bc")) == 0.0


def test_a_point_is_as_far_as_its_nearest_node():
    mains = network_of(SQUARE)

    assert mains.distance_m(mains.at_point(30.0, 40.0), mains.at_node("b")) == 250.0
    assert mains.at_node("z") is None
    assert mains.at_pipe("z") is None


def test_feet_become_metres():
    mains = network_of(SQUARE + "[OPTIONS]\n Units GPM\n")

    assert mains.distance_m(mains.at_node("a"), mains.at_node("b")) == pytest.approx(60.96)


def test_a_row_that_is_none_is_told_with_its_line(tmp_path):
    path = tmp_path / "network.inp"
    path.write_text("[PIPES]\n p a b long\n", encoding="utf-8")

    with pytest.raises(ConfigError, match=r"network.inp: line 2: expected a row of \[PIPES\]"):
        read_network(path)


@pytest.mark.parametrize(
    ("count", "low", "high"), [(0, 0.0, 3.6889), (1, 0.0253, 5.5716), (5, 1.6235, 11.6683)]
)
def test_intervals_are_those_of_the_tables(count, low, high):
    assert interval(count) == pytest.approx((low, high), abs=1e-4)


def test_no_time_gives_no_rate():
    assert rate(3, years=0.0).per_year is None
