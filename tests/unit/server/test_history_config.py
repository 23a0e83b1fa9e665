"""What `[history]` of server.toml may say, and what a policy forbids."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from server.config import HistorySection, ServerConfig, problems
from server.history.keeping import Keeping
from telemetry.instant import DAY_MS, HOUR_MS


def config(**history: object) -> ServerConfig:
    server = {"data": Path("data"), "groups": ("town",)}
    return ServerConfig.model_validate({"server": server, "history": history})


def test_less_than_policy_demands_is_refused():
    kept = config(raw_days=365, policy_raw_days=1_095, rollup_years=5, policy_rollup_years=10)

    assert problems(kept) == [
        "history.raw_days: expected at least the 1095 that policy demands, was 365",
        "history.rollup_years: expected at least the 10 that policy demands, was 5",
    ]
    assert problems(config(raw_days=1_095, policy_raw_days=1_095)) == []


@pytest.mark.parametrize("history", [{"raw_days": 30}, {"seal_after_h": 0}, {"rollup_years": 0}])
def test_what_would_keep_next_to_nothing_is_refused(history: dict[str, object]):
    with pytest.raises(ValidationError):
        config(**history)


def test_a_day_waits_for_its_stragglers_but_not_for_ever():
    keeping = Keeping.of(HistorySection(seal_after_h=2))
    over = 10 * DAY_MS

    def is_due(now: int, *, oldest: int = over - DAY_MS, newest: int = over) -> bool:
        return keeping.is_due(9, oldest=oldest, newest=newest, now=now, is_crowded=False)

    assert not is_due(over + 2 * HOUR_MS - 1)
    assert is_due(over + 2 * HOUR_MS)
    assert not is_due(over + 3 * HOUR_MS, oldest=over, newest=over + 2 * HOUR_MS)
    assert is_due(over + 26 * HOUR_MS, oldest=over, newest=over + 26 * HOUR_MS)
