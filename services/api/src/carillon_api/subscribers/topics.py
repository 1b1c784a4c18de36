"""Which topics lie within others, always of the current tenant."""

from typing import Final

from carillon_shared.db.pool import Connection

from carillon_api.errors import Problem

MAX_PARENTS: Final = 50
"""How many topics one may lie in directly."""

# Two at once could make a circle that neither sees.
_LOCK = "SELECT 1 FROM carillon.tenants WHERE id = $1 FOR NO KEY UPDATE"
_IS_ABOVE = """
SELECT $2 IN (SELECT carillon.topics_about($1, jsonb_build_object('topics', jsonb_build_array($3::text))))
"""
_ADD = """
INSERT INTO carillon.topic_parents (tenant_id, topic, parent) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
"""
_REMOVE = "DELETE FROM carillon.topic_parents WHERE topic = $1 AND parent = $2"
_LIST = "SELECT parent FROM carillon.topic_parents WHERE topic = $1 ORDER BY parent"


async def list_parents(connection: Connection, topic: str) -> list[str]:
    """Return the topics that this one lies in directly."""
    return [row["parent"] for row in await connection.fetch(_LIST, topic)]


async def add_parent(connection: Connection, *, tenant_id: int, topic: str, parent: str) -> None:
    """Let a topic lie in another; no harm when it does. Raises `Problem` 409 for a circle, or too many."""
    await connection.fetchval(_LOCK, tenant_id)
    if await connection.fetchval(_IS_ABOVE, tenant_id, topic, parent):
        detail = f"{parent} is {topic}, or lies within it: nothing can lie within itself"
        raise Problem("topic-circle", "The topics would lie within each other.", 409, detail)
    parents = await list_parents(connection, topic)
    if parent not in parents and len(parents) >= MAX_PARENTS:
        detail = f"A topic lies in {MAX_PARENTS} others at most."
        raise Problem("too-many-parents", "The topic lies in too many others.", 409, detail)
    await connection.execute(_ADD, tenant_id, topic, parent)


async def remove_parent(connection: Connection, *, topic: str, parent: str) -> None:
    """Take a topic out of another; no harm when it is not in it."""
    await connection.execute(_REMOVE, topic, parent)
