"""The balance of a month: from above and from below it finds the leak, and says what it lacks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.balance.account import account
from server.balance.hours import Hours
from server.balance.layout import layout_of
from server.balance.losses import day_factor, unavoidable_m3_day
from server.config import BalanceSection
from telemetry.instant import HOUR_MS, Instant
from tests.unit.balance.town import (
    LEAK,
    NIGHT_USE,
    TIMEZONE,
    february,
    notes,
    of_flow,
    of_volume,
    registry,
    stretch,
    zone,
)

MONTH_H = 28 * 24
WHOLE = {
    "connections": 2,
    "mains_km": 10.0,
    "service_km": 0.0,
    "unmetered_m3": 0.0,
    "apparent_share": 0.0,
}


def without(found: Hours, point: str, hours: slice) -> Hours:
    m3h = found.points[point].mean.copy()
    m3h[hours] = np.nan
    return Hours(
        begin=found.begin, length=found.length, points={**found.points, point: of_flow(m3h)}
    )


def test_above_and_below_find_the_same_leak():
    found = february(**WHOLE)
    balance = found.balance

    assert balance.losses is not None
    assert balance.losses.m3 == pytest.approx(LEAK * MONTH_H)
    assert balance.real_above is not None
    assert balance.real_above.m3 == pytest.approx(LEAK * MONTH_H)
    assert balance.real_below is not None
    assert balance.real_below.likely == pytest.approx(LEAK * MONTH_H)
    assert found.use is not None
    assert (found.use.source, found.use.likely) == ("measured", pytest.approx(2 * NIGHT_USE))
    assert found.night_m3h == pytest.approx(LEAK + 2 * NIGHT_USE)
    assert balance.per_connection_l == pytest.approx(LEAK * 24 * 1000 / 2)


def test_the_tank_is_no_loss():
    found = february()

    assert found.measured.net.m3 == pytest.approx((2 * (8 * 16 + NIGHT_USE * 8) + LEAK * 24) * 28)


@pytest.mark.parametrize(
    ("facts", "use", "source"),
    [
        ({}, (0.6, 1.8), "default"),
        ({"night_use_m3h": 2.5}, (1.5, 3.5), "configured"),
        ({"night_use_l_per_connection_h": 2.0, "connections": 500}, (0.6, 1.4), "per_connection"),
        ({"connections": 2}, (1.96, 2.04), "measured"),
    ],
)
def test_night_use_is_the_best_that_is_known(facts, use, source):
    found = february(**facts).use

    assert found is not None
    assert (found.low, found.high) == pytest.approx(use)
    assert found.source == source


def test_an_assumed_night_use_bounds_the_losses_from_above_only():
    found = february()

    assert found.balance.real_below is not None
    assert found.balance.real_below.low == 0.0
    assert found.balance.real_below.high >= LEAK * MONTH_H
    assert "night_use_default" in notes(found)


def test_no_indicator_is_made_of_an_assumed_night_use():
    assumed = february(customers=(), connections=2).balance
    surveyed = february(customers=(), connections=2, night_use_m3h=2 * NIGHT_USE).balance

    assert (assumed.per_connection_l, assumed.real_from) == (None, "")
    assert surveyed.real_from == "below"
    assert surveyed.per_connection_l == pytest.approx(LEAK * 24 * 1000 / 2)


def test_a_new_leak_stands_out_against_the_nights_before():
    leak = np.full(40 * 24, LEAK)
    leak[-3 * 24 :] += 6.0

    latest = february(stretch(leak=leak)).latest

    assert latest is not None
    assert latest.excess_m3h == pytest.approx(6.0)
    assert latest.usual_m3h == pytest.approx(LEAK + 2 * NIGHT_USE)


def test_missing_hours_are_told_by_meter_and_filled_apart():
    found = february(without(stretch(), "inlet/flow", slice(20 * 24 + 2, 20 * 24 + 12)))

    assert notes(found)["meter_gaps"] == {"point": "inlet/flow", "hours": "10"}
    assert found.measured.net.known_hours == MONTH_H - 10
    assert found.measured.net.m3 == pytest.approx((2 * (8 * 16 + NIGHT_USE * 8) + LEAK * 24) * 28)
    assert found.measured.net.filled_m3 > 0
    assert notes(found)["nights_missing"]["count"] == "1"


def test_half_of_the_data_absent_is_no_balance():
    found = february(without(stretch(), "inlet/flow", slice(0, 28 * 24)))

    assert found.balance.supplied is None
    assert found.balance.losses is None
    assert notes(found)["little_data"]["percent"] == "43"


def test_a_silent_meter_is_named():
    found = february(without(stretch(), "inlet/flow", slice(None)))

    assert notes(found)["meter_silent"] == {"point": "inlet/flow"}
    assert found.balance.real_below is None
    assert "no_night" in notes(found)


def test_a_zone_without_an_inflow_meter_says_so_and_nothing_else_of_its_input():
    found = february(known=registry(zone(inflow=())))

    assert found.balance.supplied is None
    assert found.night_m3h is None
    assert "no_inflow" in notes(found)
    assert found.balance.metered is not None


def test_without_customers_losses_by_balance_are_not_known_and_those_by_night_are():
    found = february(customers=())

    assert found.balance.losses is None
    assert found.balance.rates is None
    assert found.balance.real_below is not None
    assert "no_customers" in notes(found)


def test_what_billing_knows_counts_beside_the_meters():
    customers = 28 * (8 * 16 + NIGHT_USE * 8)

    found = february(customers=["one/volume"], billed_m3={"2026-02": customers})

    assert found.balance.losses is not None
    assert found.balance.losses.m3 == pytest.approx(LEAK * MONTH_H)
    assert "customers_uncounted" not in notes(found)


def test_customers_that_are_not_all_metered_make_losses_an_upper_bound():
    some, unsaid = february(connections=40), february()

    assert notes(some)["few_customers"] == {"count": "2", "of": "40"}
    assert notes(unsaid)["customers_uncounted"] == {"count": "2"}
    for found in (some, unsaid):
        assert not found.balance.is_whole
        assert found.balance.losses is not None
        assert (found.balance.rates, found.balance.non_revenue_share) == (None, None)


def test_a_wrong_sign_is_asked_about():
    turned = without(stretch(), "inlet/flow", slice(0, 0))
    turned.points["inlet/flow"] = of_flow(-turned.points["inlet/flow"].mean)

    found = february(turned)

    assert found.balance.supplied is None
    assert "no_net_input" in notes(found)


def test_more_metered_than_supplied_is_told():
    found = stretch()
    found.points["one/volume"] = of_volume(np.full(found.length, 500.0))

    told = february(found, connections=2, apparent_share=0.2)

    assert "more_metered" in notes(told)
    assert told.balance.real_above is None


@pytest.mark.parametrize(("hour", "told"), [(600, True), (100, False)])
def test_a_counter_that_begins_again_is_told_in_its_month_and_never_counts_anew(hour, told):
    found = stretch()
    volume = found.points["one/volume"]
    low, high = volume.low.copy(), volume.high.copy()
    low[hour:] -= low[hour]
    high[hour:] -= volume.low[hour]
    found.points["one/volume"] = type(volume)(
        count=volume.count, mean=volume.mean, low=low, high=high
    )

    month = february(found)

    assert month.balance.losses is not None
    assert month.balance.losses.m3 == pytest.approx(LEAK * MONTH_H)
    assert ("counter_reset" in notes(month)) is told


@settings(max_examples=25)
@given(st.floats(0, 1), st.floats(0, 5_000))
def test_losses_part_without_remainder(share, unmetered):
    balance = february(connections=2, apparent_share=share, unmetered_m3=unmetered).balance

    assert balance.losses is not None
    assert balance.supplied is not None
    assert balance.authorised is not None
    assert balance.supplied.m3 == pytest.approx(balance.authorised.m3 + balance.losses.m3)
    if balance.losses.m3 >= 0:
        assert balance.apparent is not None
        assert balance.real_above is not None
        assert balance.apparent.m3 + balance.real_above.m3 == pytest.approx(balance.losses.m3)


def test_a_meters_error_is_in_the_range_of_what_follows_from_it():
    sure = february(**WHOLE, meter_error_percent=0, customer_error_percent=0).balance.losses
    unsure = february(**WHOLE, meter_error_percent=2, customer_error_percent=0).balance

    assert sure is not None
    assert sure.error == pytest.approx(0.0)
    assert unsure.losses is not None
    assert unsure.supplied is not None
    assert unsure.losses.error == pytest.approx(unsure.supplied.m3 * 0.02, rel=0.01)


def test_leakage_follows_pressure_over_the_day():
    clock = np.arange(48) % 24
    pressure = np.where((clock >= 2) & (clock < 4), 400.0, 300.0)

    found = day_factor(pressure, clock, BalanceSection(zone="north"))

    assert found.is_measured
    assert found.factor.likely == pytest.approx((2 + 22 * 0.75) / 24)
    assert found.factor.low < found.factor.likely < found.factor.high


def test_without_pressure_at_night_the_factor_is_one_and_said_to_be_assumed():
    clock = np.arange(24)
    pressure = np.where((clock >= 2) & (clock < 4), np.nan, 300.0)

    found = day_factor(pressure, clock, BalanceSection(zone="north"))

    assert (found.is_measured, found.factor.likely) == (False, 1.0)
    assert "no_pressure" in notes(february())


def test_ili_is_real_losses_over_what_is_unavoidable():
    town = stretch()
    town.points["street/pressure"] = of_flow(np.full(town.length, 40 * 9.80665))

    found = february(town, **WHOLE)

    a_day = unavoidable_m3_day(mains_km=10, connections=2, service_km=0, head_m=40)
    assert a_day == pytest.approx((180 + 1.6) * 40 / 1000)
    assert found.balance.ili == pytest.approx(LEAK * 24 / a_day)
    assert found.balance.real_from == "above"


@pytest.mark.parametrize("lacking", ["mains_km", "connections", "service_km"])
def test_ili_is_not_known_without_any_of_its_figures_and_says_which(lacking):
    found = february(**{k: v for k, v in WHOLE.items() if k != lacking})

    assert found.balance.ili is None
    assert notes(found)["no_unavoidable"] == {"names": lacking}


def test_a_month_that_runs_ends_at_its_last_full_hour():
    found = stretch(last="2026-02-11")

    told = february(found)

    assert told.measured.net.hours == 240
    assert "month_runs" in notes(told)
    assert len([n for n in told.measured.nights if n.m3h is not None]) == 10


def test_a_month_of_the_future_knows_nothing_and_does_not_fail():
    found = stretch()
    layout = layout_of(registry(), "north")

    told = account(layout, found, "2031-07", BalanceSection(zone="north"), until=found.end)

    assert told.balance.supplied is None
    assert told.nights == ()


def test_hours_before_the_data_begin_are_missing_and_not_left_out():
    found = february(stretch("2026-02-08"))

    assert found.measured.net.hours == MONTH_H
    assert found.measured.net.known_hours == 21 * 24
    assert notes(found)["meter_gaps"]["hours"] == "168"


@pytest.mark.parametrize(("month", "hours"), [("2026-03", 743), ("2026-10", 745)])
def test_a_month_with_a_clock_change_has_its_own_number_of_hours(month, hours):
    first, last = (
        ("2026-02-01", "2026-04-01") if month == "2026-03" else ("2026-09-01", "2026-11-01")
    )
    found = stretch(first, last)
    layout = layout_of(registry(), "north")
    facts = BalanceSection(zone="north", **WHOLE)

    told = account(layout, found, month, facts, until=found.end)

    assert layout.timezone == TIMEZONE
    assert told.measured.net.hours == hours
    assert sum(told.measured.day_hours) == hours
    assert told.balance.losses is not None
    assert told.balance.losses.m3 == pytest.approx(LEAK * hours)
    assert told.balance.real_below is not None
    assert told.balance.real_below.likely == pytest.approx(LEAK * hours)
    changed = [n for n in told.nights if n.hours != 2]
    assert [n.m3h for n in changed] == pytest.approx([LEAK + 2 * NIGHT_USE] * len(changed))
    assert len(changed) == 1


def test_a_month_before_everything_is_refused_by_nobody():
    found = stretch()
    layout = layout_of(registry(), "north")

    told = account(layout, found, "1999-07", BalanceSection(zone="north"), until=Instant(HOUR_MS))

    assert told.measured.net.hours == 0
