"""Loss rates of CJJ 92-2016 (2018): the formulas, their caps, and what is missing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.balance.cjj92 import length_correction, rates
from server.config import BalanceSection

KNOWN = {
    "household_share": 0.5,
    "mains_dn75_km": 2_892.95,
    "plant_pressure_mpa": 0.4,
    "frost_depth_m": 1.5,
}


def found(used: float, **facts: float):
    return rates(100e6, used, days=365.0, facts=BalanceSection(zone="north", **facts))


def test_the_loss_rate_is_the_gross_rate_less_its_corrections():
    # R2: 0.99 (0.289295 - 0.0693) is 21.8 %, of which 3 % are allowed.
    told = found(80e6, **KNOWN)

    assert told.gross == pytest.approx(20.0)
    assert told.corrections == pytest.approx((4.0, 3.0, 0.5, 1.0))
    assert told.loss == pytest.approx(11.5)
    assert told.grade == 2


@pytest.mark.parametrize(("used", "grade"), [(90e6, 1), (88e6, 2), (87e6, 0)])
def test_grades_are_10_and_12_per_cent(used, grade):
    told = found(used, r1_percent=0, r2_percent=0, r3_percent=0, r4_percent=0)

    assert told.grade == grade


def test_a_correction_that_is_not_known_leaves_the_loss_rate_unknown():
    told = found(80e6, **{k: v for k, v in KNOWN.items() if k != "frost_depth_m"})

    assert told.gross == pytest.approx(20.0)
    assert told.loss is None
    assert told.grade is None
    assert told.missing == ("frost_depth_m",)


def test_what_is_configured_wins_over_the_formula():
    assert found(80e6, **KNOWN, r2_percent=-1.0).corrections[1] == -1.0


def test_a_months_supply_is_taken_for_a_year():
    facts = BalanceSection(zone="north", mains_dn75_km=800.0)

    month = rates(100e6 / 12, 8e6, days=365 / 12, facts=facts)
    year = rates(100e6, 96e6, days=365, facts=facts)

    assert month.corrections[1] == pytest.approx(year.corrections[1])


@given(st.floats(0.1, 1e5), st.floats(1e3, 1e10))
def test_the_correction_for_length_stays_within_three_per_cent(km, m3):
    assert -3.0 <= length_correction(km, m3) <= 3.0


def test_no_supply_has_no_rate():
    with pytest.raises(ValueError, match="above 0"):
        rates(0.0, 0.0, days=30, facts=BalanceSection(zone="north"))
