"""The pages of planned works, pump and valve orders, pressure points, units, duty and shifts."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from server.servicecore.plans import ACTS, HEALTH
from server.servicecore.plans import KINDS as WORK_KINDS
from server.servicecore.rules.routing import CREW
from server.servicecore.shifts import DUTIES
from server.servicecore.store.registers import Operation, Work
from server.web.acts_registers import (
    CALL_ACTS,
    OPERATION_ACTS,
    OPERATION_NEW,
    POINT_NEW,
    SHIFT_ACTS,
    SHIFT_NEW,
    WORK_ACTS,
    WORK_NEW,
)
from server.web.forms import ActForm, Options
from server.web.promises import shown_promise
from server.web.screen import Screen
from server.web.sheet import NOTHING, Sheet, Told, may_act, router_of_pages
from telemetry.instant import DAY_MS, Instant
from telemetry.point import PointId
from telemetry.units import Quantity

SHOWN_MS = 60 * DAY_MS
_WORK_NOW = {
    "planned": ("notice", "begin", "prolong", "call_off"),
    "begun": ("end", "prolong"),
}
KINDS = (
    *("branch", CREW, "repair_division", "leak_team", "department", "centre", "operators"),
    *("instrument", "laboratory", "enforcement", "technical_owner", "engineering", "operations"),
)


def routes(sheet: Sheet) -> APIRouter:
    """Return the works, the shift and the register of points."""
    router = router_of_pages()

    async def works_page(request: Request, _: str = "", told: Told = NOTHING) -> Response:
        return await _works_page(sheet, request, told)

    async def shift_page(request: Request, _: str = "", told: Told = NOTHING) -> Response:
        return await _shift_page(sheet, request, told)

    async def points_page(request: Request, _: str = "", told: Told = NOTHING) -> Response:
        return await _points_page(sheet, request, told)

    @router.get("/works")
    async def works(request: Request) -> Response:
        return await works_page(request)

    @router.get("/shift")
    async def shift(request: Request) -> Response:
        return await shift_page(request)

    @router.get("/points")
    async def points(request: Request) -> Response:
        return await points_page(request)

    sheet.mount(router, "/works", WORK_NEW, works_page, "/works")
    sheet.mount(router, "/works/{subject}", WORK_ACTS, works_page, "/works")
    sheet.mount(router, "/operations", OPERATION_NEW, works_page, "/works")
    sheet.mount(router, "/operations/{subject}", OPERATION_ACTS, works_page, "/works")
    sheet.mount(router, "/shift", SHIFT_NEW, shift_page, "/shift")
    sheet.mount(router, "/shift/{subject}", SHIFT_ACTS, shift_page, "/shift")
    sheet.mount(router, "/calls/{subject:path}", CALL_ACTS, shift_page, "/shift")
    sheet.mount(router, "/points", POINT_NEW, points_page, "/points")
    return router


async def _works_page(sheet: Sheet, request: Request, told: Told) -> Response:
    screen = await sheet.screen(request)
    words, now = screen.viewer.words, sheet.clock.now()
    works = await sheet.desk.plans.works(Instant(now - SHOWN_MS), Instant(now + 365 * DAY_MS))
    kinds: dict[str, Options] = {"kind": [(k, words.say(f"operation.{k}")) for k in WORK_KINDS]}
    zones: dict[str, Options] = {"zone": screen.zones()} if screen.zones() else {}
    acts = [(f"{k} {a}", words.say(f"order.{k}_{a}")) for k, of in ACTS.items() for a in of]
    new = []
    if may_act(request, WORK_NEW["new"]):
        new.append(
            sheet.form(
                screen,
                told,
                WORK_NEW,
                "new",
                "/works",
                choices=zones | kinds,
                values={"stops_supply": True},
                label=words.say("do.plan"),
            )
        )
    if may_act(request, OPERATION_NEW["new"]):
        new.append(
            sheet.form(
                screen,
                told,
                OPERATION_NEW,
                "new",
                "/operations",
                choices={"act": acts, **_zones_or_none(screen)},
                label=words.say("do.order"),
            )
        )

    def work_forms(row: Work) -> list[ActForm]:
        return [
            sheet.form(
                screen,
                told,
                WORK_ACTS,
                act,
                f"/works/{row.id}",
                values={
                    "version": row.version,
                    "text": row.notice if act == "notice" else "",
                    "end": screen.field(Instant(row.end)),
                },
            )
            for act in _WORK_NOW.get(row.state, ())
            if may_act(request, WORK_ACTS[act])
        ]

    def operation_forms(row: Operation) -> list[ActForm]:
        act = "execute" if row.executed_at is None else "confirm"
        if row.confirmed_at is not None or not may_act(request, OPERATION_ACTS[act]):
            return []
        values = {"at": screen.field(now)}
        label = words.say("do.confirm_order") if act == "confirm" else ""
        place = f"/operations/{row.id}"
        return [sheet.form(screen, told, OPERATION_ACTS, act, place, values=values, label=label)]

    return sheet.show(
        "works.html",
        screen,
        told,
        here="/works",
        works=[(w, work_forms(w)) for w in works],
        operations=[(o, operation_forms(o)) for o in await sheet.desk.looks.operations()],
        new=new,
    )


def _zones_or_none(screen: Screen) -> dict[str, Options]:
    """Return what an order may be felt in: a zone, or the whole network."""
    if not screen.zones():
        return {}
    return {"zone": [("", screen.viewer.words.say("choose.none")), *screen.zones()]}


async def _shift_page(sheet: Sheet, request: Request, told: Told) -> Response:
    screen = await sheet.screen(request)
    words, looks = screen.viewer.words, sheet.desk.looks
    units = await looks.units()
    parents = [("", words.say("choose.none")), *((u.id, u.name) for u in units)]
    choices: dict[str, Options] = {
        "kind": [(k, words.say(f"unit.{k}")) for k in KINDS],
        "parent": parents,
        "unit": [(u.id, u.name) for u in units if u.is_active],
        "role": [(d, words.say(f"duty.{d}")) for d in DUTIES],
    }
    handovers = await looks.handovers()
    waits = bool(handovers) and handovers[0].taken_at is None
    new = [
        sheet.form(
            screen,
            told,
            SHIFT_NEW,
            name,
            "/shift",
            choices=choices,
            values={"is_active": True, "since": screen.field(sheet.clock.now())},
        )
        for name in SHIFT_NEW
        if may_act(request, SHIFT_NEW[name]) and not (name == "handover" and waits)
    ]
    take = None
    if waits and may_act(request, SHIFT_ACTS["take"]):
        take = sheet.form(
            screen,
            told,
            SHIFT_ACTS,
            "take",
            f"/shift/{handovers[0].id}",
            values={"version": handovers[0].version},
        )
    calls = [
        (c, sheet.form(screen, told, CALL_ACTS, "called", f"/calls/{c.id}"))
        for c in await sheet.desk.order_acts.calls()
    ]
    return sheet.show(
        "shift.html",
        screen,
        told,
        here="/shift",
        units=units,
        duties=await looks.duties(),
        unmanned=await sheet.desk.shifts.unmanned(),
        handovers=handovers,
        take=take,
        new=new,
        calls=calls,
        may_call=may_act(request, CALL_ACTS["called"]),
        names={u.id: u.name for u in units},
    )


async def _points_page(sheet: Sheet, request: Request, told: Told) -> Response:
    screen = await sheet.screen(request)
    rows = await sheet.desk.looks.points()
    known, promises = await sheet.desk.registry(), sheet.desk.ground.book.promises
    pressures = {p.id: p for p in known.points.values() if p.quantity is Quantity.PRESSURE}
    shown = {p.id: (p, shown_promise(p, promises)) for p in pressures.values()}
    kept = {PointId(r.id): r for r in rows}
    zone_of = {p: r.zone for p, r in kept.items()} | {p: q.zone for p, q in pressures.items()}
    listed = sorted(zone_of, key=lambda point: (zone_of[point], point))
    zones = dict.fromkeys([*(z for z, _ in screen.zones()), *(r.zone for r in rows)])
    return sheet.show(
        "register.html",
        screen,
        told,
        here="/points",
        rows=[(p, kept.get(p), *shown.get(p, (None, None))) for p in listed],
        coverage=[(screen.zone(z), await sheet.desk.plans.coverage(z)) for z in zones],
        form=_point_form(sheet, screen, told) if may_act(request, POINT_NEW["new"]) else None,
    )


def _point_form(sheet: Sheet, screen: Screen, told: Told) -> ActForm:
    words = screen.viewer.words
    choices: dict[str, Options] = {
        "health": [(h, words.say(f"health.{h}")) for h in HEALTH],
    }
    if screen.zones():
        choices["zone"] = screen.zones()
    return sheet.form(
        screen,
        told,
        POINT_NEW,
        "new",
        "/points",
        choices=choices,
        label=words.say("do.register"),
    )
