"""Alembic runs this to apply migrations: always on a connection, and in a transaction, that migrate.py opened."""

from alembic import context

# Absent when something merely imports this module.
if hasattr(context, "config"):
    context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()
