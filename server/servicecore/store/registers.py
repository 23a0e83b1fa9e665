"""The tables of what people keep beside tickets: incidents, contacts, works, orders, units, shifts.

None of their rows is ever deleted: triggers refuse it. What changes, changes with an entry in the
trail.
"""

from typing import Any

from sqlalchemy import Float, String
from sqlalchemy.orm import Mapped, mapped_column

from server.servicecore.store.tables import Row


class Case(Row):
    """The people's side of an incident; the engine's side is in `incident`."""

    __tablename__ = "incident_case"

    incident: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(index=True)
    kind: Mapped[str]
    is_drill: Mapped[bool]
    merged_into: Mapped[str]
    because: Mapped[str]
    alarms: Mapped[list[str]]
    since: Mapped[int]
    restored_at: Mapped[int | None]
    verified_at: Mapped[int | None]
    verified_by: Mapped[str]
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  SQLAlchemy reads it so


class PolicyRevision(Row):
    """A policy as it was when tickets were pinned to it."""

    __tablename__ = "policy_revision"

    revision: Mapped[str] = mapped_column(String(64), primary_key=True)
    policy: Mapped[str]
    adopted_at: Mapped[int]
    body: Mapped[dict[str, Any]]


class Contact(Row):
    """A call, visit or letter, and who answers for it: the first asked until another accepted."""

    __tablename__ = "contact"

    id: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[int] = mapped_column(index=True)
    channel: Mapped[str]
    category: Mapped[str]
    nature: Mapped[str]
    source: Mapped[str]
    name: Mapped[str]
    phone: Mapped[str]
    account: Mapped[str]
    address: Mapped[str]
    zone: Mapped[str] = mapped_column(index=True)
    text: Mapped[str]
    visit: Mapped[dict[str, Any]]
    first_asked: Mapped[str]
    holder: Mapped[str]
    offered_to: Mapped[str]
    state: Mapped[str]  # open | answered | ticket | settled
    ticket: Mapped[str]
    incident: Mapped[str] = mapped_column(index=True)
    answer: Mapped[str]
    informed_at: Mapped[int | None]
    waiver: Mapped[str]
    is_drill: Mapped[bool]
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  SQLAlchemy reads it so


class Work(Row):
    """Planned work: it explains alarms in its place and time, and has a plan of dispatch."""

    __tablename__ = "planned_work"

    id: Mapped[str] = mapped_column(primary_key=True)
    zone: Mapped[str]
    points: Mapped[list[str]]
    start: Mapped[int] = mapped_column(index=True)
    end: Mapped[int]
    cause: Mapped[str]
    plan: Mapped[str]
    stops_supply: Mapped[bool]
    notice: Mapped[str]
    noticed_at: Mapped[int | None]
    state: Mapped[str]  # planned | begun | ended | cancelled
    by: Mapped[str]
    kind: Mapped[str] = mapped_column(default="works")
    m3h: Mapped[float | None] = mapped_column(Float, default=None)
    begun_at: Mapped[int | None] = mapped_column(default=None)
    ended_at: Mapped[int | None] = mapped_column(default=None)
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  SQLAlchemy reads it so


class Operation(Row):
    """A pump or valve order: who ordered, when it was carried out, who confirmed it, why."""

    __tablename__ = "operation_order"

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]  # pump | valve
    station: Mapped[str]
    unit: Mapped[str]
    act: Mapped[str]  # start | stop | open | close
    ordered_by: Mapped[str]
    ordered_at: Mapped[int] = mapped_column(index=True)
    executed_by: Mapped[str]
    executed_at: Mapped[int | None]
    confirmed_by: Mapped[str]
    confirmed_at: Mapped[int | None]
    reason: Mapped[str]
    incident: Mapped[str]
    work: Mapped[str]
    zone: Mapped[str] = mapped_column(default="")
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  SQLAlchemy reads it so


class PressurePoint(Row):
    """What the engineers keep of a pressure point beside the registry: its health, calibration."""

    __tablename__ = "pressure_point"

    id: Mapped[str] = mapped_column(primary_key=True)
    zone: Mapped[str]
    health: Mapped[str]  # good | doubtful | broken
    calibrated_at: Mapped[int | None]
    covers_km2: Mapped[float] = mapped_column(Float)
    note: Mapped[str]
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  SQLAlchemy reads it so


class OrgUnit(Row):
    """A desk, crew or department."""

    __tablename__ = "org_unit"

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    parent: Mapped[str]
    zones: Mapped[list[str]]
    phone: Mapped[str]
    is_active: Mapped[bool]


class DutyRow(Row):
    """Somebody on duty at a unit."""

    __tablename__ = "duty"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    unit: Mapped[str] = mapped_column(index=True)
    person: Mapped[str]
    role: Mapped[str]
    since: Mapped[int]
    until: Mapped[int]


class Call(Row):
    """A telephone call that somebody owes: to whom, and how it went."""

    __tablename__ = "call_task"

    id: Mapped[str] = mapped_column(primary_key=True)
    ticket: Mapped[str] = mapped_column(index=True)
    event: Mapped[str]
    to: Mapped[str]
    asked_at: Mapped[int]
    answered_at: Mapped[int | None]
    by: Mapped[str]
    result: Mapped[str]


class Handover(Row):
    """A change of shift: filled in by one, taken by another, over when both have signed."""

    __tablename__ = "handover"

    id: Mapped[str] = mapped_column(primary_key=True)
    opened_at: Mapped[int] = mapped_column(index=True)
    outgoing: Mapped[str]
    incoming: Mapped[str]
    remarks: Mapped[str]
    lists: Mapped[dict[str, Any]]
    taken_at: Mapped[int | None]
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  SQLAlchemy reads it so


class Disclosure(Row):
    """Somebody was shown personal data: whose, where, and why if that was asked. Never changed."""

    __tablename__ = "disclosure"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[int]
    by: Mapped[str] = mapped_column(index=True)
    subjects: Mapped[list[str]]
    place: Mapped[str]
    reason: Mapped[str]
    keep_until: Mapped[int]


class RegistryChange(Row):
    """An edit of the registry: of what, from what to what, why, and who agreed where two must.

    `loosened` names the must-alarm limits that it loosens; such an edit waits for a second person.
    """

    __tablename__ = "registry_change"

    id: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[int]
    by: Mapped[str]
    subject: Mapped[str]
    before: Mapped[dict[str, Any]]
    after: Mapped[dict[str, Any]]
    reason: Mapped[str]
    loosened: Mapped[list[str]]
    state: Mapped[str] = mapped_column(index=True)  # waiting | done | declined
    decided_by: Mapped[str]
    decided_at: Mapped[int | None]
    registry_revision: Mapped[int | None]
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  SQLAlchemy reads it so


KEPT = (
    *(Case, PolicyRevision, Contact, Work, Operation, PressurePoint, OrgUnit, DutyRow, Call),
    *(Handover, Disclosure, RegistryChange),
)
"""Tables whose rows are never deleted."""
