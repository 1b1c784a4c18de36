"""What was snoozed wakes at its time, as a change like any other."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from carillon_dispatcher.sweepers import changed_feeds
from carillon_dispatcher.sweepers.snoozes import Snoozes
from carillon_shared.contracts.messages import LiveChunk
from carillon_shared.db.pool import Pool
from support.live_api import LiveApi, Tenant, open_tenant, running_api
from support.migrated import MigratedDatabase
from support.planning import RecordingPublisher
from support.sse import sse


@pytest.fixture
async def api(migrated: MigratedDatabase, broker_url: str) -> AsyncIterator[LiveApi]:
    async with running_api(migrated, broker_url) as running:
        yield running


@pytest.fixture
async def tenant(migrated: MigratedDatabase, broker_url: str) -> AsyncIterator[Tenant]:
    async with open_tenant(migrated, broker_url) as made:
        await made.add_people("u-7", "u-8", "u-9")
        yield made


@pytest.fixture
async def dispatcher(migrated: MigratedDatabase) -> AsyncIterator[Pool]:
    pool = await migrated.pool("carillon_dispatcher")
    yield pool
    await pool.close()


async def _snoozed(tenant: Tenant, api: LiveApi, person: str, count: int) -> list[str]:
    """Add items that their person has snoozed until a moment that has come by now."""
    ids = [str((await tenant.add_item(person, announce=False))["id"]) for _ in range(count)]
    client = await tenant.client(api).person(person)
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    await client.call(
        "POST", "/v1/inbox:bulk", json={"ids": ids, "set": {"snoozed_until": later, "read": True}}
    )
    await tenant.pool.execute(
        "UPDATE carillon.feed_items SET snoozed_until = now() WHERE id = ANY ($1::uuid[])", ids
    )
    return ids


def _chunks(publisher: RecordingPublisher) -> list[LiveChunk]:
    return [each.message for each in publisher.published if isinstance(each.message, LiveChunk)]


def _numbers(answer: dict[str, Any]) -> tuple[int, int, int]:
    return answer["unread"], answer["unseen"], answer["seq"]


async def test_it_comes_back_unread_under_one_number(api: LiveApi, tenant: Tenant, dispatcher: Pool) -> None:
    ids = await _snoozed(tenant, api, "u-7", 2)
    client = await tenant.client(api).person("u-7")
    assert _numbers(await client.call("GET", "/v1/inbox/unread-count")) == (0, 0, 3)
    sweep = Snoozes(dispatcher, tenant.session.publisher, batch=100)
    async with sse(api.url, token=client.credential) as stream:
        await stream.next()
        assert await sweep.wake() == 1
        live = await stream.take(2)
    async with sse(api.url, token=client.credential, last_event_id="3") as stream:
        await stream.next()
        resumed = await stream.take(2)
    assert [(frame.event, frame.data) for frame in live] == [(frame.event, frame.data) for frame in resumed]
    assert [frame.event for frame in live] == ["notification"] * 2
    assert live[-1].id == "4"
    assert sorted(frame.data["item"]["id"] for frame in live) == sorted(ids)
    page = await client.call("GET", "/v1/inbox?filter=unread")
    assert _numbers(page) == (2, 2, 4)
    assert [(item["id"], item["snoozed_until"], item["read_at"]) for item in page["data"]] == [
        (ids[1], None, None),
        (ids[0], None, None),
    ]
    assert await sweep.wake() == 0


async def test_what_is_not_due_deleted_or_archived_sleeps_on(
    api: LiveApi, tenant: Tenant, dispatcher: Pool
) -> None:
    ids = await _snoozed(tenant, api, "u-7", 3)
    client = await tenant.client(api).person("u-7")
    await client.call("DELETE", f"/v1/inbox/{ids[0]}")
    await client.call("PATCH", f"/v1/inbox/{ids[1]}", json={"archived": True})
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    await client.call("PATCH", f"/v1/inbox/{ids[2]}", json={"snoozed_until": later})
    assert await Snoozes(dispatcher, RecordingPublisher(), batch=100).wake() == 0
    assert _numbers(await client.call("GET", "/v1/inbox/unread-count")) == (0, 0, 7)


async def test_two_dispatchers_wake_each_once_while_people_change_things(
    api: LiveApi, tenant: Tenant, dispatcher: Pool
) -> None:
    ids = {person: await _snoozed(tenant, api, person, 3) for person in ("u-7", "u-8", "u-9")}
    publisher = RecordingPublisher()
    one, other = (Snoozes(dispatcher, publisher, batch=2) for _ in range(2))
    clients = [await tenant.client(api).person(person) for person in ids]

    async def until_none(sweep: Snoozes) -> None:
        while await sweep.wake():
            pass

    await asyncio.gather(
        until_none(one),
        until_none(other),
        *(tenant.add_item(person, announce=False) for person in ids),
        *(client.call("POST", "/v1/inbox:seen-all") for client in clients),
    )
    await until_none(one)
    for client in clients:
        page = await client.call("GET", "/v1/inbox?filter=unread")
        assert page["unread"] == len(page["data"]) == 4
        assert page["unseen"] == len((await client.call("GET", "/v1/inbox?filter=unseen"))["data"])
    told = [frame for chunk in _chunks(publisher) for frame in chunk.frames]
    assert {frame.subscriber for frame in told} == set(ids)
    assert len({(frame.subscriber, frame.seq) for frame in told}) == len(told)


async def test_many_feeds_are_told_in_messages_of_bounded_size(
    api: LiveApi, tenant: Tenant, dispatcher: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changed_feeds, "FRAMES_PER_MESSAGE", 2)
    for person in ("u-7", "u-8", "u-9"):
        await _snoozed(tenant, api, person, 1)
    publisher = RecordingPublisher()
    assert await Snoozes(dispatcher, publisher, batch=100).wake() == 3
    assert [len(chunk.frames) for chunk in _chunks(publisher)] == [2, 1]


async def test_lost_announcements_do_not_lose_the_change(
    api: LiveApi, tenant: Tenant, dispatcher: Pool
) -> None:
    await _snoozed(tenant, api, "u-7", 1)
    assert await Snoozes(dispatcher, RecordingPublisher(away=True), batch=100).wake() == 1
    client = await tenant.client(api).person("u-7")
    assert _numbers(await client.call("GET", "/v1/inbox/unread-count")) == (1, 1, 3)


async def test_a_person_is_shown_what_there_is_to_choose(api: LiveApi, tenant: Tenant) -> None:
    await tenant.pool.execute(
        """INSERT INTO carillon.event_types (tenant_id, name, category, channels, mandatory)
           VALUES ($1, 'ticket.closed', 'tickets', '{inapp,email}', false),
                  ($1, 'login.alert', 'security', '{email}', true)""",
        tenant.id,
    )
    await tenant.pool.execute("UPDATE carillon.subscribers SET email = 'a@example.org' WHERE id = 'u-7'")
    await tenant.pool.execute("UPDATE carillon.tenants SET disabled_channels = '{whatsapp}'")
    client = await tenant.client(api).person("u-7")
    options = await client.call("GET", "/v1/me/preferences/options")
    assert sorted(options["channels"]) == ["email", "inapp"]
    security, tickets = options["categories"]
    alert = {"type": "login.alert", "channels": ["email"], "mandatory": True}
    assert security == {"category": "security", "types": [alert]}
    assert [each["mandatory"] for each in tickets["types"]] == [False]
    other = await tenant.client(api).person("u-8")
    assert (await other.call("GET", "/v1/me/preferences/options"))["channels"] == ["inapp"]
