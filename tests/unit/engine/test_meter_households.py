"""Made-up households with 10 l a pulse: their leaks are told, and the rest of their life is not."""

import numpy as np
import pytest

from server.engine.effects import AlarmKind
from telemetry.instant import DAY_MS, HOUR_MS
from tests.unit.engine.meter_street import Street

HOUSES, DAYS, PULSE_M3 = 40, 60, 0.01
HOURS = (0, 1, 5, 6.5, 8, 12, 18, 20, 22, 24)
DRAWS_AN_HOUR = (0.25, 0.08, 0.05, 0.9, 1.0, 0.6, 0.9, 1.2, 0.8, 0.25)


def houses(*, leak_m3h=0.0, seed=3):
    """Return a street of households, and from which row each leaks for twenty days."""
    chance = np.random.default_rng(seed)
    names = [f"house-{n:02}/volume" for n in range(HOUSES)]
    s = Street(days=DAYS, period_s=900, more=names)
    hours = s.period_ms / HOUR_MS
    draws = np.interp(s.at % DAY_MS / HOUR_MS, HOURS, DRAWS_AN_HOUR) * hours
    begins = {}
    for n, name in enumerate(names):
        count = chance.poisson(draws * chance.choice([0.5, 1, 2, 6]))
        taken = np.where(count > 0, chance.gamma(2, 0.02, s.rows) * count, 0.0)
        away = chance.integers(10, DAYS - 12)
        taken[s.row(away) : s.row(away + chance.integers(2, 12))] = 0.0
        for day in range(20, DAYS):  # the garden of every fifth, two hours at a time
            if n % 5 == 0 and chance.random() < 0.3:
                taken[s.row(day, 20) : s.row(day, 22)] += 1.2 * hours
        if leak_m3h and n % 2 == 0:
            begin = begins[name] = int(chance.integers(s.row(30), s.row(DAYS - 21)))
            taken[begin : begin + s.row(20)] += leak_m3h * hours
        total = 1_000 + np.concatenate([[0.0], np.cumsum(taken)[:-1]])
        s.values[name] = np.floor(total / PULSE_M3) * PULSE_M3
    return s, begins


def test_households_that_live_and_go_away_are_not_told_of():
    s, _ = houses()

    assert s.hear() == []


@pytest.mark.parametrize("leak_m3h", [0.02, 0.1])
def test_every_leak_of_a_household_is_told_within_four_nights_with_its_size(leak_m3h):
    s, begins = houses(leak_m3h=leak_m3h)

    told = [(at, f) for at, f in s.hear() if f.is_present]

    assert {f.kind for _, f in told} == {AlarmKind.CUSTOMER_LEAK}
    assert sorted(f.points[0] for _, f in told) == sorted(begins)
    for at, finding in told:
        waited = at - int(s.at[begins[finding.points[0]]])
        assert 2 * DAY_MS < waited < 4 * DAY_MS
        assert finding.estimate_m3h == pytest.approx(leak_m3h, abs=0.015)
