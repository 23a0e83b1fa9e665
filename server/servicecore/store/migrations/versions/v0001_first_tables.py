"""Revision 0001: every table of the first release, and the triggers that guard the trail.

Written out, not taken from the tables module: that one moves on, a revision never does.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_GUARD = """
CREATE TRIGGER ticket_event_no_{verb} BEFORE {verb} ON ticket_event
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END
"""


def upgrade() -> None:
    """Make the tables."""
    _make_tickets()
    _make_what_the_engine_says()
    _make_what_gateways_say()
    _table("registry", _key("id", sa.BigInteger()), _numbers("revision"), _jsons("body"))
    _table(
        "cursor", _key("id", sa.BigInteger()), _texts("journal"), _numbers("seq", "n", "revision")
    )
    op.execute("INSERT INTO \"cursor\" VALUES (1, '', 0, 0, 0)")


def downgrade() -> None:
    """Refuse: no ticket and no entry of the trail may be deleted."""
    raise NotImplementedError("the first revision cannot be taken back")


def _make_tickets() -> None:
    _table(
        "ticket",
        _key("number", sa.String(16)),
        _texts("incident", "zone", "kind"),
        _numbers("severity"),
        _texts("state"),
        _numbers("since", "created_at"),
        _texts("holder", "result"),
        _jsons("data"),
        _numbers("version"),
        _texts("dispatch_uuid"),
        _numbers("dispatch_seq", "dispatch_n"),
        unique=("dispatch_uuid", "dispatch_seq", "dispatch_n"),
        indexed=("incident", "state"),
    )
    _table(
        "ticket_event",
        _key("seq", sa.BigInteger()),
        _numbers("at"),
        _texts("actor", "entity", "verb", "before", "after", "reason"),
        [sa.Column(name, sa.String(64), nullable=False) for name in ("prev_hash", "hash")],
        indexed=("entity",),
    )
    for verb in ("UPDATE", "DELETE"):
        op.execute(_GUARD.format(verb=verb))
    _table(
        "command_outbox",
        _key("key", sa.String(64)),
        _numbers("at"),
        _texts("verb", "subject", "actor", "note", "state", "because"),
        indexed=("state",),
    )


def _make_what_the_engine_says() -> None:
    _table(
        "alarm",
        _key("id", sa.Text()),
        _texts("kind", "zone"),
        _jsons("points"),
        _numbers("severity", "onset", "raised_at"),
        _jsons("because"),
        [sa.Column("active", sa.Boolean(), nullable=False)],
        _instants_or_none("cleared_at", "acknowledged_at"),
        _texts("acknowledged_by", "asked_by", "refusal"),
        indexed=("raised_at",),
    )
    _table(
        "incident",
        _key("id", sa.Text()),
        _texts("kind", "zone"),
        _jsons("alarms", "points"),
        _numbers("severity", "onset", "opened_at", "updated_at"),
        _instants_or_none("closed_at"),
        _jsons("because"),
        _texts("asked_by", "refusal"),
        indexed=("opened_at",),
    )
    _table(
        "proposal",
        _key("dispatch_uuid", sa.String(64)),
        _key("dispatch_seq", sa.BigInteger()),
        _key("dispatch_n", sa.BigInteger()),
        _texts("incident"),
        _numbers("at"),
        _texts("state"),
        _jsons("data"),
        indexed=("incident",),
    )


def _make_what_gateways_say() -> None:
    _table(
        "gateway",
        _key("id", sa.Text()),
        [sa.Column("online", sa.Boolean(), nullable=False)],
        _texts("epoch", "because"),
        _numbers("lost", "changed_at"),
    )
    _table(
        "seen_point",
        _key("id", sa.Text()),
        _texts("gateway", "device", "quantity", "zone", "place"),
        _numbers("period_ms"),
        _texts("status"),
        _numbers("seen_at"),
    )
    _table(
        "dropped_message",
        _key("source", sa.Text()),
        _numbers("count"),
        _texts("because"),
        _numbers("at"),
    )


Columns = list[sa.Column[Any]]


def _table(
    name: str, *columns: Columns, unique: tuple[str, ...] = (), indexed: tuple[str, ...] = ()
) -> None:
    flat = [column for group in columns for column in group]
    keys = [column.name for column in flat if column.primary_key]
    constraints: list[sa.Constraint] = [sa.PrimaryKeyConstraint(*keys, name=f"pk_{name}")]
    if unique:
        constraints.append(sa.UniqueConstraint(*unique, name=f"uq_{name}_{unique[0]}"))
    op.create_table(name, *flat, *constraints)
    for column in indexed:
        op.create_index(f"ix_{name}_{column}", name, [column])


def _key(name: str, kind: sa.types.TypeEngine[Any]) -> Columns:
    return [sa.Column(name, kind, primary_key=True, autoincrement=False, nullable=False)]


def _texts(*names: str) -> Columns:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _numbers(*names: str) -> Columns:
    return [sa.Column(name, sa.BigInteger(), nullable=False) for name in names]


def _instants_or_none(*names: str) -> Columns:
    return [sa.Column(name, sa.BigInteger(), nullable=True) for name in names]


def _jsons(*names: str) -> Columns:
    return [sa.Column(name, sa.JSON(), nullable=False) for name in names]
