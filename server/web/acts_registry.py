"""What an engineer may do to the registry: a point, a zone, a change that waits, TOML once more."""

import math
from typing import Any

from pydantic import Field

from server.servicecore.registry_acts import PointEdit, Promised, ZoneEdit
from server.servicecore.rules.permissions import Right
from server.servicecore.rules.refusal import Refused
from server.web.acts import Act, Code, Doing, Text, Words
from server.web.screen import PRESSURE_UNITS
from telemetry.units import to_house

NO_PLACE = "-"
"""The kind of place of a point at which a policy promises nothing; a form drops what is empty."""
NO_ZONE = "-"
"""The zone that a zone lies in where it lies in none; a form drops what is empty."""
DECIMALS = 9
"""How far a limit is kept: 0.57 MPa are 570 kPa, whatever a product of doubles says."""


class EditPoint(Text):
    """Zone, names, limits and place; limits in `unit`, where none is named in the house unit.

    `promise` is the point's own; empty: what the policy promises at places of the kind `place`.
    `NO_PLACE` is none. Where no place is told, the promise stays as it is.
    """

    zone: Code
    name_zh: Code
    name_en: Code
    low: Code = ""
    high: Code = ""
    place: Code = ""
    promise: Code = ""
    unit: Code = ""
    x: Code = ""
    y: Code = ""
    elevation: Code = ""
    version: int | None = Field(default=None, description="what the form was filled in from")


class EditFloor(Text):
    """What the law asks for at a point, in `unit`, else in kPa; empty: nothing is known of that."""

    statute: Code = ""
    unit: Code = ""
    version: int | None = Field(default=None, description="what the form was filled in from")


class EditZone(Text):
    """Names, time, calendar; meters as `point` or `-point`, tanks as `point m²`, a line each.

    `within` is the zone that it lies in, `NO_ZONE` for none; without it that stays as it is.
    """

    name_zh: Code
    name_en: Code
    timezone: Code
    calendar: Code
    within: Code | None = None
    inflow: Words = ""
    storage: Words = ""
    version: int | None = Field(default=None, description="what the form was filled in from")


class NewZone(Text):
    """A zone that is not there yet: its id, which stays, and what can be edited later."""

    id: Code
    name_zh: Code
    name_en: Code
    timezone: Code
    calendar: Code
    within: Code = ""
    inflow: Words = ""
    storage: Words = ""


class Versioned(Text):
    """An answer to what somebody was looking at."""

    version: int | None = None


def number_of(text: str, unit: str = "") -> float | None:
    """Return a number that somebody wrote, in the house unit; None where nothing is written.

    >>> number_of("0.57", "MPa"), number_of(" ")
    (570.0, None)
    """
    if not text.strip():
        return None
    try:
        found = float(text.strip())
        found = round(to_house(found, unit), DECIMALS) if unit else found
    except ValueError:
        raise Refused("number_form", subject=text.strip()) from None
    if not math.isfinite(found):
        raise Refused("number_form", subject=text.strip())
    return found


async def _edit_point(it: Doing, said: EditPoint) -> str:
    wanted = PointEdit(
        zone=said.zone,
        name_zh=said.name_zh,
        name_en=said.name_en,
        low=number_of(said.low, said.unit),
        high=number_of(said.high, said.unit),
        x=number_of(said.x),
        y=number_of(said.y),
        elevation_m=number_of(said.elevation),
        promised=_promised(said),
    )
    return await it.desk.registry_acts.edit_point(
        it.subject, wanted, actor=it.who, reason=said.text, version=said.version
    )


def _promised(said: EditPoint) -> Promised | None:
    own, place = number_of(said.promise, said.unit), said.place.strip()
    if not place:
        if own is not None:
            raise Refused("fields_missing", subject="promise", fields="place")
        return None
    return Promised(place="" if place == NO_PLACE else place, own_kpa=own)


async def _set_floor(it: Doing, said: EditFloor) -> str:
    if said.unit not in ("", *PRESSURE_UNITS):
        words = ", ".join(PRESSURE_UNITS)
        raise Refused("registry_unit", subject=said.unit, allowed_words=words)
    return await it.desk.registry_acts.set_floor(
        it.subject,
        number_of(said.statute, said.unit),
        actor=it.who,
        reason=said.text,
        version=said.version,
    )


async def _retire_point(it: Doing, said: Versioned) -> str:
    return await it.desk.registry_acts.retire_point(
        it.subject, actor=it.who, reason=said.text, version=said.version
    )


async def _edit_zone(it: Doing, said: EditZone) -> str:
    return await it.desk.registry_acts.edit_zone(
        it.subject, _zone_edit(said), actor=it.who, reason=said.text, version=said.version
    )


async def _add_zone(it: Doing, said: NewZone) -> str:
    return await it.desk.registry_acts.add_zone(
        said.id, _zone_edit(said), actor=it.who, reason=said.text
    )


async def _retire_zone(it: Doing, said: Versioned) -> str:
    return await it.desk.registry_acts.retire_zone(
        it.subject, actor=it.who, reason=said.text, version=said.version
    )


def _zone_edit(said: EditZone | NewZone) -> ZoneEdit:
    lines = [line.strip() for line in said.inflow.splitlines() if line.strip()]
    meters = tuple((line.lstrip("+-").strip(), -1 if line[0] == "-" else 1) for line in lines)
    return ZoneEdit(
        name_zh=said.name_zh,
        name_en=said.name_en,
        timezone=said.timezone,
        calendar=said.calendar,
        inflow=meters,
        storage=tuple(_tank(line) for line in said.storage.splitlines() if line.strip()),
        within="" if said.within == NO_ZONE else said.within,
    )


def _tank(line: str) -> tuple[str, float]:
    point, _, area = line.strip().rpartition(" ")
    found = number_of(area)
    if not point or found is None or found <= 0:
        raise Refused("number_form", subject=line.strip())
    return point.strip(), found


async def _decide(it: Doing, said: Versioned, *, is_agreed: bool) -> None:
    await it.desk.registry_acts.decide(
        it.subject, actor=it.who, is_agreed=is_agreed, text=said.text, version=said.version
    )


async def _agree(it: Doing, said: Any) -> None:
    await _decide(it, said, is_agreed=True)


async def _decline(it: Doing, said: Any) -> None:
    await _decide(it, said, is_agreed=False)


POINT_EDIT = {
    "edit": Act(
        takes=EditPoint,
        do=_edit_point,
        right=Right.POINTS,
        needs=("zone", "name_zh", "name_en", "text"),
    ),
    "floor": Act(takes=EditFloor, do=_set_floor, right=Right.POINTS, needs=("text",)),
    "retire": Act(
        takes=Versioned,
        do=_retire_point,
        right=Right.POINTS,
        needs=("text",),
        leads="/registry",
    ),
}
ZONE_EDIT = {
    "edit": Act(
        takes=EditZone,
        do=_edit_zone,
        right=Right.POINTS,
        needs=("name_zh", "name_en", "timezone", "calendar", "text"),
    ),
    "retire": Act(
        takes=Versioned,
        do=_retire_zone,
        right=Right.POINTS,
        needs=("text",),
        leads="/registry",
    ),
}
ZONE_NEW = {
    "add": Act(
        takes=NewZone,
        do=_add_zone,
        right=Right.POINTS,
        needs=("id", "name_zh", "name_en", "timezone", "calendar", "text"),
        leads="/registry",
    ),
}
CHANGE_ACTS = {
    "agree": Act(takes=Versioned, do=_agree, right=Right.POINTS),
    "decline": Act(takes=Versioned, do=_decline, right=Right.POINTS, needs=("text",)),
}
"""What a second person says of an edit that loosens a must-alarm limit."""
FILE_ACTS = {
    "adopt": Act(
        takes=Versioned,
        do=lambda it, said: it.desk.registry_acts.adopt_file(
            actor=it.who, reason=said.text, version=said.version
        ),
        right=Right.POINTS,
        needs=("text",),
    ),
}
