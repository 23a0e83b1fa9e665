"""The rule book of this utility: its policy and its calendar, read from files at the start."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from server.engine.registry import Promise
from server.servicecore.rules.calendar import WorkCalendar, Year, days_of, time_of, year_of
from server.servicecore.rules.policy import NO_POLICY, Policy, required_inputs, resolve
from server.servicecore.rules.policy_form import PolicyFile, Source, place_of
from telemetry.errors import ConfigError
from telemetry.instant import HOUR_MS
from telemetry.units import to_house

_Model = TypeVar("_Model", bound=BaseModel)

CALENDAR_OF_NONE = WorkCalendar(utc_offset_ms=8 * HOUR_MS, hours=((0, 24 * HOUR_MS),))
"""What a desk without a rule book counts by; no clock runs there."""


class _CalendarYear(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    year: Annotated[int, Field(ge=2000, le=2200)]
    utc_offset: Annotated[str, Field(pattern=r"^[+-]\d\d:\d\d$")]
    status: Literal["confirmed", "provisional"]
    source: Source
    off: tuple[str, ...]
    worked: tuple[str, ...]


class CalendarFile(BaseModel):
    """One file of configs/calendars: one year of one calendar."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calendar: _CalendarYear

    def problems(self) -> list[str]:
        """Return every mistake of sense."""
        found: list[str] = []
        days: dict[str, frozenset[int]] = {}
        for key, texts in (("off", self.calendar.off), ("worked", self.calendar.worked)):
            try:
                days[key] = days_of(texts)
            except ValueError as e:
                found.append(f"calendar.{key}: {e}")
                continue
            if any(year_of(day) != self.calendar.year for day in days[key]):
                found.append(f"calendar.{key}: expected days of {self.calendar.year} only")
        if len(days) == 2 and days["off"] & days["worked"]:
            found.append("calendar: a day is both off and worked")
        return found

    def as_year(self) -> Year:
        """Return the year as the rules read it."""
        return Year(
            number=self.calendar.year,
            off=days_of(self.calendar.off),
            worked=days_of(self.calendar.worked),
            is_confirmed=self.calendar.status == "confirmed",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleBook:
    """What the desk decides by."""

    policy: Policy
    calendar: WorkCalendar
    night: tuple[int, ...] = ()

    @property
    def promises(self) -> dict[str, Promise]:
        """Return the least pressure that the policy promises, by kind of place (R01).

        Rounded, so that 0.28 MPa is 280 kPa and nothing more.
        """
        found = {}
        for key in sorted(self.policy.values):
            mpa, place = self.policy.number(key), place_of(key)
            if mpa is not None and place:
                by = f"{self.policy.id}: {key}"
                found[place] = Promise(kpa=round(to_house(mpa, "MPa"), 3), by=by)
        return found

    @classmethod
    def none(cls) -> "RuleBook":
        """Return the book of a desk that was given none: no clock runs, nothing is demanded."""
        return cls(policy=NO_POLICY, calendar=CALENDAR_OF_NONE)


def load_rule_book(folder: Path, name: str, *, live: bool, own: Path | None = None) -> RuleBook:
    """Return the rule book of a policy; `folder` holds policies/ and calendars/.

    A utility's `own` folder of the same form is laid over it: its policies may extend those of
    `folder`, and its years replace those of the same name. Raises `ConfigError` for what is wrong;
    with `live` also for what the utility must still decide.
    """
    folders = [f for f in (folder, own) if f is not None]
    policy = load_policy([f / "policies" for f in folders], name)
    if live and (missing := required_inputs(policy)):
        raise ConfigError(
            f"policy {name}: not for live use, required input is missing: " + "; ".join(missing)
        )
    where = f"policy {name}: values."
    return RuleBook(
        policy=policy,
        calendar=load_calendar(
            [f / "calendars" for f in folders],
            policy.text("work.calendar"),
            hours=_hours(policy.texts("work.hours"), f"{where}work.hours"),
        ),
        night=tuple(_time(t, f"{where}night.hours") for t in policy.texts("night.hours")),
    )


def load_policy(folders: Sequence[Path], name: str) -> Policy:
    """Return a policy with what it inherits. Raises `ConfigError` with every problem."""
    files: dict[str, PolicyFile] = {}
    for folder in folders:
        files |= policy_files(folder)
    try:
        return resolve(files, name)
    except ValueError as e:
        raise ConfigError("; ".join(f"policy {p}" for p in str(e).split("; "))) from None


def policy_files(folder: Path) -> dict[str, PolicyFile]:
    """Return every policy of a folder by its id; none when there is no such folder."""
    files: dict[str, PolicyFile] = {}
    for path in _tomls(folder):
        body = _read(path)
        if "policy" not in body:
            raise ConfigError(f"{path}: expected the table policy, found none")
        file = _model(path, body, PolicyFile)
        if file.policy.id != path.stem:
            raise ConfigError(f"{path}: policy.id: expected {path.stem}, was {file.policy.id}")
        files[path.stem] = file
    return files


def load_calendar(
    folders: Sequence[Path], name: str, *, hours: tuple[tuple[int, int], ...]
) -> WorkCalendar:
    """Return a calendar of all its years. Raises `ConfigError` when there is none of the name."""
    years: dict[int, Year] = {}
    offsets: set[str] = set()
    for folder in folders:
        found = _calendar_files(folder, name)
        years |= {number: file.as_year() for number, file in found.items()}
        offsets |= {file.calendar.utc_offset for file in found.values()}
    if len(offsets) != 1:
        raise ConfigError(
            f"{folders[-1]}: expected years of the calendar {name!r} with one utc_offset,"
            f" found {', '.join(sorted(offsets)) or 'none'}"
        )
    text = offsets.pop()
    sign = -1 if text.startswith("-") else 1
    return WorkCalendar(utc_offset_ms=sign * time_of(text[1:]), hours=hours, years=years)


def _calendar_files(folder: Path, name: str) -> dict[int, CalendarFile]:
    files: dict[int, CalendarFile] = {}
    for path in _tomls(folder):
        file = _model(path, _read(path), CalendarFile)
        if problems := file.problems():
            raise ConfigError("; ".join(f"{path}: {p}" for p in problems))
        if file.calendar.id == name:
            if file.calendar.year in files:
                raise ConfigError(f"{path}: {name} {file.calendar.year} is in another file too")
            files[file.calendar.year] = file
    return files


def _hours(texts: tuple[str, ...], where: str) -> tuple[tuple[int, int], ...]:
    spans = []
    for text in texts:
        opens, _, closes = text.partition("-")
        spans.append((_time(opens, where), _time(closes, where)))
    flat = [t for span in spans for t in span]
    if not spans or flat != sorted(set(flat)):
        raise ConfigError(f"{where}: expected spans such as 08:30-12:00 in order, was {texts}")
    return tuple(spans)


def _time(text: str, where: str) -> int:
    try:
        return time_of(text)
    except ValueError as e:
        raise ConfigError(f"{where}: {e}") from None


def _tomls(folder: Path) -> list[Path]:
    if not folder.exists():
        return []
    try:
        return sorted(p for p in folder.iterdir() if p.suffix == ".toml")
    except OSError as e:
        raise ConfigError(f"{folder}: expected a folder, found none that can be read") from e


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise ConfigError(f"{path}: cannot be read: {e}") from e


def _model(path: Path, body: Mapping[str, Any], model: type[_Model]) -> _Model:
    try:
        return model.model_validate(body)
    except ValidationError as e:
        lines = [f"{'.'.join(map(str, m['loc']))}: {m['msg']}" for m in e.errors()]
        raise ConfigError("; ".join(f"{path}: {line}" for line in lines)) from None
