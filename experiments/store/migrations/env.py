"""Alembic runs this to apply migrations: always on a connection, and in a transaction, that migrate.py opened."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
