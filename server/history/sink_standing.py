"""How the InfluxDB sink stands: what it says of itself, and how far behind it is by the files."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from server.history.sink_ledger import done_in, told_in
from server.history.sink_source import Source
from telemetry.errors import StorageError
from telemetry.instant import SECOND_MS, Instant

SILENT_AFTER_MS = 30 * SECOND_MS
"""A sink that has written nothing for so long is not running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """`state` is delivering, waiting, stopped or silent; the counts are since the beginning.

    `lag_rows` samples at least are not delivered yet, the oldest of them arrived `lag_s` ago;
    while `is_reading_back`, some of them come from the historian.
    """

    state: str
    because: str
    since: int
    lag_rows: int
    lag_s: float
    is_reading_back: bool
    delivered: int
    without_value: int
    refused: int
    expired: int


def standing(history: Path, ledger: Path, now: Instant) -> Standing | None:
    """Return how the sink stands, from any process; None before it has begun."""
    told = told_in(ledger)
    if told is None:
        return None
    try:
        with closing(Source(history)) as source:
            lag = source.lag(done_in(ledger))
    except (StorageError, sqlite3.Error):
        return None
    is_silent = now - told.written_at > SILENT_AFTER_MS
    return Standing(
        state="silent" if is_silent else told.state,
        because="its process does not run" if is_silent else told.because,
        since=told.written_at if is_silent else told.since,
        lag_rows=lag.rows,
        lag_s=0.0 if lag.oldest is None else max(0, now - lag.oldest) / SECOND_MS,
        is_reading_back=lag.is_reading_back,
        delivered=told.delivered,
        without_value=told.without_value,
        refused=told.refused,
        expired=told.expired,
    )
