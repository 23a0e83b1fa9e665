"""Which days are days of rest: weekends, public holidays and the workdays that make up for them."""

from dataclasses import dataclass

EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday; Monday is 0."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """Days as counts since 1970-01-01: holidays, weekends that are worked, and festivals.

    On a festival factories stand still and many people have gone to their parents.
    """

    off: frozenset[int] = frozenset()
    worked: frozenset[int] = frozenset()
    festival: frozenset[int] = frozenset()

    def is_rest(self, day: int) -> bool:
        """Say whether most people need not work that day."""
        if day in self.off:
            return True
        return (day + EPOCH_WEEKDAY) % 7 >= 5 and day not in self.worked

    def is_festival(self, day: int) -> bool:
        """Say whether the day belongs to the year's great festival."""
        return day in self.festival


def day_of(year: int, month: int, day: int) -> int:
    """Return the days from 1970-01-01 to a date (Hinnant 2013, days_from_civil).

    >>> day_of(1970, 1, 1), day_of(2024, 2, 29)
    (0, 19782)
    """
    shifted = year - (month <= 2)
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


def _days(text: str) -> frozenset[int]:
    """Read dates and ranges such as `2024-02-10..17 2024-02-04`; a range stays in its month."""
    found: list[int] = []
    for word in text.split():
        first, _, last = word.partition("..")
        year, month, day = (int(part) for part in first.split("-"))
        begin = day_of(year, month, day)
        found += range(begin, begin + (int(last) - day if last else 0) + 1)
    return frozenset(found)


_SPRING_FESTIVALS = _days(
    "2024-02-09..17 2025-01-28..31 2025-02-01..04 2026-02-15..23",
)

CHINA = Calendar(
    # The State Council's notices on public holidays of 2024, 2025 and 2026.
    off=_SPRING_FESTIVALS - _days("2024-02-09")
    | _days(
        "2024-01-01 2024-04-04..06 2024-05-01..05 2024-06-10 2024-09-15..17 2024-10-01..07"
        " 2025-01-01 2025-04-04..06 2025-05-01..05 2025-05-31 2025-06-01..02 2025-10-01..08"
        " 2026-01-01..03 2026-04-04..06 2026-05-01..05 2026-06-19..21 2026-09-25..27"
        " 2026-10-01..07"
    ),
    worked=_days(
        "2024-02-04 2024-02-18 2024-04-07 2024-04-28 2024-05-11 2024-09-14 2024-09-29 2024-10-12"
        " 2025-01-26 2025-02-08 2025-04-27 2025-09-28 2025-10-11"
        " 2026-01-04 2026-02-14 2026-02-28 2026-05-09 2026-09-20 2026-10-10"
    ),
    festival=_SPRING_FESTIVALS,
)

CALENDARS = {"none": Calendar(), "cn": CHINA}
"""By the name that sim.toml gives; `none` knows weekends only."""
