"""A small seeded town for the engine's tests: one second after another, with events on request."""

import math
import random
from dataclasses import dataclass

from server.engine.registry import Inflow, Point, Registry, Zone
from telemetry.point import PointId, ZoneId
from telemetry.units import Quantity

START = 1_790_000_000_000  # a whole minute
POINTS = 6
INFLOW = "north-inlet/flow"


def pressure(i, zone="north"):
    return f"{zone}-{i:02}/pressure"


def registry(zones=("north",), *, low=None, period_ms=1_000):
    points = {}
    for zone in zones:
        for i in range(POINTS):
            points[PointId(pressure(i, zone))] = Point(
                id=PointId(pressure(i, zone)),
                zone=ZoneId(zone),
                quantity=Quantity.PRESSURE,
                name_zh="压力",
                name_en="Pressure",
                period_ms=period_ms,
                x=100.0 * i,
                y=50.0,
                low=low,
            )
        flow = PointId(f"{zone}-inlet/flow")
        points[flow] = Point(
            id=flow,
            zone=ZoneId(zone),
            quantity=Quantity.FLOW,
            name_zh="流量",
            name_en="Flow",
            period_ms=period_ms,
        )
    return Registry(
        zones={
            ZoneId(z): Zone(
                id=ZoneId(z),
                name_zh="北",
                name_en="North",
                timezone="Asia/Shanghai",
                calendar="cn",
                inflow=(Inflow(point=PointId(f"{z}-inlet/flow"), sign=1),),
            )
            for z in zones
        },
        points=points,
    )


@dataclass(kw_only=True)
class Burst:
    """A burst of `m3h` from second `at`; `falls` are the kPa by which the points fall."""

    at: int
    m3h: float
    falls: tuple[float, ...]
    until: int = 10**9


class Town:
    """One zone of about 150 m³/h: diurnal demand, slow demand noise, sensor noise, pump steps."""

    def __init__(self, seed=1, *, base=150.0, demand_noise=0.015, first_hour=4.0):
        self._random = random.Random(seed)
        self._base = base
        self._demand_noise = demand_noise
        self._first_hour = first_hour
        self._ar = 0.0
        self.bursts = []
        self.head = []  # (second, kPa to add to the head from then on)
        self.sensor = {}  # column -> (second, kPa)
        self.outage = None  # (second, kPa by which all fall, part of the inflow that goes)

    def diurnal(self, second):
        hour = (self._first_hour + second / 3600) % 24
        return (
            1
            + 0.45 * math.exp(-(((hour - 7.5) / 1.3) ** 2))
            - 0.35 * math.cos(2 * math.pi * (hour - 3) / 24)
        )

    def at(self, second):
        """Return the pressures, then the inflow, of one second; call in the order of time."""
        memory = math.exp(-1 / 600)
        shock = self._random.gauss(0, self._demand_noise * math.sqrt(1 - memory**2))
        self._ar = memory * self._ar + shock
        flow = self._base * self.diurnal(second) * (1 + self._ar)
        head = 380 + sum(kpa for since, kpa in self.head if second >= since)
        pressures = [
            head - (20 + 4 * i) * (flow / self._base) ** 2 + self._random.gauss(0, 0.3)
            for i in range(POINTS)
        ]
        for burst in self.bursts:
            if burst.at <= second < burst.until:
                flow += burst.m3h
                for i, fall in enumerate(burst.falls):
                    pressures[i] -= fall
        if self.outage is not None and second >= self.outage[0]:
            flow *= 1 - self.outage[2]
            pressures = [p - self.outage[1] for p in pressures]
        for i, (since, kpa) in self.sensor.items():
            if second >= since:
                pressures[i] += kpa
        flow += self._random.gauss(0, 0.005 * self._base)
        return [round(p, 1) for p in pressures], round(flow, 2)
