"""Alembic's entry point: runs the migrations on the connection that `upgrade` hands over."""

from alembic import context

from lia_model.serving.database.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
