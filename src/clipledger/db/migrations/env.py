"""Run migrations on the connection that `db.schema` hands over, inside its transaction."""

from alembic import context

from clipledger.db.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
