"""Months, days and nights by a zone's own clock, in zones of odd hours and over clock changes."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.balance.local import clock_hours, days, floor_hour, month_bounds, month_of, windows
from telemetry.errors import ConfigError
from telemetry.instant import HOUR_MS, Instant

ZONES = ("Asia/Shanghai", "Asia/Kolkata", "Europe/Rome", "America/St_Johns", "UTC")
MONTHS = st.dates(date(1971, 1, 1), date(2100, 12, 31)).map(lambda d: f"{d:%Y-%m}")


@given(MONTHS, st.sampled_from(ZONES))
def test_months_follow_each_other_without_gap_and_hold_their_days(month, timezone):
    start, end = month_bounds(month, timezone)

    assert month_of(start, timezone) == month
    assert month_of(Instant(end - 1), timezone) == month
    assert month_bounds(month_of(end, timezone), timezone)[0] == end
    found = days(start, end, timezone)
    assert {d.strftime("%Y-%m") for d in found} == {month}
    assert found == [found[0] + timedelta(days=n) for n in range(len(found))]
    assert found[0].day == 1
    assert (found[-1] + timedelta(days=1)).day == 1


@given(st.integers(0, 4_000_000_000_000), st.sampled_from(ZONES))
def test_an_hour_begins_on_the_hour_of_its_zone(at, timezone):
    begin = floor_hour(at, timezone)

    assert 0 <= at - begin < HOUR_MS
    local = datetime.fromtimestamp(begin / 1000, tz=ZoneInfo(timezone))
    assert (local.minute, local.second) == (0, 0)


def test_a_night_of_kolkata_is_of_its_own_hours():
    starts, ends = windows([date(2026, 3, 1)], "Asia/Kolkata", from_h=2, to_h=4)

    assert clock_hours(starts, "Asia/Kolkata").tolist() == [2]
    assert starts[0] % HOUR_MS == HOUR_MS // 2
    assert ends[0] - starts[0] == 2 * HOUR_MS


def test_a_window_up_to_midnight_ends_with_the_day():
    starts, ends = windows([date(2026, 3, 1)], "UTC", from_h=22, to_h=24)

    assert ends[0] - starts[0] == 2 * HOUR_MS


@pytest.mark.parametrize("month", ["2026-13", "2026-3", "1969-12", "2201-01", "soon", ""])
def test_what_is_no_month_is_refused(month):
    with pytest.raises(ConfigError, match="expected a month"):
        month_bounds(month, "UTC")
