from collections.abc import AsyncIterator
from typing import Any

import pytest
from carillon_shared.retry.policy import RetryPolicy
from support.live_api import Client, LiveApi, Tenant, make_key, open_tenant, running_api
from support.migrated import MigratedDatabase

_TYPE = {
    "category": "tickets",
    "channels": ["inapp", "email"],
    "priority": "normal",
    "mandatory": False,
    "audience": {"users": ["{{ data.owner }}"], "topics": ["ticket:{{ data.ticket_id }}"]},
    "retry": {
        "email": {
            "strategy": "exponential",
            "initial": "2s",
            "factor": 2,
            "max_delay": "1m",
            "max_attempts": 5,
            "jitter": 0.1,
        }
    },
    "throttle": {"limit": 10, "per": "1h", "channels": ["email"], "on_exceed": "hold"},
    "on_unknown": "at_least_once",
    "expires_after": "3d",
}


@pytest.fixture
async def api(migrated: MigratedDatabase, broker_url: str) -> AsyncIterator[LiveApi]:
    async with running_api(migrated, broker_url) as running:
        yield running


@pytest.fixture
async def tenant(migrated: MigratedDatabase, broker_url: str) -> AsyncIterator[Tenant]:
    async with open_tenant(migrated, broker_url) as made:
        yield made


@pytest.fixture
def client(api: LiveApi, tenant: Tenant) -> Client:
    return tenant.client(api)


async def _put_type(client: Client, name: str = "ticket.status_changed", **changes: Any) -> Any:
    return await client.call("PUT", f"/v1/event-types/{name}", json=_TYPE | changes, expect=201)


def _pointers(problem: dict[str, Any]) -> set[str]:
    return {error["pointer"] for error in problem["errors"]}


async def test_an_event_type_comes_back_as_it_was_written(client: Client) -> None:
    await _put_type(client)
    read = await client.call("GET", "/v1/event-types/ticket.status_changed")
    assert read["type"] == "ticket.status_changed"
    assert {
        "expires_after": "3d",
        "category": "tickets",
        "channels": ["inapp", "email"],
    }.items() <= read.items()
    assert read["throttle"] == {"limit": 10, "per": "1h", "channels": ["email"], "on_exceed": "hold"}
    assert read["retry"]["email"]["max_delay"] == "1m"
    written = {
        name: value for name, value in read.items() if name not in {"type", "created_at", "updated_at"}
    }
    assert await client.call("PUT", "/v1/event-types/ticket.status_changed", json=written)


async def test_a_retry_policy_is_stored_in_seconds_as_workers_read_it(client: Client, tenant: Tenant) -> None:
    schedule = {"strategy": "schedule", "delays": ["10s", "1m"]}
    await _put_type(client, retry={"email": _TYPE["retry"]["email"], "inapp": schedule})  # type: ignore[index]  # a literal
    stored = await tenant.pool.fetchrow("SELECT retry, throttle FROM carillon.event_types")
    assert stored is not None
    email = RetryPolicy.from_json(stored["retry"]["email"])
    assert (email.initial, email.max_delay, email.max_attempts) == (2.0, 60.0, 5)
    inapp = RetryPolicy.from_json(stored["retry"]["inapp"])
    assert (inapp.delays, inapp.max_attempts) == ((10.0, 60.0), 3)
    assert stored["throttle"] == {
        "limit": 10,
        "per_seconds": 3600,
        "channels": ["email"],
        "on_exceed": "hold",
    }


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"channels": []}, "/channels"),
        ({"channels": ["fax"]}, "/channels/0"),
        ({"colour": "red"}, "/colour"),
        ({"expires_after": "3 days"}, "/expires_after"),
        ({"retry": {"email": {"initial": "soon"}}}, "/retry/email/initial"),
        ({"retry": {"email": {"strategy": "schedule"}}}, "/retry/email"),
        ({"audience": {"users": ["{{ data. }}"]}}, "/audience/users/0"),
        ({"throttle": {"limit": 0, "per": "1h"}}, "/throttle/limit"),
        ({"payload_schema": {"type": "nonsense"}}, "/payload_schema"),
        ({"sender_name": "A\r\nBcc: b@example.org"}, "/sender_name"),
        ({"category": "a\u0000b"}, ""),
    ],
)
async def test_a_wrong_event_type_is_refused_with_its_place(
    client: Client, changes: dict[str, Any], pointer: str
) -> None:
    problem = await client.call("PUT", "/v1/event-types/a.b", json=_TYPE | changes, expect=422)
    assert pointer in _pointers(problem)


async def test_event_types_are_listed_page_by_page(client: Client) -> None:
    for name in ("a.one", "b.two", "c.three"):
        await _put_type(client, name)
    first = await client.call("GET", "/v1/event-types?limit=2")
    second = await client.call("GET", f"/v1/event-types?limit=2&cursor={first['next_cursor']}")
    assert [row["type"] for row in first["data"] + second["data"]] == ["a.one", "b.two", "c.three"]
    assert second["next_cursor"] is None


async def test_a_deleted_event_type_is_gone_with_its_templates(client: Client, tenant: Tenant) -> None:
    await _put_type(client)
    base = "/v1/event-types/ticket.status_changed"
    await client.call("PUT", f"{base}/templates/inapp/en", json={"title": "T"})
    await client.call("DELETE", base, expect=204)
    await client.call("GET", base, expect=404)
    await client.call("DELETE", base, expect=404)
    assert await tenant.pool.fetchval("SELECT count(*) FROM carillon.templates") == 0


async def test_every_template_written_is_a_new_version(client: Client) -> None:
    await _put_type(client)
    base = "/v1/event-types/ticket.status_changed/templates/inapp/mn"
    for number in (1, 2):
        made = await client.call("PUT", base, json={"title": f"Тасалбар {number}"})
        assert made["version"] == number
    versions = await client.call("GET", base)
    assert [(row["version"], row["content"]["title"]) for row in versions["data"]] == [
        (2, "Тасалбар 2"),
        (1, "Тасалбар 1"),
    ]


async def test_a_broken_template_is_refused_with_pointers(client: Client) -> None:
    await _put_type(client)
    base = "/v1/event-types/ticket.status_changed/templates"
    broken = {"subject": "{{ data.", "html": "<p>", "colour": 1}
    problem = await client.call("PUT", f"{base}/email/en", json=broken, expect=422)
    assert {"/subject", "/colour"} <= _pointers(problem)
    await client.call("PUT", "/v1/event-types/no.such/templates/inapp/en", json={"title": "T"}, expect=404)


async def test_a_preview_renders_and_tells_what_is_missing(client: Client) -> None:
    await _put_type(client)
    base = "/v1/event-types/ticket.status_changed/templates/inapp/en"
    await client.call(
        "PUT", base, json={"title": "Ticket {{ data.ticket_id }}, {{ subscriber.attributes.name }}"}
    )
    sample = {"data": {"ticket_id": 42}, "subscriber": {"attributes": {"name": "Bat"}}}
    shown = await client.call("POST", f"{base}/preview", json=sample)
    assert shown["rendered"]["title"] == "Ticket 42, Bat"
    problem = await client.call("POST", f"{base}/preview", json={"data": {}}, expect=422)
    assert "ticket_id" in problem["detail"]


async def test_a_subscriber_is_put_read_and_forgotten(client: Client) -> None:
    body = {
        "email": "A@Example.org",
        "phone": "+1 202 555 0147",
        "locale": "mn-MN",
        "time_zone": "Asia/Ulaanbaatar",
        "attributes": {"name": "Bat"},
    }
    made = await client.call("PUT", "/v1/subscribers/u-7", json=body, expect=201)
    assert (made["phone"], made["email"]) == ("+12025550147", "A@example.org")
    await client.call("PUT", "/v1/roles/support/members/u-7", expect=204)
    await client.call("PUT", "/v1/topics/ticket:42/subscribers/u-7", expect=204)
    await client.call("PUT", "/v1/topics/ticket:42/subscribers/u-7", expect=204)
    again = await client.call("PUT", "/v1/subscribers/u-7", json=body)
    assert (again["roles"], again["topics"], again["updated_at"]) == (
        ["support"],
        ["ticket:42"],
        made["updated_at"],
    )
    members = await client.call("GET", "/v1/topics/ticket:42/subscribers")
    assert members["data"] == [{"id": "u-7"}]
    await client.call("DELETE", "/v1/roles/support/members/u-7", expect=204)
    assert (await client.call("GET", "/v1/subscribers/u-7"))["roles"] == []
    await client.call("DELETE", "/v1/subscribers/u-7", expect=204)
    await client.call("GET", "/v1/subscribers/u-7", expect=404)
    await client.call("DELETE", "/v1/subscribers/u-7", expect=404)
    members = await client.call("GET", "/v1/topics/ticket:42/subscribers")
    assert members["data"] == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"email": "nobody"}, "/email"),
        ({"phone": "12"}, "/phone"),
        ({"locale": "xx-klingon"}, "/locale"),
        ({"time_zone": "Mars/Olympus"}, "/time_zone"),
        ({"nickname": "B"}, "/nickname"),
    ],
)
async def test_a_wrong_subscriber_is_refused_with_its_place(
    client: Client, body: dict[str, Any], pointer: str
) -> None:
    problem = await client.call("PUT", "/v1/subscribers/u-7", json=body, expect=422)
    assert pointer in _pointers(problem)


async def test_nothing_is_given_to_a_person_nobody_registered(client: Client, tenant: Tenant) -> None:
    await tenant.pool.execute(
        "INSERT INTO carillon.subscribers (tenant_id, id, registered) VALUES ($1, 'u-named', false)",
        tenant.id,
    )
    for person in ("u-none", "u-named"):
        await client.call("PUT", f"/v1/roles/support/members/{person}", expect=404)
        await client.call("POST", f"/v1/subscribers/{person}/tokens", expect=404)
        await client.call("GET", f"/v1/subscribers/{person}/preferences", expect=404)
    await client.call("PUT", "/v1/subscribers/u-named", json={})
    await client.call("PUT", "/v1/roles/support/members/u-named", expect=204)


async def test_preferences_are_one_document_for_both_who_may_write_it(client: Client, tenant: Tenant) -> None:
    await tenant.add_people("u-7")
    chosen = {"all": {"whatsapp": False}, "categories": {"tickets": {"email": True}}, "types": {}}
    await client.call("PUT", "/v1/subscribers/u-7/preferences", json=chosen)
    person = await client.person("u-7")
    assert await person.call("GET", "/v1/me/preferences") == chosen
    await person.call("PUT", "/v1/me/preferences", json={"types": {"a.b": {"inapp": False}}})
    stored = await tenant.pool.fetchval("SELECT document FROM carillon.preferences")
    assert stored == {"types": {"a.b": {"inapp": False}}}
    await person.call("PUT", "/v1/me/preferences", json={"all": {"fax": True}}, expect=422)


_NIGHT = {"windows": [{"from": "22:00", "to": "07:00", "days": ["mon"]}], "time_zone": "Asia/Ulaanbaatar"}


async def test_quiet_hours_are_a_part_of_preferences_that_is_not_lost(client: Client, tenant: Tenant) -> None:
    await tenant.add_people("u-7")
    person = await client.person("u-7")
    assert await person.call("GET", "/v1/me/quiet-hours") is None
    assert await person.call("PUT", "/v1/me/quiet-hours", json=_NIGHT) == _NIGHT
    # A page that knows nothing of them does not end them.
    await person.call("PUT", "/v1/me/preferences", json={"all": {"email": False}})
    assert (await person.call("GET", "/v1/me/preferences"))["quiet_hours"] == _NIGHT
    row = await tenant.pool.fetchrow("SELECT quiet::text, quiet_zone FROM carillon.preferences")
    assert row is not None
    assert tuple(row) == ("{[1320,1860)}", "Asia/Ulaanbaatar")
    await client.call("PUT", "/v1/subscribers/u-7/preferences", json={"quiet_hours": None})
    assert await person.call("GET", "/v1/me/quiet-hours") is None
    assert await tenant.pool.fetchval("SELECT count(*) FROM carillon.preferences") == 0


async def test_quiet_hours_without_days_are_those_of_every_day(client: Client, tenant: Tenant) -> None:
    await tenant.add_people("u-7")
    person = await client.person("u-7")
    await person.call("PUT", "/v1/me/quiet-hours", json={"windows": [{"from": "22:00", "to": "07:00"}]})
    kept = await person.call("GET", "/v1/me/quiet-hours")
    assert kept["windows"][0]["days"] == ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    await person.call("DELETE", "/v1/me/quiet-hours", expect=204)
    assert await person.call("GET", "/v1/me/quiet-hours") is None


@pytest.mark.parametrize(
    ("hours", "pointer"),
    [
        ({"windows": []}, "/windows"),
        ({"windows": [{"from": "25:00", "to": "07:00"}]}, "/windows/0/from"),
        ({"windows": [{"from": "22:00", "to": "22:00"}]}, "/windows/0"),
        ({"windows": [{"from": "22:00", "to": "07:00", "days": ["someday"]}]}, "/windows/0/days/0"),
        ({"windows": [{"from": "00:00", "to": "24:00"}]}, ""),
        ({"windows": [{"from": "22:00", "to": "07:00"}], "time_zone": "Mars/Olympus"}, "/time_zone"),
    ],
)
async def test_wrong_quiet_hours_are_refused_with_their_place(
    client: Client, tenant: Tenant, hours: dict[str, Any], pointer: str
) -> None:
    await tenant.add_people("u-7")
    person = await client.person("u-7")
    problem = await person.call("PUT", "/v1/me/quiet-hours", json=hours, expect=422)
    assert pointer in _pointers(problem)


async def test_what_is_mandatory_is_not_skipped_in_quiet_hours(client: Client) -> None:
    kind = {"channels": ["email"], "quiet_hours": "skip"}
    stored = await client.call("PUT", "/v1/event-types/a.b", json=kind, expect=201)
    assert stored["quiet_hours"] == "skip"
    await client.call("PUT", "/v1/event-types/a.b", json=kind | {"mandatory": True}, expect=422)
    assert (await client.call("PUT", "/v1/event-types/a.b", json={"channels": ["email"]}))[
        "quiet_hours"
    ] == "hold"


async def test_a_token_lives_for_an_hour_at_most(client: Client, tenant: Tenant) -> None:
    await tenant.add_people("u-7")
    await client.call("POST", "/v1/subscribers/u-7/tokens", json={"expires_in": 3601}, expect=422)
    await client.call("POST", "/v1/subscribers/u-7/tokens", expect=201)


async def test_tenant_defaults_and_origins(client: Client) -> None:
    defaults = await client.call("GET", "/v1/tenant/defaults")
    changed = defaults | {"locale": "mn", "disabled_channels": ["whatsapp"], "sender_name": "Help"}
    assert await client.call("PUT", "/v1/tenant/defaults", json=changed) == changed
    assert await client.call("GET", "/v1/tenant/defaults") == changed
    await client.call("PUT", "/v1/tenant/origins", json={"origins": ["https://app.example.org"]})
    assert await client.call("GET", "/v1/tenant/origins") == {"origins": ["https://app.example.org"]}
    for wrong in ("*", "https://app.example.org/", "https://*.example.org", "null", "app.example.org"):
        await client.call("PUT", "/v1/tenant/origins", json={"origins": [wrong]}, expect=422)


async def test_scopes_and_tenants_are_kept_apart(
    client: Client, tenant: Tenant, api: LiveApi, migrated: MigratedDatabase, broker_url: str
) -> None:
    await _put_type(client)
    await client.call("PUT", "/v1/subscribers/u-7", json={}, expect=201)
    reader = Client(api.url, await make_key(tenant.pool, tenant.id, "events:read"))
    await reader.call("GET", "/v1/event-types/ticket.status_changed", expect=403)
    await reader.call("PUT", "/v1/subscribers/u-8", json={}, expect=403)
    async with open_tenant(migrated, broker_url, "globex") as other:
        stranger = other.client(api)
        await stranger.call("GET", "/v1/event-types/ticket.status_changed", expect=404)
        await stranger.call("GET", "/v1/subscribers/u-7", expect=404)
        await stranger.call("PUT", "/v1/subscribers/u-7", json={}, expect=201)
    await Client(api.url, "ck_nonsense_key").call("GET", "/v1/event-types", expect=401)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/event-types/news.published", _TYPE),
        ("/v1/event-types/ticket.status_changed/templates/inapp/en", {"title": "New", "body": "words"}),
        ("/v1/tenant/defaults", {"locale": "mn"}),
        ("/v1/tenant/origins", {"origins": ["https://app.example.org"]}),
        ("/v1/subscribers/bat", {"email": "other@example.org"}),
        ("/v1/subscribers/bat/preferences", {"all": {"email": False}}),
    ],
)
async def test_a_dry_run_answers_as_if_it_were_stored_and_stores_nothing(
    client: Client, path: str, body: dict[str, Any]
) -> None:
    await _put_type(client)
    await client.call("PUT", "/v1/subscribers/bat", json={"email": "bat@example.org"}, expect=201)
    before = await client.call("GET", path, expect=None)
    answer = await client.call("PUT", path, params={"dry_run": "true"}, json=body, expect=None)
    assert answer.is_success, answer.text
    after = await client.call("GET", path, expect=None)
    assert (after.status_code, after.json()) == (before.status_code, before.json())
    stored = await client.call("PUT", path, json=body, expect=None)
    assert stored.status_code == answer.status_code
    times = {"created_at", "updated_at"}
    assert {k: v for k, v in stored.json().items() if k not in times} == {
        k: v for k, v in answer.json().items() if k not in times
    }


async def test_a_dry_run_names_mistakes(client: Client) -> None:
    problem = await client.call(
        "PUT",
        "/v1/event-types/news.published",
        params={"dry_run": "true"},
        json=_TYPE | {"channels": ["pigeon"]},
        expect=422,
    )
    assert "/channels/0" in _pointers(problem)
