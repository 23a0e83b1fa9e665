"""Working time: make-up days count, unpublished years are provisional, and sums agree."""

import re
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.servicecore.rulebook import load_calendar
from server.servicecore.rules.calendar import (
    FIXED_DATES,
    WorkCalendar,
    civil,
    day_of,
    days_of,
    time_of,
)
from telemetry.errors import ConfigError
from telemetry.instant import HOUR_MS, Instant
from tests.support.books import book, local, shown

CN = book("demo-water").calendar
YEARS = st.integers(2024, 2031)
DAYS = st.integers(day_of(2024, 1, 1), day_of(2031, 12, 1))
INSTANTS = st.builds(CN.instant, DAYS, st.integers(0, 24 * HOUR_MS - 1))


@given(st.integers(-200_000, 200_000))
def test_days_and_dates_are_those_of_the_standard_library(day: int):
    when = date(1970, 1, 1) + timedelta(days=day)

    assert civil(day) == (when.year, when.month, when.day)
    assert day_of(when.year, when.month, when.day) == day


@pytest.mark.parametrize(
    ("text", "worked"),
    [
        ("2026-10-10", True),  # a Saturday that makes up for National Day
        ("2026-10-07", False),
        ("2026-02-14", True),
        ("2026-02-15", False),
        ("2025-01-26", True),
        ("2024-02-09", True),
        ("2026-11-28", False),  # an ordinary Saturday
    ],
)
def test_days_off_and_make_up_days_are_those_of_the_notices(text, worked):
    assert CN.is_working(min(days_of([text]))) is worked


@pytest.mark.parametrize("year", [2024, 2025, 2026])
def test_a_published_year_has_as_many_working_days_as_its_notice_leaves(year: int):
    days = range(day_of(year, 1, 1), day_of(year + 1, 1, 1))

    assert sum(map(CN.is_working, days)) == {2024: 251, 2025: 248, 2026: 248}[year]


@given(INSTANTS, st.integers(1, 80 * HOUR_MS))
def test_so_much_business_time_lies_before_a_limit_in_it(start: Instant, duration: int):
    due = CN.after_business(start, duration)

    assert CN.business_between(start, due.at) == duration
    assert CN.is_working(CN.day(due.at - 1))


@given(INSTANTS, st.integers(1, 40 * HOUR_MS), st.integers(1, 40 * HOUR_MS))
def test_business_time_adds_up(start: Instant, first: int, second: int):
    once = CN.after_business(start, first + second)
    twice = CN.after_business(CN.after_business(start, first).at, second)

    assert once.at == twice.at


@given(INSTANTS, INSTANTS, st.integers(1, 30))
def test_who_starts_later_is_never_due_earlier(a: Instant, b: Instant, days: int):
    early, late = sorted((a, b))

    for counts in (False, True):
        first = CN.after_working_days(early, days, counts_first=counts)
        assert first.at <= CN.after_working_days(late, days, counts_first=counts).at
    assert CN.after_business(early, days * HOUR_MS).at <= CN.after_business(late, days * HOUR_MS).at


@given(INSTANTS, st.integers(1, 30))
def test_counting_the_first_day_is_the_stricter_reading(start: Instant, days: int):
    strict = CN.after_working_days(start, days, counts_first=True)

    assert strict.at <= CN.after_working_days(start, days, counts_first=False).at


@given(INSTANTS, st.integers(1, 30))
def test_the_last_day_is_worked_and_so_many_lie_between(start: Instant, days: int):
    due = CN.after_working_days(start, days, counts_first=False)

    assert CN.working_days_between(start, due.at) == days
    assert CN.time_of_day(due.at) == time_of("17:30")


def test_an_unpublished_year_is_counted_and_marked():
    day = day_of(2029, 10, 1)

    assert not CN.is_working(day)  # the law names it
    assert CN.is_provisional(day)
    assert CN.is_provisional(day_of(2027, 3, 1))
    assert not CN.is_provisional(day_of(2026, 12, 31))
    assert (10, 1) in FIXED_DATES


def test_publishing_a_year_takes_the_mark_away():
    start = local("2026-12-30 10:00")
    published = WorkCalendar(
        utc_offset_ms=CN.utc_offset_ms,
        hours=CN.hours,
        years={
            **CN.years,
            2027: type(CN.years[2026])(
                number=2027,
                off=days_of(["2027-01-01..2027-01-03"]),
                worked=frozenset(),
                is_confirmed=True,
            ),
        },
    )

    before = CN.after_working_days(start, 3, counts_first=False)
    after = published.after_working_days(start, 3, counts_first=False)

    assert (shown(before.at), before.is_provisional) == ("2027-01-05 17:30", True)
    assert (shown(after.at), after.is_provisional) == ("2027-01-05 17:30", False)


CALENDAR = """[calendar]
id = "cn"
year = 2030
utc_offset = "+08:00"
status = "provisional"
source = "regulation: a law"
off = ["2030-01-01"]
worked = []
"""


@pytest.mark.parametrize(
    ("was", "now", "words"),
    [
        ('"2030-01-01"', '"2030-02-30"', "there is no such date"),
        ('"2030-01-01"', '"2031-01-01"', "expected days of 2030 only"),
        ('"2030-01-01"', '"2030-01-05..2030-01-02"', "forwards in time"),
        ("worked = []", 'worked = ["2030-01-01"]', "both off and worked"),
        ("year = 2030", "year = 1066", "greater than or equal to 2000"),
        ('source = "regulation: a law"', 'source = "hearsay"', "String should match"),
    ],
)
def test_a_calendar_of_days_that_do_not_exist_is_refused(tmp_path, was, now, words):
    (tmp_path / "cn-2030.toml").write_text(CALENDAR.replace(was, now), encoding="utf-8")

    with pytest.raises(ConfigError, match=re.escape(words)):
        load_calendar([tmp_path], "cn", hours=CN.hours)


def test_a_calendar_that_nobody_wrote_is_refused(tmp_path):
    (tmp_path / "cn-2030.toml").write_text(CALENDAR, encoding="utf-8")

    with pytest.raises(ConfigError, match="expected years of the calendar 'it'"):
        load_calendar([tmp_path], "it", hours=CN.hours)
    assert list(load_calendar([tmp_path], "cn", hours=CN.hours).years) == [2030]
