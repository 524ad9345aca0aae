"""Alembic's entry: runs the steps on the connection that `persistence/migrate.py` hands over."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, text

from persistence.database import SCHEMA_LOCK


def migrate(connection: Connection) -> None:
    """Run what is missing, all of it or nothing, while no other engine does."""
    context.configure(connection=connection, transactional_ddl=True)
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SCHEMA_LOCK})
        context.run_migrations()


def write_down() -> None:
    """Print what is missing as statements, for somebody else's transaction."""
    context.configure(dialect_name="postgresql", transactional_ddl=False)
    context.run_migrations()


if context.is_offline_mode():
    write_down()
else:
    migrate(context.config.attributes["connection"])
