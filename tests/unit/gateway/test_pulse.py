"""Counters: volumes that only grow, flows that say how well they are known."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.pulse import Counter, CounterSettings, CounterState
from telemetry.instant import Instant
from telemetry.point import PointId
from telemetry.sample import Quality, Reason, Sample

VOLUME = PointId("customer-07/volume")
FLOW = PointId("customer-07/flow")


def settings_of(**changes):
    known = {
        "point": VOLUME,
        "count_m3": 0.01,
        "rolls_over_at": 65_536,
        "period_ms": 1_000,
        "flow_max_m3h": 3_600.0,  # 100 counts a second
        "flow_point": FLOW,
        "flow_window_ms": 10_000,
    }
    return CounterSettings(**(known | changes))


def feed(counter: Counter, raws, *, start: int = 0, step_ms: int = 1_000) -> list[list[Sample]]:
    return [counter.update(raw, Instant(start + n * step_ms)) for n, raw in enumerate(raws)]


def volumes(found: list[list[Sample]]) -> list[float | None]:
    return [samples[0].value for samples in found]


@settings(max_examples=200, deadline=None)
@given(
    first=st.integers(0, 65_535),
    steps=st.lists(st.integers(0, 100), max_size=80),
    restarts=st.sets(st.integers(0, 79)),
)
def test_the_volume_is_the_true_total_over_roll_overs_and_restarts(first, steps, restarts):
    counter = Counter(settings_of(), None)
    counter.update(first, Instant(0))
    true = first
    for n, step in enumerate(steps):
        true += step
        if n in restarts:  # of the gateway: the state comes back from its disk
            counter = Counter(settings_of(), counter.state)
        volume, _ = counter.update(true % 65_536, Instant((n + 1) * 1_000))

        assert volume.quality is Quality.GOOD
        assert volume.value == pytest.approx(true * 0.01)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 65_535), max_size=60), st.sampled_from([None, 3_600.0]))
def test_whatever_a_device_says_the_volume_never_goes_backwards(raws, flow_max):
    found = feed(Counter(settings_of(flow_max_m3h=flow_max), None), raws)

    known = [v for v in volumes(found) if v is not None]
    assert known == sorted(known)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 100), min_size=12, max_size=60))
def test_the_flow_is_the_difference_over_the_window(steps):
    raws = [sum(steps[:n]) for n in range(len(steps) + 1)]
    counter = Counter(settings_of(rolls_over_at=2**32), None)

    found = feed(counter, raws)

    for n, (_, flow) in enumerate(found):
        if n >= 10:
            assert flow.quality is Quality.GOOD
            assert flow.value == pytest.approx((raws[n] - raws[n - 10]) * 0.01 * 3600 / 10)


def test_a_flow_begins_bad_becomes_uncertain_and_then_good():
    found = feed(Counter(settings_of(), None), [10 * n for n in range(12)])

    judged = [(flow.quality, flow.reason) for _, flow in found]
    assert judged[:5] == [(Quality.BAD, Reason.FIRST_READING)] * 5
    assert judged[5:10] == [(Quality.UNCERTAIN, Reason.FIRST_READING)] * 5
    assert judged[10:] == [(Quality.GOOD, Reason.NONE)] * 2
    assert [flow.value for _, flow in found[5:]] == pytest.approx([360.0] * 7)


def test_the_resolution_of_a_flow_is_one_count_in_the_window():
    assert settings_of().flow_resolution_m3h == pytest.approx(3.6)


def test_a_device_that_begins_anew_is_recognised_and_its_volume_goes_on():
    found = feed(Counter(settings_of(), None), [40_000, 40_010, 0, 7, 9])

    assert volumes(found) == pytest.approx([400.0, 400.1, 400.1, 400.17, 400.19])
    reasons = [samples[0].reason for samples in found]
    assert reasons == [Reason.NONE] * 2 + [Reason.COUNTER_RESET] * 2 + [Reason.NONE]
    assert [samples[1].value for samples in found[2:4]] == [None, None]


def test_one_garbled_reading_leaves_no_trace():
    found = feed(Counter(settings_of(), None), [40_000, 40_010, 0, 40_020, 65_000, 40_030])

    assert volumes(found) == pytest.approx([400.0, 400.1, 400.1, 400.2, None, 400.3])
    assert found[4][0].reason is Reason.IMPLAUSIBLE_RATE


def test_a_leap_that_stays_is_a_new_meter():
    found = feed(Counter(settings_of(), None), [1_000, 30_000, 30_005, 30_010])

    assert volumes(found) == pytest.approx([10.0, None, 10.05, 10.10])
    assert [s[0].reason for s in found[1:]] == [
        Reason.IMPLAUSIBLE_RATE,
        Reason.COUNTER_RESET,
        Reason.NONE,
    ]


def test_without_a_maximum_flow_only_the_edges_roll_over():
    rolled = feed(Counter(settings_of(flow_max_m3h=None), None), [65_000, 100])
    reset = feed(Counter(settings_of(flow_max_m3h=None), None), [40_000, 100])

    assert volumes(rolled) == pytest.approx([650.0, 656.36])
    assert reset[1][0].reason is Reason.COUNTER_RESET


def test_after_an_outage_in_which_it_may_have_turned_whole_a_count_is_uncertain():
    counter = Counter(settings_of(), CounterState(point=VOLUME, base=0, raw=10, at=Instant(0)))

    volume, _ = counter.update(20, Instant(3_600_000))

    assert (volume.quality, volume.reason) == (Quality.UNCERTAIN, Reason.UNKNOWN)


def test_a_clock_that_is_set_back_stops_neither_volume_nor_flow():
    counter = Counter(settings_of(), None)
    feed(counter, [10 * n for n in range(12)], start=10_000_000)

    found = feed(counter, [120 + 10 * n for n in range(12)], start=5_000_000)

    assert volumes(found) == pytest.approx([1.2 + 0.1 * n for n in range(12)])
    assert found[-1][1].value == pytest.approx(360.0)


@pytest.mark.parametrize("raw", [65_536, -1, 2**64 - 1])
def test_a_first_count_that_the_counter_cannot_show_is_bad_and_begins_nothing(raw):
    counter = Counter(settings_of(), None)

    garbled, good = feed(counter, [raw, 7])

    assert [(s.quality, s.reason) for s in garbled] == [(Quality.BAD, Reason.OUT_OF_RANGE)] * 2
    assert good[0].value == 0.07


def test_a_failed_reading_is_bad_for_both_points_and_forgets_nothing():
    counter = Counter(settings_of(flow_point=None), None)
    counter.update(100, Instant(0))

    (bad,) = counter.bad(Instant(1_000), Reason.TIMEOUT)
    (volume,) = counter.update(150, Instant(2_000))

    assert (bad.value, bad.reason) == (None, Reason.TIMEOUT)
    assert volume.value == pytest.approx(1.5)


def test_a_meter_that_is_known_to_be_replaced_goes_on_at_once_whatever_it_shows():
    counter = Counter(settings_of(), None)
    feed(counter, [1_000, 1_050])

    counter.replaced()
    (first, *_), (second, *_) = feed(counter, [60_000, 60_020], start=2_000)

    assert (first.value, first.quality, first.reason) == (
        pytest.approx(10.5),
        Quality.UNCERTAIN,
        Reason.COUNTER_RESET,
    )
    assert (second.value, second.quality) == (pytest.approx(10.7), Quality.GOOD)


def test_a_net_total_goes_down_while_water_flows_back_and_so_does_the_flow():
    counter = Counter(settings_of(runs_backwards=True), None)
    found = feed(counter, [100, *range(95, 0, -5)])

    assert volumes(found)[-1] == pytest.approx(0.05)
    assert all(samples[0].quality is Quality.GOOD for samples in found)
    assert found[-1][1].value == pytest.approx(-5 * 0.01 * 3_600)


def test_a_net_total_passes_zero_downwards():
    counter = Counter(settings_of(runs_backwards=True), None)

    found = feed(counter, [5, 65_531, 65_530])

    assert volumes(found) == pytest.approx([0.05, -0.05, -0.06])


def test_a_net_total_never_leaps():
    counter = Counter(settings_of(runs_backwards=True), None)

    found = feed(counter, [30_000, 20_000, 29_990])

    assert volumes(found) == pytest.approx([300.0, 300.0, 299.9])
    assert found[1][0].reason is Reason.COUNTER_RESET
