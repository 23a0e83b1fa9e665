"""The water balance of a zone and a month: what came, what was used, what was lost, and how sure.

Every figure is there or None; `notes` say what is missing and which meter lacks it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot

import numpy as np

from server.balance import cjj92
from server.balance.cjj92 import Rates
from server.balance.layout import Layout
from server.balance.losses import DayFactor, Span, from_nights, unavoidable_m3_day
from server.balance.nights import Night, NightUse
from server.balance.notes import Note
from server.balance.volumes import Volume
from server.config import BalanceSection

INPUT_SHARE_MIN = 0.5
"""A month of which fewer hours are known has no balance."""

GUESS_ERROR = 0.5
"""How far off a volume or share may be that somebody estimated and nobody measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """A volume, and how far off it may be, at about 95 %."""

    m3: float
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterMonth:
    """What one meter of the edge brought (sign 1) or took away (-1) in its known hours."""

    point: str
    sign: int
    m3: float
    known_hours: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerMonth:
    """What one customer's meter counted; `resets` and `spikes` of its counter."""

    point: str
    volume: Volume
    spread_hours: int
    resets: int
    spikes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured in a month; `days` are its hours over 24.

    `levels` are the tanks' levels, each with the hours in which its change is not known;
    `day_hours` is how many hours each of the `nights` stands for.
    """

    days: float
    meters: tuple[MeterMonth, ...]
    levels: tuple[tuple[str, int], ...]
    storage_m3: float
    net: Volume
    customers: tuple[CustomerMonth, ...]
    nights: tuple[Night, ...]
    day_hours: tuple[float, ...]
    use: NightUse | None
    pressure: DayFactor


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """The figures. `supplied` is the system input, net of what storage took; m³ all of them.

    `is_whole` says that all customers' use is known; where it is not, `losses` are at most so much.
    `real_above` is what the balance leaves, less the apparent losses; `real_below` is what the
    night flows say. `per_connection_l` a day and `ili` are of the one that `real_from` names.
    """

    supplied: Amount | None
    metered: Amount | None
    unmetered: Amount
    losses: Amount | None
    is_whole: bool
    apparent: Amount | None
    real_above: Amount | None
    real_below: Span | None
    non_revenue_share: float | None
    rates: Rates | None
    real_from: str
    per_connection_l: float | None
    per_km_m3: float | None
    unavoidable_m3: float | None
    ili: float | None
    notes: tuple[Note, ...]

    @property
    def authorised(self) -> Amount | None:
        """Return what registered customers used, metered or not."""
        if self.metered is None:
            return None
        error = hypot(self.metered.error, self.unmetered.error)
        return Amount(m3=self.metered.m3 + self.unmetered.m3, error=error)


def balance_of(
    layout: Layout, found: Measured, facts: BalanceSection, *, billed_m3: float | None
) -> Balance:
    """Return the balance of what was measured; `billed_m3` is what billing adds to the meters."""
    notes: list[Note] = []
    supplied = _supplied(layout, found, facts, notes)
    metered = _metered(found, facts, billed_m3, notes)
    unmetered = _unmetered(facts, notes)
    losses = apparent = real_above = rates = share = None
    is_whole = _is_whole(found, facts, billed_m3, notes)
    if supplied is not None and metered is not None:
        used = metered.m3 + unmetered.m3
        error = hypot(supplied.error, metered.error, unmetered.error)
        losses = Amount(m3=supplied.m3 - used, error=error)
        if losses.m3 < 0:
            notes.append(Note.of("more_metered", m3=_printed(-losses.m3)))
        if is_whole:
            share = (supplied.m3 - metered.m3) / supplied.m3
            rates = cjj92.rates(supplied.m3, used, days=found.days, facts=facts)
            if rates.missing:
                notes.append(Note.of("no_correction", names=", ".join(rates.missing)))
            apparent, real_above = _parted(losses, facts, notes)
    real_below = _below(found, facts, notes)
    real, source = _real(real_above, real_below, found.use)
    unavoidable = _unavoidable(found, facts, notes)
    return Balance(
        supplied=supplied,
        metered=metered,
        unmetered=unmetered,
        losses=losses,
        is_whole=is_whole,
        apparent=apparent,
        real_above=real_above,
        real_below=real_below,
        non_revenue_share=share,
        rates=rates,
        real_from=source,
        per_connection_l=_per(real, found.days, facts.connections, 1000),
        per_km_m3=_per(real, found.days, facts.mains_km, 1),
        unavoidable_m3=unavoidable,
        ili=None if real is None or not unavoidable else real / unavoidable,
        notes=(*layout.notes, *notes),
    )


def _supplied(
    layout: Layout, found: Measured, facts: BalanceSection, notes: list[Note]
) -> Amount | None:
    if not layout.meters:
        notes.append(Note.of("no_inflow"))
        return None
    if layout.children:
        notes.append(Note.of("children", zones=", ".join(layout.children)))
    notes += _gaps(found)
    if found.net.share < INPUT_SHARE_MIN:
        percent = f"{found.net.share * 100:.0f}"
        notes.append(Note.of("little_data", percent=percent, hours=found.net.hours))
        return None
    if found.net.known_hours < found.net.hours:
        hours = found.net.hours - found.net.known_hours
        notes.append(Note.of("hours_filled", hours=hours, m3=_printed(found.net.filled_m3)))
    if found.net.m3 <= 0:
        notes.append(Note.of("no_net_input", m3=_printed(found.net.m3)))
        return None
    error = hypot(_meter_error(found, facts), found.net.filled_error)
    return Amount(m3=found.net.m3, error=error)


def _gaps(found: Measured) -> list[Note]:
    """Return which meter and which level is missing, and for how long."""
    notes = []
    for meter in found.meters:
        if not meter.known_hours:
            notes.append(Note.of("meter_silent", point=meter.point))
        elif meter.known_hours < found.net.hours:
            lacking = found.net.hours - meter.known_hours
            notes.append(Note.of("meter_gaps", point=meter.point, hours=lacking))
    for point, lacking in found.levels:
        if lacking:
            notes.append(Note.of("level_gaps", point=point, hours=lacking))
    return notes


def _meter_error(found: Measured, facts: BalanceSection) -> float:
    """Return how far off the edge meters together may be, m³; each errs by itself."""
    whole = [m.m3 * found.net.hours / m.known_hours for m in found.meters if m.known_hours]
    return hypot(0.0, *(v * facts.meter_error_percent / 100 for v in whole))


def _metered(
    found: Measured, facts: BalanceSection, billed_m3: float | None, notes: list[Note]
) -> Amount | None:
    heard = [c for c in found.customers if c.volume.known_hours]
    silent = [c.point for c in found.customers if not c.volume.known_hours]
    if not heard and billed_m3 is None:
        notes.append(Note.of("no_customers"))
        return None
    if silent:
        notes.append(Note.of("customer_silent", count=len(silent), points=_listed(silent)))
    gaps = [c for c in heard if c.volume.known_hours < c.volume.hours]
    if gaps:
        m3 = sum(c.volume.filled_m3 for c in gaps)
        hours = sum(c.volume.hours - c.volume.known_hours for c in gaps)
        notes.append(Note.of("customer_gaps", count=len(gaps), hours=hours, m3=_printed(m3)))
    for code, odd in (
        ("counter_reset", [c.point for c in heard if c.resets]),
        ("counter_spike", [c.point for c in heard if c.spikes]),
    ):
        if odd:
            notes.append(Note.of(code, points=_listed(odd)))
    share = facts.customer_error_percent / 100
    errors = [hypot(c.volume.m3 * share, c.volume.filled_error) for c in heard]
    billed = billed_m3 or 0.0
    return Amount(m3=sum(c.volume.m3 for c in heard) + billed, error=hypot(billed * share, *errors))


def _is_whole(
    found: Measured, facts: BalanceSection, billed_m3: float | None, notes: list[Note]
) -> bool:
    """Say whether all that customers use is known: by billing, or by a meter at each connection.

    Where it is not, the balance bounds the losses from above, and no rate is made of them.
    """
    if billed_m3 is not None:
        return True
    heard = sum(c.volume.known_hours > 0 for c in found.customers)
    if not heard:
        return False
    if facts.connections is None:
        notes.append(Note.of("customers_uncounted", count=heard))
        return False
    if heard < facts.connections:
        notes.append(Note.of("few_customers", count=heard, of=facts.connections))
        return False
    return True


def _unmetered(facts: BalanceSection, notes: list[Note]) -> Amount:
    if facts.unmetered_m3 is None:
        notes.append(Note.of("unmetered_unknown"))
        return Amount(m3=0.0, error=0.0)
    return Amount(m3=facts.unmetered_m3, error=facts.unmetered_m3 * GUESS_ERROR)


def _parted(
    losses: Amount, facts: BalanceSection, notes: list[Note]
) -> tuple[Amount | None, Amount | None]:
    """Return apparent and real losses, where the utility says which share is apparent."""
    if facts.apparent_share is None or losses.m3 < 0:
        notes.append(Note.of("apparent_unknown"))
        return None, None
    apparent = losses.m3 * facts.apparent_share
    off = hypot(losses.error * facts.apparent_share, apparent * GUESS_ERROR)
    real = Amount(m3=losses.m3 - apparent, error=hypot(losses.error, apparent * GUESS_ERROR))
    return Amount(m3=apparent, error=off), real


def _below(found: Measured, facts: BalanceSection, notes: list[Note]) -> Span | None:
    known = [n.m3h for n in found.nights if n.m3h is not None]
    lacking = len(found.nights) - len(known)
    if found.use is None:
        notes.append(Note.of("no_night"))
        return None
    if lacking:
        notes.append(Note.of("nights_missing", count=lacking, of=len(found.nights)))
    if found.use.source == "default":
        notes.append(Note.of("night_use_default"))
    elif found.use.likely > float(np.median(known)):
        notes.append(Note.of("night_use_beyond", m3h=_printed(found.use.likely)))
    if not found.pressure.is_measured:
        notes.append(Note.of("no_pressure"))
    error = _meter_error(found, facts) / found.net.hours if found.net.hours else 0.0
    return from_nights(
        [n.m3h for n in found.nights],
        found.day_hours,
        found.use,
        found.pressure.factor,
        meter_error_m3h=error,
    )


def _real(
    above: Amount | None, below: Span | None, use: NightUse | None
) -> tuple[float | None, str]:
    """Return the real losses that indicators are made of, and which way they were found.

    An assumed night use is too weak for that: it bounds losses from above and no more.
    """
    if above is not None:
        return above.m3, "above"
    if below is None or use is None or use.source == "default":
        return None, ""
    return below.likely, "below"


def _unavoidable(found: Measured, facts: BalanceSection, notes: list[Note]) -> float | None:
    """Return UARL over the month, m³, or None with a note that names what it lacks."""
    needed = {
        "mains_km": facts.mains_km,
        "connections": facts.connections,
        "service_km": facts.service_km,
    }
    lacking = [name for name, known in needed.items() if known is None]
    if lacking:
        notes.append(Note.of("no_unavoidable", names=", ".join(lacking)))
    if found.pressure.head_m is None:
        notes.append(Note.of("no_pressure_head"))
    if facts.mains_km is None or facts.connections is None:
        return None
    if facts.service_km is None or found.pressure.head_m is None:
        return None
    a_day = unavoidable_m3_day(
        mains_km=facts.mains_km,
        connections=facts.connections,
        service_km=facts.service_km,
        head_m=found.pressure.head_m,
    )
    return a_day * found.days


def _per(m3: float | None, days: float, of: float | None, factor: float) -> float | None:
    return None if m3 is None or of is None or not days else m3 / days / of * factor


def _printed(m3: float) -> str:
    return f"{m3:.1f}"


def _listed(points: Sequence[str]) -> str:
    more = f" … +{len(points) - 5}" if len(points) > 5 else ""
    return ", ".join(points[:5]) + more
