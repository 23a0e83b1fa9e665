"""Days as people live them: holidays, weekends that are worked, days of 23 and 25 hours."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainwatch.load import load_trainer
from server.engine.registry import Registry
from server.learning.day_kinds import Calendar, DayKind, Days, weekday_of
from telemetry.instant import HOUR_MS
from tests.unit.learning.hours_past import registry


def day(text):
    return date.fromisoformat(text).toordinal() - date(1970, 1, 1).toordinal()


def days(calendar, timezone):
    """Return the days of a shipped calendar, as the trainer knows them."""
    found: Registry = registry(calendar=calendar, timezone=timezone)
    (zone,) = found.zones.values()
    return load_trainer([calendar])._days(zone)


@pytest.mark.parametrize(
    ("calendar", "text", "kind", "is_odd"),
    [
        ("cn", "2026-01-04", DayKind.WORK, True),  # a Sunday that makes up for New Year
        (
            "cn",
            "2026-02-14",
            DayKind.WORK,
            True,
        ),  # a Saturday that makes up for the Spring Festival
        ("cn", "2026-02-18", DayKind.REST, True),  # a Wednesday of the Spring Festival
        ("cn", "2026-03-07", DayKind.SATURDAY, False),
        ("cn", "2026-03-08", DayKind.REST, False),
        ("cn", "2026-03-09", DayKind.WORK, False),
        ("cn", "2026-04-30", DayKind.WORK, True),  # the eve of a holiday
        ("it", "2021-08-15", DayKind.REST, True),  # Ferragosto fell on a Sunday
        ("it", "2021-06-02", DayKind.REST, True),
        ("it", "2021-06-01", DayKind.WORK, True),
        ("it", "2021-05-08", DayKind.SATURDAY, False),
        ("it", "2021-05-01", DayKind.REST, True),  # a holiday that fell on a Saturday
        ("it", "2021-12-24", DayKind.WORK, True),  # the eve of one
    ],
)
def test_a_day_is_of_the_kind_that_people_keep(calendar, text, kind, is_odd):
    found = days(calendar, "Asia/Shanghai" if calendar == "cn" else "Europe/Rome")

    assert found.kind(day(text)) is kind
    assert found.is_odd(day(text)) is is_odd


@pytest.mark.parametrize(
    ("text", "clock"),
    [
        ("2026-03-28", list(range(24))),
        ("2026-03-29", [0, 1, *range(3, 24)]),
        ("2026-10-25", [0, 1, 2, 2, *range(3, 24)]),
    ],
)
def test_the_day_on_which_clocks_change_has_23_or_25_hours(text, clock):
    found = Days(timezone="Europe/Berlin").hours(day(text))

    assert [hour for _, hour in found] == clock
    assert [at for at, _ in found] == [found[0][0] + n * HOUR_MS for n in range(len(clock))]


@given(
    st.integers(18_000, 24_000),
    st.sampled_from(["UTC", "Europe/Rome", "Asia/Shanghai", "Asia/Kolkata", "America/Sao_Paulo"]),
)
def test_every_hour_belongs_to_one_day(number, timezone):
    found = Days(timezone=timezone, calendar=Calendar())
    one, other = found.hours(number), found.hours(number + 1)

    assert one[-1][0] + HOUR_MS == other[0][0]
    assert {found.day(at) for at, _ in one} == {number}
    assert found.start(number) <= one[0][0] < found.start(number) + HOUR_MS


def test_weekdays_are_those_of_the_calendar():
    assert [weekday_of(day(f"2026-11-{n}")) for n in range(23, 30)] == list(range(7))
