"""Revision 0002: what the rules and the record need, and triggers that refuse every deletion.

Written out, not taken from the tables module: that one moves on, a revision never does.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_GUARD = """
CREATE TRIGGER {table}_no_DELETE BEFORE DELETE ON {table}
BEGIN SELECT RAISE(ABORT, 'records are kept; nothing is deleted'); END
"""
_KEPT = (
    *("ticket", "incident_case", "policy_revision", "contact", "planned_work", "operation_order"),
    *("pressure_point", "org_unit", "duty", "call_task", "handover"),
)

Columns = list[sa.Column[Any]]


def upgrade() -> None:
    """Make the tables and columns."""
    _widen()
    _make_people_side()
    _make_registers()
    for table in _KEPT:
        op.execute(_GUARD.format(table=table))


def downgrade() -> None:
    """Refuse: no record may be deleted."""
    raise NotImplementedError("records are kept, so this revision cannot be taken back")


def _widen() -> None:
    for name in ("category", "parent", "unit", "crew", "policy_rev", "contact", "waited_from"):
        _add("ticket", name, sa.Text(), "")
    _add("ticket", "is_drill", sa.Boolean(), "0")
    for name in ("fields", "facts", "waived", "asked"):
        _add("ticket", name, sa.JSON(), "{}")
    op.add_column("ticket", sa.Column("keep_until", sa.BigInteger(), nullable=True))
    for name in ("parent", "unit"):
        op.create_index(f"ix_ticket_{name}", "ticket", [name])
    _add("ticket_event", "data", sa.JSON(), "{}")
    op.add_column("alarm", sa.Column("shelved_until", sa.BigInteger(), nullable=True))
    for name in ("shelved_by", "shelf_reason"):
        _add("alarm", name, sa.Text(), "")
    _add("alarm", "is_out_of_service", sa.Boolean(), "0")


def _make_people_side() -> None:
    _table(
        "incident_case",
        _key("incident"),
        _texts("state", "kind"),
        _flags("is_drill"),
        _texts("merged_into", "because"),
        _jsons("alarms"),
        _numbers("since"),
        _or_none("restored_at", "verified_at"),
        _texts("verified_by"),
        _numbers("version"),
        indexed=("state",),
    )
    _table(
        "policy_revision",
        [sa.Column("revision", sa.String(64), primary_key=True, nullable=False)],
        _texts("policy"),
        _numbers("adopted_at"),
        _jsons("body"),
    )
    _table(
        "contact",
        _key("id"),
        _numbers("at"),
        _texts("channel", "category", "nature", "source", "name", "phone", "account", "address"),
        _texts("zone", "text"),
        _jsons("visit"),
        _texts("first_asked", "holder", "offered_to", "state", "ticket", "incident", "answer"),
        _or_none("informed_at"),
        _texts("waiver"),
        _flags("is_drill"),
        _numbers("version"),
        indexed=("at", "zone", "incident"),
    )
    _table(
        "call_task",
        _key("id"),
        _texts("ticket", "event", "to"),
        _numbers("asked_at"),
        _or_none("answered_at"),
        _texts("by", "result"),
        indexed=("ticket",),
    )
    _table(
        "handover",
        _key("id"),
        _numbers("opened_at"),
        _texts("outgoing", "incoming", "remarks"),
        _jsons("lists"),
        _or_none("taken_at"),
        _numbers("version"),
        indexed=("opened_at",),
    )


def _make_registers() -> None:
    _table(
        "planned_work",
        _key("id"),
        _texts("zone"),
        _jsons("points"),
        _numbers("start", "end"),
        _texts("cause", "plan"),
        _flags("stops_supply"),
        _texts("notice"),
        _or_none("noticed_at"),
        _texts("state", "by"),
        _numbers("version"),
        indexed=("start",),
    )
    _table(
        "operation_order",
        _key("id"),
        _texts("kind", "station", "unit", "act", "ordered_by"),
        _numbers("ordered_at"),
        _texts("executed_by"),
        _or_none("executed_at"),
        _texts("confirmed_by"),
        _or_none("confirmed_at"),
        _texts("reason", "incident", "work"),
        _numbers("version"),
        indexed=("ordered_at",),
    )
    _table(
        "pressure_point",
        _key("id"),
        _texts("zone", "place", "health"),
        _or_none("calibrated_at"),
        [sa.Column("covers_km2", sa.Float(), nullable=False)],
        _texts("note"),
        _numbers("version"),
    )
    _table(
        "org_unit",
        _key("id"),
        _texts("kind", "name", "parent"),
        _jsons("zones"),
        _texts("phone"),
        _flags("is_active"),
    )
    _table(
        "duty",
        [sa.Column("id", sa.BigInteger(), primary_key=True, autoincrement=False, nullable=False)],
        _texts("unit", "person", "role"),
        _numbers("since", "until"),
        indexed=("unit",),
    )


def _table(name: str, *columns: Columns, indexed: tuple[str, ...] = ()) -> None:
    flat = [column for group in columns for column in group]
    keys = [column.name for column in flat if column.primary_key]
    op.create_table(name, *flat, sa.PrimaryKeyConstraint(*keys, name=f"pk_{name}"))
    for column in indexed:
        op.create_index(f"ix_{name}_{column}", name, [column])


def _add(table: str, name: str, kind: sa.types.TypeEngine[Any], default: str) -> None:
    op.add_column(table, sa.Column(name, kind, nullable=False, server_default=default))


def _key(name: str) -> Columns:
    return [sa.Column(name, sa.Text(), primary_key=True, nullable=False)]


def _texts(*names: str) -> Columns:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _numbers(*names: str) -> Columns:
    return [sa.Column(name, sa.BigInteger(), nullable=False) for name in names]


def _flags(*names: str) -> Columns:
    return [sa.Column(name, sa.Boolean(), nullable=False) for name in names]


def _or_none(*names: str) -> Columns:
    return [sa.Column(name, sa.BigInteger(), nullable=True) for name in names]


def _jsons(*names: str) -> Columns:
    return [sa.Column(name, sa.JSON(), nullable=False) for name in names]
