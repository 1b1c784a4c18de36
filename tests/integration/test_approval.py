"""Events that wait for an operator: approved, rejected, too late, cancelled."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from carillon_dispatcher.planning.store import PlanStore
from carillon_dispatcher.sweepers.expiry import Expiry
from carillon_dispatcher.sweepers.relay import Relay
from carillon_shared.db.pool import Pool
from support.events_api import Api, Producer, make_producer, make_type, open_api
from support.live_api import make_key
from support.migrated import MigratedDatabase
from support.planning import RecordingPublisher
from support.rooms import rooms

_EVENT: dict[str, Any] = {"type": "campaign", "data": {}, "audience": {"users": ["u-1"]}}


@pytest.fixture
async def owner(migrated: MigratedDatabase) -> AsyncIterator[Pool]:
    pool = await migrated.pool()
    yield pool
    await pool.close()


@pytest.fixture
async def dispatcher(migrated: MigratedDatabase) -> AsyncIterator[Pool]:
    pool = await migrated.pool("carillon_dispatcher")
    yield pool
    await pool.close()


@pytest.fixture
async def api(migrated: MigratedDatabase) -> AsyncIterator[Api]:
    async with open_api(migrated.url("carillon_api")) as running:
        yield running


@pytest.fixture
async def producer(api: Api, owner: Pool) -> Producer:
    producer = await make_producer(api, owner)
    await make_type(owner, producer.tenant_id, "campaign", approval=True)
    return producer


async def _send(producer: Producer, **fields: Any) -> str:
    answer = await producer.post(_EVENT | fields)
    assert answer.status_code == 202, answer.text
    assert answer.json()["status"] == "pending_approval"
    event: str = answer.json()["id"]
    return event


async def _status(producer: Producer, event: str) -> str:
    status: str = (await producer.get(f"/v1/events/{event}")).json()["status"]
    return status


async def _relayed(dispatcher: Pool) -> list[UUID]:
    publisher = RecordingPublisher()
    await Relay(dispatcher, publisher, windows=rooms(), batch=10).relay()
    return [UUID(one.message_id) for one in publisher.published]


async def test_an_event_waits_and_is_not_planned(producer: Producer, owner: Pool, dispatcher: Pool) -> None:
    event = await _send(producer)
    await owner.execute("UPDATE carillon.events SET accepted_at = accepted_at - interval '1 hour'")
    assert await _relayed(dispatcher) == []
    store = PlanStore(dispatcher, range_size=100)
    assert list((await store.plan_events([UUID(event)])).values()) == ["stopped"]
    pending = (await producer.get("/v1/events", params={"status": "pending_approval"})).json()["data"]
    assert [one["id"] for one in pending] == [event]


async def test_approved_it_goes_on_and_the_audit_says_who_and_why(
    producer: Producer, dispatcher: Pool
) -> None:
    event = await _send(producer)
    answer = await producer.call("POST", f"/v1/events/{event}/approve", json={"reason": "checked by Ada"})
    assert answer.json() == {"id": event, "status": "accepted"}
    assert await _relayed(dispatcher) == [UUID(event)]
    (entry,) = (await producer.get("/v1/admin/audit", params={"action": "event.approved"})).json()["data"]
    assert (entry["target"], entry["reason"]) == (event, "checked by Ada")
    again = await producer.call("POST", f"/v1/events/{event}/approve")
    assert again.status_code == 409


async def test_rejected_it_is_over(producer: Producer, dispatcher: Pool) -> None:
    event = await _send(producer)
    for _ in range(2):
        answer = await producer.call("POST", f"/v1/events/{event}/reject", json={"reason": "too loud"})
        assert answer.json() == {"id": event, "status": "rejected"}
    assert (await producer.call("POST", f"/v1/events/{event}/approve")).status_code == 409
    assert await _relayed(dispatcher) == []
    entries = (await producer.get("/v1/admin/audit", params={"action": "event.rejected"})).json()["data"]
    assert len(entries) == 1
    assert "rejected" in (await producer.get(f"/v1/events/{event}/explain")).json()["note"]


async def test_approved_before_its_time_it_waits_for_that(producer: Producer, dispatcher: Pool) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    event = await _send(producer, deliver_at=later)
    answer = await producer.call("POST", f"/v1/events/{event}/approve")
    assert answer.json()["status"] == "scheduled"
    assert await _relayed(dispatcher) == []


async def test_what_expires_meanwhile_cannot_be_approved(
    producer: Producer, owner: Pool, dispatcher: Pool
) -> None:
    event, other = await _send(producer), await _send(producer)
    await owner.execute("UPDATE carillon.events SET expires_at = now()")
    answer = await producer.call("POST", f"/v1/events/{event}/approve")
    assert answer.status_code == 409
    assert await _status(producer, event) == "expired"
    assert await Expiry(dispatcher, batch=10).sweep_pending() == 1
    assert await _status(producer, other) == "expired"


async def test_a_waiting_event_can_be_cancelled(producer: Producer) -> None:
    event = await _send(producer)
    cancelled = (await producer.call("DELETE", f"/v1/events/{event}")).json()
    assert cancelled["already_sent"] == 0
    assert cancelled["unplanned"] == 2
    assert (await producer.call("POST", f"/v1/events/{event}/approve")).status_code == 409


async def test_only_operators_decide_and_only_about_their_own(
    api: Api, producer: Producer, owner: Pool
) -> None:
    event = await _send(producer)
    writer = Producer(api.http, await make_key(owner, producer.tenant_id, "events:write"), 0, "")
    other = await make_producer(api, owner, "globex")
    for verb in ("approve", "reject"):
        assert (await writer.call("POST", f"/v1/events/{event}/{verb}")).status_code == 403
        assert (await other.call("POST", f"/v1/events/{event}/{verb}")).status_code == 404
        assert (await producer.call("POST", f"/v1/events/{uuid4()}/{verb}")).status_code == 404
    assert await _status(producer, event) == "pending_approval"


async def test_the_registry_keeps_the_wish_and_a_dry_run_shows_it(producer: Producer) -> None:
    body = {"channels": ["inapp"], "approval": True}
    put = await producer.call("PUT", "/v1/event-types/letter", json=body)
    assert put.json()["approval"] is True
    event = {"type": "letter", "data": {}, "audience": {"users": ["u-1"]}}
    dry = (await producer.call("POST", "/v1/events:explain", json=event)).json()
    assert dry["status"] == "pending_approval"
    assert "approval" in [step["what"] for step in dry["steps"]]
    assert dry["data"]
