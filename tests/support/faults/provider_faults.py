"""Providers that fail on demand, and what a worker makes of it, seen from outside."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import httpx2
from support.platform import Platform
from support.waiting import eventually


@asynccontextmanager
async def rules(platform: Platform, *given: dict[str, Any]) -> AsyncIterator[None]:
    """Let the mock providers fail by these rules."""
    await platform.mock_control("PUT", "/control/faults", json=list(given))
    try:
        yield
    finally:
        await platform.mock_control("DELETE", "/control/faults")
        await platform.mock_control("POST", "/control/release")


@asynccontextmanager
async def with_variables(platform: Platform, service: str, **variables: str) -> AsyncIterator[None]:
    """Run a service with other settings, and afterwards as before."""
    before = platform.extra.get(service, {})
    platform.extra[service] = before | variables
    await platform.restart(service)
    try:
        yield
    finally:
        platform.extra[service] = before
        await platform.restart(service)


def a_closed_port() -> str:
    """Return a port on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


async def breaker_is(platform: Platform, worker: str, provider: str, state: str) -> None:
    """Wait until a worker shows its breaker in this state."""
    line = f'provider="{provider}",state="{state}"}} 1.0'

    async def look() -> bool:
        async with httpx2.AsyncClient(trust_env=False) as http:
            shown = (await http.get(f"{platform.url_of(worker)}/metrics", timeout=5)).text
        return any(line in one for one in shown.splitlines() if one.startswith("carillon_provider_breaker"))

    await eventually(look, seconds=120, what=f"the breaker of {provider} to be {state}")


async def calls_met(platform: Platform, fault: str, *, least: int, since: datetime) -> None:
    """Wait until the mock providers have let so many calls fail this way."""

    async def look() -> bool:
        found = await platform.mock("/api/attempts", since=since.isoformat(), limit=5000)
        return len([one for one in found["items"] if one["fault"] == fault]) >= least

    await eventually(look, seconds=60, what=f"{least} calls to end in {fault}")


async def attempts_of(platform: Platform, tenant_id: int, channel: str) -> list[dict[str, Any]]:
    """Return every attempt of a tenant over a channel, the earliest first."""
    pool = await platform.database.pool(max_size=1)
    rows = await pool.fetch(
        "SELECT a.* FROM carillon.attempts a JOIN carillon.deliveries d ON d.id = a.delivery_id "
        "WHERE d.tenant_id = $1 AND d.channel = $2::text::carillon.channel ORDER BY a.started_at, a.number",
        tenant_id,
        channel,
    )
    await pool.close()
    return [dict(row) for row in rows]
