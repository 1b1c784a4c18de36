"""`python -m carillon_api` as a process: its start, its log, its stop, and a crash at the worst moment."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx2
import orjson
import pytest
from carillon_local.ports import PortHolder
from carillon_shared.db.pool import Pool
from support.events_api import NO_BROKER
from support.live_api import PEPPER, TOKEN_SECRET, make_key
from support.migrated import MigratedDatabase
from support.waiting import eventually

_MESSAGE = {"type": "message", "data": {"title": "Hi", "body": "There"}, "audience": {"everyone": True}}

IDLE_SECONDS = 6.0


@dataclass(frozen=True, slots=True)
class _Running:
    process: Process
    url: str
    metrics_url: str


@asynccontextmanager
async def _api(migrated: MigratedDatabase, **environment: str) -> AsyncIterator[_Running]:
    ports = PortHolder()
    port, metrics_port = ports.pick(), ports.pick()
    own = {
        "CARILLON_DATABASE_URL": migrated.url("carillon_api"),
        "CARILLON_BROKER_URL": NO_BROKER,
        "CARILLON_API_TOKEN_SECRET": TOKEN_SECRET,
        "CARILLON_API_KEY_PEPPER": PEPPER,
        "CARILLON_API_PORT": str(port),
        "CARILLON_METRICS_PORT": str(metrics_port),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "carillon_api", env=os.environ | own | environment, stdout=PIPE
    )
    running = _Running(process, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{metrics_port}")
    try:
        await eventually(lambda: _is_ready(running), seconds=30, what="the API to be ready")
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        ports.release()


async def _is_ready(running: _Running) -> bool:
    assert running.process.returncode is None, "the API ended"
    try:
        async with httpx2.AsyncClient(timeout=2) as http:
            return (await http.get(f"{running.metrics_url}/readyz")).status_code == 200
    except httpx2.TransportError:
        return False


@pytest.fixture
async def owner(migrated: MigratedDatabase) -> AsyncIterator[Pool]:
    pool = await migrated.pool()
    yield pool
    await pool.close()


@pytest.fixture
async def key(owner: Pool) -> str:
    tenant = await owner.fetchval(
        "INSERT INTO carillon.tenants (slug, name) VALUES ('acme', 'a') RETURNING id"
    )
    return await make_key(owner, tenant)


async def test_it_serves_logs_and_stops(migrated: MigratedDatabase, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    async with _api(migrated) as api:
        async with httpx2.AsyncClient(timeout=10, headers=headers) as http:
            assert (await http.post(f"{api.url}/v1/events", json=_MESSAGE)).status_code == 202
            event = (await http.post(f"{api.url}/v1/events", json=_MESSAGE)).json()["id"]
            assert (await http.get(f"{api.url}/v1/events/{event}?secret=x")).status_code == 200
            assert (await http.get(f"{api.url}/nowhere/{event}")).status_code == 404
            metrics = (await http.get(f"{api.metrics_url}/metrics")).text
        api.process.send_signal(signal.SIGTERM)
        output, _ = await asyncio.wait_for(api.process.communicate(), 20)
    assert api.process.returncode == 0
    assert 'carillon_http_requests_total{method="POST",route="/v1/events",status="202"} 2.0' in metrics
    assert 'route="/v1/events/{event}"' in metrics
    assert event not in metrics
    assert 'carillon_intake_events_total{result="accepted"} 2.0' in metrics
    lines = [orjson.loads(line) for line in output.splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    assert [(line["method"], line["route"], line["status"]) for line in requests] == [
        ("POST", "/v1/events", 202),
        ("POST", "/v1/events", 202),
        ("GET", "/v1/events/{event}", 200),
        ("GET", "none", 404),
    ]
    assert requests[0]["tenant"] == "acme"
    assert requests[0]["events"] == 1
    text = output.decode()
    assert key.rsplit("_", 1)[1] not in text
    assert "secret=" not in text
    assert "There" not in text


async def test_a_crash_after_the_commit_loses_nothing(
    migrated: MigratedDatabase, owner: Pool, key: str
) -> None:
    headers, event = {"Authorization": f"Bearer {key}"}, _MESSAGE | {"id": "once"}
    async with _api(migrated, CARILLON_CRASH_AT="api.after_commit") as api, httpx2.AsyncClient() as http:
        with pytest.raises(httpx2.TransportError):
            await http.post(f"{api.url}/v1/events", json=event, headers=headers)
        assert await asyncio.wait_for(api.process.wait(), 10) == -signal.SIGKILL
    rows = await owner.fetch("SELECT external_id, owed_at FROM carillon.events")
    assert [row["external_id"] for row in rows] == ["once"]
    assert rows[0]["owed_at"] is not None
    async with _api(migrated) as api, httpx2.AsyncClient() as http:
        again = await http.post(f"{api.url}/v1/events", json=event, headers=headers)
    assert (again.status_code, again.json()["duplicate"]) == (202, True)


async def test_wrong_settings_stop_the_start() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "carillon_api",
        env={"PATH": os.environ["PATH"], "CARILLON_API_KEY_PEPPER": "short"},
        stdout=PIPE,
        stderr=PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode
    text = (output + errors).decode()
    for name in ("DATABASE_URL", "BROKER_URL", "API_TOKEN_SECRET", "API_KEY_PEPPER"):
        assert f"CARILLON_{name}" in text
    assert "Traceback" not in text


async def test_a_connection_may_be_idle_for_longer_than_clients_keep_theirs(
    migrated: MigratedDatabase,
) -> None:
    """Else a request could be written to a connection that is being closed, and have no answer."""
    async with _api(migrated) as running:
        host, port = running.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        for pause in (0, IDLE_SECONDS):
            await asyncio.sleep(pause)  # the fact itself: nothing is sent for so long
            writer.write(b"GET /livez HTTP/1.1\r\nHost: api\r\n\r\n")
            async with asyncio.timeout(10):
                head = await reader.readuntil(b"\r\n\r\n")
                assert b" 200 " in head
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                await reader.readexactly(length)
        writer.close()
        await writer.wait_closed()
