"""The net inflow of a zone, hour by hour: its signed meters less what its tanks took."""

from dataclasses import dataclass

import numpy as np

from server.balance.hours import Flags, Floats, Hours
from server.balance.layout import Layout
from server.balance.volumes import counted
from telemetry.units import Quantity


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Net:
    """Element n: m³ in hour n, NaN where a part of it was not measured.

    `net` is `inflow - storage`. `unknown` says for each meter and level in which hours it is
    missing, and `counts` for each customer what it took.
    """

    inflow: Floats
    storage: Floats
    net: Floats
    unknown: dict[str, Flags]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Taken:
    """What one customer's meter counted in each hour, m³, NaN where unknown."""

    point: str
    m3: Floats
    spread: Flags
    resets: Flags
    spikes: Flags


def net_of(layout: Layout, hours: Hours) -> Net:
    """Return the net inflow of a zone; without a meter nothing is known of it.

    An hour is known only where every meter is, and both levels of every tank: a meter that is
    missing is never taken for zero.
    """
    inflow, unknown = np.zeros(hours.length), {}
    for point, sign in layout.meters:
        here = hours.of(point)
        known = here.known(layout.periods.get(point, 0))
        unknown[point] = ~known
        inflow += sign * np.where(known, here.mean, np.nan)
    storage = np.zeros(hours.length)
    for point, area_m2 in layout.storage:
        edge = hours.of(point).edge
        level = np.full(hours.length + 1, np.nan) if edge is None else edge
        rise = np.diff(level)
        unknown[point] = np.isnan(rise)
        storage += area_m2 * rise
    if not layout.meters:
        inflow[:] = np.nan
    return Net(inflow=inflow, storage=storage, net=inflow - storage, unknown=unknown)


def taken_of(layout: Layout, hours: Hours) -> list[Taken]:
    """Return what each customer took: volumes by their differences, flows by their hourly means."""
    found = []
    for point, quantity in layout.customers:
        here = hours.of(point)
        if quantity is Quantity.VOLUME:
            c = counted(here.low, here.high)
            m3, spread, resets, spikes = c.m3, c.spread, c.resets, c.spikes
        else:
            m3 = np.where(here.known(layout.periods.get(point, 0)), here.mean, np.nan)
            spread = resets = spikes = np.zeros(hours.length, np.bool_)
        found.append(Taken(point=point, m3=m3, spread=spread, resets=resets, spikes=spikes))
    return found


def pressure_of(layout: Layout, hours: Hours) -> Floats:
    """Return the mean pressure of a zone in each hour, kPa: of those points that say one.

    A point that comes and goes must not move the mean by where it stands: each point's own mean
    over the stretch stands in for the hours that it lacks.
    """
    columns = []
    for point in layout.pressures:
        here = hours.of(point)
        known = here.known(layout.periods.get(point, 0))
        if known.any():
            columns.append(np.where(known, here.mean, np.nan))
    if not columns:
        return np.full(hours.length, np.nan)
    table = np.array(columns)
    own = np.array([[np.mean(c[np.isfinite(c)])] for c in columns])
    away = table - own
    heard = np.isfinite(away).sum(axis=0)
    total = np.where(np.isfinite(away), away, 0.0).sum(axis=0)
    mean = np.full(hours.length, np.nan)
    np.divide(total, heard, out=mean, where=heard > 0)
    return mean + float(np.mean(own))
