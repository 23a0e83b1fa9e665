"""How a policy file is written: its tables, what each key means, and which way it is stricter.

Every number of a utility has a `source`: `quote:` its own words, `regulation:` a law or standard,
`site:` what the utility decided when it was asked, `default:` ours, for want of any of them.
"""

import re
from enum import StrEnum
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

SCHEMA = "mainwatch.policy/1"
PROMISE_MIN_MPA, PROMISE_MAX_MPA = 0.001, 5.0
RETENTION_YEARS_MIN = 5
"""存檔期限為5年: no policy may keep less, and none may delete (R30)."""

Source = Annotated[str, Field(pattern=r"^(quote|regulation|site|default): \S")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]


class Purpose(StrEnum):
    """What a clock is for: an emergency never runs on another's."""

    EMERGENCY = "emergency"
    ENQUIRY = "enquiry"
    PROJECT = "project"
    REPORT = "report"


class Mode(StrEnum):
    """How the time of a clock passes."""

    WALL = "wall"
    BUSINESS = "business"
    WORKING_DAYS = "working_days"
    MONTH = "month"  # to the end of the calendar month


class Limit(NamedTuple):
    """So many milliseconds, or working days, or the rest of the month."""

    unit: Literal["ms", "wd", "month"]
    amount: int


_UNITS = {"s": SECOND_MS, "min": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}
_NEEDS = {Mode.WALL: "ms", Mode.BUSINESS: "ms", Mode.WORKING_DAYS: "wd", Mode.MONTH: "month"}


def limit_of(text: str) -> Limit:
    """Read `20min`, `24h`, `15d`, `3wd` or `month`. Raises `ValueError`.

    >>> limit_of("20min").amount, limit_of("3wd")
    (1200000, Limit(unit='wd', amount=3))
    """
    if text == "month":
        return Limit("month", 1)
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text[len(digits) :]
    if not digits.isdecimal() or int(digits) == 0 or unit not in {*_UNITS, "wd"}:
        raise ValueError(f"expected a limit such as 20min, 24h, 15d, 3wd or month, was {text!r}")
    if unit == "wd":
        return Limit("wd", int(digits))
    return Limit("ms", int(digits) * _UNITS[unit])


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Bilingual(_Table):
    """A name in both languages of the screens."""

    zh: str
    en: str


class Head(_Table):
    """Who the policy is for and which one it extends."""

    schema_: Annotated[Literal["mainwatch.policy/1"], Field(alias="schema")]
    id: Name
    kind: Literal["any", "water", "gas", "heating"]
    name: Bilingual
    parent: Name | None = None
    text: str = ""


class Sourced(_Table):
    """One value and where it comes from."""

    value: float | bool | str | tuple[str, ...]
    source: Source


class When(_Table):
    """Which cases a clock or a variant speaks of; bounds include their number (以上/以下)."""

    liability: Literal["own", "customer"] | None = None
    place: Name | None = None
    dn_mm_min: int | None = None
    dn_mm_max: int | None = None
    night: bool | None = None
    stage: Name | None = None


class Variant(_Table):
    """Another limit for some of the cases."""

    when: When
    limit: str
    source: Source


class LadderStep(_Table):
    """At a part of the limit (`80%`, `150%`) or so long after it (`+24h`), tell somebody."""

    at: Annotated[str, Field(pattern=r"^(\d{1,3}%|\+\d+(min|h|d))$")]
    tell: Annotated[tuple[Name, ...], Field(min_length=1)]


class ClockRule(_Table):
    """A time limit between two events of a ticket or contact."""

    id: Name
    purpose: Purpose
    start: Name
    stop: Name
    mode: Mode
    source: Source
    limit: str | None = None
    counts_first: bool = False
    when: When = When()
    pauses: tuple[Name, ...] = ()
    steps: tuple[LadderStep, ...] = ()
    variant: tuple[Variant, ...] = ()

    def problems(self) -> list[str]:
        """Return what is wrong in itself."""
        found = []
        texts = [("limit", self.limit)] + [("variant.limit", v.limit) for v in self.variant]
        for key, text in texts:
            if text is None:
                continue
            try:
                unit = limit_of(text).unit
            except ValueError as e:
                found.append(f"clock {self.id}.{key}: {e}")
                continue
            if unit != _NEEDS[self.mode]:
                found.append(f"clock {self.id}.{key}: {text!r} is no limit of mode {self.mode}")
        if self.limit is None and not self.variant:
            found.append(f"clock {self.id}: expected a limit or a variant, found neither")
        if self.purpose is Purpose.EMERGENCY and self.mode is not Mode.WALL:
            found.append(
                f"clock {self.id}: an emergency runs on the wall clock, expected mode wall,"
                f" was {self.mode}"
            )
        return found


class Route(_Table):
    """Which kind of unit takes a category; `area` is the branch of the place."""

    category: Name
    to: Name
    source: Source


class ChildOrder(_Table):
    """An order that one incident gives to another unit beside the first."""

    id: Name
    to: Name
    task: Bilingual
    source: Source
    place: Literal["any", "indoor", "outdoor"] = "any"
    at_once: bool = True


class Call(_Table):
    """Whom to telephone besides the ticket."""

    event: Name
    to: Annotated[tuple[Name, ...], Field(min_length=1)]
    source: Source


class Key(NamedTuple):
    """What a key of `[values]` holds, and which way is stricter."""

    kind: type
    stricter: Literal["higher", "lower", "choice", "free", "more"]
    choices: tuple[str, ...] = ()
    at_least: float | None = None
    at_most: float | None = None


KEYS: dict[str, Key] = {
    "pressure.*.min_mpa": Key(float, "higher", at_least=PROMISE_MIN_MPA, at_most=PROMISE_MAX_MPA),
    "compliance.target": Key(float, "higher"),
    "compliance.method": Key(str, "free", ("hourly", "sample_ratio", "time_weighted")),
    "compliance.exclude": Key(tuple, "free"),
    "satisfaction.target": Key(float, "higher"),
    "handled.target": Key(float, "higher"),
    "timeliness.target": Key(float, "higher"),
    "window.score_min": Key(float, "higher"),
    "outlets.per_district_min": Key(float, "higher"),
    "call_back.mode": Key(str, "choice", ("none", "sample", "every")),
    "call_back.share_min": Key(float, "higher"),
    "notice.outage_over_h": Key(float, "lower"),
    "notice.planned_lead_h": Key(float, "higher"),
    "cluster.min_contacts": Key(float, "lower"),
    "cluster.window_h": Key(float, "higher"),
    "customer.large_over_m3h": Key(float, "lower"),
    "customer.major_project_cny": Key(float, "lower"),
    "extension.report_to": Key(str, "free"),
    "exception.reasons": Key(tuple, "free"),
    "arrears.day_of_month": Key(float, "free", at_least=1),
    "form.copies": Key(float, "higher"),
    "retention.years": Key(float, "higher", at_least=RETENTION_YEARS_MIN),
    "liaison.around_the_clock": Key(bool, "choice", ("False", "True")),
    "feedback.mandatory": Key(bool, "choice", ("False", "True")),
    "work.hours": Key(tuple, "free"),
    "work.calendar": Key(str, "free"),
    "night.hours": Key(tuple, "free"),
    "verify.quiet_min": Key(float, "higher"),
    "realarm.after_min": Key(float, "lower"),
    "privacy.ask_reason": Key(bool, "choice", ("False", "True")),
    "shelve.max_h": Key(float, "lower"),
}


class PolicyFile(_Table):
    """One file of configs/policies."""

    policy: Head
    values: dict[str, Sourced] = {}
    clock: tuple[ClockRule, ...] = ()
    route: tuple[Route, ...] = ()
    child: tuple[ChildOrder, ...] = ()
    call: tuple[Call, ...] = ()

    def problems(self) -> list[str]:
        """Return what is wrong in the file by itself."""
        found = [p for clock in self.clock for p in clock.problems()]
        for key, sourced in self.values.items():
            found += _value_problems(key, sourced.value)
        for what, names in (
            ("clock", [c.id for c in self.clock]),
            ("child", [c.id for c in self.child]),
            ("route", [r.category for r in self.route]),
        ):
            found += [f"{what} {n}: given twice" for n in sorted(set(names)) if names.count(n) > 1]
        return found


def key_of(name: str) -> Key | None:
    """Return what a key means; `pressure.<place>.min_mpa` is one key for every place."""
    return KEYS["pressure.*.min_mpa"] if place_of(name) else KEYS.get(name)


def place_of(name: str) -> str:
    """Return the kind of place that a key promises a pressure at; nothing for any other key.

    >>> place_of("pressure.central.min_mpa"), place_of("compliance.target")
    ('central', '')
    """
    found = re.fullmatch(r"pressure\.(\S+)\.min_mpa", name)
    return found[1] if found and "." not in found[1] else ""


def _value_problems(name: str, value: object) -> list[str]:
    key = key_of(name)
    if key is None:
        return [f"values.{name}: unknown key"]
    fits = isinstance(value, key.kind) and (key.kind is bool or not isinstance(value, bool))
    if not fits:
        return [f"values.{name}: expected {key.kind.__name__}, was {value!r}"]
    if key.kind is str and key.choices and value not in key.choices:
        return [f"values.{name}: expected one of {', '.join(key.choices)}, was {value}"]
    if key.at_least is not None and isinstance(value, float) and value < key.at_least:
        return [f"values.{name}: expected at least {key.at_least:g}, was {value:g}"]
    if key.at_most is not None and isinstance(value, float) and value > key.at_most:
        return [f"values.{name}: expected at most {key.at_most:g}, was {value:g}"]
    return []
