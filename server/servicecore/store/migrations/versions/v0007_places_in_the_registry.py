"""Revision 0007: the kind of place of a pressure point moves to the registry."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_REGISTRY = sa.table("registry", sa.column("revision"), sa.column("body", sa.JSON()))
_POINT = sa.table("pressure_point", sa.column("id"), sa.column("place"))


def upgrade() -> None:
    """Give each point of the registry the place that it was registered with, and drop the column.

    The registry counts as edited, so that the engine is told of it on the next connection.
    """
    kept = op.get_bind()
    places = {row.id: row.place for row in kept.execute(sa.select(_POINT.c.id, _POINT.c.place))}
    row = kept.execute(sa.select(_REGISTRY.c.revision, _REGISTRY.c.body)).one_or_none()
    moved = [] if row is None else [p for p in row.body["points"] if places.get(p["id"])]
    for point in moved:
        point.setdefault("place", places[point["id"]])
    if row is not None and moved:
        kept.execute(sa.update(_REGISTRY).values(revision=row.revision + 1, body=row.body))
    op.drop_column("pressure_point", "place")


def downgrade() -> None:
    """Refuse: no record may be deleted."""
    raise NotImplementedError("records are kept, so this revision cannot be taken back")
