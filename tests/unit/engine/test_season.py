"""A zone's net inflow against its habit: leaks are told, people are not; hours for any cut."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.engine.detectors.forecast import Forecast
from server.engine.detectors.hours import Hours
from server.engine.detectors.season import Season, Seen, leak_of
from server.engine.effects import AlarmKind
from server.learning.trainer import Trainer
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS, Instant
from tests.unit.learning.hours_past import BEGIN, HoursPast, flow, registry

LEARNT = 45
STARTS = 46 * 24 + 9  # nine o'clock of a later day


def told(values, *, found=None, is_restarted=False):
    """Return (hour, finding) of a zone whose nights teach it and whose hours it judges."""
    found = found or registry()
    past, trainer, season = HoursPast(inlet_flow=values), Trainer({}), Season("z")
    said = []
    for hour in range(24 * LEARNT, len(values)):
        now = BEGIN + hour * HOUR_MS
        for event in trainer.train(found, past, at=now + 30 * MINUTE_MS):
            forecast = Forecast.of(event.artefact)
            said += [(hour, f) for f in season.publish(forecast, at=event.at)]
        seen = season.look(now, float(values[hour]))
        if seen is not None:
            said += [(hour, f) for f in season.step(seen, 0.0, at=Instant(now + HOUR_MS))]
        if is_restarted:
            season = pickle.loads(pickle.dumps(season))
    return said


def with_change(change, *, days=54, hours=None, seed=1):
    """Return hours of a town; `change` of the usual m³/h is added from `STARTS` on."""
    values = flow(days, seed=seed)
    end = len(values) if hours is None else STARTS + hours
    values[STARTS:end] += change(values[STARTS:end])
    return values


def steady(m3h):
    return lambda usual: np.full(len(usual), m3h)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_leak_of_five_sigmas_is_told_within_hours_with_its_size(seed):
    said = told(with_change(steady(10.0), seed=seed))

    (hour, leak), *others = said
    assert others == []
    assert leak.kind is AlarmKind.LEAK and leak.is_present and leak.zone == "z"
    assert 3 <= hour - STARTS <= 10
    assert abs(leak.estimate_m3h - 10.0) < 3.0
    assert abs(leak.onset - (BEGIN + STARTS * HOUR_MS)) <= 2 * HOUR_MS
    assert leak.because


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_quiet_days_and_a_single_wild_hour_tell_nothing(seed):
    assert told(with_change(steady(0.0), seed=seed)) == []
    assert told(with_change(steady(500.0), hours=1, seed=seed)) == []


@given(st.floats(0.05, 0.5), st.integers(0, 23))
def test_a_day_of_demand_that_grew_in_proportion_is_no_leak(share, first):
    usual = np.roll(100 + 40 * np.sin(2 * np.pi * np.arange(24) / 24), first)
    hours = [
        Seen(start=n, expected=float(v), sigma=1.0, above=float(share * v))
        for n, v in enumerate(usual)
    ]

    assert leak_of(hours) is None


def test_less_inflow_is_no_leak():
    assert told(with_change(steady(-20.0))) == []


def test_a_leak_that_was_mended_is_told_gone():
    said = told(with_change(steady(15.0), hours=72))

    assert [f.is_present for _, f in said] == [True, False]
    assert said[0][1].key == said[1][1].key
    assert 72 < said[1][0] - STARTS <= 72 + 48


def test_a_leak_that_grows_slowly_is_told_again_as_the_same():
    season = Season("z")
    forecast = Forecast(
        begin=BEGIN,
        expected=np.zeros(24 * 30),
        sigma=np.ones(24 * 30),
        levels=((BEGIN - DAY_MS, 100.0),),
        threshold=12.0,
        slow_threshold=60.0,
        past_days=90,
        past_alarms=0,
    )
    season.publish(forecast, at=Instant(BEGIN))
    said = []
    for hour in range(24 * 8):
        seen = season.look(BEGIN + hour * HOUR_MS, 108.0 if hour < 24 * 3 else 102.0)
        said += season.step(seen, 0.0, at=Instant(BEGIN + (hour + 1) * HOUR_MS))

    first, grown = said[:2]
    assert first.key == grown.key and first.onset == grown.onset
    assert first.estimate_m3h == 8.0
    assert grown.estimate_m3h > first.estimate_m3h
    assert "grown" in grown.because[0]


def rough(*, sigma, slow_threshold=60.0):
    """Return what was learnt of a zone at 100 m³/h whose hours differ by `sigma`."""
    return Forecast(
        begin=BEGIN,
        expected=np.zeros(24 * 30),
        sigma=np.full(24 * 30, sigma),
        levels=((BEGIN - DAY_MS, 100.0),),
        threshold=20.0,
        slow_threshold=slow_threshold,
        past_days=90,
        past_alarms=0,
    )


def judged(forecast, net, *, hours):
    season = Season("z")
    season.publish(forecast, at=Instant(BEGIN))
    said = []
    for hour in range(hours):
        seen = season.look(BEGIN + hour * HOUR_MS, net(hour))
        said += [
            (hour, f) for f in season.step(seen, 0.0, at=Instant(BEGIN + (hour + 1) * HOUR_MS))
        ]
    return said


def test_a_fifth_of_the_inflow_of_a_rough_zone_is_told_within_a_week():
    said = judged(rough(sigma=12.0), lambda _: 120.0, hours=24 * 7)

    hour, leak = said[0]
    assert 48 < hour < 24 * 7
    assert leak.onset == BEGIN
    assert abs(leak.estimate_m3h - 20.0) < 0.1
    assert "20.0 m³/h (20 %) above its habit" in leak.because[0]


def test_a_slow_rise_of_less_than_a_tenth_may_be_the_season_and_is_not_told():
    assert judged(rough(sigma=5.0), lambda _: 108.0, hours=24 * 9) == []


def test_a_model_of_older_code_has_no_slow_sum():
    told = {"begin": BEGIN, "expected": [], "sigma": [], "levels": [], "threshold": 12.0}
    told |= {"past_days": 1, "past_alarms": 0}
    found = Forecast.of({"version": 1, "state": "ready", "inflow": told})

    assert found is not None
    assert found.slow_threshold == float("inf")


def test_unknown_hours_neither_raise_nor_hide_a_leak():
    values = with_change(steady(10.0))
    values[STARTS + 2 : STARTS + 8] = np.nan
    (hour, leak), *others = told(values)

    assert others == [] and leak.is_present
    assert 9 <= hour - STARTS <= 18


def test_the_day_on_which_clocks_change_tells_nothing():
    """People live by the clock: from 29 March on all comes an hour earlier."""
    values = flow(LEARNT + 45)
    change = 24 * 77 + 1
    values[change:-1] = values[change + 1 :]

    assert told(values, found=registry(timezone="Europe/Berlin")) == []


def test_a_restart_changes_nothing():
    values = with_change(steady(15.0), hours=72)

    assert told(values, is_restarted=True) == told(values)


def test_what_a_zone_remembers_does_not_grow():
    values = flow(LEARNT + 75)
    season = Season("z")
    forecast = Forecast.of(
        Trainer({})
        .train(registry(), HoursPast(inlet_flow=values), at=BEGIN + LEARNT * DAY_MS)[0]
        .artefact
    )
    season.publish(forecast, at=Instant(BEGIN + LEARNT * DAY_MS))
    sizes = []
    for hour in range(24 * LEARNT, 24 * LEARNT + 48):
        seen = season.look(BEGIN + hour * HOUR_MS, float(values[hour]))
        for lap in range(20):
            season.step(seen, 0.0, at=Instant(BEGIN + (hour + 48 * lap) * HOUR_MS))
        sizes.append(len(pickle.dumps(season)))

    assert max(sizes[8:]) < 1.05 * sizes[8]


def test_without_a_forecast_nothing_is_looked_at():
    season = Season("z")

    assert season.publish(None, at=Instant(BEGIN)) == []
    assert season.look(BEGIN, 100.0) is None


@given(st.lists(st.floats(-50, 50), min_size=3, max_size=48), st.floats(0.5, 5))
def test_the_size_of_a_leak_is_never_below_nothing(above, sigma):
    seen = [
        Seen(start=n, expected=50.0 + n, sigma=sigma, above=value) for n, value in enumerate(above)
    ]
    size = leak_of(seen)

    assert size is None or 0 < size <= max(above) + 1e-9


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_hours_are_the_same_however_bins_came_together(lengths, seed):
    chance = np.random.default_rng(seed)
    values = chance.normal(0, 9, (200, 3))
    values[chance.random(values.shape) < 0.4] = np.nan
    start = BEGIN + 17 * MINUTE_MS // 5 * 5 + 5 * MINUTE_MS * np.arange(200)
    start = start // (5 * MINUTE_MS) * (5 * MINUTE_MS)
    whole = Hours(3, width_ms=5 * MINUTE_MS).run(start, values)
    cut, closed, at = Hours(3, width_ms=5 * MINUTE_MS), [], 0
    while at < 200:
        for length in lengths:
            part = slice(at, at + length)
            closed += [(at, h) for h in cut.run(start[part], values[part])]
            cut = pickle.loads(pickle.dumps(cut))
            at += length

    assert [(h.row, h.start) for h in whole] == [(n + h.row, h.start) for n, h in closed]
    for one, (_, other) in zip(whole, closed, strict=True):
        assert one.means.tobytes() == other.means.tobytes()
        assert one.ends.tobytes() == other.ends.tobytes()


def test_an_hour_of_which_half_is_missing_is_unknown():
    start = BEGIN + 5 * MINUTE_MS * np.arange(12)
    values = np.full((12, 2), 6.0)
    values[:7, 0] = np.nan
    values[:6, 1] = np.nan
    (hour,) = Hours(2, width_ms=5 * MINUTE_MS).run(start, values)

    assert np.isnan(hour.means[0]) and hour.means[1] == 6.0
    assert hour.ends.tolist() == [6.0, 6.0]
