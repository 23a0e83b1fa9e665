"""The trainer: what it tells of a zone each night, of any past, restarted or not."""

import json

import numpy as np
import pytest

from server.engine.detectors.forecast import Forecast
from server.engine.events import from_record, hash_of, to_record
from server.learning.trainer import (
    SLOW_MAX,
    SLOW_MIN,
    THRESHOLD_MAX,
    THRESHOLD_MIN,
    UNPROVEN,
    Trainer,
    mean_off,
    slow_threshold_of,
    threshold_of,
)
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS
from tests.unit.learning.hours_past import BEGIN, INLET, OUTLET, HoursPast, flow, registry


def night(day):
    return BEGIN + day * DAY_MS + 30 * MINUTE_MS


def trained(past, day, *, found=None, trainer=None):
    (event,) = (trainer or Trainer({})).train(found or registry(), past, at=night(day))
    return event


def nightly(past, until, *, found=None, first=1):
    """Return what is told on the last of many nights, by one trainer that never stopped."""
    trainer = Trainer({})
    for day in range(first, until + 1):
        event = trained(past, day, found=found, trainer=trainer)
    return event


def test_nothing_is_told_before_14_days_are_known():
    past = HoursPast(inlet_flow=flow(20))

    early = trained(past, 13).artefact
    then = trained(past, 14).artefact

    assert (early["state"], early["days"], early["of"]) == ("learning", 13, 14)
    assert Forecast.of(early) is None
    assert (then["state"], then["days"]) == ("ready", 14)
    assert Forecast.of(then) is not None


def test_a_zone_without_meters_says_why_nothing_is_learnt():
    artefact = trained(HoursPast(), 20, found=registry(inflow=())).artefact

    assert artefact["state"] == "off"
    assert "meter" in artefact["because"]
    assert Forecast.of(artefact) is None


def test_what_is_expected_is_what_the_zone_does():
    values = flow(60, noise=1.0)
    told = Forecast.of(trained(HoursPast(inlet_flow=values), 50).artefact)
    level = told.level(since=0, before=BEGIN + 50 * DAY_MS)
    hours = [told.hour(BEGIN + 50 * DAY_MS + n * HOUR_MS) for n in range(48)]

    assert len(told.expected) == 48 and told.begin == BEGIN + 50 * DAY_MS
    assert np.abs(np.array([level + e for e, _ in hours]) - values[1200:1248]).max() < 4
    assert all(0.5 < sigma < 2 for _, sigma in hours)
    assert told.hour(told.begin - 1) is None and told.hour(told.begin + 48 * HOUR_MS) is None


def test_two_meters_count_with_their_signs():
    both = registry(inflow=((INLET, 1), (OUTLET, -1)))
    values = flow(30)
    past = HoursPast(inlet_flow=values + 50, outlet_flow=np.full(720, 50.0))

    told = trained(past, 30, found=both).artefact["inflow"]

    assert told == trained(HoursPast(inlet_flow=values), 30).artefact["inflow"]


def test_half_a_year_without_data_is_learnt_anew():
    values = flow(300)
    values[24 * 60 : 24 * 240] = np.nan
    past = HoursPast(inlet_flow=values)

    assert trained(past, 245).artefact["state"] in {"learning", "ready"}
    late = trained(past, 290).artefact
    told = Forecast.of(late)
    assert late["state"] == "ready"
    assert abs(told.level(since=0, before=night(290)) - 100) < 3


def test_nothing_usable_in_the_past_is_no_error():
    artefact = trained(HoursPast(inlet_flow=np.full(24 * 30, np.nan)), 30).artefact

    assert (artefact["state"], artefact["days"]) == ("learning", 0)


def test_an_artefact_comes_back_from_the_journal_as_it_was():
    event = trained(HoursPast(inlet_flow=flow(40)), 40)
    kind, body = to_record(event)
    again = from_record(kind, event.at, body)

    assert again == event
    assert hash_of(json.loads(json.dumps(again.artefact))) == event.hash


@pytest.mark.parametrize("timezone", ["UTC", "Europe/Berlin", "Asia/Shanghai"])
@pytest.mark.parametrize("until", [40, 90, 120])
def test_a_server_that_was_restarted_tells_what_it_would_have_told(timezone, until):
    """As long as the whole past is in memory: of older days nothing but a threshold is left."""
    values = flow(until + 2, sunday=0.9)
    values[24 * 60 : 24 * 66] += 15.0  # a leak, found and mended
    values[24 * 30 + 5 : 24 * 30 + 9] = np.nan
    past = HoursPast(inlet_flow=values)
    found = registry(timezone=timezone)

    assert trained(past, until, found=found) == nightly(past, until, found=found)


def test_a_zone_is_trained_once_a_day_and_at_once_when_it_never_was():
    past, trainer, found = HoursPast(inlet_flow=flow(30)), Trainer({}), registry()
    noon = BEGIN + 20 * DAY_MS + 12 * HOUR_MS

    assert len(trainer.train(found, past, at=noon)) == 1
    assert trainer.train(found, past, at=noon + HOUR_MS) == []
    assert trainer.train(found, past, at=night(21) - 1) == []
    assert trainer.due(found, noon) == night(21)
    assert len(trainer.train(found, past, at=night(21))) == 1
    assert trainer.due(found, night(21)) == night(22)


def test_a_leak_in_the_past_counts_among_the_alarms_that_it_would_have_brought():
    values = flow(110)
    calm = trained(HoursPast(inlet_flow=values), 100).artefact["inflow"]
    values = values.copy()
    values[24 * 60 + 9 : 24 * 64] += 20.0
    leaky = trained(HoursPast(inlet_flow=values), 100).artefact["inflow"]

    assert calm["past_alarms"] == 0 and calm["past_days"] > 60
    assert leaky["past_alarms"] == 1


def test_a_clean_period_is_what_shapes_are_learnt_from():
    values = flow(60)
    values[24 * 30 :] += np.tile(np.where(np.arange(24) < 6, 30.0, 0.0), 30)
    past = HoursPast(inlet_flow=values)
    clean = {"z": (BEGIN + 2 * DAY_MS, BEGIN + 28 * DAY_MS)}

    (event,) = Trainer({}).train(registry(), past, at=night(60), clean=clean)
    of_clean = np.array(event.artefact["inflow"]["expected"][:24])
    of_all = np.array(trained(past, 60).artefact["inflow"]["expected"][:24])

    assert of_all[3] - of_clean[3] > 10
    assert event.window == clean["z"]


def test_days_that_wander_make_the_threshold_higher():
    chance = np.random.default_rng(3)
    calm = [chance.normal(0, 1, 24) for _ in range(60)]
    unruly = [day + chance.normal(0, 1.0) for day in calm]

    def of(days):
        return threshold_of([mean_off(day) for day in days])

    assert of(calm[:13]) == UNPROVEN
    assert of(calm) == THRESHOLD_MIN
    assert THRESHOLD_MIN < of(unruly) <= THRESHOLD_MAX
    assert of([day + 4 * (-1) ** n for n, day in enumerate(calm)]) == THRESHOLD_MAX


def test_the_slow_sum_is_asked_for_more_where_days_wander():
    days = [[0.01 * (-1) ** n] * 24 for n in range(60)]
    calm = [float(np.mean(day)) for day in days]

    assert slow_threshold_of(calm[:13]) == SLOW_MIN
    assert slow_threshold_of(calm) == SLOW_MIN
    assert SLOW_MIN < slow_threshold_of([45 * mean for mean in calm]) < SLOW_MAX
    assert slow_threshold_of([300 * mean for mean in calm]) == SLOW_MAX
