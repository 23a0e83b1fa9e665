"""What programs read and do beside alarms and points: orders, incidents, contacts, works, figures.

Every act is the one of the page's form, with the same use case behind it and the same refusals.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError

from server.servicecore.desk import Desk
from server.servicecore.orders import Queued
from server.servicecore.rules import workorder
from server.servicecore.rules.clocks import Reading
from server.servicecore.rules.permissions import Right, actor_of, check
from server.servicecore.rules.workorder import State
from server.servicecore.store.registers import Contact
from server.servicecore.store.tables import Ticket
from server.web.acts import Act, Acts, Doing
from server.web.acts_cases import CASE_ACTS, DRILL_ACTS
from server.web.acts_learning import LEARNING_ACTS
from server.web.acts_marks import MARK_ACTS
from server.web.acts_orders import ARCHIVE_ACTS, ORDER_ACTS, STEPS
from server.web.acts_registers import (
    ARREARS_ACTS,
    CALL_ACTS,
    CONTACT_ACTS,
    CONTACT_NEW,
    FIGURE_ACTS,
    OPERATION_ACTS,
    OPERATION_NEW,
    POINT_NEW,
    SHIFT_ACTS,
    SHIFT_NEW,
    WORK_ACTS,
    WORK_NEW,
)
from server.web.acts_registry import CHANGE_ACTS, FILE_ACTS, POINT_EDIT, ZONE_EDIT, ZONE_NEW
from server.web.api_answers import (
    ActAnswer,
    CaseAnswer,
    ClockAnswer,
    ContactAnswer,
    EntryAnswer,
    FiguresAnswer,
    OperationAnswer,
    OrderAnswer,
    QueuedAnswer,
    TrailAnswer,
    WorkAnswer,
    figures_answer,
)
from server.web.contact_pages import PERSONAL, holds_personal_data
from server.web.order_pages import personal_of
from server.web.record_pages import month_of
from server.web.screen import Screen, Viewer
from server.web.sheet import hiding
from server.web.viewer import actor_of as signed_in
from server.web.viewer import person_of
from telemetry.instant import Clock, Instant

MONTH = r"^(\d{4}-(0[1-9]|1[0-2]))?$"
Why = Annotated[
    str,
    Query(max_length=200, description="why personal data are wanted, where the policy asks"),
]
REFUSALS: dict[int | str, dict[str, Any]] = {409: {"description": "refused; `detail` says why"}}

_PLACES: tuple[tuple[str, Acts], ...] = (
    ("/orders", ARCHIVE_ACTS),
    ("/orders/{subject}/steps", STEPS),
    ("/orders/{subject}", ORDER_ACTS),
    ("/cases/{subject:path}/acts", CASE_ACTS),
    ("/drills", DRILL_ACTS),
    ("/contacts", CONTACT_NEW),
    ("/contacts/{subject}", CONTACT_ACTS),
    ("/arrears", ARREARS_ACTS),
    ("/figures/{subject}", FIGURE_ACTS),
    ("/works", WORK_NEW),
    ("/works/{subject}", WORK_ACTS),
    ("/operations", OPERATION_NEW),
    ("/operations/{subject}", OPERATION_ACTS),
    ("/shift", SHIFT_NEW),
    ("/shift/{subject}", SHIFT_ACTS),
    ("/calls/{subject:path}", CALL_ACTS),
    ("/pressure-points", POINT_NEW),
    ("/registry/points/{subject:path}", POINT_EDIT),
    ("/registry/zones", ZONE_NEW),
    ("/registry/zones/{subject}", ZONE_EDIT),
    ("/registry/changes/{subject}", CHANGE_ACTS),
    ("/registry/file", FILE_ACTS),
    ("/learning/{subject}", LEARNING_ACTS),
    ("/quality/{subject:path}", MARK_ACTS),
)


def routes(desk: Desk, clock: Clock) -> APIRouter:
    """Return what programs may read and do."""
    router = APIRouter(prefix="/api/v1")
    _add_orders(router, desk)
    _add_registers(router, desk)
    _add_figures(router, desk, clock)
    for place, acts in _PLACES:
        for name, act in acts.items():
            router.add_api_route(
                f"{place}/{name}",
                _endpoint(desk, act, has_subject="{" in place),
                methods=["POST"],
                response_model=ActAnswer,
                responses=REFUSALS,
                summary=(act.takes.__doc__ or "").strip(),
                operation_id=f"{place}/{name}".replace("/", "_"),
            )
    return router


def _endpoint(desk: Desk, act: Act, *, has_subject: bool) -> Callable[..., Awaitable[ActAnswer]]:
    async def do(request: Request, subject: str, said: Any) -> ActAnswer:
        actor = signed_in(request)
        if actor is None and not said.actor:
            raise RequestValidationError([{"loc": ("body", "actor"), "type": "missing", "msg": ""}])
        screen = await _screen(desk)
        doing = Doing(desk=desk, subject=subject, who=actor or said.actor, timezone=screen.timezone)
        result = await act.do(doing, said)
        return ActAnswer(subject=subject, result="" if result is None else _told(result))

    async def do_new(request: Request, said: Any) -> ActAnswer:
        return await do(request, "", said)

    endpoint = do if has_subject else do_new
    endpoint.__annotations__["said"] = act.takes
    return endpoint


def _told(result: object) -> str:
    return ", ".join(map(str, result)) if isinstance(result, list) else str(result)


async def _screen(desk: Desk) -> Screen:
    viewer = Viewer(language="en", pressure_unit="kPa", operator="")
    return Screen(viewer, await desk.registry())


def _add_orders(router: APIRouter, desk: Desk) -> None:
    @router.get("/orders")
    async def queue(request: Request, unit: str = "", why: Why = "") -> list[QueuedAnswer]:
        _check_read(request)
        rows = await desk.orders.queue(unit=unit)
        hide = await hiding(desk, request, personal_of(q.ticket for q in rows), reason=why)
        return [_queued(q, hide) for q in rows]

    @router.get("/orders/{number}")
    async def order(request: Request, number: str) -> OrderAnswer:
        _check_read(request)
        look = await desk.looks.order(number)
        hide = await hiding(desk, request, personal_of([look.ticket]), reason=number)
        base = _queued(Queued(ticket=look.ticket, readings=look.readings), hide)
        return OrderAnswer(
            **base.model_dump(),
            children=[c.number for c in look.children],
            missing=list(look.missing),
            history=[EntryAnswer.model_validate(e) for e in look.history],
        )


def _queued(queued: Queued, hide: Callable[[str], str]) -> QueuedAnswer:
    row = queued.ticket
    state = State(row.state)
    return QueuedAnswer.model_validate(
        {
            **{
                name: getattr(row, name) for name in QueuedAnswer.model_fields if hasattr(row, name)
            },
            "fields": _fields(row, hide),
            "clocks": [_clock(r) for r in queued.readings],
            "steps": list(workorder.offered(state, has_requester=bool(row.contact))),
        }
    )


def _fields(row: Ticket, hide: Callable[[str], str]) -> dict[str, str]:
    shown = {k: str(v) for k, v in row.fields.items()}
    is_rule = shown.get("sender", "").startswith(workorder.TELEMETRY_SENDER)
    hidden = {"account", "contact"} | (set() if is_rule else {"sender"})
    return {k: hide(v) if k in hidden else v for k, v in shown.items()}


def _clock(reading: Reading) -> ClockAnswer:
    return ClockAnswer.model_validate(reading)


def _add_registers(router: APIRouter, desk: Desk) -> None:
    @router.get("/cases")
    async def incidents(request: Request) -> list[CaseAnswer]:
        _check_read(request)
        return [CaseAnswer.model_validate(c) for c, _ in await desk.looks.cases()]

    @router.get("/contacts")
    async def contacts(
        request: Request, page: Annotated[int, Query(ge=0, le=100_000)] = 0, why: Why = ""
    ) -> list[ContactAnswer]:
        _check_read(request)
        rows = await desk.looks.contacts(page=page)
        subjects = [r.id for r in rows if holds_personal_data(r)]
        hide = await hiding(desk, request, subjects, reason=why)
        return [_contact(row, hide) for row in rows]

    @router.get("/contacts/{contact}")
    async def contact_alone(request: Request, contact: str, why: Why = "") -> ContactAnswer:
        _check_read(request)
        row, _ = await desk.looks.contact(contact)
        subjects = [contact] if holds_personal_data(row) else []
        return _contact(row, await hiding(desk, request, subjects, reason=why))

    @router.get("/works")
    async def works(
        request: Request,
        start: Annotated[int, Query(ge=0, le=2**53)] = 0,
        end: Annotated[int, Query(ge=0, le=2**53)] = 2**53,
    ) -> list[WorkAnswer]:
        _check_read(request)
        rows = await desk.plans.works(Instant(start), Instant(end))
        return [WorkAnswer.model_validate(w) for w in rows]

    @router.get("/operations")
    async def operations(request: Request) -> list[OperationAnswer]:
        _check_read(request)
        return [OperationAnswer.model_validate(o) for o in await desk.looks.operations()]

    @router.get("/trail")
    async def trail(
        request: Request, before: Annotated[int | None, Query(ge=0, le=2**53)] = None
    ) -> TrailAnswer:
        check(actor_of(person_of(request) or "program"), Right.AUDIT)
        look = await desk.looks.trail(before=before)
        return TrailAnswer(
            head=look.head,
            first_break=look.first_break,
            entries=[EntryAnswer.model_validate(e) for e in look.entries],
        )


def _contact(row: Contact, hide: Callable[[str], str]) -> ContactAnswer:
    found = ContactAnswer.model_validate(row)
    return found.model_copy(update={name: hide(getattr(found, name)) for name in PERSONAL})


def _add_figures(router: APIRouter, desk: Desk, clock: Clock) -> None:
    @router.get("/figures")
    async def figures(
        request: Request,
        month: Annotated[str, Query(pattern=MONTH)] = "",
        dispatchers: Annotated[int, Query(ge=1, le=99)] = 1,
    ) -> FiguresAnswer:
        _check_read(request)
        start, end, name = month_of(await _screen(desk), month, clock.now())
        return figures_answer(
            name,
            await desk.figures.month(start, end),
            await desk.figures.loads(start, end),
            await desk.cases.figures(start, end, dispatchers=dispatchers),
        )


def _check_read(request: Request) -> None:
    check(actor_of(person_of(request)), Right.READ)
