"""Report by exception: steady values are thinned, news never is, silence is bounded."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.report_by_exception import ReportByException, Reporting
from telemetry.instant import Instant
from telemetry.point import PointId
from telemetry.sample import Quality, Reason, Sample, TimeQuality

POINT = PointId("tank-1/level")
HOW = Reporting(deadband=0.1, silence_max_ms=10_000, period_ms=1_000)


def level(n: int, value: float | None, **more) -> Sample:
    at = Instant(n * 1_000)
    if value is None:
        return Sample.bad(POINT, at, Reason.TIMEOUT)
    return Sample(point=POINT, at=at, value=value, **more)


def sent(samples: list[Sample]) -> list[int]:
    reporting = ReportByException({POINT: HOW})
    return [n for n, s in enumerate(samples) if reporting.is_news(s, monotonic_ms=n * 1_000)]


def test_only_what_left_the_deadband_around_the_last_one_sent_is_sent():
    values = [2.0, 2.05, 2.09, 2.11, 2.15, 2.0]
    assert sent([level(n, v) for n, v in enumerate(values)]) == [0, 3, 5]


def test_a_slow_drift_cannot_hide_in_the_deadband():
    assert sent([level(n, n * 0.04) for n in range(9)]) == [0, 3, 6]


def test_something_is_said_before_the_longest_silence_is_over():
    assert sent([level(n, 2.0) for n in range(25)]) == [0, 10, 20]


def test_a_change_of_quality_or_of_its_reason_is_always_sent():
    doubted = {"quality": Quality.UNCERTAIN, "reason": Reason.STUCK}
    samples = [
        level(0, 2.0),
        level(1, None),
        level(2, None),
        level(3, 2.0),
        level(4, 2.0, **doubted),
        level(5, 2.0, time_quality=TimeQuality.DOUBTFUL),
        level(6, 2.0, time_quality=TimeQuality.DOUBTFUL),
    ]
    assert sent(samples) == [0, 1, 3, 4, 5]


def test_a_point_that_is_not_told_to_reports_everything():
    reporting = ReportByException({})
    assert all(reporting.is_news(level(n, 2.0), monotonic_ms=n) for n in range(9))


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=60))
def test_whoever_holds_the_last_value_is_never_off_by_more_than_the_deadband(values):
    samples = [level(n, v) for n, v in enumerate(values)]
    held, silent_since = samples[0], 0
    told = set(sent(samples))
    for n, sample in enumerate(samples):
        if n in told:
            held, silent_since = sample, n
        assert (held.quality, held.reason) == (sample.quality, sample.reason)
        if sample.value is not None and held.value is not None:
            assert abs(sample.value - held.value) <= HOW.deadband
        assert (n - silent_since) * 1_000 <= HOW.silence_max_ms
