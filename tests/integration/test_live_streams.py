import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import pytest
from carillon_api.stream import connection
from carillon_shared.broker import live
from carillon_shared.contracts.messages import LiveChunk, LiveFrame
from starlette.requests import Request
from support.live_api import Client, LiveApi, Tenant, open_tenant, running_api
from support.migrated import MigratedDatabase
from support.sse import Frame, Sse, sse
from support.waiting import eventually


@pytest.fixture
async def api(migrated: MigratedDatabase, broker_url: str) -> AsyncIterator[LiveApi]:
    async with running_api(migrated, broker_url) as running:
        yield running


@pytest.fixture
async def tenant(migrated: MigratedDatabase, broker_url: str) -> AsyncIterator[Tenant]:
    async with open_tenant(migrated, broker_url) as made:
        await made.add_people("u-7", "u-8")
        yield made


@pytest.fixture
async def person(api: LiveApi, tenant: Tenant) -> Client:
    return await tenant.client(api).person("u-7")


async def _becomes(fact: Callable[[], Any], what: str) -> None:
    async def asked() -> bool:
        return bool(fact())

    await eventually(asked, seconds=15, what=what)


async def _ready(stream: Sse) -> Frame:
    frame = await stream.next()
    assert frame.event == "ready"
    return frame


def _seqs(frames: list[Frame]) -> list[int]:
    return [int(frame.id or -1) for frame in frames]


async def test_a_new_item_arrives_in_the_shape_of_the_feed(person: Client, tenant: Tenant) -> None:
    async with sse(person.url, token=person.credential) as stream:
        assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream")
        assert stream.headers["cache-control"] == "no-store"
        assert stream.headers["x-accel-buffering"] == "no"
        ready = await _ready(stream)
        assert (ready.id, ready.data) == ("0", {"counts": {"unread": 0, "unseen": 0, "seq": 0}})
        await tenant.add_item("u-7", title="Сайн байна уу", data={"line": "a\nb"})
        frame = await stream.next()
    page = await person.call("GET", "/v1/inbox")
    assert (frame.event, frame.id) == ("notification", "1")
    assert frame.data == {"item": page["data"][0], "counts": {"unread": 1, "unseen": 1, "seq": 1}}


async def test_an_open_stream_keeps_nothing_of_its_request(person: Client) -> None:
    def requests() -> list[str]:
        gc.collect()
        found = [one for one in gc.get_objects() if isinstance(one, Request)]
        return [one.url.path for one in found if one.scope.get("path") == "/v1/inbox/stream"]

    async with sse(person.url, token=person.credential) as stream:
        await _ready(stream)
        assert requests() == []


async def test_changes_made_over_http_arrive_as_updates(person: Client, tenant: Tenant) -> None:
    item = str((await tenant.add_item("u-7"))["id"])
    async with sse(person.url, token=person.credential) as stream:
        await _ready(stream)
        await person.call("PATCH", f"/v1/inbox/{item}", json={"read": True})
        await person.call("PATCH", f"/v1/inbox/{item}", json={"read": False})
        await person.call("POST", "/v1/inbox:read-all")
        await person.call("DELETE", f"/v1/inbox/{item}")
        read, unread, all_read, deleted = await stream.take(4)
    assert _seqs([read, unread, all_read, deleted]) == [2, 3, 4, 5]
    state = read.data["items"][0]
    assert (state["id"], state["read"], state["seen"], state["archived"]) == (item, True, True, False)
    assert read.data["counts"] == {"unread": 0, "unseen": 0, "seq": 2}
    assert unread.data["items"][0]["read"] is False
    assert all_read.data == {"all": {"read": True}, "counts": {"unread": 0, "unseen": 0, "seq": 4}}
    assert deleted.data["items"] == [{"id": item, "deleted": True}]


async def test_a_client_resumes_with_what_it_missed_compacted(person: Client, tenant: Tenant) -> None:
    ids = [str((await tenant.add_item("u-7", title=f"T{n}"))["id"]) for n in range(4)]  # 1..4
    await person.call("PATCH", f"/v1/inbox/{ids[0]}", json={"archived": True})  # 5
    await person.call("PATCH", f"/v1/inbox/{ids[3]}", json={"seen": True})  # 6
    await person.call("POST", "/v1/inbox:read-all")  # 7
    await person.call("DELETE", f"/v1/inbox/{ids[1]}")  # 8
    await tenant.add_item("u-7", title="T9", announce=False)
    async with sse(person.url, token=person.credential, last_event_id="2") as stream:
        ready = await _ready(stream)
        frames = await stream.take(6)
        row = await tenant.add_item("u-7", title="live")
        frames.append(await stream.next())
    assert ready.id == "2"
    assert [(frame.event, frame.id) for frame in frames] == [
        ("notification", "3"),
        ("update", "5"),
        ("notification", "6"),
        ("update", "7"),
        ("update", "8"),
        ("notification", "9"),
        ("notification", str(row["seq"])),
    ]
    assert frames[1].data["items"][0]["archived"] is True
    assert frames[2].data["item"]["seen_at"]
    assert frames[3].data["all"] == {"read": True}
    assert frames[4].data["items"] == [{"id": ids[1], "deleted": True}]
    assert {frame.data["counts"]["seq"] for frame in frames[:6]} == {9}


async def test_a_long_absence_is_made_up_page_by_page(person: Client, tenant: Tenant) -> None:
    for n in range(175):
        await tenant.add_item("u-7", title=f"T{n}", announce=False)
    async with sse(person.url, "/v1/inbox/stream?last_event_id=3", token=person.credential) as stream:
        await _ready(stream)
        assert _seqs(await stream.take(172)) == list(range(4, 176))


@pytest.mark.parametrize(
    ("cursor", "reason"),
    [("1", "cursor_too_old"), ("99", "cursor_ahead"), ("abc", "cursor_unknown"), ("-1", "cursor_unknown")],
)
async def test_a_cursor_that_cannot_be_resumed_is_reset(
    person: Client, tenant: Tenant, cursor: str, reason: str
) -> None:
    for _ in range(3):
        await tenant.add_item("u-7", announce=False)
    await tenant.pool.execute("UPDATE carillon.feeds SET floor_seq = 2")
    async with sse(person.url, token=person.credential, last_event_id=cursor) as stream:
        ready = await _ready(stream)
        reset = await stream.next()
        await tenant.add_item("u-7")
        after = await stream.next()
    assert (ready.id, reset.event, reset.id) == ("3", "reset", "3")
    assert reset.data == {"reason": reason, "counts": {"unread": 3, "unseen": 3, "seq": 3}}
    assert after.id == "4"


async def test_a_hole_is_filled_from_the_database(person: Client, tenant: Tenant) -> None:
    async with sse(person.url, token=person.credential) as stream:
        await _ready(stream)
        await tenant.add_item("u-7", title="lost on its way", announce=False)
        await tenant.add_item("u-7", title="arrived")
        frames = await stream.take(2)
    assert [(frame.id, frame.data["item"]["title"]) for frame in frames] == [
        ("1", "lost on its way"),
        ("2", "arrived"),
    ]


async def test_an_item_too_large_to_be_carried_is_read_instead(person: Client, tenant: Tenant) -> None:
    async with sse(person.url, token=person.credential) as stream:
        await _ready(stream)
        row = await tenant.add_item("u-7", title="huge", announce=False)
        head = LiveFrame(subscriber="u-7", seq=1, unread=1, unseen=1, item_id=row["id"], tail=0)
        chunk = LiveChunk(tenant=tenant.slug, event="notification", tails=[None], frames=[head])
        await tenant.session.publisher.publish_many([live(chunk, message_id=uuid4().hex)])
        frame = await stream.next()
    assert (frame.id, frame.data["item"]["title"]) == ("1", "huge")


async def test_what_never_came_over_the_broker_is_found_by_comparing(
    migrated: MigratedDatabase, broker_url: str, tenant: Tenant
) -> None:
    async with running_api(migrated, broker_url, api_stream_compare_seconds=0.2) as api:
        person = await tenant.client(api).person("u-7")
        async with sse(person.url, token=person.credential) as stream:
            await _ready(stream)
            await tenant.add_item("u-7", title="silent", announce=False)
            assert (await stream.next()).data["item"]["title"] == "silent"


async def test_every_replica_serves_its_own_streams(
    migrated: MigratedDatabase, broker_url: str, tenant: Tenant, api: LiveApi
) -> None:
    async with running_api(migrated, broker_url) as other:
        person = await tenant.client(api).person("u-7")
        async with (
            sse(api.url, token=person.credential) as here,
            sse(other.url, token=person.credential) as there,
        ):
            await _ready(here)
            await _ready(there)
            await tenant.add_item("u-7")
            await person.call("POST", "/v1/inbox:read-all")
            for stream in (here, there):
                assert [(frame.event, frame.id) for frame in await stream.take(2)] == [
                    ("notification", "1"),
                    ("update", "2"),
                ]


async def test_two_people_get_only_their_own(person: Client, tenant: Tenant, api: LiveApi) -> None:
    other = await tenant.client(api).person("u-8")
    async with (
        sse(api.url, token=person.credential) as one,
        sse(api.url, token=other.credential) as two,
    ):
        await _ready(one)
        await _ready(two)
        await tenant.add_item("u-8", title="for 8")
        await tenant.add_item("u-7", title="for 7")
        assert (await one.next()).data["item"]["title"] == "for 7"
        assert (await two.next()).data["item"]["title"] == "for 8"


async def test_a_slow_client_is_caught_up_from_the_database(
    person: Client, tenant: Tenant, api: LiveApi
) -> None:
    body, count = "x" * 9_000, 1_200
    async with sse(person.url, token=person.credential, receive_buffer=4_096) as stream:
        await _ready(stream)
        [served] = list(api.services.hub.streams)
        await tenant.add_many("u-7", count, body=body)
        await _becomes(lambda: served.blocked and served.newest > served.last, "the stream to fall behind")
        frames = await stream.take(count, seconds=60)
    assert _seqs(frames) == list(range(1, count + 1))


async def test_a_client_that_takes_nothing_is_left(
    person: Client, tenant: Tenant, api: LiveApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SEND_SECONDS", 0.2)
    async with sse(person.url, token=person.credential, receive_buffer=4_096) as stream:
        await _ready(stream)
        await tenant.add_many("u-7", 1_200, body="x" * 9_000)
        await _becomes(lambda: len(api.services.hub.streams) == 0, "the stream to be closed")


async def test_a_client_that_leaves_is_forgotten(person: Client, api: LiveApi) -> None:
    async with sse(person.url, token=person.credential) as stream:
        await _ready(stream)
        assert len(api.services.hub.streams) == 1
    await _becomes(lambda: len(api.services.hub.streams) == 0, "the stream to be forgotten")
    assert api.services.hub.streams.of_person("acme", "u-7") == ()


async def test_streams_end_cleanly_when_the_process_stops(person: Client, api: LiveApi) -> None:
    async with sse(person.url, token=person.credential) as stream:
        await _ready(stream)
        api.shutdown.request()
        [last] = await stream.until_end()
        assert 1_000 <= int(last.text.removeprefix("retry: ")) <= 5_000
    async with sse(person.url, token=person.credential) as late:
        assert late.status == 503


async def test_a_stream_ends_with_its_token(tenant: Tenant, api: LiveApi) -> None:
    person = await tenant.client(api).person("u-7", expires_in=3)
    async with sse(person.url, token=person.credential) as stream:
        await _ready(stream)
        [last] = await stream.until_end(seconds=10)
        assert last.text.startswith("retry: ")


async def test_a_stream_lives_for_a_while_only(
    migrated: MigratedDatabase, broker_url: str, tenant: Tenant
) -> None:
    async with running_api(migrated, broker_url, api_stream_life_seconds=0.3) as api:
        person = await tenant.client(api).person("u-7")
        async with sse(person.url, token=person.credential) as stream:
            await _ready(stream)
            await stream.until_end(seconds=5)


async def test_there_is_a_limit_per_person_and_in_all(
    migrated: MigratedDatabase, broker_url: str, tenant: Tenant
) -> None:
    async with running_api(migrated, broker_url, api_streams=2, api_streams_per_subscriber=1) as api:
        seven, eight = [await tenant.client(api).person(each) for each in ("u-7", "u-8")]
        async with sse(api.url, token=seven.credential) as one:
            await _ready(one)
            async with sse(api.url, token=seven.credential) as refused:
                assert (refused.status, "retry-after" in refused.headers) == (429, True)
            async with sse(api.url, token=eight.credential) as two:
                await _ready(two)
                async with sse(api.url, token=eight.credential) as refused:
                    assert (refused.status, "retry-after" in refused.headers) == (503, True)


async def test_an_idle_stream_is_pinged(person: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async with sse(person.url, token=person.credential) as stream:
        await _ready(stream)
        async with asyncio.timeout(20):
            assert (await stream._frame()).text == ": ping"


@pytest.mark.parametrize("credential", [None, "nonsense"])
async def test_a_stream_needs_a_token(api: LiveApi, credential: str | None) -> None:
    async with sse(api.url, token=credential) as stream:
        assert stream.status == 401


async def test_a_stream_of_somebody_nobody_registered_is_404(tenant: Tenant, person: Client) -> None:
    await tenant.pool.execute("DELETE FROM carillon.subscribers WHERE id = 'u-7'")
    async with sse(person.url, token=person.credential) as stream:
        assert stream.status == 404
