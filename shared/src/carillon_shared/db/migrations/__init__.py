"""Alembic migrations. One head, forward only in production; each is safe beside the previous release."""
