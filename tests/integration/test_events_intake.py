"""`POST /v1/events` against a real database: every answer it can give."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from carillon_shared.db.pool import Pool
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from httpx2 import Response
from support.events_api import Api, Producer, make_producer, make_type, open_api, pointers
from support.migrated import MigratedDatabase
from support.waiting import eventually

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


async def _raw(
    producer: Producer, body: bytes, content_type: str | None = "application/json", **headers: str
) -> Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type:
        given["content-type"] = content_type
    return await producer.call("POST", "/v1/events", content=body, headers=given)


def _is_problem(response: Response, status: int) -> bool:
    document = response.json()
    return bool(
        response.status_code == status
        and response.headers["content-type"] == "application/problem+json"
        and document["status"] == status
        and document["type"].startswith("urn:carillon:problem:")
        and document["title"]
    )


async def _stored(owner: Pool) -> list[dict[str, Any]]:
    return [dict(row) for row in await owner.fetch("SELECT * FROM carillon.events ORDER BY id")]


async def test_an_event_is_stored_before_it_is_accepted(producer: Producer, owner: Pool) -> None:
    body = _EVENT | {
        "id": "chg-1",
        "source": "/helpdesk",
        "subject": "ticket/42",
        "time": "2026-11-21T10:00:00Z",
        "actor": "u-9",
        "audience": {"users": ["u-7", {"id": "u-8", "email": "b@example.org"}], "topics": ["t"]},
        "channels": ["email"],
        "priority": "critical",
        "expires_at": "2027-01-01T00:00:00Z",
    }
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    response = await producer.post(body, headers={"traceparent": trace})
    assert response.status_code == 202, response.text
    (row,) = await _stored(owner)
    assert response.json() == {"id": str(row["id"]), "status": "accepted", "duplicate": False}
    kept = ("type", "source", "external_id", "subject", "lane", "channels", "actor", "status", "traceparent")
    assert {name: row[name] for name in kept} == {
        "type": "ticket.changed",
        "source": "/helpdesk",
        "external_id": "chg-1",
        "subject": "ticket/42",
        "lane": "critical",
        "channels": ["email"],
        "actor": "u-9",
        "status": "accepted",
        "traceparent": trace,
    }
    assert row["data"] == {"owner": "u-7"}
    assert row["audience"] == {"users": ["u-7", "u-8"], "topics": ["t"]}
    assert row["inline_users"] == [{"id": "u-8", "email": "b@example.org"}]
    assert row["owed_at"] is not None


async def test_an_event_for_later_is_scheduled(producer: Producer, owner: Pool) -> None:
    response = await producer.post(_EVENT | {"deliver_at": "2099-01-01T00:00:00Z"})
    assert pointers(response) == ["/deliver_at"]
    moment = await owner.fetchval("SELECT now() + interval '1 day'")
    response = await producer.post(_EVENT | {"deliver_at": moment.isoformat()})
    assert response.json()["status"] == "scheduled"
    (row,) = await _stored(owner)
    assert (row["status"], row["owed_at"]) == ("scheduled", moment)


async def test_the_same_event_again_is_answered_with_the_first_result(
    producer: Producer, owner: Pool
) -> None:
    first = await producer.post(_EVENT | {"id": "1"})
    again = await producer.post({"id": "1"} | _EVENT)
    assert again.status_code == 202
    assert again.json() == first.json() | {"duplicate": True}
    assert len(await _stored(owner)) == 1


async def test_the_same_id_with_another_body_conflicts(producer: Producer) -> None:
    first = await producer.post(_EVENT | {"id": "1"})
    other = await producer.post(_EVENT | {"id": "1", "data": {"owner": "u-8"}})
    assert _is_problem(other, 409)
    assert other.json()["event_id"] == first.json()["id"]
    elsewhere = await producer.post(_EVENT | {"id": "1", "source": "/other", "data": {"owner": "u-8"}})
    assert elsewhere.status_code == 202


@pytest.mark.parametrize("key", ['"8e03978e-40d5"', "8e03978e-40d5"])
async def test_an_idempotency_key_is_the_id_of_an_event_without_one(
    producer: Producer, owner: Pool, key: str
) -> None:
    headers = {"Idempotency-Key": key}
    first = await producer.post(_EVENT, headers=headers)
    again = await producer.post(_EVENT, headers=headers)
    assert again.json() == first.json() | {"duplicate": True}
    assert [row["external_id"] for row in await _stored(owner)] == ["8e03978e-40d5"]
    batch = [_EVENT, _EVENT]
    answers = [(await producer.post(batch, headers=headers)).json()["data"] for _ in range(2)]
    assert [[item["duplicate"] for item in answer] for answer in answers] == [[False] * 2, [True] * 2]


@pytest.mark.parametrize("key", ["", '""', "x" * 200, "tab\there"])
async def test_an_idempotency_key_must_be_plain_text(producer: Producer, key: str) -> None:
    assert _is_problem(await producer.post(_EVENT, headers={"Idempotency-Key": key}), 400)


async def test_many_at_once_are_each_answered(producer: Producer, owner: Pool) -> None:
    responses = await asyncio.gather(*(producer.post(_EVENT | {"id": str(n)}) for n in range(200)))
    assert {response.status_code for response in responses} == {202}
    assert len({response.json()["id"] for response in responses}) == 200
    assert len(await _stored(owner)) == 200


async def test_a_batch_is_answered_item_by_item(producer: Producer, owner: Pool) -> None:
    await producer.post(_EVENT | {"id": "old"})
    batch = [
        _EVENT | {"id": "new"},
        _EVENT | {"id": "old"},
        _EVENT | {"id": "old", "data": {"owner": "u-8"}},
        {"type": "unheard.of", "data": {}},
        "no event",
        _EVENT | {"id": "new"},
        _EVENT | {"data": {"owner": "u-7", "text": "x" * 257 * 1024}},
    ]
    response = await producer.post(batch)
    assert response.status_code == 207
    data = response.json()["data"]
    assert [item["index"] for item in data] == list(range(7))
    assert [item["status"] for item in data] == ["accepted"] * 2 + ["refused"] * 3 + ["accepted", "refused"]
    assert [item["duplicate"] for item in data] == [False, True, False, False, False, True, False]
    assert [data[place]["problem"]["status"] for place in (2, 3, 4, 6)] == [409, 422, 422, 413]
    assert data[0]["id"] == data[5]["id"]
    assert len(await _stored(owner)) == 2


async def test_a_batch_without_faults_is_accepted(producer: Producer) -> None:
    response = await producer.post([_EVENT] * 1_000)
    assert response.status_code == 202
    assert len({item["id"] for item in response.json()["data"]}) == 1_000
    assert (await producer.post([])).json() == {"data": []}


async def test_a_thousand_and_one_events_are_too_many(producer: Producer, owner: Pool) -> None:
    assert _is_problem(await producer.post([_EVENT] * 1_001), 413)
    assert await _stored(owner) == []


async def test_cloudevents_are_taken_in_every_mode(producer: Producer, owner: Pool) -> None:
    attributes = {
        "id": "c-1",
        "source": "/sdk",
        "type": "ticket.changed",
        "specversion": "1.0",
        "subject": "Ø 1",
    }
    event = CloudEvent(attributes | {"datacontenttype": "application/json"}, {"owner": "u-7"})
    binary, structured = to_binary_event(event), to_structured_event(event)
    first = await producer.call("POST", "/v1/events", content=binary.body, headers=binary.headers)
    again = await producer.call("POST", "/v1/events", content=structured.body, headers=structured.headers)
    batch = [
        orjson.loads(structured.body or b""),
        orjson.loads(structured.body or b"") | {"id": "c-2"},
        {"id": "c-3"},
    ]
    many = await _raw(producer, orjson.dumps(batch), "application/cloudevents-batch+json; charset=utf-8")
    assert (first.status_code, again.status_code, many.status_code) == (202, 202, 207)
    assert again.json() == first.json() | {"duplicate": True}
    items = many.json()["data"]
    assert [item.get("duplicate") for item in items] == [True, False, False]
    assert items[2]["problem"]["status"] == 422
    assert [row["subject"] for row in await _stored(owner)] == ["Ø 1", "Ø 1"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"type": NaN}',
        b'{"data": 1e999}',
        b"\xff\xfe",
        b'{"a": "\xff"}',
        b'{"a": 1} x',
    ],
)
async def test_what_is_not_json_is_malformed(producer: Producer, body: bytes) -> None:
    assert _is_problem(await _raw(producer, body), 400)


@pytest.mark.parametrize("body", [b"null", b"5", b'"text"', b"true"])
async def test_json_that_is_no_event_is_refused(producer: Producer, body: bytes) -> None:
    assert _is_problem(await _raw(producer, body), 422)


async def test_text_that_cannot_be_stored_is_named(producer: Producer, owner: Pool) -> None:
    nul = b'{"type":"ticket.changed","data":{"owner":"u-7","list":[1,"a\\u0000b"]}}'
    response = await _raw(producer, nul)
    assert _is_problem(response, 422)
    assert pointers(response) == ["/data/list/1"]
    half = b'{"type":"ticket.changed","data":{"owner":"u-7","half":"\\ud83d"}}'
    response = await _raw(producer, half)
    assert _is_problem(response, 422)
    assert pointers(response) == ["/data/half"]
    whole = b'{"type":"ticket.changed","data":{"owner":"u-7","whole":"\\ud83d\\ude00"}}'
    assert (await _raw(producer, whole)).status_code == 202
    assert len(await _stored(owner)) == 1


async def test_depth_is_bounded(producer: Producer) -> None:
    def nested(levels: int) -> dict[str, Any]:
        return _EVENT | {"data": {"owner": "u-7", "deep": json.loads("[" * levels + "]" * levels)}}

    assert (await producer.post(nested(62))).status_code == 202
    assert _is_problem(await producer.post(nested(63)), 422)
    assert _is_problem(await _raw(producer, b"[" * 100_000 + b"]" * 100_000), 400)


async def test_size_is_bounded(producer: Producer) -> None:
    large = orjson.dumps(_EVENT | {"data": {"owner": "u-7", "text": "x" * 300 * 1024}})
    assert _is_problem(await _raw(producer, large), 413)
    assert _is_problem(await _raw(producer, large, "application/cloudevents+json"), 413)
    huge = b"[" + b",".join([large] * 14) + b"]"
    assert _is_problem(await _raw(producer, huge), 413)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65_536

    headers = {"content-type": "application/json"}
    response = await producer.call("POST", "/v1/events", content=endless(), headers=headers)
    assert _is_problem(response, 413)


@pytest.mark.parametrize(
    ("content_type", "headers"),
    [
        (None, {}),
        ("text/plain", {}),
        ("application/x-www-form-urlencoded", {}),
        ("application/cloudevents+xml", {}),
        ("application/json; charset=utf-16", {}),
        ("application/json", {"content_encoding": "gzip"}),
        (
            "text/plain",
            {"ce_specversion": "1.0", "ce_id": "1", "ce_source": "/s", "ce_type": "ticket.changed"},
        ),
    ],
)
async def test_other_kinds_of_content_are_not_taken(
    producer: Producer, content_type: str | None, headers: dict[str, str]
) -> None:
    assert _is_problem(await _raw(producer, b"{}", content_type, **headers), 415)


async def test_a_fault_is_named_by_its_pointer(producer: Producer) -> None:
    response = await producer.post(_EVENT | {"audience": {"users": [5]}, "nonsense": 1})
    assert _is_problem(response, 422)
    assert sorted(pointers(response)) == ["/audience/users/0", "/nonsense"]
    assert pointers(await producer.post(_EVENT | {"type": "unheard.of"})) == ["/type"]


async def test_a_new_event_type_is_known_within_seconds(producer: Producer, owner: Pool) -> None:
    assert (await producer.post(_EVENT | {"type": "new.type"})).status_code == 422
    await make_type(owner, producer.tenant_id, "new.type", audience={"everyone": True})

    async def is_known() -> bool:
        return (await producer.post(_EVENT | {"type": "new.type"})).status_code == 202

    await eventually(is_known, seconds=10, what="the new type to be known")


async def test_the_built_in_message_reaches_everyone_with_one_call(producer: Producer, owner: Pool) -> None:
    message = {"type": "message", "data": {"title": "Hi", "body": "There"}, "audience": {"everyone": True}}
    assert (await producer.post(message)).status_code == 202
    (row,) = await _stored(owner)
    assert set(row["channels"]) == {"inapp", "email", "whatsapp"}


async def test_a_limit_that_refuses_answers_429(producer: Producer, owner: Pool) -> None:
    throttle = {"limit": 2, "per_seconds": 3600, "channels": ["email"], "on_exceed": "reject"}
    await make_type(owner, producer.tenant_id, "signed.in", throttle=throttle)
    await owner.execute(
        "INSERT INTO carillon.subscribers (tenant_id, id) VALUES ($1, 'u-7')", producer.tenant_id
    )
    event = {"type": "signed.in", "data": {}, "audience": {"users": ["u-7"]}}
    statuses = [(await producer.post(event)).status_code for _ in range(2)]
    assert statuses == [202, 202]
    response = await producer.post(event | {"id": "third"})
    assert _is_problem(response, 429)
    assert response.headers["retry-after"] == "3600"
    assert response.headers["ratelimit-policy"] == '"event-type";q=2;w=3600'
    assert response.headers["ratelimit"] == '"event-type";r=0;t=3600'
    assert len(await _stored(owner)) == 2
    assert (await producer.post(event | {"audience": {"users": ["u-8"]}})).status_code == 202


async def test_two_replicas_make_one_event_of_one_id(migrated: MigratedDatabase, owner: Pool) -> None:
    url = migrated.url("carillon_api")
    async with open_api(url) as one, open_api(url) as two:
        producers = [await make_producer(api, owner) for api in (one, two)]
        for round_ in range(10):
            ids = [f"{round_}-{n}" for n in range(20)]
            answers = await asyncio.gather(
                *(
                    producer.post([_EVENT | {"id": identifier} for identifier in order])
                    for producer, order in zip(producers, (ids, ids[::-1]), strict=True)
                )
            )
            assert [answer.status_code for answer in answers] == [202, 202]
            items = [item for answer in answers for item in answer.json()["data"]]
            assert sum(item["duplicate"] for item in items) == 20
            assert len({item["id"] for item in items}) == 20
    assert len(await _stored(owner)) == 200


async def test_tenants_share_nothing(api: Api, producer: Producer, owner: Pool) -> None:
    other = await make_producer(api, owner, "other")
    first = await producer.post(_EVENT | {"id": "1"})
    second = await other.post(_EVENT | {"id": "1", "data": {"owner": "u-8"}})
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["id"] != second.json()["id"]
