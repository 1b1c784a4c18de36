"""An event that replaces another goes on with its feed items: same place, new words, unread again."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from carillon_api.stream.backlog import Wanted, read_backlogs
from carillon_dispatcher.planning.store import PlanStore
from carillon_inapp_worker.feed import Draft, FeedStore, Written
from carillon_shared.broker.incoming import Incoming
from carillon_shared.clock import SystemClock
from carillon_shared.content import RenderedInapp
from carillon_shared.contracts.messages import WorkChunk
from carillon_shared.db.pool import Pool, tenant_transaction
from carillon_shared.delivery.catalogue import Catalogue
from carillon_shared.delivery.work import Chunk
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from support.events_api import Api, Producer, make_producer, make_type, open_api
from support.migrated import MigratedDatabase

_PEOPLE = ["u-1", "u-2"]


@dataclass(slots=True)
class Desk:
    """Everything from intake to the feed, step by step."""

    producer: Producer
    owner: Pool
    planner: PlanStore
    worker: Pool

    async def send(self, people: list[str] | None = None) -> UUID:
        body = {
            "type": "build",
            "data": {},
            "audience": {"users": people or _PEOPLE},
            "collapse_key": "build 7",
            "on_conflict": "replace",
        }
        answer = await self.producer.post(body)
        assert answer.status_code == 202, answer.text
        return UUID(answer.json()["id"])

    async def deliver(self, event: UUID, title: str) -> list[Written]:
        await self.planner.plan_events([event])
        rows = await self.owner.fetch("SELECT id FROM carillon.deliveries WHERE event_id = $1", event)
        catalogue = Catalogue(self.worker, channel=Channel.INAPP, clock=SystemClock())
        work = (await catalogue.load([event]))[event]
        message = WorkChunk(
            event_id=event,
            tenant=self.producer.tenant,
            channel=Channel.INAPP,
            lane=Lane.NORMAL,
            attempt=1,
            delivery_ids=[row["id"] for row in rows],
        )
        chunk = Chunk(_incoming(), message, work)
        content = RenderedInapp(title, "body", None)
        drafts = [Draft(chunk, row["id"], work.content, content) for row in rows]
        return await FeedStore(self.worker).write(drafts)

    async def inbox(self, person: str, method: str = "GET", path: str = "", **options: Any) -> Any:
        minted = await self.producer.call("POST", f"/v1/subscribers/{person}/tokens")
        reader = Producer(self.producer.http, minted.json()["token"], 0, "")
        answer = await reader.call(method, f"/v1/inbox{path}", **options)
        assert answer.status_code == 200, answer.text
        return answer.json()


def _incoming() -> Incoming:
    return Incoming(
        body=b"",
        type=WorkChunk.TYPE,
        message_id="m",
        headers={},
        exchange="carillon.work",
        routing_key="inapp.normal",
        redelivered=False,
        published_at=datetime.now(UTC),
        delivery_tag=1,
        generation=1,
    )


def _counts(inbox: dict[str, Any]) -> tuple[int, int, int]:
    return inbox["unread"], inbox["unseen"], inbox["seq"]


@pytest.fixture
async def api(migrated: MigratedDatabase) -> AsyncIterator[Api]:
    async with open_api(migrated.url("carillon_api")) as running:
        yield running


@pytest.fixture
async def desk(api: Api, migrated: MigratedDatabase) -> AsyncIterator[Desk]:
    owner = await migrated.pool()
    dispatcher = await migrated.pool("carillon_dispatcher")
    worker = await migrated.pool("carillon_inapp_worker")
    producer = await make_producer(api, owner)
    await make_type(owner, producer.tenant_id, "build", channels=["inapp"])
    await owner.execute(
        "INSERT INTO carillon.subscribers (tenant_id, id) SELECT $1, unnest($2::text[])",
        producer.tenant_id,
        _PEOPLE,
    )
    yield Desk(producer, owner, PlanStore(dispatcher, range_size=100), worker)
    for pool in (worker, dispatcher, owner):
        await pool.close()


async def test_the_item_keeps_its_place_and_says_something_new(desk: Desk) -> None:
    first = await desk.send()
    await desk.deliver(first, "running")
    (before,) = (await desk.inbox("u-1"))["data"]
    second = await desk.send()
    written = await desk.deliver(second, "done")
    inbox = await desk.inbox("u-1")
    (after,) = inbox["data"]
    assert (after["id"], after["title"]) == (before["id"], "done")
    assert after["event_id"] == str(second)
    assert _counts(inbox) == (1, 1, 2)
    assert {(str(one.item_id), one.unread, one.seq) for one in written if one.subscriber == "u-1"} == {
        (before["id"], 1, 2)
    }


async def test_what_was_read_and_put_away_is_new_again(desk: Desk) -> None:
    await desk.deliver(await desk.send(), "running")
    (item,) = (await desk.inbox("u-1"))["data"]
    path = f"/{item['id']}"
    await desk.inbox("u-1", "PATCH", path, json={"read": True, "archived": True})
    assert _counts(await desk.inbox("u-1")) == (0, 0, 2)
    await desk.deliver(await desk.send(), "done")
    inbox = await desk.inbox("u-1")
    assert (inbox["data"][0]["id"], _counts(inbox)) == (item["id"], (1, 1, 3))


async def test_what_sleeps_wakes_with_the_news(desk: Desk) -> None:
    await desk.deliver(await desk.send(), "running")
    (item,) = (await desk.inbox("u-1"))["data"]
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    await desk.inbox("u-1", "PATCH", f"/{item['id']}", json={"snoozed_until": until})
    assert _counts(await desk.inbox("u-1")) == (0, 0, 2)
    await desk.deliver(await desk.send(), "done")
    inbox = await desk.inbox("u-1")
    assert (inbox["data"][0]["snoozed_until"], _counts(inbox)) == (None, (1, 1, 3))


async def test_after_read_all_the_counts_are_right(desk: Desk) -> None:
    await desk.deliver(await desk.send(), "running")
    await desk.inbox("u-1", "POST", ":read-all")
    await desk.deliver(await desk.send(), "done")
    assert _counts(await desk.inbox("u-1")) == (1, 1, 3)


async def test_what_was_thrown_away_comes_back(desk: Desk) -> None:
    await desk.deliver(await desk.send(), "running")
    (item,) = (await desk.inbox("u-1"))["data"]
    await desk.inbox("u-1", "DELETE", f"/{item['id']}")
    await desk.deliver(await desk.send(), "done")
    inbox = await desk.inbox("u-1")
    assert ([one["title"] for one in inbox["data"]], _counts(inbox)) == (["done"], (1, 1, 3))


async def test_through_many_events_and_for_more_people_it_stays_one_item(desk: Desk) -> None:
    await desk.deliver(await desk.send(["u-1"]), "10 %")
    skipped = await desk.send()
    await desk.planner.plan_events([skipped])  # and replaced before it gets any further
    await desk.deliver(await desk.send(), "50 %")
    await desk.deliver(await desk.send(), "100 %")
    assert await desk.deliver(skipped, "late") == []
    for person, seq in (("u-1", 3), ("u-2", 2)):
        inbox = await desk.inbox(person)
        assert ([one["title"] for one in inbox["data"]], _counts(inbox)) == (["100 %"], (1, 1, seq))


async def test_a_stream_that_resumes_gets_the_item_anew(desk: Desk, api: Api) -> None:
    await desk.deliver(await desk.send(["u-1"]), "running")
    await desk.deliver(await desk.send(["u-1"]), "done")
    number = await desk.owner.fetchval("SELECT number FROM carillon.subscribers WHERE id = 'u-1'")
    async with tenant_transaction(api.services.pool, desk.producer.tenant_id) as connection:
        (backlog,) = await read_backlogs(connection, [Wanted(number, 1)])
    (frame,) = backlog.frames
    assert b"event: notification" in frame
    assert b"done" in frame


async def test_only_the_latest_words_count_as_read(desk: Desk) -> None:
    first = await desk.send(["u-1"])
    await desk.deliver(first, "running")
    (item,) = (await desk.inbox("u-1"))["data"]
    await desk.inbox("u-1", "PATCH", f"/{item['id']}", json={"read": True})
    second = await desk.send(["u-1"])
    assert await _is_read(desk, first)
    assert not await _is_read(desk, second)
    await desk.deliver(second, "done")
    assert not await _is_read(desk, second)
    await desk.inbox("u-1", "PATCH", f"/{item['id']}", json={"read": True})
    assert await _is_read(desk, second)


async def _is_read(desk: Desk, event: UUID) -> bool:
    found: bool = await desk.owner.fetchval(
        "SELECT carillon.is_read_in_feed(tenant_id, number, $1) FROM carillon.subscribers WHERE id = 'u-1'",
        event,
    )
    return found
