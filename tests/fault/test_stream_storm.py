"""Every stream ends and comes back at once while items flow; and clients that do not read (F05, F27)."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from support.audience import register_many
from support.faults.crowd import Crowd, Listener, room_for
from support.platform import Platform
from support.sse import Sse, sse
from support.tenant import Tenant
from support.waiting import eventually

pytestmark = [pytest.mark.timeout(600), pytest.mark.extended, pytest.mark.alone]

MESSAGE = {"title": "Hello", "body": "There"}
MEGABYTE = 2**20
PER_STREAM = 60_000  # bytes of the API's memory, with everything that reconnecting at once needs
SIZES = [pytest.param(1_000, id="1000"), pytest.param(5_000, id="5000")]


@pytest.fixture(scope="module")
async def platform(shared_ground: Platform) -> Platform:
    """Room for thousands of sockets on both sides, and a second API to post to while the first is away."""
    room_for(12_000)
    await shared_ground.restart("api")
    await shared_ground.start("api-2")
    return shared_ground


@pytest.fixture
async def poster(platform: Platform) -> AsyncIterator[Tenant]:
    """A tenant that talks to the second API."""
    tenant = await platform.new_tenant()
    async with httpx2.AsyncClient(
        base_url=platform.url_of("api-2"),
        headers={"Authorization": f"Bearer {tenant.key}"},
        timeout=60,
        trust_env=False,
    ) as http:
        yield Tenant(tenant.id, tenant.slug, tenant.key, http)


async def _crowd(platform: Platform, tenant: Tenant, size: int) -> Crowd:
    people = await register_many(platform, tenant, size)
    gate = asyncio.Semaphore(20)

    async def token(person: str) -> str:
        async with gate:
            return await tenant.token(person)

    tokens = await asyncio.gather(*(token(person) for person in people))
    return Crowd(platform.url_of("api"), [Listener(one) for one in tokens])


async def _to_everybody(tenant: Tenant, times: int = 1) -> None:
    for _ in range(times):
        await tenant.send(type="message", data=MESSAGE, audience={"everyone": True}, channels=["inapp"])


def _memory(platform: Platform, name: str) -> int:
    """Return the resident memory of a service in bytes."""
    text = Path(f"/proc/{platform.processes[name].pid}/status").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
async def test_everybody_returns_at_once_and_misses_nothing(
    platform: Platform, poster: Tenant, size: int, end: signal.Signals
) -> None:
    crowd = await _crowd(platform, poster, size)
    before = _memory(platform, "api")
    await crowd.all_open(seconds=120)
    await _to_everybody(poster)
    await crowd.all_have(1, seconds=120)
    if end is signal.SIGKILL:
        await platform.kill("api")
    else:
        assert await platform.stopped("api") == 0
    await crowd.all_closed(seconds=30)
    _asked_to_spread_out(crowd, end)
    await _to_everybody(poster, 2)  # while nobody listens
    await platform.start("api")
    flowing = asyncio.create_task(_to_everybody(poster, 3))
    await crowd.all_open(seconds=180)
    await flowing
    await crowd.all_have(6, seconds=180)
    assert {tuple(one.seqs) for one in crowd.listeners} == {(1, 2, 3, 4, 5, 6)}
    assert [fault for one in crowd.listeners for fault in one.faults] == []
    assert _memory(platform, "api") < before + size * PER_STREAM + 40 * MEGABYTE
    crowd.close()


def _asked_to_spread_out(crowd: Crowd, end: signal.Signals) -> None:
    """A drain tells each client a time of its own; a power cut tells nobody anything."""
    retries = [one.retry for one in crowd.listeners]
    if end is signal.SIGKILL:
        assert set(retries) == {None}
        return
    times = [one for one in retries if one is not None]
    assert len(times) == len(retries)
    assert min(times) >= 1_000
    assert max(times) <= 5_000
    quarters = {int(4 * (one - 1_000) / 4_001) for one in times}
    assert quarters == {0, 1, 2, 3}


async def test_those_who_do_not_read_are_left_and_cost_nothing(platform: Platform, poster: Tenant) -> None:
    """Ten streams whose clients take nothing, ten megabytes for each; one beside them reads on."""
    reader, idle = await register_many(platform, poster, 2)
    tokens = {person: await poster.token(person) for person in (reader, idle)}
    url = platform.url_of("api")
    before = _memory(platform, "api")
    async with sse(url, token=tokens[reader]) as good:
        streams = [sse(url, token=tokens[idle], receive_buffer=4096) for _ in range(10)]
        for stream in streams:
            await stream.__aenter__()
        assert await _open_streams(platform) == 11
        reading = asyncio.create_task(_numbers(good, 300))
        body = {"title": "Large", "body": "語" * 9_900}  # three bytes each, and as many as a body may have
        for _ in range(300):
            await poster.send(
                type="message", data=body, audience={"users": [reader, idle]}, channels=["inapp"]
            )
        seen = await reading

        async def left() -> bool:
            return await _open_streams(platform) == 1

        await eventually(left, seconds=60, what="those who do not read to be left")
        assert seen == list(range(1, 301))
        assert _memory(platform, "api") < before + 60 * MEGABYTE
        for stream in streams:
            await stream.__aexit__(None, None, None)


async def _numbers(stream: Sse, many: int) -> list[int]:
    """Read until so many notifications have come; return their numbers."""
    seen: list[int] = []
    while len(seen) < many:
        frame = await stream.next(seconds=60)
        if frame.event == "notification":
            seen.append(int(frame.id or 0))
    return seen


async def _open_streams(platform: Platform) -> int:
    port = platform.addresses.ports["metrics_api"]
    async with httpx2.AsyncClient(trust_env=False) as http:
        text = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
    (line,) = (line for line in text.splitlines() if line.startswith("carillon_streams_open "))
    return int(float(line.split()[1]))
