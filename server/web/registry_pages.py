"""The pages of the registry: zones and points as the engine knows them, for engineers to edit."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from server.engine.registry import Point, Registry
from server.servicecore.registry_acts import POLICY
from server.servicecore.rules.promises import PROMISES
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.registry_edits import CALENDARS, fingerprint
from server.servicecore.store.registers import RegistryChange
from server.web.acts_registry import (
    CHANGE_ACTS,
    FILE_ACTS,
    NO_PLACE,
    NO_ZONE,
    POINT_EDIT,
    ZONE_EDIT,
    ZONE_NEW,
)
from server.web.forms import ActForm, Options
from server.web.promises import shown_promise
from server.web.screen import Screen
from server.web.sheet import NOTHING, Sheet, Told, may_act, router_of_pages
from telemetry.point import PointId, ZoneId
from telemetry.units import Quantity, from_house

_FLOORS = ("promise_kpa", "statute_kpa")
_PLACE = ("x", "y", "elevation_m", "timezone")
_SHOWN = ("zone", "name_zh", "name_en", "low", "high", "place", *_FLOORS, *_PLACE)
_SHOWN_OF_ZONES = ("calendar", "parent", "inflow", "storage", "period_ms")


def routes(sheet: Sheet) -> APIRouter:
    """Return the register of zones and points, the page of each, and what waits for a second."""
    router = router_of_pages()

    async def list_page(request: Request, _: str = "", told: Told = NOTHING) -> Response:
        return await _list_page(sheet, request, told)

    async def point_page(request: Request, point: str, told: Told = NOTHING) -> Response:
        return await _point_page(sheet, request, point, told)

    async def zone_page(request: Request, zone: str, told: Told = NOTHING) -> Response:
        return await _zone_page(sheet, request, zone, told)

    @router.get("/registry")
    async def registry(request: Request) -> Response:
        return await list_page(request)

    @router.get("/registry/points/{point:path}")
    async def point_alone(request: Request, point: str) -> Response:
        return await point_page(request, point)

    @router.get("/registry/zones/{zone}")
    async def zone_alone(request: Request, zone: str) -> Response:
        return await zone_page(request, zone)

    points, zones = "/registry/points/{subject:path}", "/registry/zones/{subject}"
    sheet.mount(router, points, POINT_EDIT, point_page, "/registry/points/{}")
    sheet.mount(router, zones, ZONE_EDIT, zone_page, "/registry/zones/{}")
    sheet.mount(router, "/registry/zones", ZONE_NEW, list_page, "/registry")
    sheet.mount(router, "/registry/changes/{subject}", CHANGE_ACTS, list_page, "/registry")
    sheet.mount(router, "/registry/file", FILE_ACTS, list_page, "/registry")
    return router


async def _list_page(sheet: Sheet, request: Request, told: Told) -> Response:
    screen, acts = await sheet.screen(request), sheet.desk.registry_acts
    known, board = await sheet.desk.registry(), await sheet.desk.board()
    differences = await acts.differences()
    adopt = None
    if differences and may_act(request, FILE_ACTS["adopt"]):
        values = {"version": fingerprint(known)}
        adopt = sheet.form(screen, told, FILE_ACTS, "adopt", "/registry/file", values=values)
    return sheet.show(
        "registry.html",
        screen,
        told,
        here="/registry",
        zones=list(known.zones.values()),
        points=sorted(known.points.values(), key=lambda p: (p.zone, p.id)),
        in_test=[p for p in board.seen_points if p.id not in known.points],
        queued=any(c.verb == "change_registry" for c in board.queued),
        waiting=[_waiting(sheet, request, screen, told, c) for c in await acts.waiting()],
        changes=[_change(screen, c) for c in await acts.changes()],
        differences=[_named(screen, d) for d in differences],
        adopt=adopt,
        is_adding=told.path == "/registry/zones/add",
        add=_add_form(sheet, screen, told, known) if may_act(request, ZONE_NEW["add"]) else None,
    )


def _add_form(sheet: Sheet, screen: Screen, told: Told, known: Registry) -> ActForm:
    """Return the form of a new zone; where the others are, its time most likely is too."""
    first = next(iter(known.zones.values()), None)
    values = {
        "timezone": first.timezone if first else screen.timezone_name,
        "calendar": first.calendar if first else "none",
    }
    choices = _zone_choices(screen)
    return sheet.form(
        screen, told, ZONE_NEW, "add", "/registry/zones", choices=choices, values=values
    )


def _zone_choices(screen: Screen, zone: str = "") -> dict[str, Options | str]:
    """Return the calendars, and the zones that a zone may lie in: any but itself."""
    words = screen.viewer.words
    return {
        "calendar": [(c, words.say(f"calendar.{c}")) for c in CALENDARS],
        "within": [
            (NO_ZONE, words.say("choose.none")),
            *((code, name) for code, name in screen.zones() if code != zone),
        ],
    }


def _waiting(
    sheet: Sheet, request: Request, screen: Screen, told: Told, row: RegistryChange
) -> dict[str, Any]:
    place, values = f"/registry/changes/{row.id}", {"version": row.version}
    forms = [
        sheet.form(screen, told, CHANGE_ACTS, name, place, values=values)
        for name, act in CHANGE_ACTS.items()
        if may_act(request, act)
    ]
    return {**_change(screen, row), "forms": forms}


def _named(screen: Screen, subject: str) -> str:
    """Return what an edit is about in the reader's words: `point ID`, `zone ID`, or the file."""
    kind, _, name = subject.partition(" ")
    if kind == "point":
        return f"{screen.viewer.words.say('points.point')} {screen.point(name)}"
    if kind == POLICY:
        return f"{screen.viewer.words.say('promise.policy')} {name}"
    return f"{screen.viewer.words.say('points.zone')} {screen.zone(name)}" if name else subject


def _limit(screen: Screen, text: str) -> str:
    """Return a limit that is loosened in the reader's words."""
    point, _, which = text.rpartition(" ")
    return f"{screen.point(point)} {screen.viewer.words.say(f'label.{which}')}"


def _change(screen: Screen, row: RegistryChange) -> dict[str, Any]:
    """Return an edit as it is told: what of its subject was changed from what to what."""
    names = [n for n in (*_SHOWN, *_SHOWN_OF_ZONES) if row.before.get(n) != row.after.get(n)]
    quantity = str((row.after or row.before).get("quantity", ""))
    say = screen.viewer.words.say

    def told(name: str, value: object) -> str:
        if value in (None, "", []):
            return "–"
        if name in ("low", "high", *_FLOORS) and quantity and isinstance(value, int | float):
            return f"{screen.value(quantity, value)} {screen.unit(quantity)}"
        if isinstance(value, list):
            parts = (" ".join(str(part) for part in item.values()) for item in value)
            return say("list.semicolon").join(parts)
        if name == "place":
            return screen.viewer.words.code("place", value)
        return screen.zone(str(value)) if name in ("zone", "parent") else str(value)

    labels = {"elevation_m": "elevation", "promise_kpa": "promise", "statute_kpa": "statute"}
    labels["parent"] = "within"
    return {
        "row": row,
        "subject": _named(screen, row.subject),
        "loosened": [_limit(screen, text) for text in row.loosened],
        "parts": [
            (
                say(f"label.{labels.get(n, n)}") if n != "period_ms" else n,
                told(n, row.before.get(n)),
                told(n, row.after.get(n)),
            )
            for n in names
        ]
        + (_promises(screen, row) if row.subject.startswith(f"{POLICY} ") else []),
    }


def _promises(screen: Screen, row: RegistryChange) -> list[tuple[str, str, str]]:
    """Return what another policy changes at which points, as it is told."""

    def told(kpa: float | None, by: str) -> str:
        if kpa is None:
            return "–"
        value = f"{screen.value(Quantity.PRESSURE, kpa)} {screen.unit(Quantity.PRESSURE)}"
        return f"{value} ({by})" if by else value

    before, after = row.before[PROMISES], row.after[PROMISES]
    return [(screen.point(p), told(*before[p]), told(*after[p])) for p in sorted(after)]


async def _point_page(sheet: Sheet, request: Request, name: str, told: Told) -> Response:
    screen, known = await sheet.screen(request), await sheet.desk.registry()
    board = await sheet.desk.board()
    point = known.points.get(PointId(name))
    seen = next((p for p in board.seen_points if p.id == name), None)
    if point is None and seen is None:
        raise Refused("unknown", subject=name)
    quantity = point.quantity if point else Quantity(seen.quantity if seen else "")
    form = retire = floor = None
    if may_act(request, POINT_EDIT["edit"]):
        form = _point_form(sheet, screen, told, known, name, quantity)
        if point is not None:
            place, version = f"/registry/points/{name}", {"version": fingerprint(point)}
            retire = sheet.form(screen, told, POINT_EDIT, "retire", place, values=version)
            floor = _floor_form(sheet, screen, told, point)
    return sheet.show(
        "registry_item.html",
        screen,
        told,
        here=f"/registry/points/{name}",
        name=name,
        title=screen.point(name),
        is_new=point is None,
        quantity=quantity,
        unit=screen.unit(quantity),
        zone="",
        promise=shown_promise(point, sheet.desk.ground.book.promises)
        if point is not None and quantity is Quantity.PRESSURE
        else None,
        form=form,
        floor=floor,
        statute=point and point.statute_kpa,
        retire=retire,
        changes=[
            _change(screen, c) for c in await sheet.desk.registry_acts.changes(f"point {name}")
        ],
    )


def _point_form(
    sheet: Sheet, screen: Screen, told: Told, known: Registry, name: str, quantity: Quantity
) -> ActForm:
    point, unit = known.points.get(PointId(name)), screen.unit_code(quantity)

    def limit(value: float | None) -> str:
        return "" if value is None else f"{from_house(value, unit) if unit else value:.10g}"

    values: dict[str, object] = {}
    if point is not None:
        values = {
            "zone": point.zone,
            "name_zh": point.name_zh,
            "name_en": point.name_en,
            "low": limit(point.low),
            "high": limit(point.high),
            "place": point.place or NO_PLACE,
            "promise": limit(point.own_promise_kpa),
            "x": "" if point.x is None else f"{point.x:.10g}",
            "y": "" if point.y is None else f"{point.y:.10g}",
            "elevation": "" if point.elevation_m is None else f"{point.elevation_m:.10g}",
            "version": fingerprint(point),
        }
    choices: dict[str, Options | str] = {"zone": screen.zones(), "unit": unit}
    if quantity is Quantity.PRESSURE:
        choices["place"] = _places(sheet, screen, "" if point is None else point.place)
    else:  # nothing can be promised of it
        choices |= {"place": "", "promise": ""}
    place = f"/registry/points/{name}"
    return sheet.form(screen, told, POINT_EDIT, "edit", place, choices=choices, values=values)


def _places(sheet: Sheet, screen: Screen, present: str) -> Options:
    """Return the kinds of place that the policy promises something at, and the present one."""
    words = screen.viewer.words
    kinds = dict.fromkeys((*sheet.desk.ground.book.promises, *([present] if present else [])))
    return [(NO_PLACE, words.say("choose.none")), *((k, words.code("place", k)) for k in kinds)]


def _floor_form(sheet: Sheet, screen: Screen, told: Told, point: Point) -> ActForm | None:
    """Return the form of what the law asks for at a point; only of a pressure it asks anything."""
    if point.quantity is not Quantity.PRESSURE:
        return None
    unit, floor = screen.unit_code(point.quantity), point.statute_kpa
    values = {
        "statute": "" if floor is None else f"{from_house(floor, unit):.10g}",
        "version": fingerprint(point),
    }
    place, choices = f"/registry/points/{point.id}", {"unit": unit}
    return sheet.form(screen, told, POINT_EDIT, "floor", place, choices=choices, values=values)


async def _zone_page(sheet: Sheet, request: Request, name: str, told: Told) -> Response:
    screen, known = await sheet.screen(request), await sheet.desk.registry()
    zone = known.zones.get(ZoneId(name))
    if zone is None:
        raise Refused("unknown", subject=name)
    values = {
        "name_zh": zone.name_zh,
        "name_en": zone.name_en,
        "timezone": zone.timezone,
        "calendar": zone.calendar,
        "within": zone.parent or NO_ZONE,
        "inflow": "\n".join(f"{'-' if i.sign < 0 else ''}{i.point}" for i in zone.inflow),
        "storage": "\n".join(f"{s.point} {s.area_m2:.10g}" for s in zone.storage),
        "version": fingerprint(zone),
    }
    choices = _zone_choices(screen, name)
    form = retire = None
    if may_act(request, ZONE_EDIT["edit"]):
        place = f"/registry/zones/{name}"
        form = sheet.form(screen, told, ZONE_EDIT, "edit", place, choices=choices, values=values)
        version = {"version": values["version"]}
        retire = sheet.form(screen, told, ZONE_EDIT, "retire", place, values=version)
    return sheet.show(
        "registry_item.html",
        screen,
        told,
        here=f"/registry/zones/{name}",
        name=name,
        title=screen.zone(name),
        is_new=False,
        quantity="",
        unit="",
        zone=name,
        promise=None,
        form=form,
        floor=None,
        statute=None,
        retire=retire,
        changes=[
            _change(screen, c) for c in await sheet.desk.registry_acts.changes(f"zone {name}")
        ],
    )
