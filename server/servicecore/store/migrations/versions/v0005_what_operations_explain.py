"""Revision 0005: kinds and real times of works, zones of orders, and what operations explain."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns."""
    op.add_column(
        "planned_work", sa.Column("kind", sa.Text(), nullable=False, server_default="works")
    )
    for name in ("begun_at", "ended_at"):
        op.add_column("planned_work", sa.Column(name, sa.BigInteger(), nullable=True))
    op.add_column("planned_work", sa.Column("m3h", sa.Float(), nullable=True))
    for table, name in (
        ("operation_order", "zone"),
        ("alarm", "explained_by"),
        ("incident", "explained_by"),
    ):
        op.add_column(table, sa.Column(name, sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Refuse: no record may be deleted."""
    raise NotImplementedError("records are kept, so this revision cannot be taken back")
