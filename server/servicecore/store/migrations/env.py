"""What Alembic runs around the steps: on the connection that the database module hands over."""

from alembic import context

from server.servicecore.store.registers import Case

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Case.metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
