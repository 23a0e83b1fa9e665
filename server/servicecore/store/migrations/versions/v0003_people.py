"""Revision 0003: people who sign in, their sessions and links, and tokens of programs.

Written out, not taken from the tables module: that one moves on, a revision never does.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_GUARD = """
CREATE TRIGGER {table}_no_DELETE BEFORE DELETE ON {table}
BEGIN SELECT RAISE(ABORT, 'records are kept; nothing is deleted'); END
"""


def upgrade() -> None:
    """Make the tables; people and programs are kept, sessions and links may go."""
    op.create_table(
        "person",
        sa.Column("login", sa.String(40), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("roles", sa.JSON, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("password", sa.Text, nullable=False),
        sa.Column("is_active", sa.Boolean, nullable=False),
        sa.Column("failures", sa.BigInteger, nullable=False),
        sa.Column("locked_until", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "sign_in",
        sa.Column("token", sa.String(64), primary_key=True),
        sa.Column("login", sa.Text, nullable=False, index=True),
        sa.Column("begun_at", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger, nullable=True),
    )
    op.create_table(
        "one_time_link",
        sa.Column("token", sa.String(64), primary_key=True),
        sa.Column("login", sa.Text, nullable=False, index=True),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.BigInteger, nullable=True),
    )
    op.create_table(
        "api_client",
        sa.Column("token", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(40), nullable=False, unique=True),
        sa.Column("roles", sa.JSON, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger, nullable=True),
    )
    for table in ("person", "api_client"):
        op.execute(_GUARD.format(table=table))


def downgrade() -> None:
    """Refuse: no record may be deleted."""
    raise NotImplementedError("records are kept, so this revision cannot be taken back")
