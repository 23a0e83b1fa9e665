"""The pages of contacts: who called, who answers for it, and its way to a ticket."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from server.servicecore.contacts import CHANNELS, NATURES, SOURCES, WAIVERS
from server.servicecore.rules import incident as cases
from server.servicecore.rules.incident import State
from server.servicecore.rules.permissions import Actor
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.routing import CREW, Category
from server.servicecore.store.registers import Contact
from server.web.acts_registers import ARREARS_ACTS, CONTACT_ACTS, CONTACT_NEW
from server.web.forms import Options
from server.web.order_pages import clock_row, unit_options
from server.web.sheet import NOTHING, Sheet, Told, may_act, router_of_pages, say
from server.web.viewer import person_of
from telemetry.errors import RefusedCommand

PERSONAL = ("name", "phone", "account", "address")
"""What of a contact is masked for who may not see it."""


def routes(sheet: Sheet) -> APIRouter:
    """Return the register of contacts, the page of each, and what a requester may be told."""
    router = router_of_pages()
    desk = sheet.desk

    async def list_page(
        request: Request, _: str = "", told: Told = NOTHING, **more: object
    ) -> Response:
        return await _list_page(sheet, request, told, **more)

    async def contact_page(
        request: Request, contact: str, told: Told = NOTHING, reason: str = ""
    ) -> Response:
        return await _contact_page(sheet, request, contact, told, reason)

    @router.get("/contacts")
    async def contacts(request: Request) -> Response:
        return await list_page(request)

    @router.post("/contacts/status")
    async def status(
        request: Request, ticket: Annotated[str, Form()] = "", phone: Annotated[str, Form()] = ""
    ) -> Response:
        screen = await sheet.screen(request)
        try:
            found = await desk.contacts.status(ticket.strip(), phone)
        except RefusedCommand as e:
            return await list_page(request, told=Told(status=409, message=say(screen, e)))
        return await list_page(request, status=found)

    @router.post("/contacts/{contact}/look")
    async def look(request: Request, contact: str, text: Annotated[str, Form()] = "") -> Response:
        screen = await sheet.screen(request)
        try:
            if not text.strip():
                raise Refused("text_missing", step="look", ticket=contact)
            return await contact_page(request, contact, reason=text)
        except RefusedCommand as e:
            return await contact_page(request, contact, Told(status=409, message=say(screen, e)))

    @router.get("/contacts/{contact}")
    async def contact_alone(request: Request, contact: str) -> Response:
        return await contact_page(request, contact)

    sheet.mount(router, "/contacts", CONTACT_NEW, list_page, "/contacts")
    sheet.mount(router, "/arrears", ARREARS_ACTS, list_page, "/contacts")
    sheet.mount(router, "/contacts/{subject}", CONTACT_ACTS, contact_page, "/contacts/{}")
    return router


async def _list_page(sheet: Sheet, request: Request, told: Told, **more: object) -> Response:
    screen = await sheet.screen(request)
    words = screen.viewer.words

    def of(prefix: str, codes: tuple[str, ...]) -> Options:
        return [(c, words.say(f"{prefix}.{c}")) for c in codes]

    choices: dict[str, Options] = {
        "channel": of("channel", CHANNELS),
        "category": [("", words.say("choose.none")), *of("category", tuple(map(str, Category)))],
        "nature": of("nature", NATURES),
        "source": of("source", SOURCES),
    }
    if screen.zones():
        choices["zone"] = [("", words.say("choose.none")), *screen.zones()]
    act = CONTACT_NEW["new"]
    page = request.query_params.get("page", "0")
    number = int(page) if page.isdecimal() and len(page) < 6 else 0
    rows = await sheet.desk.looks.contacts(page=number)
    return sheet.show(
        "contacts.html",
        screen,
        told,
        here="/contacts",
        rows=rows,
        page=number,
        form=sheet.form(screen, told, CONTACT_NEW, "new", "/contacts", choices=choices)
        if may_act(request, act)
        else None,
        arrears=await sheet.desk.arrears.run(),
        arrears_form=sheet.form(screen, told, ARREARS_ACTS, "sent", "/arrears")
        if may_act(request, ARREARS_ACTS["sent"])
        else None,
        clusters=[screen.zone(z) for z in await sheet.desk.contacts.clusters()],
        hide=await sheet.hide(request, [r.id for r in rows if holds_personal_data(r)]),
        **{"status": None, **more},
    )


async def _contact_page(
    sheet: Sheet, request: Request, name: str, told: Told, reason: str
) -> Response:
    screen = await sheet.screen(request)
    row, history = await sheet.desk.looks.contact(name)
    words, units = screen.viewer.words, await sheet.desk.looks.units()
    incidents = [
        (c.incident, f"{c.incident} {words.code('kind', c.kind)}")
        for c, _ in await sheet.desk.looks.cases()
        if State(c.state) not in cases.FINAL
    ]
    choices: dict[str, Options] = {
        "unit": unit_options(screen, [u for u in units if u.kind != CREW], "choose.area"),
        "severity": [(str(n), words.say(f"severity.{n}")) for n in range(1, 5)],
        "incident": incidents,
        "waiver": [
            ("", words.say("choose.none")),
            *((w, words.say(f"waiver.{w}")) for w in WAIVERS),
        ],
    }
    who = person_of(request)
    hide = await sheet.hide(request, [name] if holds_personal_data(row) else [], reason=reason)
    fitting = {
        "ticket": row.state == "open",
        "attach": bool(incidents),
        "take_over": row.offered_to == (who.name if isinstance(who, Actor) else who) != "",
    }
    return sheet.show(
        "contact.html",
        screen,
        told,
        here=f"/contacts/{name}",
        c=row,
        entries=history,
        clocks=[clock_row(screen, r) for r in await sheet.desk.contacts.clocks(name)],
        forms=[
            sheet.form(screen, told, CONTACT_ACTS, act, f"/contacts/{name}", choices=choices)
            for act in CONTACT_ACTS
            if fitting.get(act, True) and may_act(request, CONTACT_ACTS[act])
        ],
        person={n: hide(getattr(row, n)) for n in PERSONAL},
        asks_why=sheet.desk.disclosures.asks_why
        and not reason.strip()
        and screen.viewer.sees_personal_data,
    )


def holds_personal_data(row: Contact) -> bool:
    """Say whether a contact says anything of a person that is masked for others."""
    return any(getattr(row, name) for name in PERSONAL)
