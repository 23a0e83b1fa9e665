"""What cannot be true is said in the quality, never kept silent and never made up."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.sanity import Limits, Sanity
from telemetry.instant import Instant
from telemetry.point import PointId
from telemetry.sample import Quality, Reason, Sample

POINT = PointId("pit-1/pressure")


def judged(limits: Limits, *values: float | None, every_ms: int = 1_000) -> list[str]:
    sanity = Sanity({POINT: limits})
    said = []
    for n, value in enumerate(values):
        at = Instant(n * every_ms)
        read = (
            Sample.bad(POINT, at, Reason.TIMEOUT)
            if value is None
            else Sample(point=POINT, at=at, value=value)
        )
        said.append(sanity.judge(read, monotonic_ms=at).reason.value)
    return said


def test_a_value_that_its_place_cannot_have_is_uncertain_and_kept():
    sanity = Sanity({POINT: Limits(minimum=0.0, maximum=1_000.0)})
    read = Sample(point=POINT, at=Instant(0), value=1_200.0)

    found = sanity.judge(read, monotonic_ms=0)

    assert (found.value, found.quality) == (1_200.0, Quality.UNCERTAIN)
    assert found.reason is Reason.OUT_OF_RANGE


def test_a_lone_spike_is_doubted_up_and_down_and_a_new_level_once():
    limits = Limits(rate_max_per_s=100.0)
    leap = "implausible_rate"
    assert judged(limits, 300.0, 900.0, 300.0, 301.0) == ["", leap, leap, ""]
    assert judged(limits, 300.0, 900.0, 901.0) == ["", leap, ""]


def test_a_value_that_never_moves_is_frozen_until_it_moves():
    limits = Limits(frozen_after_ms=3_000)
    same = [281.5] * 5
    assert judged(limits, *same, 281.6, 281.6) == ["", "", "", "stuck", "stuck", "", ""]


def test_a_missing_reading_does_not_make_a_frozen_value_move():
    said = judged(Limits(frozen_after_ms=2_000), 5.0, None, 5.0)
    assert said == ["", "timeout", "stuck"]


def test_zero_that_stands_for_no_value_is_no_value():
    sanity = Sanity({POINT: Limits(zero_is_missing=True)})
    found = sanity.judge(Sample(point=POINT, at=Instant(0), value=0.0), monotonic_ms=0)
    assert (found.value, found.quality, found.reason) == (
        None,
        Quality.BAD,
        Reason.NOT_A_NUMBER,
    )


def test_a_point_of_which_nothing_is_known_is_never_doubted():
    read = Sample(point=PointId("elsewhere/flow"), at=Instant(0), value=0.0)
    assert Sanity({POINT: Limits(zero_is_missing=True)}).judge(read, monotonic_ms=0) is read


@given(
    st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), max_size=30),
    st.builds(
        Limits,
        minimum=st.none() | st.floats(-100, 0),
        maximum=st.none() | st.floats(1, 100),
        rate_max_per_s=st.none() | st.floats(0.1, 10),
        frozen_after_ms=st.none() | st.integers(1, 9_000),
        zero_is_missing=st.booleans(),
    ),
)
def test_every_reading_comes_out_and_no_value_is_invented(values, limits):
    sanity = Sanity({POINT: limits})
    for n, value in enumerate(values):
        at = Instant(n * 1_000)
        read = (
            Sample.bad(POINT, at, Reason.TIMEOUT)
            if value is None
            else Sample(point=POINT, at=at, value=value)
        )
        found = sanity.judge(read, monotonic_ms=at)
        assert (found.point, found.at) == (read.point, read.at)
        assert found.value in (read.value, None)
        assert found.quality <= read.quality
