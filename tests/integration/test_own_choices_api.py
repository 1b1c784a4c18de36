"""What people mute, which topics lie in others, and what holds in the end, over the API."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.live_api import Client, LiveApi, Tenant, open_tenant, running_api
from support.migrated import MigratedDatabase


@pytest.fixture
async def api(migrated: MigratedDatabase, broker_url: str) -> AsyncIterator[LiveApi]:
    async with running_api(migrated, broker_url) as running:
        yield running


@pytest.fixture
async def tenant(migrated: MigratedDatabase, broker_url: str) -> AsyncIterator[Tenant]:
    async with open_tenant(migrated, broker_url) as made:
        await made.add_people("u-7")
        yield made


@pytest.fixture
def client(api: LiveApi, tenant: Tenant) -> Client:
    return tenant.client(api)


async def test_topics_are_put_into_others_and_taken_out(client: Client) -> None:
    for _ in range(2):
        await client.call("PUT", "/v1/topics/ticket:42/parents/project:7", expect=204)
    await client.call("PUT", "/v1/topics/ticket:42/parents/customer:1", expect=204)
    parents = "/v1/topics/ticket:42/parents"
    assert await client.call("GET", parents) == {"data": ["customer:1", "project:7"]}
    for _ in range(2):
        await client.call("DELETE", "/v1/topics/ticket:42/parents/project:7", expect=204)
    assert await client.call("GET", parents) == {"data": ["customer:1"]}


async def test_a_topic_cannot_lie_within_itself(client: Client) -> None:
    await client.call("PUT", "/v1/topics/a/parents/b", expect=204)
    await client.call("PUT", "/v1/topics/b/parents/c", expect=204)
    for topic, parent in (("c", "a"), ("b", "a"), ("a", "a")):
        problem = await client.call("PUT", f"/v1/topics/{topic}/parents/{parent}", expect=409)
        assert problem["type"] == "urn:carillon:problem:topic-circle"
    await client.call("PUT", "/v1/topics/a/parents/c", expect=204)  # two ways to one is no circle


async def test_a_topic_lies_in_fifty_others_at_most(client: Client) -> None:
    for n in range(50):
        await client.call("PUT", f"/v1/topics/a/parents/p{n}", expect=204)
    await client.call("PUT", "/v1/topics/a/parents/p7", expect=204)
    problem = await client.call("PUT", "/v1/topics/a/parents/one-more", expect=409)
    assert problem["type"] == "urn:carillon:problem:too-many-parents"


async def test_people_mute_topics_and_hear_of_them_again(client: Client, tenant: Tenant) -> None:
    person = await client.person("u-7")
    assert await person.call("GET", "/v1/me/muted") == []
    for topic in ("ticket:42", "project:7", "ticket:42"):
        await person.call("PUT", f"/v1/me/muted/{topic}", expect=204)
    assert await person.call("GET", "/v1/me/muted") == ["project:7", "ticket:42"]
    await person.call("DELETE", "/v1/me/muted/project:7", expect=204)
    await person.call("DELETE", "/v1/me/muted/project:7", expect=204)
    stored = await tenant.pool.fetchval("SELECT document FROM carillon.preferences")
    assert stored == {"muted": ["ticket:42"]}
    await person.call("DELETE", "/v1/me/muted/ticket:42", expect=204)
    assert await tenant.pool.fetchval("SELECT count(*) FROM carillon.preferences") == 0


async def test_mutes_are_a_part_of_preferences_that_is_not_lost(client: Client) -> None:
    person = await client.person("u-7")
    await person.call("PUT", "/v1/me/muted/ticket:42", expect=204)
    await person.call("PUT", "/v1/me/preferences", json={"all": {"email": False}})
    await person.call("PUT", "/v1/me/quiet-hours", json={"windows": [{"from": "22:00", "to": "07:00"}]})
    kept = await client.call("GET", "/v1/subscribers/u-7/preferences")
    assert (kept["muted"], kept["all"]) == (["ticket:42"], {"email": False})
    kept = await client.call("PUT", "/v1/subscribers/u-7/preferences", json={"muted": ["b", "a", "b"]})
    assert kept["muted"] == ["a", "b"]
    assert kept["quiet_hours"]
    await client.call("PUT", "/v1/subscribers/u-7/preferences", json={"muted": None})
    assert await person.call("GET", "/v1/me/muted") == []


async def test_five_hundred_mutes_are_enough(client: Client) -> None:
    person = await client.person("u-7")
    many = [f"t{n}" for n in range(500)]
    await person.call("PUT", "/v1/me/preferences", json={"muted": many})
    await person.call("PUT", "/v1/me/muted/t7", expect=204)
    problem = await person.call("PUT", "/v1/me/muted/one-more", expect=409)
    assert problem["type"] == "urn:carillon:problem:too-many-muted"
    await person.call("PUT", "/v1/me/preferences", json={"muted": [*many, "one-more"]}, expect=422)


async def _effective(client: Client) -> dict[tuple[str, str], tuple[bool, str]]:
    answer = await client.call("GET", "/v1/subscribers/u-7/preferences/effective")
    return {(row["type"], row["channel"]): (row["wanted"], row["origin"]) for row in answer["data"]}


async def test_what_holds_in_the_end_is_shown_with_whose_choice_it_is(client: Client) -> None:
    both: dict[str, Any] = {"channels": ["inapp", "email"]}
    await client.call("PUT", "/v1/event-types/news", json=both | {"category": "news"}, expect=201)
    await client.call("PUT", "/v1/event-types/ticket", json=both | {"category": "tickets"}, expect=201)
    await client.call("PUT", "/v1/event-types/alarm", json=both | {"mandatory": True}, expect=201)
    defaults = {"all": {"email": False}, "categories": {"tickets": {"email": True}}}
    await client.call("PUT", "/v1/tenant/defaults", json={"preferences": defaults})
    assert await _effective(client) == {
        ("alarm", "inapp"): (True, "mandatory"),
        ("alarm", "email"): (True, "mandatory"),
        ("news", "inapp"): (True, "nothing"),
        ("news", "email"): (False, "tenant_all"),
        ("ticket", "inapp"): (True, "nothing"),
        ("ticket", "email"): (True, "tenant_category"),
    }
    own = {
        "all": {"email": True, "inapp": False},
        "categories": {"news": {"inapp": True}},
        "types": {"news": {"email": False}, "alarm": {"email": False}},
    }
    await client.call("PUT", "/v1/subscribers/u-7/preferences", json=own)
    assert await _effective(client) == {
        ("alarm", "inapp"): (True, "mandatory"),
        ("alarm", "email"): (True, "mandatory"),
        ("news", "inapp"): (True, "category"),
        ("news", "email"): (False, "type"),
        ("ticket", "inapp"): (False, "all"),
        ("ticket", "email"): (True, "all"),
    }


async def test_mandatory_types_are_shown_and_locked_and_channels_without_address_named(
    client: Client,
) -> None:
    kind = {"channels": ["inapp", "whatsapp"], "mandatory": True}
    await client.call("PUT", "/v1/event-types/alarm", json=kind, expect=201)
    await client.call("PUT", "/v1/subscribers/u-7", json={"email": "u-7@example.org"})
    person = await client.person("u-7")
    answer = await person.call("GET", "/v1/me/preferences/effective")
    assert answer == await client.call("GET", "/v1/subscribers/u-7/preferences/effective")
    shown = [(row["channel"], row["locked"], row["reachable"]) for row in answer["data"]]
    assert shown == [("inapp", True, True), ("whatsapp", True, False)]
