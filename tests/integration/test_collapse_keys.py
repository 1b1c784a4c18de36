"""Collapse keys: of events that say the same only one is on its way, however many are sent at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import pytest
from carillon_dispatcher.sweepers.cancellations import Cancellations
from carillon_dispatcher.sweepers.housekeeping import Housekeeping
from carillon_shared.db.pool import Pool
from support.events_api import Api, Producer, make_producer, make_type, open_api, pointers
from support.migrated import MigratedDatabase

_OPEN = "status NOT IN ('completed', 'cancelled', 'rejected', 'expired')"


@pytest.fixture
async def owner(migrated: MigratedDatabase) -> AsyncIterator[Pool]:
    pool = await migrated.pool()
    yield pool
    await pool.close()


@pytest.fixture
async def replicas(migrated: MigratedDatabase) -> AsyncIterator[list[Api]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_api(migrated.url("carillon_api"))) for _ in range(2)]


@pytest.fixture
async def producer(replicas: list[Api], owner: Pool) -> Producer:
    return await make_producer(replicas[0], owner)


def _event(on_conflict: str | None = None, **fields: Any) -> dict[str, Any]:
    event = {"type": "ticket.changed", "data": {"owner": "u-7"}, "collapse_key": "ticket 42"}
    return event | ({"on_conflict": on_conflict} if on_conflict else {}) | fields


async def _send(producer: Producer, *args: Any, **fields: Any) -> str:
    answer = await producer.post(_event(*args, **fields))
    assert answer.status_code == 202, answer.text
    event: str = answer.json()["id"]
    return event


async def _complete(owner: Pool, event: str) -> None:
    await owner.execute("UPDATE carillon.events SET status = 'completed' WHERE id = $1", UUID(event))


async def _statuses(owner: Pool) -> dict[str, str]:
    rows = await owner.fetch("SELECT id::text, status::text FROM carillon.events ORDER BY id")
    return {row["id"]: row["status"] for row in rows}


async def test_a_later_event_is_refused_while_the_earlier_is_not_completed(
    replicas: list[Api], producer: Producer, owner: Pool
) -> None:
    first = await _send(producer)
    refused = await producer.post(_event("reject", id="second"))
    assert refused.status_code == 409
    assert refused.json()["type"] == "urn:carillon:problem:collapsed"
    assert refused.json()["event_id"] == first
    assert first in refused.json()["detail"]
    assert list(await _statuses(owner)) == [first]
    await _complete(owner, first)
    assert await _send(producer, "reject", id="second") != first


async def test_another_key_type_or_tenant_is_another_matter(
    replicas: list[Api], producer: Producer, owner: Pool
) -> None:
    await make_type(owner, producer.tenant_id, "ticket.closed", audience={"users": ["{{ data.owner }}"]})
    other = await make_producer(replicas[0], owner, "globex")
    await _send(producer)
    await _send(producer, collapse_key="ticket 43")
    await _send(producer, type="ticket.closed")
    await _send(other)
    assert (await other.post(_event())).status_code == 409


@pytest.mark.parametrize("fields", [{"force": True}, {"on_conflict": "allow"}])
async def test_force_or_allow_lets_both_in(producer: Producer, fields: dict[str, Any]) -> None:
    first, second = await _send(producer), await _send(producer, **fields)
    assert first != second
    shown = (await producer.get(f"/v1/events/{second}")).json()
    assert (shown["collapse_key"], shown["replaced_by"]) == ("ticket 42", None)
    assert (await producer.post(_event())).json()["event_id"] == second


async def test_the_same_event_twice_is_a_duplicate_and_not_in_its_own_way(producer: Producer) -> None:
    first = await _send(producer, id="same")
    again = await producer.post(_event(id="same"))
    assert again.json() == {"id": first, "status": "accepted", "duplicate": True}


async def test_of_many_at_once_one_gets_in(replicas: list[Api], producer: Producer, owner: Pool) -> None:
    producers = [Producer(api.http, producer.key, producer.tenant_id, producer.tenant) for api in replicas]
    for _ in range(5):  # at first nobody knows the key, later everybody does
        answers = await asyncio.gather(*(producers[n % 2].post(_event()) for n in range(24)))
        assert Counter(answer.status_code for answer in answers) == {202: 1, 409: 23}
        (accepted,) = [answer.json()["id"] for answer in answers if answer.status_code == 202]
        assert {answer.json()["event_id"] for answer in answers if answer.status_code == 409} == {accepted}
        await _complete(owner, accepted)
    assert len(await _statuses(owner)) == 5


async def test_of_many_that_replace_each_other_at_once_one_stays(
    replicas: list[Api], producer: Producer, owner: Pool
) -> None:
    producers = [Producer(api.http, producer.key, producer.tenant_id, producer.tenant) for api in replicas]
    answers = await asyncio.gather(
        *(producers[n % 2].post(_event("replace", collapse_key=f"k-{n % 3}", id=f"e-{n}")) for n in range(60))
    )
    assert {answer.status_code for answer in answers} == {202}
    assert await owner.fetchval(f"SELECT count(*) FROM carillon.events WHERE {_OPEN}") == 3
    rows = await owner.fetch("SELECT id, status::text, replaced_by, collapse_key FROM carillon.events")
    by_id = {row["id"]: row for row in rows}
    assert len(by_id) == 60
    for row in rows:
        assert (row["status"] == "cancelled") == (row["replaced_by"] is not None)
        if row["replaced_by"]:
            assert by_id[row["replaced_by"]]["collapse_key"] == row["collapse_key"]


async def test_of_one_batch_the_last_in_its_order_stays(producer: Producer, owner: Pool) -> None:
    names = ["z", "a", "m", "b"]
    answer = await producer.post([_event("replace", id=name) for name in names])
    assert answer.status_code == 202
    ids = [one["id"] for one in answer.json()["data"]]
    assert await _statuses(owner) == dict.fromkeys(ids[:3], "cancelled") | {ids[3]: "accepted"}
    first = (await producer.get(f"/v1/events/{ids[0]}")).json()
    assert first["replaced_by"] == ids[1]
    steps = (await producer.get(f"/v1/events/{ids[0]}/explain")).json()["steps"]
    assert any(ids[1] in step["detail"] for step in steps)


async def test_in_one_batch_a_later_one_is_refused_because_of_an_earlier(producer: Producer) -> None:
    answer = await producer.post([_event(id="z"), _event(id="a")])
    assert answer.status_code == 207
    first, second = answer.json()["data"]
    assert second["problem"]["event_id"] == first["id"]


async def test_what_is_replaced_is_stopped_and_its_audience_counted(
    migrated: MigratedDatabase, producer: Producer, owner: Pool
) -> None:
    first = await _send(producer)
    await _send(producer, "replace")
    pool = await migrated.pool("carillon_dispatcher")
    assert [await Cancellations(pool).sweep() for _ in range(2)] == [1, 0]
    await pool.close()
    shown = (await producer.get(f"/v1/events/{first}")).json()
    assert (shown["status"], shown["cancellation"]["unplanned"]) == ("cancelled", 2)


async def test_nobody_else_waits_for_an_event_that_is_being_planned(
    replicas: list[Api], producer: Producer, owner: Pool
) -> None:
    other = await make_producer(replicas[0], owner, "globex")
    first = await _send(producer)
    async with owner.acquire() as planner:
        plan = planner.transaction()
        await plan.start()
        await planner.execute("SELECT FROM carillon.events WHERE id = $1 FOR SHARE", UUID(first))
        late = asyncio.create_task(producer.post(_event("replace", id="late")))
        await asyncio.sleep(0)
        async with asyncio.timeout(1):
            await _send(other)
        assert not late.done()
        await plan.rollback()
    assert (await late).status_code == 202
    assert (await producer.get(f"/v1/events/{first}")).json()["status"] == "cancelled"


async def test_what_cannot_replace_in_time_is_to_be_sent_again(producer: Producer, owner: Pool) -> None:
    first = await _send(producer)
    async with owner.acquire() as planner, planner.transaction():
        await planner.execute("SELECT FROM carillon.events WHERE id = $1 FOR SHARE", UUID(first))
        refused = await producer.post(_event("replace", id="late"))
    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "1"
    assert list((await _statuses(owner)).values()) == ["accepted"]
    await _send(producer, "replace", id="late")


async def test_an_event_that_its_throttle_refuses_replaces_nothing(
    replicas: list[Api], producer: Producer, owner: Pool
) -> None:
    throttle = {"limit": 1, "per_seconds": 3600, "channels": ["inapp"], "on_exceed": "reject"}
    await make_type(owner, producer.tenant_id, "code", throttle=throttle)
    await owner.execute(
        "INSERT INTO carillon.subscribers (tenant_id, id) VALUES ($1, 'u-7')", producer.tenant_id
    )
    audience = {"audience": {"users": ["u-7"]}}
    first = await _send(producer, "replace", type="code", **audience)
    assert (await producer.post(_event("replace", type="code", **audience))).status_code == 429
    assert await _statuses(owner) == {first: "accepted"}


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"collapse_key": None, "force": True}, "/force"),
        ({"collapse_key": None, "on_conflict": "replace"}, "/on_conflict"),
        ({"on_conflict": "merge"}, "/on_conflict"),
        ({"collapse_key": ""}, "/collapse_key"),
        ({"collapse_key": "x" * 201}, "/collapse_key"),
    ],
)
async def test_a_wrong_wish_is_refused_with_its_place(
    producer: Producer, fields: dict[str, Any], pointer: str
) -> None:
    answer = await producer.post(_event(**fields))
    assert answer.status_code == 422
    assert pointers(answer) == [pointer]


async def test_a_dry_run_says_so_and_replaces_nothing(producer: Producer, owner: Pool) -> None:
    first = await _send(producer)
    dry = await producer.call("POST", "/v1/events:explain", json=_event())
    assert dry.json()["problem"]["type"] == "urn:carillon:problem:collapsed"
    replacing = await producer.call("POST", "/v1/events:explain", json=_event("replace"))
    assert replacing.json()["result"] == "accepted"
    assert await _statuses(owner) == {first: "accepted"}


async def test_keys_of_events_that_are_over_are_cleared_away(
    migrated: MigratedDatabase, producer: Producer, owner: Pool
) -> None:
    first, second = await _send(producer), await _send(producer, collapse_key="other")
    await _complete(owner, first)
    await owner.execute("UPDATE carillon.collapse_keys SET used_at = now() - interval '2 hours'")
    pool = await migrated.pool("carillon_dispatcher")
    house = Housekeeping(pool, duplicate_days=7, batch=100)
    assert [await house.clear_collapsed() for _ in range(2)] == [1, 0]
    await pool.close()
    assert await owner.fetchval("SELECT array_agg(key) FROM carillon.collapse_keys") == ["other"]
    assert (await producer.post(_event(collapse_key="other"))).json()["event_id"] == second
