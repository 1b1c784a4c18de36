"""Why somebody is told later: the dry run says it as planning does (promise P10)."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from carillon_dispatcher.planning.store import PlanStore
from carillon_shared.db.pool import Pool
from support.events_api import Producer, make_producer, make_type, open_api
from support.migrated import MigratedDatabase
from support.quiet_people import around_now
from support.world import World

_CAP = {"default": {"limit": 1, "per_seconds": 3600, "channels": ["email"]}}
_DIGEST = {"key": [], "window": "fixed", "seconds": 600, "channels": ["email"]}
_FIRST = _DIGEST | {"first_at_once": True}
_LIMIT = {"limit": 1, "per_seconds": 3600, "channels": ["email"], "on_exceed": "hold"}


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
async def producer(migrated: MigratedDatabase, owner: Pool) -> AsyncIterator[Producer]:
    async with open_api(migrated.url("carillon_api")) as api:
        made = await make_producer(api, owner)
        await World(owner, made.tenant_id, made.tenant).add_people(1)
        yield made


async def _mail(producer: Producer, event: dict[str, Any]) -> dict[str, Any]:
    """Return what a dry run says about the mail."""
    response = await producer.call("POST", "/v1/events:explain", json=event)
    row: dict[str, Any] = next(row for row in response.json()["data"] if row["channel"] == "email")
    return row


async def _send(producer: Producer, planner: PlanStore, event: dict[str, Any]) -> UUID:
    sent = UUID((await producer.post(event)).json()["id"])
    await planner.plan_events([sent])
    return sent


@pytest.mark.parametrize(
    ("what", "hold_reason", "reason", "rule", "words"),
    [
        ("quiet hours", "quiet_hours", None, "quiet_hours", "it is their quiet hours."),
        ("a digest", "digest", None, "digest", "it is gathered into a digest."),
        ("a digest's second", "digest", None, "digest", "it is gathered into a digest."),
        ("a throttle", "throttled", None, "limit", "a limit is used up for now."),
        (
            "a cap",
            "digest",
            "frequency_cap",
            "limit",
            "the limit for one person across types is used up; it is gathered into a digest.",
        ),
    ],
)
async def test_what_holds_is_named_before_and_after(
    producer: Producer,
    owner: Pool,
    planner: PlanStore,
    what: str,
    hold_reason: str,
    reason: str | None,
    rule: str,
    words: str,
) -> None:
    await _set_up(owner, producer, what)
    event = {"type": "news", "data": {}, "audience": {"users": ["u-1"]}}
    if what not in {"quiet hours", "a digest"}:
        assert (await _mail(producer, event))["decision"] == "send"
        await _send(producer, planner, event)
    foreseen = await _mail(producer, event)
    assert (foreseen["decision"], foreseen["hold_reason"], foreseen["reason"]) == (
        "hold",
        hold_reason,
        reason,
    )
    assert [step["rule"] for step in foreseen["steps"] if step["verdict"] == "hold"] == [rule]
    assert foreseen["summary"].startswith("Held until ")
    assert foreseen["summary"].endswith(f"UTC: {words}")
    sent = await _send(producer, planner, event)
    explained = (await producer.get(f"/v1/events/{sent}/explain")).json()["data"]
    after = next(row for row in explained if row["channel"] == "email")
    for name in ("decision", "hold_reason", "reason", "steps"):
        assert after[name] == foreseen[name]


async def _set_up(owner: Pool, producer: Producer, what: str) -> None:
    columns = {"a digest": {"digest": _DIGEST}, "a digest's second": {"digest": _FIRST}}
    given = columns.get(what) or ({"throttle": _LIMIT} if what == "a throttle" else {})
    await make_type(owner, producer.tenant_id, "news", **given)
    if what == "a cap":
        await owner.execute("UPDATE carillon.tenants SET frequency_caps = $1", _CAP)
    if what == "quiet hours":
        await owner.execute(
            """INSERT INTO carillon.preferences (tenant_id, subscriber, document)
            SELECT tenant_id, number, jsonb_build_object('quiet_hours', $1::jsonb)
            FROM carillon.subscribers""",
            around_now(),
        )


async def test_a_dry_run_opens_no_digest_and_takes_no_slot(producer: Producer, owner: Pool) -> None:
    await _set_up(owner, producer, "a digest's second")
    await owner.execute("UPDATE carillon.tenants SET frequency_caps = $1", _CAP)
    event = {"type": "news", "data": {}, "audience": {"users": ["u-1"]}}
    for _ in range(2):
        assert (await _mail(producer, event))["decision"] == "send"
    for table in ("digests", "digest_members", "limit_slots", "deliveries", "events"):
        assert await owner.fetchval(f"SELECT count(*) FROM carillon.{table}") == 0
