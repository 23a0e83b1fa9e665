"""Stories: from what a scenario file says to events at instants, or every mistake in it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from firmware_sim.core.events import SHEETS, Event, Kind, full_numbers
from firmware_sim.core.moments import OffsetOf, duration_ms, moment
from firmware_sim.core.names import known
from telemetry.instant import SECOND_MS, Instant

Places = Mapping[str, tuple[str, ...]]
"""Every name that something can happen to, by what it is: pipe, node, link, zone, point ..."""

SAYABLE = (
    *("burst", "leak", "supply", "pressure_low", "pressure_drop", "limit", "sensor_fault"),
    *("silent", "meter_fault", "customer_leak", "regime_change", "recovery"),
)
"""What a control room can say (DESIGN: kinds of `events.jsonl`)."""

_NEEDS_END = (Kind.TANK_EMPTIED,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A happening as a story tells it: times are instants or texts, `lasts` or `until` may lack."""

    id: str
    kind: str
    at: int | str
    lasts: str = ""
    until: int | str = ""
    target: str = ""
    numbers: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """What is expected to be said: `after` is the id of what it is said about."""

    key: str
    kind: str
    zone: str | None = None
    after: str = ""


def events(
    told: Sequence[Told], *, origin: Instant, offset_ms: OffsetOf, places: Places
) -> tuple[tuple[Event, ...], list[str]]:
    """Return the events of a story in the order of their begin, and every mistake in it."""
    found: list[Event] = []
    mistakes: list[str] = []
    for n, section in enumerate(told):
        where = f"event[{n}] {section.id!r}"
        try:
            event = _event(section, origin=origin, offset_ms=offset_ms, places=places)
        except ValueError as e:
            mistakes.append(f"{where}: {e}")
            continue
        if event.begin < origin:
            before_s = (origin - event.begin) / SECOND_MS
            mistakes.append(
                f"{where}: at: expected an instant after the story's start, was {section.at!r},"
                f" {before_s:.0f} s before it"
            )
        if any(event.id == e.id for e in found):
            mistakes.append(f"{where}: the id is used already by an event above it")
        found.append(event)
    return tuple(sorted(found, key=lambda e: (e.begin, e.id))), mistakes


def shifted(events: Sequence[Event], by_ms: int) -> tuple[Event, ...]:
    """Return the same events earlier or later."""
    return tuple(
        replace(
            e,
            begin=Instant(e.begin + by_ms),
            end=None if e.end is None else Instant(e.end + by_ms),
        )
        for e in events
    )


def made(
    kind: str,
    *,
    id_: str,
    begin: Instant,
    end: Instant | None,
    target: str,
    numbers: Mapping[str, float],
    places: Places,
) -> Event:
    """Return an event that can happen. Raises `ValueError` naming what exists instead."""
    sort = _kind(kind)
    if wrong := [*_number_mistakes(sort, numbers), *_target_mistakes(sort, target, places)]:
        raise ValueError("; ".join(wrong))
    if end is not None and end <= begin:
        raise ValueError("expected an end after its beginning")
    full = full_numbers(sort, numbers)
    if sort is Kind.CONVERTER_REBOOT and end is None:
        end = Instant(begin + round(full["seconds"] * SECOND_MS))
    if sort in _NEEDS_END and end is None:
        raise ValueError(f"for: required, as {sort} takes its time")
    return Event(id=id_, kind=sort, begin=begin, end=end, target=target, numbers=full)


def _event(section: Told, *, origin: Instant, offset_ms: OffsetOf, places: Places) -> Event:
    begin = moment(section.at, origin=origin, offset_ms=offset_ms)
    end: Instant | None = None
    if section.lasts and section.until:
        raise ValueError("expected for or until, found both")
    if section.lasts:
        end = Instant(begin + duration_ms(section.lasts))
    elif section.until:
        end = moment(section.until, origin=begin, offset_ms=offset_ms)
    return made(
        section.kind,
        id_=section.id,
        begin=begin,
        end=end,
        target=section.target,
        numbers=section.numbers,
        places=places,
    )


def _kind(name: str) -> Kind:
    if name in {k.value for k in Kind}:
        return Kind(name)
    near = ", ".join(get_close_matches(name, [k.value for k in Kind], n=3)) or "none"
    raise ValueError(f"kind: expected one of {', '.join(Kind)}, was {name!r} (near names: {near})")


def _number_mistakes(kind: Kind, told: Mapping[str, float]) -> list[str]:
    sheet = SHEETS[kind]
    takes = (*sheet.needs, *sheet.may)
    found = [f"{name}: required for {kind}" for name in sheet.needs if name not in told]
    for name, value in told.items():
        if name not in takes:
            found.append(f"{name}: {kind} takes {' and '.join(takes) or 'no number'}")
        elif not math.isfinite(value):
            found.append(f"{name}: expected a finite number, was {value}")
        elif name in _ABOVE_ZERO and value <= 0:
            found.append(f"{name}: expected more than 0, was {value:g}")
    return found


_ABOVE_ZERO = ("m3h", "factor", "per_hour", "per_minute", "one_in", "ratio", "seconds")


def _target_mistakes(kind: Kind, target: str, places: Places) -> list[str]:
    wanted = SHEETS[kind].targets
    if not target:
        if "town" in wanted:
            return []
        return [f"target: required: {kind} happens to a {' or '.join(wanted)}"]
    what = [w for w in wanted if w != "town"]
    if not what:
        return [f"target: expected none, as {kind} happens to the whole town, was {target!r}"]
    try:
        known(target, [n for w in what for n in places.get(w, ())], what=f"a {' or '.join(what)}")
    except ValueError as e:
        return [f"target: {e}"]
    return []


def expectation_mistakes(says: Sequence[Say], *, ids: Sequence[str], places: Places) -> list[str]:
    """Return the mistakes in what is expected to be said, or not to be said."""
    found = []
    zones = places.get("zone", ())
    for say in says:
        if say.kind not in SAYABLE:
            found.append(f"{say.key}: expected one of {', '.join(SAYABLE)}, was {say.kind!r}")
        if say.zone is not None and say.zone not in {"", *zones}:
            found.append(f"{say.key}: zone: expected one of {', '.join(zones)}, was {say.zone!r}")
        if say.after and say.after not in ids:
            there = ", ".join(ids) or "none"
            found.append(
                f"{say.key}: after: expected the id of an event ({there}), was {say.after!r}"
            )
    return found
