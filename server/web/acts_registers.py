"""What may be done to contacts, planned works, pump and valve orders, shifts, units and points."""

from typing import Any

from pydantic import Field

from server.servicecore.contacts import NATURES, VISIT, Asked
from server.servicecore.plans import Planned
from server.servicecore.rules.permissions import Right
from server.web.acts import Act, Code, Doing, Moment, Said, Text, Words


class NewContact(Said):
    """What somebody told us; with an answer it is done at once."""

    channel: Code
    category: Code
    text: Words = ""
    zone: Code = ""
    nature: Code = NATURES[0]
    source: Code = "customer"
    name: Code = ""
    phone: Code = ""
    account: Code = ""
    address: Words = ""
    organisation: Code = ""
    position: Code = ""
    purpose: Code = ""
    time: Moment = ""
    answer: Words = ""


class MakeTicket(Said):
    """How severe it is, and who gets it where the area does not say."""

    severity: int = Field(default=3, ge=1, le=4)
    unit: Code = ""


class Attach(Said):
    """The incident that it speaks of."""

    incident: Code


class To(Said):
    """A colleague who is to answer for it."""

    to: Code


class Inform(Text):
    """What the requester was told, or why nobody is."""

    waiver: Code = ""


class Plan(Said):
    """Work that is planned, and how supply is kept up meanwhile."""

    zone: Code
    start: Moment
    end: Moment
    cause: Words
    plan: Words
    points: Words = ""
    stops_supply: bool = False
    kind: Code = "works"
    m3h: float = Field(default=0, ge=0)


class Begin(Said):
    """A leader's reason to begin without the notice that is needed."""

    override: Words = ""
    version: int | None = None


class Prolong(Text):
    """Until when it lasts now, and why."""

    end: Moment


class Operation(Text):
    """A pump to start or stop, a valve to open or close."""

    act: Code
    station: Code
    unit: Code
    zone: Code = ""
    incident: Code = ""
    work: Code = ""


class Executed(Said):
    """By whom it was carried out, and when."""

    by: Code
    at: Moment


class Unit(Said):
    """A unit of the tree."""

    id: Code
    kind: Code
    name: Code
    parent: Code = ""
    zones: Words = ""
    phone: Code = ""
    is_active: bool = False


class Duty(Said):
    """Who is on duty where, as what, from when until when."""

    unit: Code
    person: Code
    role: Code
    since: Moment
    until: Moment


class Take(Said):
    """Signing as the one who takes the shift."""

    version: int | None = None


class Point(Text):
    """A pressure point as the engineers keep it."""

    point: Code
    zone: Code
    health: Code
    covers_km2: float = Field(default=0, ge=0)
    calibrated_at: Moment = ""


async def _record(it: Doing, said: NewContact) -> str:
    visit = {k: getattr(said, k, "") for k in VISIT}
    visit["contact"] = said.phone
    asked = Asked(
        channel=said.channel,
        category=said.category,
        text=said.text,
        zone=said.zone,
        nature=said.nature,
        source=said.source,
        name=said.name,
        phone=said.phone,
        account=said.account,
        address=said.address,
        visit=visit if said.channel == "visit" else {},
    )
    return await it.desk.contacts.record(asked, actor=it.who, answer=said.answer)


async def _plan(it: Doing, said: Plan) -> str:
    planned = Planned(
        zone=said.zone,
        start=it.at(said.start),
        end=it.at(said.end),
        cause=said.cause,
        plan=said.plan,
        points=listed(said.points),
        stops_supply=said.stops_supply,
        kind=said.kind,
        m3h=said.m3h,
    )
    return await it.desk.plans.plan(planned, actor=it.who)


async def _order(it: Doing, said: Operation) -> str:
    kind, _, act = said.act.partition(" ")
    return await it.desk.plans.order(
        actor=it.who,
        kind=kind,
        station=said.station,
        unit=said.unit,
        act=act,
        reason=said.text,
        incident=said.incident,
        work=said.work,
        zone=said.zone,
    )


async def _unit(it: Doing, said: Unit) -> None:
    await it.desk.shifts.set_unit(
        said.id,
        actor=it.who,
        kind=said.kind,
        name=said.name,
        parent=said.parent,
        zones=listed(said.zones),
        phone=said.phone,
        is_active=said.is_active,
    )


async def _duty(it: Doing, said: Duty) -> None:
    await it.desk.shifts.put_on_duty(
        said.unit,
        said.person,
        actor=it.who,
        role=said.role,
        since=it.at(said.since),
        until=it.at(said.until),
    )


async def _point(it: Doing, said: Point) -> None:
    await it.desk.plans.register_point(
        said.point,
        actor=it.who,
        zone=said.zone,
        health=said.health,
        covers_km2=said.covers_km2,
        calibrated_at=it.at(said.calibrated_at) if said.calibrated_at.strip() else None,
        note=said.text,
    )


def listed(text: str) -> tuple[str, ...]:
    """Return what somebody wrote with commas or spaces between.

    >>> listed("north, east、west")
    ('north', 'east', 'west')
    """
    for mark in "、，,":
        text = text.replace(mark, " ")
    return tuple(text.split())


def _of(name: str, method: str, *fields: str, right: Right, **more: Any) -> Act:
    """Return an act on one row that hands its fields on as they are."""
    takes: type[Said] = more.pop("takes")

    async def do(it: Doing, said: Any) -> object:
        use_case = getattr(getattr(it.desk, name), method)
        given = {f: getattr(said, f) for f in fields}
        return await use_case(it.subject, actor=it.who, **given)

    return Act(takes=takes, do=do, right=right, **more)


CONTACT_NEW = {
    "new": Act(
        takes=NewContact,
        do=_record,
        right=Right.CONTACT,
        needs=("channel", "category", "text"),
        leads="/contacts/{}",
    ),
}
CONTACT_ACTS = {
    "ticket": _of(
        "contacts",
        "make_ticket",
        *("severity", "unit"),
        takes=MakeTicket,
        right=Right.CONTACT,
        needs=("severity",),
        leads="/orders/{}",
    ),
    "attach": Act(
        takes=Attach,
        do=lambda it, said: it.desk.contacts.attach(it.subject, said.incident, actor=it.who),
        right=Right.CONTACT,
        needs=("incident",),
    ),
    "hand_over": _of("contacts", "hand_over", "to", takes=To, right=Right.CONTACT, needs=("to",)),
    "take_over": _of("contacts", "take_over", takes=Said, right=Right.READ),
    "inform": _of("contacts", "inform", "text", "waiver", takes=Inform, right=Right.CONTACT),
}
WORK_NEW = {
    "new": Act(
        takes=Plan,
        do=_plan,
        right=Right.PLAN,
        needs=("zone", "start", "end", "cause", "plan"),
    ),
}
WORK_ACTS = {
    "notice": _of("plans", "give_notice", "text", takes=Text, right=Right.NOTICE, needs=("text",)),
    "begin": _of("plans", "begin", "override", "version", takes=Begin, right=Right.PLAN),
    "prolong": Act(
        takes=Prolong,
        do=lambda it, said: it.desk.plans.prolong(
            it.subject, actor=it.who, end=it.at(said.end), text=said.text
        ),
        right=Right.PLAN,
        needs=("end", "text"),
    ),
    "end": _of("plans", "end", "text", takes=Text, right=Right.PLAN),
    "call_off": _of("plans", "call_off", "text", takes=Text, right=Right.PLAN, needs=("text",)),
}
OPERATION_NEW = {
    "new": Act(
        takes=Operation, do=_order, right=Right.ORDER, needs=("act", "station", "unit", "text")
    ),
}
OPERATION_ACTS = {
    "execute": Act(
        takes=Executed,
        do=lambda it, said: it.desk.plans.execute(
            it.subject, actor=it.who, by=said.by, at=it.at(said.at)
        ),
        right=Right.ORDER,
        needs=("by", "at"),
    ),
    "confirm": _of("plans", "confirm", takes=Said, right=Right.ORDER),
}
SHIFT_NEW = {
    "handover": Act(
        takes=Text,
        do=lambda it, said: it.desk.shifts.open_handover(actor=it.who, remarks=said.text),
        right=Right.HANDOVER,
    ),
    "unit": Act(takes=Unit, do=_unit, right=Right.PEOPLE, needs=("id", "kind", "name")),
    "duty": Act(
        takes=Duty,
        do=_duty,
        right=Right.PEOPLE,
        needs=("unit", "person", "role", "since", "until"),
    ),
}
SHIFT_ACTS = {
    "take": _of("shifts", "take_shift", "version", takes=Take, right=Right.HANDOVER),
}
CALL_ACTS = {
    "called": Act(
        takes=Text,
        do=lambda it, said: it.desk.order_acts.called(it.subject, actor=it.who, result=said.text),
        right=Right.CONTACT,
        needs=("text",),
    ),
}
POINT_NEW = {
    "new": Act(takes=Point, do=_point, right=Right.POINTS, needs=("point", "zone", "health")),
}

ARREARS_ACTS = {
    "sent": Act(
        takes=Text,
        do=lambda it, said: it.desk.arrears.sent(actor=it.who, text=said.text),
        right=Right.CONTACT,
        needs=("text",),
    ),
}
"""The month's messages about arrears."""

FIGURE_ACTS = {
    "restate": Act(
        takes=Text,
        do=lambda it, said: it.desk.frozen.restate(it.subject, actor=it.who, reason=said.text),
        right=Right.FIGURES,
        needs=("text",),
    ),
}
"""A month whose frozen figures were wrong."""
