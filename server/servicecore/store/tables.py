"""The tables of the service core's own database: tickets, their trail, and what the engine says.

Tickets and their trail belong to the desk; what else people keep is in `registers`. Alarms,
incidents, proposals, gateways and points are what the engine's recorded effects say, kept for the
screens and rebuilt from nothing else.
"""

from typing import Any

from sqlalchemy import JSON, BigInteger, Float, Index, MetaData, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Names for every constraint: SQLite cannot alter one that has none."""


class Row(DeclarativeBase):
    """A row of any table here."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012  SQLAlchemy reads it from the class
        int: BigInteger,
        str: Text,
        dict[str, Any]: JSON,
        list[str]: JSON,
    }


class Ticket(Row):
    """A job for a crew. Its dispatch identity makes sure that it is opened once.

    `fields` are the seven mandatory ones, `facts` what its clocks depend on, `asked` what waits for
    a decision, `waived` evidence and why; when which clock ran is in the trail and nowhere else.
    """

    __tablename__ = "ticket"

    number: Mapped[str] = mapped_column(String(16), primary_key=True)
    incident: Mapped[str] = mapped_column(index=True)
    zone: Mapped[str]
    kind: Mapped[str]
    severity: Mapped[int]
    state: Mapped[str] = mapped_column(index=True)
    since: Mapped[int]
    created_at: Mapped[int]
    holder: Mapped[str]
    result: Mapped[str]
    data: Mapped[dict[str, Any]]
    version: Mapped[int] = mapped_column()
    dispatch_uuid: Mapped[str]
    dispatch_seq: Mapped[int]
    dispatch_n: Mapped[int]
    category: Mapped[str] = mapped_column(default="")
    parent: Mapped[str] = mapped_column(default="", index=True)
    unit: Mapped[str] = mapped_column(default="", index=True)
    crew: Mapped[str] = mapped_column(default="")
    policy_rev: Mapped[str] = mapped_column(default="")
    is_drill: Mapped[bool] = mapped_column(default=False)
    contact: Mapped[str] = mapped_column(default="")
    waited_from: Mapped[str] = mapped_column(default="")
    fields: Mapped[dict[str, Any]] = mapped_column(default=dict)
    facts: Mapped[dict[str, Any]] = mapped_column(default=dict)
    waived: Mapped[dict[str, Any]] = mapped_column(default=dict)
    asked: Mapped[dict[str, Any]] = mapped_column(default=dict)
    keep_until: Mapped[int | None]

    __table_args__ = (UniqueConstraint("dispatch_uuid", "dispatch_seq", "dispatch_n"),)
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  SQLAlchemy reads it so


class Entry(Row):
    """One act in the audit trail; triggers refuse its change and deletion."""

    __tablename__ = "ticket_event"

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[int]
    actor: Mapped[str]
    entity: Mapped[str] = mapped_column(index=True)
    verb: Mapped[str]
    before: Mapped[str]
    after: Mapped[str]
    reason: Mapped[str]
    prev_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)


class Command(Row):
    """A person's act that the engine must hear, until it has."""

    __tablename__ = "command_outbox"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    at: Mapped[int]
    verb: Mapped[str]
    subject: Mapped[str]
    actor: Mapped[str]
    note: Mapped[str]
    state: Mapped[str] = mapped_column(index=True)  # queued | journalled | done | refused
    because: Mapped[str]


class Alarm(Row):
    """An alarm as the engine told it, and who has asked for its acknowledgement."""

    __tablename__ = "alarm"

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    zone: Mapped[str]
    points: Mapped[list[str]]
    severity: Mapped[int]
    onset: Mapped[int]
    raised_at: Mapped[int] = mapped_column(index=True)
    because: Mapped[list[str]]
    active: Mapped[bool]
    cleared_at: Mapped[int | None]
    acknowledged_at: Mapped[int | None]
    acknowledged_by: Mapped[str]
    asked_by: Mapped[str]
    refusal: Mapped[str]
    shelved_until: Mapped[int | None]
    shelved_by: Mapped[str] = mapped_column(default="")
    shelf_reason: Mapped[str] = mapped_column(default="")
    is_out_of_service: Mapped[bool] = mapped_column(default=False)
    explained_by: Mapped[str] = mapped_column(default="")


class Incident(Row):
    """Alarms with one cause, as the engine told it."""

    __tablename__ = "incident"

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    zone: Mapped[str]
    alarms: Mapped[list[str]]
    points: Mapped[list[str]]
    severity: Mapped[int]
    onset: Mapped[int]
    opened_at: Mapped[int] = mapped_column(index=True)
    updated_at: Mapped[int]
    closed_at: Mapped[int | None]
    because: Mapped[list[str]]
    asked_by: Mapped[str]
    refusal: Mapped[str]
    explained_by: Mapped[str] = mapped_column(default="")


class Proposal(Row):
    """A dispatch that the engine proposes and a person must confirm."""

    __tablename__ = "proposal"

    dispatch_uuid: Mapped[str] = mapped_column(String(64), primary_key=True)
    dispatch_seq: Mapped[int] = mapped_column(primary_key=True)
    dispatch_n: Mapped[int] = mapped_column(primary_key=True)
    incident: Mapped[str] = mapped_column(index=True)
    at: Mapped[int]
    state: Mapped[str]  # open | issued | overtaken | withdrawn
    data: Mapped[dict[str, Any]]


class Gateway(Row):
    """What the engine last said of a gateway; `lost` counts samples that it could not deliver."""

    __tablename__ = "gateway"

    id: Mapped[str] = mapped_column(primary_key=True)
    online: Mapped[bool]
    epoch: Mapped[str]
    because: Mapped[str]
    lost: Mapped[int]
    changed_at: Mapped[int]


class SeenPoint(Row):
    """A point that a birth named."""

    __tablename__ = "seen_point"

    id: Mapped[str] = mapped_column(primary_key=True)
    gateway: Mapped[str]
    device: Mapped[str]
    quantity: Mapped[str]
    zone: Mapped[str]
    place: Mapped[str]
    period_ms: Mapped[int]
    status: Mapped[str]
    seen_at: Mapped[int]


class LearntModel(Row):
    """What was learnt of a zone, as the engine applied it; its id is that of the effect."""

    __tablename__ = "learnt_model"
    __table_args__ = (Index("ix_learnt_model_zone_at", "zone", "at"),)

    journal: Mapped[str] = mapped_column(String(64), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    n: Mapped[int] = mapped_column(primary_key=True)
    zone: Mapped[str]
    at: Mapped[int]
    begin: Mapped[int]
    end: Mapped[int]
    is_chosen: Mapped[bool]
    hash: Mapped[str]
    state: Mapped[str]  # learning | ready | off
    days: Mapped[int]
    of: Mapped[int]
    threshold: Mapped[float | None] = mapped_column(Float)
    alarms_a_year: Mapped[float | None] = mapped_column(Float)
    past_days: Mapped[int]
    because: Mapped[str]


class Dropped(Row):
    """Messages of one source that broke the contract."""

    __tablename__ = "dropped_message"

    source: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]
    because: Mapped[str]
    at: Mapped[int]


class RegistryRow(Row):
    """The registry, whole; one row."""

    __tablename__ = "registry"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    revision: Mapped[int]
    body: Mapped[dict[str, Any]]


class Progress(Row):
    """One row: how far the journal's effects were read, and how often this database changed."""

    __tablename__ = "cursor"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    journal: Mapped[str]
    seq: Mapped[int]
    n: Mapped[int]
    revision: Mapped[int]
