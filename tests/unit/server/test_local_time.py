"""Are stamps of a clock on a wall read as the instants that they were?"""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.history.importing.local_time import Sequence, WallTime

MINUTE = 60_000


def local(at: int, zone: str) -> int:
    stamp = datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=UTC)
    return round(stamp.timestamp() * 1000)


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@given(
    zone=st.sampled_from(
        ["Europe/Rome", "Asia/Shanghai", "America/New_York", "Australia/Lord_Howe"]
    ),
    begin=st.integers(ms("1995-01-01T00:00Z"), ms("2030-01-01T00:00Z")),
    step=st.sampled_from([1, 5, 15, 30]),
    cuts=st.lists(st.integers(0, 3000), max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_a_series_without_gaps_is_read_exactly_through_every_change(zone, begin, step, cuts):
    begin -= begin % MINUTE
    truth = np.arange(begin, begin + 3000 * step * MINUTE, step * MINUTE, dtype=np.int64)
    stamps = np.array([local(int(t), zone) for t in truth], dtype=np.int64)
    wall, series = WallTime(zone), Sequence()

    parts = np.split(stamps, sorted(cuts))
    found = np.concatenate([wall.to_utc(p, series).at for p in parts])

    # A series that begins inside the hour that comes twice cannot say which of them it is in.
    first = wall.to_utc(stamps[:1], Sequence())
    if not first.repeated.any() or first.at[0] == truth[0]:
        assert found.tolist() == truth.tolist()


def test_an_hour_that_the_clock_skipped_is_read_with_the_offset_before_and_told():
    stamps = np.array([ms(f"2026-03-29T{t}Z") for t in ("01:55", "02:30", "03:05")])

    found = WallTime("Europe/Rome").to_utc(stamps, Sequence())

    assert found.skipped.tolist() == [False, True, False]
    assert found.at.tolist() == [ms(f"2026-03-29T{t}Z") for t in ("00:55", "01:30", "01:05")]


def test_an_hour_that_comes_twice_is_the_second_once_the_series_goes_back():
    stamps = np.array(
        [ms(f"2026-10-25T{t}Z") for t in ("02:00", "02:30", "02:00", "02:30", "03:00")]
    )

    found = WallTime("Europe/Rome").to_utc(stamps, Sequence())

    assert found.repeated.tolist() == [True] * 4 + [False]
    assert found.at.tolist() == [
        ms(f"2026-10-25T{t}Z") for t in ("00:00", "00:30", "01:00", "01:30", "02:00")
    ]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai"])
def test_a_clock_that_is_never_changed_leaves_nothing_open(zone: str):
    stamps = np.arange(ms("2026-01-01T00:00Z"), ms("2027-01-01T00:00Z"), 3_600_000)

    found = WallTime(zone).to_utc(stamps, Sequence())

    assert not found.skipped.any() and not found.repeated.any()
    assert len(np.unique(stamps - found.at)) == 1
