"""Revision 0006: the models that were applied, one row each."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "learnt_model",
        sa.Column("journal", sa.String(64), primary_key=True),
        sa.Column("seq", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("n", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("begin", sa.BigInteger(), nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=False),
        sa.Column("is_chosen", sa.Boolean(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("days", sa.BigInteger(), nullable=False),
        sa.Column("of", sa.BigInteger(), nullable=False),
        sa.Column("threshold", sa.Float(), nullable=True),
        sa.Column("alarms_a_year", sa.Float(), nullable=True),
        sa.Column("past_days", sa.BigInteger(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
    )
    op.create_index("ix_learnt_model_zone_at", "learnt_model", ["zone", "at"])


def downgrade() -> None:
    """Refuse: no record may be deleted."""
    raise NotImplementedError("records are kept, so this revision cannot be taken back")
