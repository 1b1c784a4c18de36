"""`POST /v1/events` takes nothing without the right credential."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from carillon_shared.db.pool import Pool
from httpx2 import Response
from support.events_api import Api, Producer, make_producer, open_api
from support.live_api import make_key
from support.migrated import MigratedDatabase

_EVENT: dict[str, Any] = {"type": "ticket.changed", "data": {"owner": "u-7"}}


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


def _is_problem(response: Response, status: int) -> bool:
    document = response.json()
    return bool(
        response.status_code == status
        and response.headers["content-type"] == "application/problem+json"
        and document["status"] == status
        and document["type"].startswith("urn:carillon:problem:")
        and document["title"]
    )


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Basic dTpw",
        "Bearer ck_abcdefgh_0123456789abcdef",
        "Bearer nonsense",
        "Bearer a.b.c",
    ],
)
async def test_without_a_credential_nothing_is_taken(producer: Producer, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization is not None else {}
    response = await producer.http.post("/v1/events", json=_EVENT, headers=headers)
    assert _is_problem(response, 401)
    assert response.headers["www-authenticate"].startswith("Bearer")


async def test_a_key_needs_its_secret_and_its_scope(api: Api, owner: Pool, producer: Producer) -> None:
    wrong = producer.key[:-3] + ("abc" if not producer.key.endswith("abc") else "abd")
    reader = await make_key(owner, producer.tenant_id, "events:read")
    admin = await make_key(owner, producer.tenant_id, "admin")
    statuses = [
        (
            await api.http.post("/v1/events", json=_EVENT, headers={"Authorization": f"Bearer {key}"})
        ).status_code
        for key in (wrong, reader, admin)
    ]
    assert statuses == [401, 403, 202]


async def test_a_persons_token_is_no_key(api: Api, producer: Producer) -> None:
    token, _ = api.services.subscriber_tokens.mint(tenant="acme", subscriber="u-7")
    response = await api.http.post("/v1/events", json=_EVENT, headers={"Authorization": f"bearer {token}"})
    assert _is_problem(response, 403)
    key_on_recipient_route = await producer.get("/v1/me/preferences")
    assert _is_problem(key_on_recipient_route, 403)


async def test_a_key_that_is_over_is_refused(api: Api, owner: Pool, producer: Producer) -> None:
    expired, revoked = await make_key(owner, producer.tenant_id), await make_key(owner, producer.tenant_id)
    await owner.execute(
        "UPDATE carillon.api_keys SET expires_at = now() WHERE id = $1", expired.split("_")[1]
    )
    await owner.execute(
        "UPDATE carillon.api_keys SET revoked_at = now() WHERE id = $1", revoked.split("_")[1]
    )
    for key in (expired, revoked):
        response = await api.http.post("/v1/events", json=_EVENT, headers={"Authorization": f"Bearer {key}"})
        assert _is_problem(response, 401)
