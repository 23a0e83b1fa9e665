"""What a balance cannot say, or says with a reservation: codes with facts for the screens."""

from dataclasses import dataclass

LACKS = (
    *("no_inflow", "meter_silent", "meter_gaps", "level_gaps", "little_data", "hours_filled"),
    *("no_net_input", "children", "both_signs", "half_taken_off", "beside_edge"),
    *("no_customers", "few_customers", "customers_uncounted", "customer_silent", "customer_gaps"),
    *("counter_reset", "counter_spike", "unknown_customer", "more_metered"),
    *("unmetered_unknown", "apparent_unknown", "night_use_default", "night_use_beyond"),
    *("no_night", "nights_missing", "no_pressure", "no_pressure_head"),
    *("no_unavoidable", "no_correction", "month_runs", "history_unread"),
)
"""Every code, in no order; each has its words in both languages of the screens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One reservation: a code of `LACKS`, and what fills the blanks of its words."""

    code: str
    facts: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, code: str, **facts: object) -> "Note":
        """Return a note; numbers of hours and shares come as they are printed."""
        return cls(code=code, facts=tuple((k, str(v)) for k, v in facts.items()))

    @property
    def blanks(self) -> dict[str, str]:
        """Return the facts by name."""
        return dict(self.facts)
