"""How long what is kept, and when a day is sealed."""

from dataclasses import dataclass

from server.config import HistorySection
from telemetry.instant import DAY_MS, HOUR_MS

HOT_ROWS_MAX = 8_000_000
"""Above so many unsealed samples, days that are over are sealed without waiting for stragglers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """A day is sealed when it is over and nothing has come for it during `seal_after_ms`.

    A day that never comes to rest is sealed a day after its oldest unsealed sample arrived.
    """

    seal_after_ms: int = 2 * HOUR_MS
    raw_days: int = 1_830
    rollup_days: int = 20 * 366
    hot_rows_max: int = HOT_ROWS_MAX

    @classmethod
    def of(cls, section: HistorySection) -> "Keeping":
        """Return what the configuration says."""
        return cls(
            seal_after_ms=round(section.seal_after_h * HOUR_MS),
            raw_days=section.raw_days,
            rollup_days=section.rollup_years * 366,
        )

    def is_due(self, day: int, *, oldest: int, newest: int, now: int, is_crowded: bool) -> bool:
        """Say whether a day's unsealed samples, which arrived from oldest to newest, are to go."""
        over = (day + 1) * DAY_MS
        if is_crowded:
            return now >= over
        at_rest = max(over, newest) + self.seal_after_ms
        at_last = max(over, oldest + DAY_MS) + self.seal_after_ms
        return now >= min(at_rest, at_last)
