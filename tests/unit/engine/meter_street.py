"""A street of meters: one zone with an inlet, pressures and customers, as arrays of readings."""

import pickle

import numpy as np

from server.engine.detectors.block import Block
from server.engine.detectors.meters import Meters
from server.engine.registry import Inflow, Point, Registry, Zone
from telemetry.instant import DAY_MS, HOUR_MS, SECOND_MS
from telemetry.point import PointId, ZoneId
from telemetry.units import Quantity

START = 20_000 * DAY_MS
INLET, INLET_TOTAL, PRESSURE = "inlet/flow", "inlet/volume", "gate/pressure"
SCHOOL, HOTEL, SHOP = "school/flow", "hotel/flow", "shop/volume"


def registry(*, period_s=300, more=(), without=()):
    """Return one zone; the shop has a total and nothing else, and each stands at its own place."""
    places = {INLET: 0, INLET_TOTAL: 0, PRESSURE: 1, SCHOOL: 2, HOTEL: 3, SHOP: 4}
    places |= {name: 10 + n for n, name in enumerate(more)}
    points = {}
    for name, place in places.items():
        if name in without:
            continue
        points[PointId(name)] = Point(
            id=PointId(name),
            zone=ZoneId("z"),
            quantity=Quantity(name.split("/")[1]),
            name_zh=name,
            name_en=name,
            period_ms=period_s * SECOND_MS,
            x=100.0 * place,
            y=0.0,
        )
    zone = Zone(
        id=ZoneId("z"),
        name_zh="区",
        name_en="Zone",
        timezone="UTC",
        calendar="none",
        inflow=(Inflow(point=PointId(INLET), sign=1),),
    )
    return Registry(zones={zone.id: zone}, points=points)


def judged(meters, block):
    """Return what meters say of a block."""
    return meters.run(block, np.flatnonzero(block.is_good))


class Street:
    """Readings of every point, (days x rows a day); change them, and hear what is said."""

    def __init__(self, *, days, period_s=300, seed=1, more=()):
        self.period_ms = period_s * SECOND_MS
        self.registry = registry(period_s=period_s, more=more)
        self.per_day = DAY_MS // self.period_ms
        self.rows = days * self.per_day
        self.at = START + self.period_ms * np.arange(self.rows)
        chance = np.random.default_rng(seed)
        hour = self.at % DAY_MS / HOUR_MS
        wave = 1 - 0.4 * np.cos(2 * np.pi * (hour - 3) / 24)
        by_day = (hour >= 7) & (hour < 18)
        noise = chance.normal(1, 0.1, (3, self.rows))
        self.values = {
            INLET: 60 * wave * (1 + 0.2 * (noise[0] - 1)),
            PRESSURE: 380 - 20 * wave,
            SCHOOL: np.where(by_day, 3.0 * noise[1], 0.0),
            HOTEL: 1.5 * wave * noise[2],
            SHOP: np.where(by_day, 1.0, 0.0),
        }
        self.offset = {SHOP: 5_000.0, INLET_TOTAL: 900_000.0}

    def row(self, day, hour=0.0):
        """Return the number of the reading at a time."""
        return int(day * self.per_day + hour * HOUR_MS / self.period_ms)

    def readings(self):
        """Return what the points say: totals are added up from what runs until the reading."""
        said = dict(self.values)
        hours = self.period_ms / HOUR_MS
        said.setdefault(INLET_TOTAL, self.values[INLET])
        for name, begin in self.offset.items():
            flow = np.nan_to_num(said[name])
            said[name] = begin + np.concatenate([[0.0], np.cumsum(flow)[:-1]]) * hours
        return said

    def blocks(self, sizes=None, said=None):
        """Yield the readings as blocks of so many rows: a tick follows each row 70 s later."""
        said = said or self.readings()
        names = tuple(PointId(p) for p in said)
        table = np.array([said[p] for p in said]).T
        begin = 0
        while begin < self.rows:
            end = min(self.rows, begin + (next(sizes) if sizes else 288))
            yield self._block(names, table[begin:end], self.at[begin:end])
            begin = end

    def _block(self, names, table, at):
        rows, count = table.shape
        each = np.repeat(at, count)
        point = np.tile(np.arange(count), rows)
        value = table.reshape(-1)
        known = ~np.isnan(value)
        size = int(known.sum())
        return Block(
            ticks=at + 70_000,
            points=names,
            gateways=("gw",),
            after=np.repeat(np.arange(rows), count)[known],
            now=each[known],
            at=each[known],
            point=point[known],
            gateway=np.zeros(size, dtype=np.int64),
            value=value[known],
            quality=np.full(size, 192, dtype=np.int64),
            reason=np.zeros(size, dtype=np.int64),
        )

    def hear(self, sizes=None, *, with_restarts=False):
        """Return (instant, finding) of everything that comes and goes."""
        meters = Meters()
        meters.registry_changed(self.registry)
        found = []
        for block in self.blocks(sizes):
            found += [(int(block.ticks[tick]), f) for tick, f in judged(meters, block)]
            if with_restarts:
                meters = pickle.loads(pickle.dumps(meters))
        return found
