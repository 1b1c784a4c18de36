"""Why somebody is told or not: what is stored about past events, and dry runs of others (promise P10)."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from carillon_dispatcher.planning.store import PlanStore
from carillon_shared.db.pool import Pool
from support.events_api import Api, Producer, make_producer, make_type, open_api
from support.live_api import make_key
from support.migrated import MigratedDatabase
from support.world import World

_EXPLAIN = "/v1/events:explain"
# Everything an event could leave behind.
_TABLES = (
    "event_keys",
    "events",
    "deliveries",
    "fanout_ranges",
    "limit_slots",
    "due",
    "subscribers",
    "attempts",
    "cancellations",
)


@pytest.fixture
async def owner(migrated: MigratedDatabase) -> AsyncIterator[Pool]:
    pool = await migrated.pool()
    yield pool
    await pool.close()


@pytest.fixture
async def planner(migrated: MigratedDatabase) -> AsyncIterator[PlanStore]:
    pool = await migrated.pool("carillon_dispatcher")
    yield PlanStore(pool, range_size=1000)
    await pool.close()


@pytest.fixture
async def api(migrated: MigratedDatabase) -> AsyncIterator[Api]:
    async with open_api(migrated.url("carillon_api")) as running:
        yield running


@pytest.fixture
async def producer(api: Api, owner: Pool) -> Producer:
    return await make_producer(api, owner)


@pytest.fixture
async def world(producer: Producer, owner: Pool) -> World:
    """Six people; the second wants no mail, the third has no address, the fourth does everything himself."""
    world = World(owner, producer.tenant_id, producer.tenant)
    await world.add_people(6)
    await owner.execute(
        "INSERT INTO carillon.preferences (tenant_id, subscriber, document) VALUES ($1, $2, $3)",
        producer.tenant_id,
        world.people[1],
        {"all": {"email": False}},
    )
    await owner.execute("UPDATE carillon.subscribers SET email = NULL WHERE number = $1", world.people[2])
    return world


def _event(**fields: Any) -> dict[str, Any]:
    audience = {"users": ["u-1", "u-2", "u-3", "u-4", "nobody"], "exclude": ["u-1"]}
    return {"type": "ticket.changed", "data": {"owner": "u-1"}, "audience": audience, "actor": "u-4"} | fields


async def _explained(producer: Producer, event: Any, **params: str) -> dict[str, Any]:
    response = await producer.call("POST", _EXPLAIN, json=event, params=params)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def _decisions(answer: dict[str, Any]) -> dict[tuple[str, str], tuple[str, str | None]]:
    return {(row["subscriber"], row["channel"]): (row["decision"], row["reason"]) for row in answer["data"]}


async def _counts(owner: Pool) -> dict[str, int]:
    return {table: await owner.fetchval(f"SELECT count(*) FROM carillon.{table}") for table in _TABLES}


async def test_a_dry_run_says_what_would_come_of_everybody_on_every_channel(
    producer: Producer, world: World
) -> None:
    assert world.people
    answer = await _explained(producer, _event())
    assert (answer["result"], answer["status"], answer["people"]) == ("accepted", "accepted", 5)
    assert _decisions(answer) == {
        ("u-1", "inapp"): ("skip", "excluded"),
        ("u-1", "email"): ("skip", "excluded"),
        ("u-2", "inapp"): ("send", None),
        ("u-2", "email"): ("skip", "opted_out"),
        ("u-3", "inapp"): ("send", None),
        ("u-3", "email"): ("skip", "no_address"),
        ("u-4", "inapp"): ("skip", "actor"),
        ("u-4", "email"): ("skip", "actor"),
        ("nobody", "inapp"): ("skip", "unknown_subscriber"),
        ("nobody", "email"): ("skip", "unknown_subscriber"),
    }


async def test_a_dry_run_and_the_event_sent_after_it_agree(
    producer: Producer, world: World, planner: PlanStore
) -> None:
    assert world.people
    event = _event(id="e-1")
    foreseen = await _explained(producer, event)
    sent = UUID((await producer.post(event)).json()["id"])
    await planner.plan_events([sent])
    came_true = (await producer.get(f"/v1/events/{sent}/explain")).json()
    assert _decisions(came_true) == _decisions(foreseen)
    by_person = {(row["subscriber"], row["channel"]): row["steps"] for row in foreseen["data"]}
    assert {(row["subscriber"], row["channel"]): row["steps"] for row in came_true["data"]} == by_person


async def test_nothing_of_a_dry_run_is_stored(producer: Producer, world: World, owner: Pool) -> None:
    assert world.people
    before = await _counts(owner)
    inline = {"users": [{"id": "u-1", "email": "other@example.org"}, {"id": "new", "phone": "+12025550199"}]}
    await _explained(producer, _event(audience=inline, id="e-1"))
    assert await _counts(owner) == before
    kept = await owner.fetchval("SELECT email FROM carillon.subscribers WHERE id = 'u-1'")
    assert kept == "u-1@example.org"
    assert (await producer.post(_event(id="e-1"))).json()["duplicate"] is False


async def test_the_rules_are_shown_in_order_up_to_the_one_that_decided(
    producer: Producer, world: World
) -> None:
    assert world.people
    answer = await _explained(producer, _event(), subscriber="u-2")
    by_channel = {row["channel"]: row for row in answer["data"]}
    assert {step["verdict"] for step in by_channel["inapp"]["steps"]} == {"passed"}
    rules = [(step["rule"], step["verdict"]) for step in by_channel["email"]["steps"]]
    decider = rules.index(("preference", "skip"))
    assert {verdict for _, verdict in rules[:decider]} == {"passed"}
    assert {verdict for _, verdict in rules[decider + 1 :]} == {"not_asked"}
    assert by_channel["email"]["summary"].startswith("Not sent: does not want this over this channel")


async def test_a_dry_run_for_one_person_looks_at_that_one_in_an_audience_of_any_size(
    producer: Producer, world: World
) -> None:
    await world.add_people(300, start=100)
    everyone = _event(audience={"everyone": True}, actor=None)
    answer = await _explained(producer, everyone)
    assert (answer["people"], answer["truncated"]) == (306, True)
    assert len({row["subscriber"] for row in answer["data"]}) == 100
    answer = await _explained(producer, everyone, subscriber="u-399")
    assert _decisions(answer) == {("u-399", "inapp"): ("send", None), ("u-399", "email"): ("send", None)}
    assert not (await _explained(producer, everyone, subscriber="no such person"))["data"]


async def test_a_limit_that_is_used_up_holds_in_the_dry_run_too_and_a_dry_run_takes_no_slot(
    producer: Producer, world: World, owner: Pool, planner: PlanStore
) -> None:
    assert world.people
    limit = {"limit": 1, "per_seconds": 3600, "channels": ["email"], "on_exceed": "hold"}
    await make_type(owner, producer.tenant_id, "limited", throttle=limit)
    event = _event(type="limited", audience={"users": ["u-5"]}, actor=None)
    for _ in range(3):
        assert _decisions(await _explained(producer, event))["u-5", "email"] == ("send", None)
    sent = UUID((await producer.post(event)).json()["id"])
    await planner.plan_events([sent])
    answer = await _explained(producer, event)
    row = next(row for row in answer["data"] if row["channel"] == "email")
    assert (row["decision"], row["hold_reason"]) == ("hold", "throttled")
    assert row["until"] is not None
    assert ("limit", "hold") in [(step["rule"], step["verdict"]) for step in row["steps"]]


async def test_what_intake_would_refuse_is_explained_and_not_an_error(
    producer: Producer, world: World, owner: Pool
) -> None:
    assert world.people
    answer = await _explained(producer, {"type": "no.such.type", "data": {}})
    assert answer["result"] == "refused"
    assert answer["problem"]["errors"][0]["pointer"] == "/type"
    limit = {"limit": 1, "per_seconds": 60, "channels": ["email"], "on_exceed": "reject"}
    await make_type(owner, producer.tenant_id, "refusing", throttle=limit)
    event = _event(type="refusing", audience={"users": ["u-5"]})
    assert (await producer.post(event)).status_code == 202
    answer = await _explained(producer, event)
    assert (answer["result"], answer["problem"]["status"]) == ("refused", 429)


async def test_an_event_that_was_sent_before_is_named(producer: Producer, world: World) -> None:
    assert world.people
    sent = (await producer.post(_event(id="e-1"))).json()["id"]
    answer = await _explained(producer, _event(id="e-1"))
    assert (answer["result"], answer["event_id"]) == ("duplicate", sent)
    answer = await _explained(producer, _event(id="e-1", subject="other"))
    assert (answer["result"], answer["problem"]["status"]) == ("refused", 409)


async def test_a_dry_run_of_a_scheduled_or_late_event_says_so(producer: Producer, world: World) -> None:
    assert world.people
    now = datetime.now(UTC)
    soon = (now + timedelta(days=1)).isoformat()
    answer = await _explained(producer, _event(deliver_at=soon))
    assert answer["status"] == "scheduled"
    assert "scheduled" in [step["what"] for step in answer["steps"]]
    assert answer["data"]
    late = (now - timedelta(seconds=1)).isoformat()
    answer = await _explained(producer, _event(expires_at=late))
    assert "expired" in [step["what"] for step in answer["steps"]]
    assert not answer["data"]


@pytest.mark.parametrize("body", [[], [_event()], "text", 1])
async def test_a_dry_run_takes_one_event(producer: Producer, body: Any) -> None:
    response = await producer.call("POST", _EXPLAIN, json=body)
    assert response.status_code == 422


async def test_a_cloudevent_is_explained_as_well(producer: Producer, world: World) -> None:
    assert world.people
    event = {
        "specversion": "1.0",
        "type": "ticket.changed",
        "source": "/helpdesk",
        "id": "c-1",
        "data": {"owner": "u-5"},
    }
    headers = {"Content-Type": "application/cloudevents+json"}
    response = await producer.call("POST", _EXPLAIN, json=event, headers=headers)
    assert _decisions(response.json())["u-5", "email"] == ("send", None)


async def test_an_event_that_nobody_decided_about_yet_says_why(producer: Producer, world: World) -> None:
    assert world.people
    sent = (await producer.post(_event())).json()["id"]
    explanation = (await producer.get(f"/v1/events/{sent}/explain")).json()
    assert explanation["data"] == []
    assert "waits to be planned" in explanation["note"]
    await producer.call("DELETE", f"/v1/events/{sent}")
    explanation = (await producer.get(f"/v1/events/{sent}/explain")).json()
    assert "cancelled" in explanation["note"]
    assert "cancelled" in [step["what"] for step in explanation["steps"]]


async def test_past_decisions_are_read_and_never_made_again(
    producer: Producer, world: World, owner: Pool, planner: PlanStore
) -> None:
    assert world.people
    sent = UUID((await producer.post(_event())).json()["id"])
    await planner.plan_events([sent])
    await owner.execute("DELETE FROM carillon.preferences")
    explanation = (await producer.get(f"/v1/events/{sent}/explain", params={"subscriber": "u-2"})).json()
    assert _decisions(explanation)["u-2", "email"] == ("skip", "opted_out")
    missing = (await producer.get(f"/v1/events/{sent}/explain", params={"subscriber": "u-6"})).json()
    assert missing["data"] == []


async def test_what_happened_after_the_rules_is_told_in_order(
    producer: Producer, world: World, owner: Pool, planner: PlanStore
) -> None:
    sent = UUID((await producer.post(_event(audience={"users": ["u-5"]}))).json()["id"])
    await planner.plan_events([sent])
    rows = (await producer.get("/v1/deliveries", params={"event": str(sent), "channel": "email"})).json()
    delivery = UUID(rows["data"][0]["id"])
    for number, outcome in ((1, "retry"), (2, "undeliverable")):
        await owner.execute(
            """INSERT INTO carillon.attempts (
                   delivery_id, number, tenant_id, started_at, ended_at, outcome, provider, code, error)
               VALUES ($1, $2, $3, now(), now(), $4, 'smtp', '451', 'try later')""",
            delivery,
            number,
            world.tenant_id,
            outcome,
        )
    await owner.execute(
        """UPDATE carillon.deliveries SET status = 'failed', reason = 'invalid_address', attempt = 2,
           updated_at = now() + interval '1 second' WHERE id = $1""",
        delivery,
    )
    explained = (await producer.get(f"/v1/deliveries/{delivery}/explain")).json()
    told = [happening["what"] for happening in explained["history"]]
    assert told == ["planned", "attempt 1", "attempt 2", "failed"]
    assert explained["history"][1]["detail"] == "retry: try later"
    assert explained["summary"] == "Could not reach them: the address is none, or nobody is there."
    assert {step["verdict"] for step in explained["steps"]} == {"passed"}


async def test_another_tenants_event_is_not_explained(
    api: Api, producer: Producer, world: World, owner: Pool, planner: PlanStore
) -> None:
    assert world.people
    sent = UUID((await producer.post(_event())).json()["id"])
    await planner.plan_events([sent])
    rows = (await producer.get("/v1/deliveries", params={"event": str(sent)})).json()["data"]
    other = await make_producer(api, owner, "globex")

    async def status(path: str) -> int:
        response: httpx2.Response = await other.get(path)
        return response.status_code

    assert await status(f"/v1/events/{sent}/explain") == 404
    assert await status(f"/v1/deliveries/{rows[0]['id']}/explain") == 404
    assert await status(f"/v1/events/{uuid4()}/explain") == 404
    writer = Producer(api.http, await make_key(owner, producer.tenant_id, "events:write"), 0, "")
    assert (await writer.call("POST", _EXPLAIN, json=_event())).status_code == 403
