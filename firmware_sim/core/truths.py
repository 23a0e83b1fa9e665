"""Labels of a recording: what really happened, as rows of truth.jsonl and operations.jsonl."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from firmware_sim.core.events import Event, Kind, Layer, Truth
from firmware_sim.core.instruments import Instrument
from firmware_sim.core.plant import Where
from telemetry.instant import HOUR_MS, Instant

_OPERATIONS = {
    Kind.HYDRANT: "hydrant",
    Kind.VALVE_CLOSED: "valve",
    Kind.PRV_SETPOINT: "prv",
    Kind.PUMP_TRIP: "pump",
    Kind.LARGE_DEMAND: "flushing",
}

Told = Callable[[Instant], str]
"""How an instant is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A happening and where it was, with what is known of its place."""

    event: Event
    zone: str
    place: Mapping[str, Any]
    is_planned: bool


def label(
    event: Event,
    *,
    instruments: Iterable[Instrument],
    where_of: Callable[[Event], Where],
    is_planned: bool,
) -> Label:
    """Return the label of an event; `where_of` knows the places of the water."""
    place: dict[str, Any] = {}
    if event.kind.layer is Layer.WATER:
        where = where_of(event)
        zone = where.zone
        for key in ("pipe", "link", "x", "y"):
            if (found := getattr(where, key)) is not None:
                place[key] = found
        if where.node is not None:
            place["nodes"] = [where.node]
    else:
        spoilt = [i for i in instruments if event.target in {i.point, i.device}]
        zone = str(spoilt[0].zone) if spoilt else ""
        if len(spoilt) == 1:
            place["point"] = str(spoilt[0].point)
        elif event.target:
            place["device" if spoilt else "line"] = event.target
    return Label(event=event, zone=zone, place=place, is_planned=is_planned)


def truth_row(label: Label, *, end: Instant | None, told: Told) -> dict[str, Any]:
    """Return a row of truth.jsonl, or nothing for what is no news: a holiday, say."""
    event = label.event
    kind = Truth.WORKS if label.is_planned else event.kind.truth
    if kind is Truth.NONE:
        return {}
    lets_out = event.kind in {Kind.BURST, Kind.LEAK}
    grow_ms = round(event.numbers.get("grow_h", 0.0) * HOUR_MS)
    row: dict[str, Any] = {"id": event.id, "kind": kind.value}
    if lets_out:
        row["type"] = "incipient" if grow_ms else "abrupt"
    row |= {"cause": event.kind.value, "zone": label.zone, **label.place}
    row |= {"from": told(event.begin), "to": None if end is None else told(end)}
    if lets_out:
        peak = event.begin + grow_ms
        row["peak_at"] = told(Instant(peak if end is None else min(peak, end)))
        row["peak_m3h"] = event.numbers["m3h"]
    return row


def operation_row(label: Label, *, end: Instant | None, told: Told) -> dict[str, Any]:
    """Return a row of operations.jsonl, or nothing for what was not ordered by anybody."""
    event = label.event
    if not label.is_planned:
        return {}
    row = {
        "id": event.id,
        "kind": _OPERATIONS.get(event.kind, "works"),
        "zone": label.zone,
        "from": told(event.begin),
        "to": None if end is None else told(end),
        "note": f"{event.kind} {event.target}".strip(),
    }
    return row | ({"m3h": event.numbers["m3h"]} if "m3h" in event.numbers else {})
