"""The circle on the crew's map."""

import pytest

from server.engine.detectors.place import place_of


def test_what_all_points_share_says_nothing_of_the_place():
    near = place_of([(0.0, 0.0, 9.0), (1_000.0, 0.0, 3.0), (2_000.0, 0.0, 3.0)])

    assert near is not None
    assert (near.x, near.y) == (0.0, 0.0)


def test_even_falls_leave_the_place_open():
    place = place_of([(0.0, 0.0, 3.0), (2_000.0, 0.0, 3.4)])

    assert place is not None
    assert (place.x, place.radius_m) == (1_000.0, pytest.approx(2_000.0))


@pytest.mark.parametrize("times", [0.3, 2.0, 50.0])
def test_a_larger_burst_at_the_same_place_is_at_the_same_place(times):
    at = ((0.0, 0.0, 12.0), (1_000.0, 0.0, 11.0), (400.0, 900.0, 6.0), (3_000.0, 10.0, 2.0))

    place = place_of(at)

    assert place == place_of([(x, y, fall * times) for x, y, fall in at])
    assert place is not None
    assert 0.0 < place.x < 500.0


def test_points_without_a_position_do_not_count():
    assert place_of([(None, None, 9.0), (1.0, None, 5.0)]) is None
    assert place_of([]) is None
