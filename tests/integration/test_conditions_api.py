"""Conditions of a type: kept by the registry, refused when they make no sense, and explained."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from carillon_shared.db.pool import Pool
from support.events_api import Api, Producer, make_producer, open_api
from support.migrated import MigratedDatabase

_UNSEEN = {"email": {"unless": "seen", "after": "10m"}}
_BODY: dict[str, Any] = {"channels": ["inapp", "email"], "conditions": _UNSEEN}


@pytest.fixture
async def owner(migrated: MigratedDatabase) -> AsyncIterator[Pool]:
    pool = await migrated.pool()
    yield pool
    await pool.close()


@pytest.fixture
async def api(migrated: MigratedDatabase) -> AsyncIterator[Api]:
    async with open_api(migrated.url("carillon_api")) as running:
        yield running


@pytest.fixture
async def producer(api: Api, owner: Pool) -> Producer:
    return await make_producer(api, owner)


async def _put(producer: Producer, body: dict[str, Any]) -> Any:
    return await producer.call("PUT", "/v1/event-types/ticket.assigned", json=body)


async def test_conditions_are_kept_as_they_were_written(producer: Producer) -> None:
    made = await _put(producer, _BODY | {"stop_on_first_success": True})
    assert made.status_code == 201, made.text
    kept = (await producer.get("/v1/event-types/ticket.assigned")).json()
    assert (kept["conditions"], kept["stop_on_first_success"]) == (_UNSEEN, True)
    without = (await _put(producer, {"channels": ["inapp"]})).json()
    assert (without["conditions"], without["stop_on_first_success"]) == ({}, False)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"channels": ["email"], "conditions": _UNSEEN}, "asks for the feed"),
        ({"channels": ["inapp"], "conditions": _UNSEEN}, "not among channels"),
        ({"channels": ["inapp"], "conditions": {"inapp": {"after": "1m"}}}, "or the feed itself"),
        (_BODY | {"digest": {"window": "1h"}}, "cannot have a condition and gather a digest"),
        (_BODY | {"conditions": {"email": {"unless": "archived", "after": "1m"}}}, "'seen' or 'read'"),
        (_BODY | {"conditions": {"email": {"unless": "seen"}}}, "required"),
    ],
)
async def test_conditions_that_make_no_sense_are_refused(
    producer: Producer, body: dict[str, Any], said: str
) -> None:
    refused = await _put(producer, body)
    assert refused.status_code == 422
    assert said in refused.text


async def test_a_dry_run_says_what_waits_to_be_needed(producer: Producer, owner: Pool) -> None:
    await _put(producer, _BODY)
    await owner.execute(
        "INSERT INTO carillon.subscribers (tenant_id, id, email) VALUES ($1, 'u-7', 'a@example.org')",
        producer.tenant_id,
    )
    event = {"type": "ticket.assigned", "data": {}, "audience": {"users": ["u-7"]}}
    dry = (await producer.call("POST", "/v1/events:explain", json=event)).json()
    by_channel = {row["channel"]: row for row in dry["data"]}
    assert by_channel["inapp"]["decision"] == "send"
    mail = by_channel["email"]
    assert (mail["decision"], mail["hold_reason"]) == ("hold", "condition")
    assert "not known yet whether it is needed" in mail["summary"]
    assert {step["rule"]: step["verdict"] for step in mail["steps"]}["condition"] == "hold"
