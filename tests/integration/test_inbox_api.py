from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from support.live_api import Client, LiveApi, Tenant, open_tenant, running_api
from support.migrated import MigratedDatabase

_FIELDS = {
    "id",
    "seq",
    "event_id",
    "type",
    "category",
    "priority",
    "title",
    "body",
    "action_url",
    "data",
    "created_at",
    "seen_at",
    "read_at",
    "archived_at",
    "snoozed_until",
}


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


async def _add(tenant: Tenant, count: int, **fields: Any) -> list[str]:
    return [str((await tenant.add_item("u-7", announce=False, **fields))["id"]) for _ in range(count)]


async def _shown(person: Client, **query: str) -> list[str]:
    page = await person.call("GET", "/v1/inbox", params=query)
    return [item["id"] for item in page["data"]]


def _numbers(counts: dict[str, Any]) -> tuple[int, int, int]:
    return counts["unread"], counts["unseen"], counts["seq"]


async def test_a_page_has_items_newest_first_and_the_counts(person: Client, tenant: Tenant) -> None:
    ids = await _add(tenant, 5, data={"n": [1, "тест"]})
    first = await person.call("GET", "/v1/inbox?limit=3")
    assert set(first["data"][0]) == _FIELDS
    assert first["data"][0]["data"] == {"n": [1, "тест"]}
    assert first["data"][0]["created_at"].endswith("Z")
    assert _numbers(first) == (5, 5, 5)
    second = await person.call("GET", f"/v1/inbox?limit=3&cursor={first['next_cursor']}")
    assert [item["id"] for item in first["data"] + second["data"]] == ids[::-1]
    assert second["next_cursor"] is None
    await person.call("GET", "/v1/inbox?cursor=nonsense", expect=422)


async def test_an_empty_feed_has_zeros(person: Client) -> None:
    assert await person.call("GET", "/v1/inbox") == {
        "data": [],
        "next_cursor": None,
        "unread": 0,
        "unseen": 0,
        "seq": 0,
    }
    assert _numbers((await person.call("POST", "/v1/inbox:read-all"))["counts"]) == (0, 0, 0)


async def test_reading_an_item_and_back(person: Client, tenant: Tenant) -> None:
    [item] = await _add(tenant, 1)
    done = await person.call("PATCH", f"/v1/inbox/{item}", json={"read": True})
    assert _numbers(done["counts"]) == (0, 0, 2)
    assert done["item"]["read_at"]
    assert done["item"]["seen_at"]
    again = await person.call("PATCH", f"/v1/inbox/{item}", json={"read": True})
    assert again == done
    done = await person.call("PATCH", f"/v1/inbox/{item}", json={"read": False})
    assert _numbers(done["counts"]) == (1, 0, 3)
    assert done["item"]["read_at"] is None
    assert done["item"]["seen_at"]


async def test_read_all_is_one_change_and_an_item_marked_unread_stays_so(
    person: Client, tenant: Tenant
) -> None:
    ids = await _add(tenant, 3)
    done = await person.call("POST", "/v1/inbox:read-all")
    assert _numbers(done["counts"]) == (0, 0, 4)
    assert await _shown(person, filter="unread") == []
    assert (await person.call("POST", "/v1/inbox:read-all")) == done
    done = await person.call("PATCH", f"/v1/inbox/{ids[1]}", json={"read": False})
    assert _numbers(done["counts"]) == (1, 0, 5)
    assert await _shown(person, filter="unread") == [ids[1]]
    [new] = await _add(tenant, 1)
    assert await _shown(person, filter="unread") == [new, ids[1]]
    assert await _shown(person, filter="unseen") == [new]
    done = await person.call("POST", "/v1/inbox:seen-all")
    assert _numbers(done["counts"]) == (2, 0, 7)


async def test_archiving_takes_an_item_out_of_the_counts(person: Client, tenant: Tenant) -> None:
    ids = await _add(tenant, 2)
    done = await person.call("PATCH", f"/v1/inbox/{ids[0]}", json={"archived": True})
    assert _numbers(done["counts"]) == (1, 1, 3)
    assert await _shown(person) == [ids[1]]
    assert await _shown(person, filter="archived") == [ids[0]]
    done = await person.call("PATCH", f"/v1/inbox/{ids[0]}", json={"archived": False})
    assert _numbers(done["counts"]) == (2, 2, 4)


async def test_archive_read_is_one_change(person: Client, tenant: Tenant) -> None:
    ids = await _add(tenant, 3)
    await person.call("POST", "/v1/inbox:bulk", json={"ids": ids[:2], "set": {"read": True}})
    done = await person.call("POST", "/v1/inbox:archive-read")
    assert _numbers(done["counts"]) == (1, 1, 5)
    assert await _shown(person) == [ids[2]]


async def test_bulk_changes_what_is_there_under_one_number(person: Client, tenant: Tenant) -> None:
    ids = await _add(tenant, 3)
    asked = {"ids": [*ids[:2], str(uuid4())], "set": {"seen": True}}
    done = await person.call("POST", "/v1/inbox:bulk", json=asked)
    assert {item["seq"] for item in done["items"]} == {4}
    assert _numbers(done["counts"]) == (3, 1, 4)


async def test_a_snoozed_item_is_hidden_until_its_time(person: Client, tenant: Tenant) -> None:
    [item] = await _add(tenant, 1)
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    done = await person.call("PATCH", f"/v1/inbox/{item}", json={"snoozed_until": later})
    assert done["item"]["snoozed_until"]
    assert await _shown(person) == []
    await person.call("PATCH", f"/v1/inbox/{item}", json={"snoozed_until": None})
    assert await _shown(person) == [item]
    await person.call(
        "PATCH", f"/v1/inbox/{item}", json={"snoozed_until": "2999-01-01T00:00:00Z"}, expect=422
    )


async def test_what_is_snoozed_is_in_no_count_and_archiving_ends_it(person: Client, tenant: Tenant) -> None:
    ids = await _add(tenant, 3)
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    done = await person.call("POST", "/v1/inbox:bulk", json={"ids": ids[:2], "set": {"snoozed_until": later}})
    assert _numbers(done["counts"]) == (1, 1, 4)
    assert await _shown(person, filter="snoozed") == [ids[1], ids[0]]
    assert await _shown(person, filter="unread") == [ids[2]]
    done = await person.call("PATCH", f"/v1/inbox/{ids[0]}", json={"archived": True})
    assert _numbers(done["counts"]) == (1, 1, 5)
    assert done["item"]["snoozed_until"] is None
    assert await _shown(person, filter="snoozed") == [ids[1]]
    done = await person.call("PATCH", f"/v1/inbox/{ids[1]}", json={"snoozed_until": None})
    assert _numbers(done["counts"]) == (2, 2, 6)


async def test_several_are_deleted_as_one_change(person: Client, tenant: Tenant) -> None:
    ids = await _add(tenant, 3)
    done = await person.call("POST", "/v1/inbox:bulk", json={"ids": ids[:2], "set": {"deleted": True}})
    assert done == {"items": [], "counts": {"unread": 1, "unseen": 1, "seq": 4}}
    assert await _shown(person) == [ids[2]]
    for wrong in ({"deleted": True, "read": True}, {"deleted": False}):
        await person.call("POST", "/v1/inbox:bulk", json={"ids": ids, "set": wrong}, expect=422)
    await person.call("PATCH", f"/v1/inbox/{ids[2]}", json={"deleted": True}, expect=422)


async def test_pages_of_what_is_unread_go_on_until_there_is_no_more(person: Client, tenant: Tenant) -> None:
    ids = await _add(tenant, 7)
    await person.call("POST", "/v1/inbox:bulk", json={"ids": ids[2:5], "set": {"read": True}})
    first = await person.call("GET", "/v1/inbox?filter=unread&limit=3")
    second = await person.call("GET", f"/v1/inbox?filter=unread&limit=3&cursor={first['next_cursor']}")
    assert [item["id"] for item in first["data"] + second["data"]] == [ids[6], ids[5], ids[1], ids[0]]
    assert second["next_cursor"] is None


async def test_a_deleted_item_leaves_no_content_behind(person: Client, tenant: Tenant) -> None:
    ids = await _add(tenant, 2, title="Secret", data={"secret": 1})
    done = await person.call("DELETE", f"/v1/inbox/{ids[0]}")
    assert _numbers(done["counts"]) == (1, 1, 3)
    await person.call("DELETE", f"/v1/inbox/{ids[0]}", expect=404)
    await person.call("PATCH", f"/v1/inbox/{ids[0]}", json={"read": True}, expect=404)
    assert await _shown(person) == [ids[1]]
    stone = await tenant.pool.fetchrow(
        "SELECT title, data, seq FROM carillon.feed_items WHERE id = $1", ids[0]
    )
    assert stone is not None
    assert (stone["title"], stone["data"], stone["seq"]) == ("", {}, 3)


async def test_items_can_be_filtered_by_category_and_type(person: Client, tenant: Tenant) -> None:
    ids = await _add(tenant, 2)
    await tenant.pool.execute(
        "UPDATE carillon.feed_items SET category = 'news', type = 'a.b' WHERE id = $1", ids[0]
    )
    assert await _shown(person, category="news") == [ids[0]]
    assert await _shown(person, type="message") == [ids[1]]


@pytest.mark.parametrize(
    "body", [{}, {"read": "yes"}, {"colour": 1}, {"snoozed_until": "2026-11-22T10:00:00"}]
)
async def test_a_wrong_change_is_refused(person: Client, tenant: Tenant, body: dict[str, Any]) -> None:
    [item] = await _add(tenant, 1)
    await person.call("PATCH", f"/v1/inbox/{item}", json=body, expect=422)


async def test_nobody_reaches_another_persons_feed(person: Client, tenant: Tenant, api: LiveApi) -> None:
    [item] = await _add(tenant, 1)
    other = await tenant.client(api).person("u-8")
    assert await _shown(other) == []
    await other.call("PATCH", f"/v1/inbox/{item}", json={"read": True}, expect=404)
    await other.call("DELETE", f"/v1/inbox/{item}", expect=404)
    await tenant.client(api).call("GET", "/v1/inbox", expect=403)
    await Client(api.url, "nonsense").call("GET", "/v1/inbox", expect=401)
