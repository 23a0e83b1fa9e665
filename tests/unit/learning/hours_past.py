"""A past made of hours: what a zone's meters showed, as a trainer sees it."""

import numpy as np

from server.engine.registry import Inflow, Point, Registry, Zone
from server.learning.day_kinds import weekday_of
from telemetry.instant import DAY_MS, HOUR_MS
from telemetry.point import PointId, ZoneId
from telemetry.units import Quantity

FIRST = 20_464  # 2026-01-11, a Sunday
BEGIN = FIRST * DAY_MS
INLET, OUTLET = PointId("inlet/flow"), PointId("outlet/flow")


def registry(*, inflow=((INLET, 1),), timezone="UTC", calendar="none"):
    """Return one zone with meters."""
    points = {
        p: Point(
            id=p,
            zone=ZoneId("z"),
            quantity=Quantity.FLOW,
            name_zh="流量",
            name_en="Flow",
            period_ms=HOUR_MS,
        )
        for p, _ in inflow
    }
    zone = Zone(
        id=ZoneId("z"),
        name_zh="区",
        name_en="Zone",
        timezone=timezone,
        calendar=calendar,
        inflow=tuple(Inflow(point=p, sign=s) for p, s in inflow),
    )
    return Registry(zones={zone.id: zone}, points=points)


def flow(days, *, seed=1, noise=2.0, sunday=1.0):
    """Return hours of net inflow from `BEGIN` on, about 100 m³/h; `sunday` scales Sundays."""
    chance = np.random.default_rng(seed)
    hour = np.tile(np.arange(24), days)
    usual = 100 + 40 * np.sin(2 * np.pi * (hour - 6) / 24)
    day = FIRST + np.arange(days)
    scale = np.where(np.array([weekday_of(d) for d in day]) == 6, sunday, 1.0)
    return usual * np.repeat(scale, 24) + chance.normal(0, noise, len(hour))


class HoursPast:
    """The hours of points from `BEGIN` on; what is not in them is unknown."""

    def __init__(self, **series):
        self.series = {name.replace("_", "/"): values for name, values in series.items()}

    def means(self, points, begin, end):
        table = np.full(((end - begin) // HOUR_MS, len(points)), np.nan)
        for column, name in enumerate(points):
            values = self.series[name]
            first = (begin - BEGIN) // HOUR_MS
            rows = np.arange(len(table)) + first
            known = (rows >= 0) & (rows < len(values))
            table[known, column] = values[rows[known]]
        return table

    def ends(self, points, begin, end):
        return self.means(points, begin, end)
