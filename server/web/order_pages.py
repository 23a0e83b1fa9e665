"""The pages of tickets: the queue, a ticket whole, and what a crew needs on its telephone."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import Response

from server.servicecore.looks import OrderLook
from server.servicecore.orders import Queued
from server.servicecore.rules import inquiries, workorder
from server.servicecore.rules.clocks import Reading, Verdict, most_urgent
from server.servicecore.rules.permissions import Actor, Right, actor_of, may
from server.servicecore.rules.policy import Policy
from server.servicecore.rules.routing import CREW, Category
from server.servicecore.rules.workorder import WAIVERS, State
from server.servicecore.store.registers import OrgUnit
from server.servicecore.store.tables import Ticket
from server.web.acts_orders import ARCHIVE_ACTS, ORDER_ACTS, STEPS
from server.web.forms import ActForm, Choices
from server.web.screen import Screen
from server.web.sheet import NOTHING, Sheet, Told, may_act, router_of_pages, span
from server.web.viewer import actor_of as signed_in
from server.web.viewer import person_of

LIVE = (Verdict.RUNNING, Verdict.PAUSED, Verdict.OVERDUE)
WAITS = ("waiting_customer", "waiting_material", "waiting_permit", "waiting_weather")
RETURNS = ("not_ours", "wrong_address", "duplicate")
_TOLD = ("reported", "issued", "handed_over", "contacted", "form_returned")
"""Events that acts with forms of their own tell of."""
_PERSONAL = ("sender", "account", "contact")


def routes(sheet: Sheet) -> APIRouter:
    """Return the queue, the tickets' pages and the crew's."""
    router = router_of_pages()

    async def order_page(request: Request, number: str, told: Told = NOTHING) -> Response:
        return await _order_page(sheet, request, number, told)

    async def crew_page(request: Request, _: str = "", told: Told = NOTHING) -> Response:
        return await _crew_page(sheet, request, told)

    async def queue_page(request: Request, _: str = "", told: Told = NOTHING) -> Response:
        return await _queue_page(sheet, request, told)

    @router.get("/orders")
    async def queue(request: Request) -> Response:
        return await queue_page(request)

    @router.get("/orders/{number}")
    async def order(request: Request, number: str) -> Response:
        return await order_page(request, number)

    @router.get("/crew")
    async def crew(request: Request) -> Response:
        return await crew_page(request)

    sheet.mount(router, "/orders", ARCHIVE_ACTS, queue_page, "/orders")
    sheet.mount(router, "/orders/{subject}/steps", STEPS, order_page, "/orders/{}")
    sheet.mount(router, "/orders/{subject}", ORDER_ACTS, order_page, "/orders/{}")
    sheet.mount(router, "/crew/{subject}/steps", STEPS, crew_page, "/crew")
    return router


async def _queue_page(sheet: Sheet, request: Request, told: Told) -> Response:
    screen, unit = await sheet.screen(request), request.query_params.get("unit", "")
    board = await sheet.desk.board()
    archive = None
    if may_act(request, ARCHIVE_ACTS["archive"]):
        archive = sheet.form(screen, told, ARCHIVE_ACTS, "archive", "/orders")
    return sheet.show(
        "orders.html",
        screen,
        told,
        here="/orders",
        rows=[queue_row(screen, q) for q in await sheet.desk.orders.queue(unit=unit)],
        settled=[t for t in board.tickets if t.state in workorder.SETTLED],
        archive=archive,
        units=await sheet.desk.looks.units(),
        unit=unit,
    )


def queue_row(screen: Screen, queued: Queued) -> dict[str, Any]:
    """Return what the queue shows of a ticket: its most urgent clock first of all."""
    urgent = most_urgent(queued.readings)
    return {"ticket": queued.ticket, "clock": None if urgent is None else clock_row(screen, urgent)}


def clock_row(screen: Screen, reading: Reading) -> dict[str, Any]:
    """Return a clock as it is shown: its name, when it is due, and how long that is from now."""
    say, left = screen.viewer.words.say, span(screen, reading.left_ms)
    is_late = reading.verdict in (Verdict.OVERDUE, Verdict.MISSED)
    return {
        "name": screen.viewer.words.code("clock", reading.clock),
        "due": screen.minute(reading.due),
        "left": say("clock.late" if reading.left_ms < 0 else "clock.left", span=left)
        if reading.verdict in LIVE
        else "",
        "is_late": is_late,
        "reading": reading,
    }


async def _order_page(sheet: Sheet, request: Request, number: str, told: Told) -> Response:
    screen = await sheet.screen(request)
    look = await sheet.desk.looks.order(number)
    row, units = look.ticket, await sheet.desk.looks.units()
    who = actor_of(person_of(request))
    place = f"/orders/{number}"
    hide = await sheet.hide(request, personal_of([row]), reason=number)
    fields = {name: _shown(screen, row, name, hide) for name in workorder.MANDATORY}
    steps = step_forms(
        sheet, screen, told, row, who, f"{place}/steps", _choices(sheet, look, units, screen)
    )
    acts = [
        sheet.form(screen, told, ORDER_ACTS, n, place, choices=_choices(sheet, look, units, screen))
        for n in _offered(look, events_of(sheet.desk.ground.book.policy))
        if may_act(request, ORDER_ACTS[n], unit=row.unit)
    ]
    return sheet.show(
        "order.html",
        screen,
        told,
        here=place,
        look=look,
        t=row,
        fields=fields,
        clocks=[clock_row(screen, r) for r in look.readings],
        steps=steps,
        acts=acts,
        names={u.id: u.name for u in units},
    )


def personal_of(rows: Iterable[Ticket]) -> list[str]:
    """Return which tickets say anything of a person: those that somebody told us of."""
    return [
        row.number
        for row in rows
        if not str(row.fields.get("sender", "")).startswith(workorder.TELEMETRY_SENDER)
        and any(row.fields.get(name) not in (None, "", "-") for name in _PERSONAL)
    ]


def _shown(screen: Screen, row: Ticket, name: str, hide: Callable[[str], str]) -> str:
    """Return one of the seven fields as who asks may see it."""
    text, words = str(row.fields.get(name, "")), screen.viewer.words
    if name == "issued_on" and text.isdecimal():
        return screen.stamp(int(text))
    if name == "sender" and text.startswith(workorder.TELEMETRY_SENDER):
        rule = text.removeprefix(workorder.TELEMETRY_SENDER)
        return words.say("orders.by_rule", rule=words.code("kind", rule))
    if name == "sender":
        text = words.code("channel", text)
    return hide(text) if name in _PERSONAL else text


def step_forms(
    sheet: Sheet,
    screen: Screen,
    told: Told,
    row: Ticket,
    who: Actor,
    place: str,
    choices: Choices,
    query: str = "",
) -> list[ActForm]:
    """Return the forms of the steps that are allowed now and that who asks may take."""
    words = screen.viewer.words
    return [
        sheet.form(
            screen,
            told,
            STEPS,
            step,
            place,
            choices={**choices, **({"code": _codes(screen, RETURNS)} if step == "return" else {})},
            values={"version": row.version},
            label=words.say(f"step.{step}"),
            query=query,
        )
        for step in workorder.offered(State(row.state), has_requester=bool(row.contact))
        if may(who, STEPS[step].right, unit=row.unit)
    ]


def events_of(policy: Policy) -> tuple[str, ...]:
    """Return the events that clocks wait for and that no act but a person's note tells."""
    known = {*workorder.HAPPENED.values(), *_TOLD}
    named = (name for clock in policy.clocks for name in (clock.start, clock.stop))
    return tuple(dict.fromkeys(name for name in named if name not in known))


def _offered(look: OrderLook, events: Sequence[str]) -> list[str]:
    """Return which acts beside the steps make sense for a ticket as it stands."""
    row, live = look.ticket, any(r.verdict in LIVE for r in look.readings)
    if row.state in workorder.SETTLED:
        return ["form_returned"]
    fitting = {
        "take_over": "hand_over" in row.asked,
        "ask_extension": live and "extension" not in row.asked,
        "extend": "extension" in row.asked,
        "ask_expedite": live and "expedite" not in row.asked,
        "expedite": "expedite" in row.asked,
        "children": not row.parent,
        "child": not row.parent,
        "event": bool(events),
        "sample": row.category == Category.QUALITY,
        "analyse": inquiries.SAMPLE in row.facts and inquiries.ANALYSIS not in row.facts,
        "find": row.category == Category.THEFT and row.facts.get("reward") != inquiries.GIVEN,
        "reward": row.facts.get("reward") == inquiries.DUE,
        "waive": bool(set(look.missing) & set(WAIVERS)),
    }
    return [name for name in ORDER_ACTS if fitting.get(name, True)]


def _codes(screen: Screen, codes: Sequence[str]) -> list[tuple[str, str]]:
    words = screen.viewer.words
    return [("", words.say("choose.none")), *((c, words.code("code", c)) for c in codes)]


def unit_options(screen: Screen, units: Sequence[OrgUnit], first: str) -> list[tuple[str, str]]:
    """Return the units in use as options, after the words for none of them."""
    return [("", screen.viewer.words.say(first)), *((u.id, u.name) for u in units if u.is_active)]


def _choices(
    sheet: Sheet, look: OrderLook, units: Sequence[OrgUnit], screen: Screen
) -> dict[str, list[tuple[str, str]]]:
    words, policy = screen.viewer.words, sheet.desk.ground.book.policy
    pauses = dict.fromkeys((*WAITS, *(p for c in policy.clocks for p in c.pauses)))
    places = dict.fromkeys(
        ("indoor", "outdoor", *(c.when.place for c in policy.clocks if c.when.place))
    )
    crews = [u for u in units if u.kind == CREW and u.parent in ("", look.ticket.unit)]
    none = ("", words.say("choose.none"))
    found = {
        "code": _codes(screen, list(pauses)),
        "liability": [none, *((c, words.code("liability", c)) for c in ("own", "customer"))],
        "place": [none, *((c, words.code("place", c)) for c in places)],
        "unit": unit_options(screen, [u for u in units if u.kind != CREW], "choose.area"),
        "clock": [
            (r.clock, words.code("clock", r.clock)) for r in look.readings if r.verdict in LIVE
        ],
        "evidence": [(str(e), words.say(f"field.{e}")) for e in look.missing if e in WAIVERS],
        "reason": [
            (w, words.code("waiver", w))
            for w in dict.fromkeys(w for e in look.missing for w in WAIVERS.get(e, ()))
        ],
        "of": [
            ("department", words.say("choose.department")),
            ("leader", words.say("role.leader")),
        ],
        "event": [(e, words.code("event", e)) for e in events_of(policy)],
        "category": [(str(c), words.say(f"category.{c}")) for c in Category],
    }
    if crews:
        found["crew"] = [(u.id, u.name) for u in crews]
    return found


async def _crew_page(sheet: Sheet, request: Request, told: Told) -> Response:
    screen = await sheet.screen(request)
    signed = signed_in(request)
    bound = signed.unit if signed is not None else ""
    unit = bound or request.query_params.get("unit", "")
    units, who = await sheet.desk.looks.units(), actor_of(person_of(request))
    query = urlencode({"unit": unit}) if unit and not bound else ""
    cards, rows = [], await sheet.desk.looks.crew_orders(unit)
    hide = await sheet.hide(request, personal_of(rows), reason=", ".join(personal_of(rows))[:200])
    for row in rows:
        look = await sheet.desk.looks.order(row.number)
        urgent = most_urgent(look.readings)
        choices = _choices(sheet, look, units, screen)
        forms = step_forms(
            sheet, screen, told, row, who, f"/crew/{row.number}/steps", choices, query
        )
        cards.append(
            {
                "t": row,
                "clock": None if urgent is None else clock_row(screen, urgent),
                "steps": forms,
                "contact": _shown(screen, row, "contact", hide),
            }
        )
    return sheet.show(
        "crew.html",
        screen,
        told,
        here="/crew",
        cards=cards,
        units=[] if bound else units,
        unit=unit,
        names={u.id: u.name for u in units},
        may_report=screen.viewer.may(Right.FIELD),
    )
