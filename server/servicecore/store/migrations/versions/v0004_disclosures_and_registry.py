"""Revision 0004: who saw personal data, and who changed the registry on the pages.

Written out, not taken from the tables module: that one moves on, a revision never does.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_KEPT = """
CREATE TRIGGER {table}_no_{act} BEFORE {act} ON {table}
BEGIN SELECT RAISE(ABORT, 'records are kept; nothing is changed or deleted'); END
"""


def upgrade() -> None:
    """Make the tables: what was seen can be neither changed nor deleted."""
    op.create_table(
        "disclosure",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("subjects", sa.JSON, nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("keep_until", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_disclosure_by", "disclosure", ["by"])
    op.create_table(
        "registry_change",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("before", sa.JSON, nullable=False),
        sa.Column("after", sa.JSON, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("loosened", sa.JSON, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("decided_by", sa.Text, nullable=False),
        sa.Column("decided_at", sa.BigInteger, nullable=True),
        sa.Column("registry_revision", sa.BigInteger, nullable=True),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_registry_change_state", "registry_change", ["state"])
    for act in ("UPDATE", "DELETE"):
        op.execute(_KEPT.format(table="disclosure", act=act))
    op.execute(_KEPT.format(table="registry_change", act="DELETE"))


def downgrade() -> None:
    """Refuse: no record may be deleted."""
    raise NotImplementedError("records are kept, so this revision cannot be taken back")
