"""How a zone's month looks to programs: one form for the API and for `mainwatch balance --json`."""

from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field

from server.balance.account import ZoneMonth
from server.balance.notes import Note

Word = Callable[[Note], str]
"""What a reservation is called in some language."""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class AmountAnswer(_Answer):
    """A volume, and how far off it may be, at about 95 %."""

    m3: float
    error: float


class SpanAnswer(_Answer):
    """A figure with the range that it may lie in."""

    low: float
    likely: float
    high: float


class NightAnswer(_Answer):
    """One night, m³/h; `hours` is how long its window was by the clock."""

    night: str = Field(description="date, where the water is")
    hours: int
    m3h: float | None
    lowest_m3h: float | None
    share: float = Field(description="of the window that was measured")
    usual_m3h: float | None = Field(description="median of the 28 nights before")
    sigma_m3h: float | None = Field(description="their robust standard deviation")
    excess_m3h: float | None


class NightUseAnswer(SpanAnswer):
    """What people may draw at night, m³/h: configured, measured, per_connection or default."""

    source: str


class NightsAnswer(_Answer):
    """The night flow of a month, and its last 28 nights."""

    median_m3h: float | None
    mean_m3h: float | None
    rise_m3h: float | None = Field(description="from one night to the next, over the last 28")
    use: NightUseAnswer | None
    day_factor: SpanAnswer
    day_factor_is_measured: bool
    head_m: float | None = Field(description="mean pressure, metres of water")
    nights: list[NightAnswer]


class MeterAnswer(_Answer):
    """A meter of the edge over its known hours; negative for what went out."""

    point: str
    sign: int
    m3: float
    known_hours: int


class CustomerAnswer(_Answer):
    """A customer's meter; `filled_m3` is put in for the hours that nobody measured."""

    point: str
    measured_m3: float
    filled_m3: float
    known_hours: int
    resets: int
    spikes: int


class InputAnswer(_Answer):
    """The net inflow of a month: hours, volumes, and the meters and tanks behind it."""

    hours: int
    known_hours: int
    measured_m3: float
    filled_m3: float
    storage_m3: float = Field(description="what the tanks gained, in their known hours")
    meters: list[MeterAnswer]


class RatesAnswer(_Answer):
    """Loss rates in the terms of CJJ 92-2016 (2018), per cent."""

    gross: float
    r1: float | None
    r2: float | None
    r3: float | None
    r4: float | None
    correction: float | None
    loss: float | None
    grade: int | None = Field(description="1 or 2; 0 is worse than both")


class NoteAnswer(_Answer):
    """What a figure lacks, or is to be read with."""

    code: str
    facts: dict[str, str]
    text: str


class BalanceAnswer(_Answer):
    """The night flow and the water balance of a zone and a month; m³ where nothing else is said."""

    zone: str
    month: str
    begin: int
    end: int
    night: NightsAnswer
    input: InputAnswer
    customers: list[CustomerAnswer]
    supplied: AmountAnswer | None
    metered: AmountAnswer | None
    unmetered: AmountAnswer
    authorised: AmountAnswer | None = Field(description="metered and unmetered together")
    losses: AmountAnswer | None
    is_whole: bool = Field(description="all customers' use is known; else losses are at most this")
    apparent: AmountAnswer | None
    real_above: AmountAnswer | None = Field(description="real losses by the balance, top-down")
    real_below: SpanAnswer | None = Field(description="real losses by night flow, bottom-up")
    real_from: str = Field(description="above or below: which of them the next figures are of")
    per_connection_l: float | None = Field(description="litres a connection and day")
    per_km_m3: float | None = Field(description="m3 a kilometre of mains and day")
    unavoidable_m3: float | None = Field(description="UARL over the month")
    ili: float | None
    non_revenue_share: float | None
    rates: RatesAnswer | None
    notes: list[NoteAnswer]


def answer_of(found: ZoneMonth, word: Word) -> BalanceAnswer:
    """Return a zone's month for programs, with its reservations in words."""
    balance = found.balance
    told = {
        name: getattr(balance, name)
        for name in BalanceAnswer.model_fields
        if hasattr(balance, name) and name not in ("rates", "notes")
    }
    return BalanceAnswer.model_validate(
        {
            **told,
            "zone": found.zone,
            "month": found.month,
            "begin": found.begin,
            "end": found.end,
            "night": _nights(found),
            "input": _input(found),
            "customers": [_customer(found, n) for n in range(len(found.measured.customers))],
            "rates": _rates(found),
            "notes": [NoteAnswer(code=n.code, facts=n.blanks, text=word(n)) for n in balance.notes],
        }
    )


def _nights(found: ZoneMonth) -> NightsAnswer:
    pressure = found.measured.pressure
    return NightsAnswer(
        median_m3h=found.night_m3h,
        mean_m3h=found.night_mean_m3h,
        rise_m3h=found.rise_m3h,
        use=None if found.use is None else NightUseAnswer.model_validate(found.use),
        day_factor=SpanAnswer.model_validate(pressure.factor),
        day_factor_is_measured=pressure.is_measured,
        head_m=pressure.head_m,
        nights=[
            NightAnswer(
                night=n.night.isoformat(),
                hours=n.hours,
                m3h=n.m3h,
                lowest_m3h=n.lowest_m3h,
                share=n.share,
                usual_m3h=n.usual_m3h,
                sigma_m3h=n.sigma_m3h,
                excess_m3h=n.excess_m3h,
            )
            for n in found.nights
        ],
    )


def _input(found: ZoneMonth) -> InputAnswer:
    net = found.measured.net
    return InputAnswer(
        hours=net.hours,
        known_hours=net.known_hours,
        measured_m3=net.measured_m3,
        filled_m3=net.filled_m3,
        storage_m3=found.measured.storage_m3,
        meters=[MeterAnswer.model_validate(m) for m in found.measured.meters],
    )


def _customer(found: ZoneMonth, n: int) -> CustomerAnswer:
    customer = found.measured.customers[n]
    return CustomerAnswer(
        point=customer.point,
        measured_m3=customer.volume.measured_m3,
        filled_m3=customer.volume.filled_m3,
        known_hours=customer.volume.known_hours,
        resets=customer.resets,
        spikes=customer.spikes,
    )


def _rates(found: ZoneMonth) -> RatesAnswer | None:
    rates = found.balance.rates
    if rates is None:
        return None
    r1, r2, r3, r4 = rates.corrections
    return RatesAnswer(
        gross=rates.gross,
        r1=r1,
        r2=r2,
        r3=r3,
        r4=r4,
        correction=rates.correction,
        loss=rates.loss,
        grade=rates.grade,
    )
