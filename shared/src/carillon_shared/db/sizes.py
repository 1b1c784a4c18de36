"""How large the tables are, and what retention takes next. Asked as the schema's owner; changes nothing."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import asyncpg

_SECONDS = 60.0
_TABLES = """
    SELECT c.relname AS "table", count(p.name) AS partitions,
           coalesce(sum(p.rows), greatest(c.reltuples, 0))::bigint AS rows,
           coalesce(sum(p.bytes), pg_total_relation_size(c.oid))::bigint AS bytes
    FROM pg_class c LEFT JOIN carillon.partitions() p ON p.parent = c.relname
    WHERE c.relnamespace = 'carillon'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    GROUP BY c.oid, c.relname, c.reltuples ORDER BY bytes DESC, c.relname
"""
_PARTITIONS = """
    SELECT p.parent AS "table", p.name AS partition, p.rows, p.bytes, p.ends_at,
           p.ends_at + make_interval(days => carillon.kept_days(p.parent, $1)) AS goes_at
    FROM carillon.partitions() p ORDER BY goes_at, p.parent
"""
# By id, so that one partition is read and no other.
_OPEN = """
    SELECT (SELECT count(*) FROM carillon.deliveries d
            WHERE d.id >= $1 AND d.id < $2 AND (NOT $3 OR d.channel = 'inapp')
              AND d.status IN ('held', 'queued', 'sending', 'retrying', 'unknown', 'dead'))
         + (SELECT count(*) FROM carillon.events e
            WHERE NOT $3 AND e.id >= $1 AND e.id < $2
              AND e.status IN ('pending_approval', 'scheduled', 'accepted', 'dispatching', 'dispatched'))
"""
_ENDING = frozenset({"events", "deliveries", "feed_items"})
_DEAD = "SELECT count(*) FROM carillon.dead_letters WHERE dead_at < now() - make_interval(days => $1)"


async def table_sizes(url: str) -> list[dict[str, Any]]:
    """Return `table`, `partitions`, `rows` (as ANALYZE last counted) and `bytes`, largest first."""
    connection = await _connect(url)
    try:
        return [dict(row) for row in await connection.fetch(_TABLES)]
    finally:
        await connection.close()


async def partition_sizes(url: str, days: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return `table`, `partition`, `rows`, `bytes`, `ends_at`, and `goes_at`, by which they are sorted."""
    connection = await _connect(url)
    try:
        return [dict(row) for row in await connection.fetch(_PARTITIONS, json.dumps(days))]
    finally:
        await connection.close()


async def retention_plan(url: str, days: Mapping[str, int], *, dead_letter_days: int) -> dict[str, Any]:
    """Return what would go now, with what is still open in it, and what goes next."""
    connection = await _connect(url)
    try:
        rows = await connection.fetch("SELECT * FROM carillon.outdated_partitions($1)", json.dumps(days))
        going = [
            {
                "table": row["parent"],
                "partition": row["name"],
                "rows": row["rows"],
                "bytes": row["bytes"],
                "open": await _open_in(connection, row),
            }
            for row in rows
        ]
        now: datetime = await connection.fetchval("SELECT now()")
        later = [dict(row) for row in await connection.fetch(_PARTITIONS, json.dumps(days))]
        return {
            "now": going,
            "dead_letters": await connection.fetchval(_DEAD, dead_letter_days),
            "next": next(iter(row for row in later if row["goes_at"] > now), None),
        }
    finally:
        await connection.close()


async def _open_in(connection: "asyncpg.Connection[asyncpg.Record]", row: asyncpg.Record) -> int:
    if row["parent"] not in _ENDING:
        return 0
    found = await connection.fetchval(_OPEN, row["low"], row["below"], row["parent"] == "feed_items")
    return int(found)


async def _connect(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(url, timeout=10, command_timeout=_SECONDS)
