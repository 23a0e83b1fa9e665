"""The roadside cabinet: mains, the battery behind them, the pit below and the door."""

from collections.abc import Mapping
from itertools import pairwise

from telemetry.instant import HOUR_MS, Instant

_CHARGING_V = 13.65
_DISCHARGE = ((0.0, 12.85), (1.0, 12.5), (6.0, 12.1), (9.0, 11.6), (10.0, 10.8), (10.5, 9.6))
"""Volts of a 12 V lead battery by hours under the load of a gateway."""

_RECHARGE_H = 8.0


class Cabinet:
    """One cabinet at the last instant that it was asked about."""

    def __init__(self, *, at: Instant) -> None:
        self.has_mains = True
        self.is_flooded = False
        self.is_open = False
        self._at = at
        self._used_h = 0.0

    def set_mains(self, at: Instant, *, on: bool) -> None:
        """Switch the mains."""
        self._move(at)
        self.has_mains = on

    def readings(self, at: Instant) -> Mapping[str, float]:
        """Return what its input module shows, by register of configs/devices/cabinet-io.toml."""
        self._move(at)
        return {
            "mains_present": float(self.has_mains),
            "battery_voltage": self._volts(),
            "pit_flooded": float(self.is_flooded),
            "door_open": float(self.is_open),
        }

    def _move(self, at: Instant) -> None:
        hours = max(0, at - self._at) / HOUR_MS
        self._at = at
        if self.has_mains:
            self._used_h = max(0.0, self._used_h - hours * _DISCHARGE[-1][0] / _RECHARGE_H)
        else:
            self._used_h = min(_DISCHARGE[-1][0], self._used_h + hours)

    def _volts(self) -> float:
        for (h0, v0), (h1, v1) in pairwise(_DISCHARGE):
            if self._used_h <= h1:
                rest = v0 + (v1 - v0) * (self._used_h - h0) / (h1 - h0)
                break
        else:
            rest = _DISCHARGE[-1][1]
        return max(rest, _CHARGING_V - 0.15 * self._used_h) if self.has_mains else rest
