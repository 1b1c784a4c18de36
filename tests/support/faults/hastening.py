"""What only waits for a dead process to be given up is given up now, so that a test need not wait as long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg
from carillon_shared.db.pool import Pool
from support.platform import Platform

_LEASES = """
    UPDATE carillon.leases l SET until = now()
    WHERE EXISTS (
        SELECT FROM carillon.deliveries d
        WHERE d.id = ANY (l.delivery_ids) AND d.channel = $1::text::carillon.channel)
"""
_OWED = """
    UPDATE carillon.events SET owed_at = now()
    WHERE owed_at > now() AND (deliver_at IS NULL OR deliver_at <= now())
"""
_DUE = "UPDATE carillon.due SET due_at = now() WHERE due_at > now() AND kind::text = ANY ($1)"
_DOUBTS = """
    UPDATE carillon.due SET due_at = now() - interval '1 hour'
    WHERE kind = 'unknown' AND due_at > now() - interval '30 minutes'
"""
_PAUSE_SECONDS = 0.5


async def hasten(platform: Platform, name: str) -> None:
    """Let the claims of a service that was killed end now. Call it while no replica of it runs.

    A dead worker's leases would end within its attempt limit and 15 s, a dead API's and dispatcher's claims
    on events within 30 s, what a dead dispatcher took up from the due list within minutes.
    """
    pool = await platform.database.pool(max_size=1)
    try:
        if name in {"email-worker", "whatsapp-worker"}:
            await pool.execute(_LEASES, name.removesuffix("-worker"))
        elif name in {"api", "dispatcher"}:
            await pool.execute(_OWED)
        if name == "dispatcher":
            await pool.execute(_DUE, ["hold", "retry"])
            await pool.execute(_DOUBTS)
    finally:
        await pool.close()


@asynccontextmanager
async def in_a_hurry(platform: Platform) -> AsyncIterator[None]:
    """While the context lasts, act at once on unknown outcomes, which otherwise have a grace."""
    pool = await platform.database.pool(max_size=1)
    hurrying = asyncio.create_task(_hurry(pool))
    try:
        yield
    finally:
        hurrying.cancel()
        await asyncio.gather(hurrying, return_exceptions=True)
        await pool.close()


async def _hurry(pool: Pool) -> None:
    while True:
        with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await pool.execute(_DOUBTS)
        await asyncio.sleep(_PAUSE_SECONDS)
