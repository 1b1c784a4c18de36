"""Streams through the documented nginx and Caddy, and people spread over two replicas (F06, F27)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from itertools import product
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from carillon_local.ports import PortHolder
from support.audience import register_many
from support.curl import CurlStream, Version, curl_stream
from support.platform import Platform
from support.programs import ensure_program
from support.proxies import Name, Proxy, running_proxy
from support.sse import Frame, Sse, sse
from support.tenant import Tenant
from support.waiting import eventually

pytestmark = [pytest.mark.timeout(300), pytest.mark.needs("nginx", "caddy", "curl")]
PROXIES: tuple[Name, ...] = ("nginx", "caddy")
BEHIND = [(name, version) for name in PROXIES for version in ("1.1", "2")]
REPLICAS = ("api", "api-2")
Open = Callable[..., AbstractAsyncContextManager[Proxy]]


@pytest.fixture(scope="module")
async def platform(shared_ground: Platform) -> AsyncIterator[Platform]:
    """Two replicas of the API."""
    await shared_ground.start("api-2")
    yield shared_ground
    await shared_ground.stop("api-2")


@pytest.fixture
async def tenant(platform: Platform) -> Tenant:
    """A tenant with three people."""
    made = await platform.new_tenant()
    await register_many(platform, made, 3)
    return made


@pytest.fixture
def proxy_before(platform: Platform, tmp_path: Path) -> Open:
    """Runs a proxy before replicas."""

    @asynccontextmanager
    async def running(name: Name, *replicas: str) -> AsyncIterator[Proxy]:
        for program in (name, "curl"):
            await asyncio.to_thread(ensure_program, program, print)
        addresses = [urlsplit(platform.url_of(replica)).netloc for replica in replicas]
        ports = PortHolder()
        try:
            async with running_proxy(name, addresses, port=ports.pick(), folder=tmp_path) as proxy:
                yield proxy
        finally:
            ports.release()

    return running


async def _send(tenant: Tenant, *people: str, title: str = "Hello") -> None:
    await tenant.send(
        type="message", data={"title": title, "body": "x"}, audience={"users": people}, channels=["inapp"]
    )


def _client(platform: Platform, replica: str, credential: str) -> httpx2.AsyncClient:
    headers = {"Authorization": f"Bearer {credential}"}
    return httpx2.AsyncClient(base_url=platform.url_of(replica), headers=headers, timeout=30, trust_env=False)


async def _streams(platform: Platform, replica: str) -> int:
    """Return how many streams a replica says it has open."""
    ports = platform.replica_ports.get(replica, platform.addresses.ports)
    async with httpx2.AsyncClient(trust_env=False) as http:
        text = (await http.get(f"http://127.0.0.1:{ports['metrics_api']}/metrics")).text
    (line,) = (line for line in text.splitlines() if line.startswith("carillon_streams_open "))
    return int(float(line.split()[1]))


async def _ready(stream: CurlStream | Sse) -> Frame:
    frame = await stream.next()
    assert frame.event == "ready", frame
    return frame


@pytest.mark.parametrize(("name", "version"), BEHIND)
async def test_each_frame_passes_at_once_and_the_cursor_too(
    proxy_before: Open, tenant: Tenant, name: Name, version: Version
) -> None:
    token = await tenant.token("p-1")
    async with proxy_before(name, *REPLICAS) as proxy:
        async with curl_stream(proxy, token=token, version=version) as stream:
            assert (stream.version, stream.status) == (f"HTTP/{version}", 200)
            assert stream.headers["content-type"] == "text/event-stream"
            assert (await _ready(stream)).id == "0"
            for number in range(1, 4):  # none waits for the next one
                await _send(tenant, "p-1")
                assert (await stream.next()).id == str(number)
        async with curl_stream(proxy, token=token, version=version, last_event_id="1") as stream:
            assert (await _ready(stream)).id == "1"
            assert [(await stream.next()).id for _ in range(2)] == ["2", "3"]


@pytest.mark.extended
@pytest.mark.parametrize(("name", "version"), BEHIND)
async def test_pings_keep_a_silent_stream_open(
    proxy_before: Open, tenant: Tenant, name: Name, version: Version
) -> None:
    """Longer than any time limit of the documented files."""
    token = await tenant.token("p-1")
    async with proxy_before(name, "api") as proxy, curl_stream(proxy, token=token, version=version) as stream:
        await _ready(stream)
        for _ in range(6):
            assert (await stream.next(pings=True, seconds=40)).text == ": ping"
        await _send(tenant, "p-1")
        assert (await stream.next()).id == "1"


@pytest.mark.parametrize("name", PROXIES)
async def test_streams_of_a_stopping_replica_move_to_the_other(
    proxy_before: Open, platform: Platform, tenant: Tenant, name: Name
) -> None:
    tokens = [await tenant.token(f"p-{n}") for n in (1, 2, 3)]
    async with proxy_before(name, *REPLICAS) as proxy, AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(curl_stream(proxy, token=token)) for token in tokens * 2]
        for stream in streams:
            await _ready(stream)
        spread = [await _streams(platform, replica) for replica in REPLICAS]
        assert sorted(spread) == [3, 3]  # each went where fewest were
        await _send(tenant, "p-1", "p-2", "p-3")
        assert [(await stream.next()).id for stream in streams] == ["1"] * 6
        assert await platform.stopped("api-2") == 0
        moved = await _ended(streams)
        assert len(moved) == 3
        await _send(tenant, "p-1", "p-2", "p-3")
        for number in moved:
            again = curl_stream(proxy, token=(tokens * 2)[number], last_event_id="1")
            stream = await stack.enter_async_context(again)
            assert (stream.status, (await _ready(stream)).id) == (200, "1")
            assert (await stream.next()).id == "2"
        assert await _streams(platform, "api") == 6
        await platform.start("api-2")


async def _ended(streams: list[CurlStream]) -> list[int]:
    """Wait for three streams to end cleanly, with a time to come back; return their places."""
    reading = {asyncio.create_task(stream.until_end(seconds=60)): n for n, stream in enumerate(streams)}
    ended: set[asyncio.Task[list[Frame]]] = set()
    while len(ended) < 3:
        done, _ = await asyncio.wait(reading.keys() - ended, return_when=asyncio.FIRST_COMPLETED)
        ended |= done
    for task in reading.keys() - ended:
        task.cancel()
    for task in ended:
        (last,) = task.result()
        assert 1_000 <= int(last.text.removeprefix("retry: ")) <= 5_000
    return [reading[task] for task in ended]


@pytest.mark.parametrize("name", PROXIES)
async def test_refusals_pass_with_the_time_to_come_back(
    proxy_before: Open, platform: Platform, tenant: Tenant, name: Name
) -> None:
    platform.extra["api-3"] = {"CARILLON_API_STREAMS": "2", "CARILLON_API_STREAMS_PER_SUBSCRIBER": "1"}
    await platform.start("api-3")
    tokens = [await tenant.token(f"p-{n}") for n in (1, 2, 3)]
    async with proxy_before(name, "api-3") as proxy, AsyncExitStack() as stack:
        answers = [
            await stack.enter_async_context(curl_stream(proxy, token=token))
            for token in (tokens[0], tokens[0], tokens[1], tokens[2])
        ]
        assert [one.status for one in answers] == [200, 429, 200, 503]
        assert [int(answers[place].headers["retry-after"]) for place in (1, 3)] == [10, 10]
        assert {answers[place].headers["content-type"] for place in (1, 3)} == {"application/problem+json"}
    await platform.stop("api-3")


async def test_nginx_asks_the_other_replica_when_one_is_full(
    proxy_before: Open, platform: Platform, tenant: Tenant
) -> None:
    platform.extra["api-4"] = {"CARILLON_API_STREAMS": "0"}
    await platform.start("api-4")
    token = await tenant.token("p-1")
    async with proxy_before("nginx", "api-4", "api") as proxy, AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(curl_stream(proxy, token=token)) for _ in range(4)]
        assert [stream.status for stream in opened] == [200] * 4
        assert await _streams(platform, "api-4") == 0
    await platform.stop("api-4")


async def test_no_ticket_is_logged(proxy_before: Open, tenant: Tenant) -> None:
    headers = {"Authorization": f"Bearer {await tenant.token('p-1')}"}
    made = await tenant.call("POST", "/v1/inbox/ticket", expect=201, headers=headers)
    async with proxy_before("nginx", "api") as proxy:
        async with curl_stream(proxy, token="", path=f"?ticket={made['ticket']}") as stream:
            assert (await _ready(stream)).id == "0"

        async def logged() -> str:
            return (proxy.folder / "access.log").read_text()

        line = await eventually(logged, seconds=10, what="the request to be logged")
    assert "/v1/inbox/stream" in line
    assert made["ticket"] not in line


async def test_people_on_two_replicas_get_all_and_agree(platform: Platform, tenant: Tenant) -> None:
    """Each has a device at each replica; items, signals and readings reach all of a person's devices."""
    people = ["p-1", "p-2", "p-3"]
    tokens = {person: await tenant.token(person) for person in people}
    async with AsyncExitStack() as stack:
        devices = {}
        for person, replica in product(people, REPLICAS):
            device = sse(platform.url_of(replica), token=tokens[person])
            devices[person, replica] = await stack.enter_async_context(device)
            await _ready(devices[person, replica])
        for number in range(10):
            await _send(tenant, *people, title=str(number))
            await _send(tenant, people[number % 3], title=f"own {number}")
        await _signal(platform, tenant, people)
        shown = {key: await _until_signal(device) for key, device in devices.items()}
        for person in people:
            here, there = (shown[person, replica] for replica in REPLICAS)
            assert [frame.id for frame in here] == [str(n) for n in range(1, len(here) + 1)]
            assert [frame.data for frame in here] == [frame.data for frame in there]
            own = sum(1 for number in range(10) if people[number % 3] == person)
            assert len({frame.data["item"]["id"] for frame in here}) == len(here) == 10 + own
        await _read_on_one_device(platform, tokens["p-1"], devices, shown["p-1", "api"])


async def _signal(platform: Platform, tenant: Tenant, people: list[str]) -> None:
    """Say something to everybody once all items are in the feeds; the second replica takes it."""
    for person in people:
        headers = {"Authorization": f"Bearer {await tenant.token(person)}"}
        many = 10 + sum(1 for number in range(10) if people[number % 3] == person)

        async def all_there(headers: dict[str, str] = headers, many: int = many) -> bool:
            counts = await tenant.call("GET", "/v1/inbox/unread-count", headers=headers)
            return bool(counts["unread"] == many)

        await eventually(all_there, seconds=60, what="all items to be in the feed")
    async with _client(platform, "api-2", tenant.key) as http:
        said = await http.post("/v1/signals", json={"users": people, "name": "end", "data": {}})
    assert said.status_code == 202, said.text


async def _until_signal(device: Sse) -> list[Frame]:
    """Return the changes that a device is shown; the signal comes once, and may overtake the last of them."""
    frames: list[Frame] = []
    signals = newest = 0
    while signals == 0 or newest < len(frames):
        frame = await device.next(seconds=60)
        if frame.event == "signal":
            signals += 1
        else:
            frames.append(frame)
            newest = max(newest, frame.data["counts"]["seq"])
    return frames


async def _read_on_one_device(
    platform: Platform, token: str, devices: dict[tuple[str, str], Sse], shown: list[Frame]
) -> None:
    """Reading at the second replica changes the badge at the first."""
    item = shown[0].data["item"]["id"]
    async with _client(platform, "api-2", token) as http:
        answer = await http.patch(f"/v1/inbox/{item}", json={"read": True})
    assert answer.status_code == 200, answer.text
    for replica in REPLICAS:
        update = await devices["p-1", replica].next(seconds=60)
        assert (update.event, update.id) == ("update", str(len(shown) + 1))
        assert update.data["items"][0]["read"] is True
        assert update.data["counts"] == answer.json()["counts"]
        assert update.data["counts"]["unread"] == len(shown) - 1
