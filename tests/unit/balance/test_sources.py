"""A recording and the historian that took it in give the same hours, and the same balance."""

from pathlib import Path

import numpy as np
import pytest

from server.balance.account import account
from server.balance.layout import layout_of
from server.balance.sources import hours_of_historian, hours_of_recording, month_of_historian
from server.config import BalanceSection
from server.history.historian import Historian
from server.history.marks import Mark
from server.history.recording import open_recording
from telemetry.instant import HOUR_MS, Instant
from telemetry.sample import Quality
from tests.unit.balance.recorded import POINT_OF_LEVEL, Recorded, record
from tests.unit.balance.town import LEAK, february, registry, stretch


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Return the town's forty days as a recording and in a historian."""
    return record(tmp_path_factory.mktemp("town"), stretch())


def test_both_give_the_same_hours(town):
    points = layout_of(registry(), "north").points
    one = hours_of_recording(open_recording(town.recording), points, town.begin, town.end)

    other = hours_of_historian(town.historian, registry(), points, town.begin, town.end)

    assert set(one.points) == set(other.points)
    for name, found in one.points.items():
        same = other.points[name]
        assert found.count.tolist() == same.count.tolist()
        for column in ("mean", "low", "high"):
            assert getattr(found, column) == pytest.approx(getattr(same, column), nan_ok=True)
    assert one.points[POINT_OF_LEVEL].edge == pytest.approx(other.points[POINT_OF_LEVEL].edge)


def test_the_samples_of_a_month_balance_as_its_water_does(town):
    facts = BalanceSection(zone="north", connections=2, apparent_share=0.0)

    found = month_of_historian(
        town.historian, registry(), "north", "2026-02", facts, until=town.end
    )

    pure = february(connections=2, apparent_share=0.0)
    assert found.balance.supplied is not None
    assert pure.balance.supplied is not None
    assert found.balance.supplied.m3 == pytest.approx(pure.balance.supplied.m3, rel=1e-3)
    assert found.balance.real_above is not None
    assert found.balance.real_above.m3 == pytest.approx(LEAK * 28 * 24, rel=0.01)
    assert found.night_m3h == pytest.approx(pure.night_m3h, rel=0.01)


def test_a_level_is_where_it_stood_on_the_hour(town):
    found = hours_of_historian(town.historian, registry(), [POINT_OF_LEVEL], town.begin, town.end)

    expected = stretch().points[POINT_OF_LEVEL].edge
    assert expected is not None
    # Behind the last sample nobody looked: it is taken as it was then, a few minutes before.
    assert found.points[POINT_OF_LEVEL].edge == pytest.approx(expected, abs=0.003)


def test_what_was_marked_bad_is_not_counted(town):
    begin = Instant(town.begin + 5 * 24 * HOUR_MS)
    historian = Historian(town.historian)
    mark = Mark(
        point="inlet/flow",
        start=begin,
        end=Instant(begin + 6 * HOUR_MS),
        quality=Quality.BAD,
        reason="meter_fault",
        author="engineer",
        at=town.end,
    )
    historian.mark([mark])
    historian.close()

    found = hours_of_historian(town.historian, registry(), ["inlet/flow"], town.begin, town.end)

    silent = np.flatnonzero(found.points["inlet/flow"].count == 0)
    assert silent.tolist() == list(range(120, 126))


def test_without_a_historian_nothing_is_known_and_that_is_said(tmp_path: Path):
    facts = BalanceSection(zone="north")

    found = month_of_historian(
        tmp_path / "none.db", registry(), "north", "2026-02", facts, until=stretch().end
    )

    assert found.balance.supplied is None
    assert found.balance.notes[0].code == "history_unread"


def test_an_account_of_a_recording_is_that_of_its_water(town):
    layout = layout_of(registry(), "north")
    found = hours_of_recording(open_recording(town.recording), layout.points, town.begin, town.end)

    told = account(layout, found, "2026-02", BalanceSection(zone="north"), until=town.end)

    assert told.night_m3h == pytest.approx(february().night_m3h, rel=0.01)
