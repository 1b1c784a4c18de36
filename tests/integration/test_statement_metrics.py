"""How long statements take, and what ended those that failed, by a real PostgreSQL."""

import asyncpg
import pytest
from prometheus_client import REGISTRY
from support.migrated import MigratedDatabase


def _value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_statements_and_their_failures_are_counted(migrated: MigratedDatabase) -> None:
    statements = _value("carillon_database_seconds_count")
    refused = _value("carillon_database_failures_total", kind="refused")
    timeouts = _value("carillon_database_failures_total", kind="timeout")
    pool = await migrated.pool("carillon_dispatcher", max_size=1)
    assert await pool.fetchval("SELECT 1") == 1
    with pytest.raises(asyncpg.DivisionByZeroError):
        await pool.fetchval("SELECT 1 / (SELECT 0)")
    async with pool.acquire() as connection:
        await connection.execute("SET statement_timeout = '50ms'")
        with pytest.raises(asyncpg.QueryCanceledError):
            await connection.fetchval("SELECT pg_sleep(30)")
    await pool.close()
    assert _value("carillon_database_seconds_count") >= statements + 4
    assert _value("carillon_database_failures_total", kind="refused") == refused + 1
    assert _value("carillon_database_failures_total", kind="timeout") == timeouts + 1
