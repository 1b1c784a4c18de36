"""Alembic's entry: runs migrations over an asyncpg connection as the owner of the database."""

from alembic import context
from sqlalchemy import Connection

connection: Connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table="schema_version", transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
