"""The rule books that ship, and instants as people in China write them."""

from functools import cache

from server.servicecore.rulebook import RuleBook, load_rule_book
from server.servicecore.rules.calendar import civil, day_of, time_of
from telemetry.instant import DAY_MS, HOUR_MS, Instant
from tests.house.tree import ROOT

CHINA_MS = 8 * HOUR_MS


@cache
def book(name: str) -> RuleBook:
    return load_rule_book(ROOT / "configs", name, live=False)


def local(text: str) -> Instant:
    """Return the instant of `2026-09-30 16:30` in China."""
    date, time = text.split(" ")
    year, month, day = map(int, date.split("-"))
    return Instant(day_of(year, month, day) * DAY_MS + time_of(time) - CHINA_MS)


def shown(at: int) -> str:
    """Return an instant as `local` reads it."""
    days, rest = divmod(at + CHINA_MS, DAY_MS)
    year, month, day = civil(days)
    return f"{year}-{month:02}-{day:02} {rest // HOUR_MS:02}:{rest // 60_000 % 60:02}"
