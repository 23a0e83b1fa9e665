"""A zone's month from its hours: nights, measured volumes, and the balance made of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from server.balance.hours import Floats, Hours
from server.balance.layout import Layout
from server.balance.local import clock_hours, day_of, days, midnight, month_bounds, windows
from server.balance.losses import day_factor
from server.balance.month import Balance, CustomerMonth, Measured, MeterMonth, balance_of
from server.balance.net import Net, Taken, net_of, pressure_of, taken_of
from server.balance.nights import Night, NightUse, night_use_of, nights_of, rise_of
from server.balance.notes import Note
from server.balance.volumes import filled
from server.config import BalanceSection
from server.engine.night import PAST_NIGHTS, night_flow
from telemetry.instant import DAY_MS, HOUR_MS, Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneMonth:
    """What is known of a zone in a month. `nights` are the last 28 up to its end.

    `rise_m3h` is by how much their flow rises from night to night; `use` is what of the night flow
    people may draw, None where no night is known.
    """

    zone: str
    month: str
    begin: Instant
    end: Instant
    night_m3h: float | None
    night_mean_m3h: float | None
    nights: tuple[Night, ...]
    rise_m3h: float | None
    measured: Measured
    balance: Balance

    @property
    def use(self) -> NightUse | None:
        """Return what people may draw at night."""
        return self.measured.use

    @property
    def latest(self) -> Night | None:
        """Return the last night that is known."""
        return next((n for n in reversed(self.nights) if n.m3h is not None), None)


def needed(month: str, timezone: str) -> tuple[Instant, Instant]:
    """Return from when to when hours are needed for a month: its nights have 28 before them."""
    begin, end = month_bounds(month, timezone)
    first = days(begin, end, timezone)[0]
    return midnight(first - timedelta(days=PAST_NIGHTS + 1), timezone), end


def account(
    layout: Layout, hours: Hours, month: str, facts: BalanceSection, *, until: Instant
) -> ZoneMonth:
    """Return a zone's month out of hours that hold it and the 28 nights before, if there are any.

    A month that is not over ends at the last full hour before `until`.
    """
    begin, month_end = month_bounds(month, layout.timezone)
    over = int(until - begin) // HOUR_MS * HOUR_MS
    end = Instant(max(begin, min(month_end, begin + over)))
    net = net_of(layout, hours)
    dates = _dates(hours, begin, min(end, until), layout.timezone, facts)
    nights = nights_of(hours, net.net, dates, layout.timezone, facts)
    mine = [n for n in nights if midnight(n.night, layout.timezone) >= begin]
    found = _measured(layout, hours, net, mine, begin, end, facts)
    balance = balance_of(layout, found, facts, billed_m3=facts.billed_m3.get(month))
    known = [n.m3h for n in mine if n.m3h is not None]
    if end < month_end:
        balance = replace(balance, notes=(Note.of("month_runs"), *balance.notes))
    return ZoneMonth(
        zone=layout.zone,
        month=month,
        begin=begin,
        end=end,
        night_m3h=float(np.median(known)) if known else None,
        night_mean_m3h=float(np.mean(known)) if known else None,
        nights=tuple(nights[-PAST_NIGHTS:]),
        rise_m3h=rise_of(nights[-PAST_NIGHTS:]),
        measured=found,
        balance=balance,
    )


def _dates(
    hours: Hours, begin: Instant, end: Instant, timezone: str, facts: BalanceSection
) -> list[date]:
    """Return the nights that are over by `end`, from 28 before the month on, if there are any."""
    first = midnight(day_of(begin, timezone) - timedelta(days=PAST_NIGHTS), timezone)
    found = days(Instant(max(hours.begin, first)), end, timezone)
    if not found:
        return []
    _, ends = windows(found, timezone, from_h=facts.night_from_h, to_h=facts.night_to_h)
    return [d for d, over in zip(found, ends.tolist(), strict=True) if over <= end]


def _measured(
    layout: Layout,
    hours: Hours,
    net: Net,
    nights: Sequence[Night],
    begin: Instant,
    end: Instant,
    facts: BalanceSection,
) -> Measured:
    """Return what the hours of [begin, end) say; those that the stretch lacks are not known."""
    here = hours.within(begin, end)
    lacking = (end - begin) // HOUR_MS - (here.stop - here.start)
    at = begin + np.arange((end - begin) // HOUR_MS, dtype=np.int64) * HOUR_MS
    clock = clock_hours(at, layout.timezone)
    front = max(0, min(lacking, (hours.begin - begin) // HOUR_MS))

    def whole(m3: Floats) -> Floats:
        return np.pad(m3[here], (front, lacking - front), constant_values=np.nan)

    taken = taken_of(layout, hours)
    known = [n.m3h for n in nights if n.m3h is not None]
    use = None
    if known:
        use = night_use_of(
            float(np.median(known)), facts, _night_use(layout, hours, taken, nights, facts)
        )
    bounds = [midnight(n.night, layout.timezone) for n in nights]
    ends = [*bounds[1:], end]
    # The first night stands for the month from its beginning on, the last one up to its end.
    starts = [begin, *bounds[1:]]
    return Measured(
        days=(end - begin) / DAY_MS,
        meters=tuple(_meter(hours, net, point, sign, here) for point, sign in layout.meters),
        levels=tuple(
            (point, lacking + int(np.count_nonzero(net.unknown[point][here])))
            for point, _ in layout.storage
        ),
        storage_m3=float(np.nansum(net.storage[here])),
        net=filled(whole(net.net), clock),
        customers=tuple(
            CustomerMonth(
                point=t.point,
                volume=filled(whole(t.m3), clock),
                spread_hours=int(np.count_nonzero(t.spread[here])),
                resets=int(np.count_nonzero(t.resets[here])),
                spikes=int(np.count_nonzero(t.spikes[here])),
            )
            for t in taken
        ),
        nights=tuple(nights),
        day_hours=tuple((e - s) / HOUR_MS for s, e in zip(starts, ends, strict=True)),
        use=use,
        pressure=day_factor(whole(pressure_of(layout, hours)), clock, facts),
    )


def _meter(hours: Hours, net: Net, point: str, sign: int, here: slice) -> MeterMonth:
    known = ~net.unknown[point][here]
    m3 = float(np.sum(hours.of(point).mean[here][known]))
    return MeterMonth(
        point=point, sign=sign, m3=sign * m3, known_hours=int(np.count_nonzero(known))
    )


def _night_use(
    layout: Layout,
    hours: Hours,
    taken: Sequence[Taken],
    nights: Sequence[Night],
    facts: BalanceSection,
) -> float | None:
    """Return the median over nights of what all customers together drew, m³/h.

    None unless every connection has a meter here, each of them known in half of the nights at
    least. Hours whose part of a gap is only shared out say nothing of a night.
    """
    if facts.connections is None or len(taken) < facts.connections or not nights:
        return None
    total = np.zeros(hours.length)
    for t in taken:
        total += np.where(t.spread, np.nan, t.m3)
    dates = [n.night for n in nights]
    starts, ends = windows(dates, layout.timezone, from_h=facts.night_from_h, to_h=facts.night_to_h)
    found = night_flow(hours.at, total, starts, ends, width_ms=HOUR_MS).mean
    known = found[np.isfinite(found)]
    return float(np.median(known)) if len(known) >= len(nights) / 2 else None
