"""Contacts: calls, visits and letters, who answers for them, and their way to a ticket."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.servicecore import timeline
from server.servicecore.dispatch import Order
from server.servicecore.ground import Ground, find, next_id
from server.servicecore.orders import Orders
from server.servicecore.rules import clocks, routing
from server.servicecore.rules.clocks import Facts, Reading
from server.servicecore.rules.permissions import Person, Right
from server.servicecore.rules.policy_form import Purpose
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.routing import Category
from server.servicecore.rules.verbs import Verb
from server.servicecore.store.registers import Case, Contact
from server.servicecore.store.tables import Ticket
from server.servicecore.store.trail import entries_of
from telemetry.instant import HOUR_MS, Instant

CHANNELS = ("phone", "letter", "visit", "telemetry", "12345", "web")
"""受理电话、来信、来访, day and night (R21)."""
SOURCES = ("customer", "authority", "mayor_hotline", "media")
NATURES = ("fault", "complaint", "criticism", "exposure", "praise", "enquiry")
VISIT = ("name", "organisation", "position", "contact", "purpose", "time")
"""来访人员姓名、单位、职务、联系方式、来访目的、来访时间 (R36)."""
WAIVERS = ("anonymous", "vexatious")
"""Why nobody is told the result (R28)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody told us."""

    channel: str
    category: str
    text: str
    zone: str = ""
    nature: str = "fault"
    source: str = "customer"
    name: str = ""
    phone: str = ""
    account: str = ""
    address: str = ""
    visit: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What a requester may be told of a ticket (R29)."""

    ticket: str
    state: str
    since: int
    result: str


class Contacts:
    """The use cases of contacts."""

    def __init__(self, ground: Ground, orders: Orders) -> None:
        self._ground = ground
        self._orders = orders

    async def record(self, asked: Asked, *, actor: Person, answer: str = "") -> str:
        """Write a contact down and return its id; with an answer it is done at once (R27)."""
        async with self._ground.acting(actor, Right.CONTACT, text=asked.text) as (session, who):
            _check(asked)
            name = await next_id(session, Contact, "K")
            now = self._ground.now()
            session.add(
                Contact(
                    id=name,
                    at=now,
                    channel=asked.channel,
                    category=asked.category,
                    nature=asked.nature,
                    source=asked.source,
                    name=asked.name.strip(),
                    phone=asked.phone.strip(),
                    account=asked.account.strip(),
                    address=asked.address.strip(),
                    zone=asked.zone,
                    text=asked.text.strip(),
                    visit={k: asked.visit.get(k, "") for k in VISIT} if asked.visit else {},
                    first_asked=who.name,
                    holder=who.name,
                    offered_to="",
                    state="answered" if answer.strip() else "open",
                    ticket="",
                    incident="",
                    answer=answer.strip(),
                    informed_at=now if answer.strip() else None,
                    waiver="",
                    is_drill=False,
                )
            )
            await self._ground.record(
                session, who, Verb.CONTACT, name, after=asked.category, reason=asked.text
            )
            if answer.strip():
                await self._ground.record(session, who, Verb.INFORM, name, reason=answer)
            return name

    async def make_ticket(
        self, contact: str, *, actor: Person, severity: int = 3, unit: str = ""
    ) -> str:
        """Make a ticket of a contact in one step, and return its number (R34)."""
        async with self._ground.acting(actor, Right.CONTACT) as (session, who):
            row = await find(session, Contact, contact)
            if row.state != "open":
                raise Refused(
                    "not_in_state", subject=contact, state=row.state, allowed_words="open"
                )
            order = Order(
                incident=row.incident,
                zone=row.zone,
                kind=row.category,
                severity=severity,
                category=routing.category_of(row.category),
                data={"points": [], "contact": contact, "because": [row.text]},
                fields={
                    "sender": row.name or row.channel,
                    "account": row.account or "-",
                    "cause": row.text,
                    "contact": row.phone or row.address,
                },
                identity=(f"contact:{contact}", 0, 0),
                reason=row.text,
                contact=contact,
                is_drill=row.is_drill,
                reported_at=Instant(row.at),
            )
            nature = _nature(row)
            number = await self._orders.open_in(session, order, who=who, unit=unit, nature=nature)
            row.ticket, row.state = number, "ticket"
            return number

    async def attach(self, contact: str, incident: str, *, actor: Person) -> None:
        """Say that a contact speaks of an incident."""
        async with self._ground.acting(actor, Right.CONTACT) as (session, who):
            row = await find(session, Contact, contact)
            await find(session, Case, incident)
            before, row.incident = row.incident, incident
            await self._ground.record(
                session, who, Verb.ATTACH, contact, before=before, after=incident
            )

    async def hand_over(self, contact: str, *, actor: Person, to: str) -> None:
        """Offer a contact to another; the first asked answers for it until it is taken (R22)."""
        async with self._ground.acting(actor, Right.CONTACT) as (session, who):
            row = await find(session, Contact, contact)
            if not to.strip() or to == row.holder:
                raise Refused("fields_missing", subject=contact, fields="receiver")
            row.offered_to = to.strip()
            await self._ground.record(
                session, who, Verb.HAND_OVER, contact, before=row.holder, after=row.offered_to
            )

    async def take_over(self, contact: str, *, actor: Person) -> None:
        """Take what was offered: from now on the taker answers for it."""
        async with self._ground.acting(actor, Right.READ) as (session, who):
            row = await find(session, Contact, contact)
            if row.offered_to != who.name:
                raise Refused("no_request", subject=contact)
            before, row.holder, row.offered_to = row.holder, who.name, ""
            await self._ground.record(
                session, who, Verb.TAKE_OVER, contact, before=before, after=who.name
            )

    async def inform(
        self, contact: str, *, actor: Person, text: str = "", waiver: str = ""
    ) -> None:
        """Tell the requester the result, or say why nobody is told (R28)."""
        async with self._ground.acting(actor, Right.CONTACT, text=text) as (session, who):
            row = await find(session, Contact, contact)
            if waiver and waiver not in WAIVERS:
                words = ", ".join(WAIVERS)
                raise Refused("not_waived", subject=contact, fields=waiver, allowed_words=words)
            if not (text.strip() or waiver):
                raise Refused("text_missing", ticket=contact, step=Verb.INFORM)
            row.waiver, row.informed_at = waiver, self._ground.now()
            row.answer, row.state = text.strip() or row.answer, "settled"
            data = {"code": waiver} if waiver else {}
            await self._ground.record(
                session, who, Verb.INFORM, contact, reason=text or waiver, data=data
            )

    async def status(self, ticket: str, phone: str) -> Status:
        """Return what a requester may know, by ticket and telephone number together (R29)."""
        async with self._ground.database.reading() as session:
            row = await session.get(Ticket, ticket)
            contact = None if row is None else await session.get(Contact, row.contact)
            if row is None or contact is None or not phone or contact.phone != phone.strip():
                raise Refused("unknown", subject=ticket)  # no word on which of the two is wrong
            return Status(ticket=row.number, state=row.state, since=row.since, result=row.result)

    async def clocks(self, contact: str) -> list[Reading]:
        """Return how the clocks of a contact stand: hand-over, contact back, solve."""
        async with self._ground.database.reading() as session:
            await find(session, Contact, contact)
            events = timeline.happenings(await entries_of(session, contact))
        book = self._ground.book
        found = (
            clocks.read(r, events, facts=Facts(), calendar=book.calendar, now=self._ground.now())
            for r in book.policy.clocks
            if r.purpose is Purpose.ENQUIRY
        )
        return [r for r in found if r is not None]

    async def clusters(self) -> list[str]:
        """Return the zones whose contacts of late are a cluster under the policy (R75)."""
        policy = self._ground.book.policy
        window_h = policy.number("cluster.window_h")
        if window_h is None:
            return []
        since = self._ground.now() - int(window_h * HOUR_MS)
        async with self._ground.database.reading() as session:
            found = list(await session.scalars(select(Contact).where(Contact.at >= since)))
        zones = sorted({c.zone for c in found if c.zone})
        return [
            z
            for z in zones
            if routing.is_cluster([Instant(c.at) for c in found if c.zone == z], policy)
        ]

    async def of_incident(self, incident: str) -> list[Contact]:
        """Return the contacts that speak of an incident."""
        async with self._ground.database.reading() as session:
            return list(
                await session.scalars(
                    select(Contact).where(Contact.incident == incident).order_by(Contact.at)
                )
            )


def _nature(row: Contact) -> Category | None:
    """Return what a complaint is about, where its address says a category (R57)."""
    if row.category != Category.COMPLAINT:
        return None
    return Category(row.nature) if row.nature in set(Category) else None


def _check(asked: Asked) -> None:
    routing.category_of(asked.category)
    missing = [] if asked.text.strip() else ["cause"]
    if asked.channel not in CHANNELS:
        words = ", ".join(CHANNELS)
        raise Refused("not_in_state", subject="channel", state=asked.channel, allowed_words=words)
    if asked.source not in SOURCES:
        words = ", ".join(SOURCES)
        raise Refused("not_in_state", subject="source", state=asked.source, allowed_words=words)
    if asked.nature not in NATURES and asked.nature not in set(Category):
        words = ", ".join(NATURES)
        raise Refused("not_in_state", subject="nature", state=asked.nature, allowed_words=words)
    if asked.channel == "visit":
        missing += [f"visit.{k}" for k in VISIT if not asked.visit.get(k, "").strip()]
    if missing:
        raise Refused("fields_missing", subject=asked.channel, fields=", ".join(missing))


async def first_contact_at(session: AsyncSession, incident: str) -> Instant | None:
    """Return when somebody first told of an incident, for the lead of detection over people."""
    found = await session.scalar(
        select(Contact.at).where(Contact.incident == incident).order_by(Contact.at).limit(1)
    )
    return None if found is None else Instant(found)
