from datetime import UTC, datetime, timedelta
from typing import Any, cast

import orjson
import pytest
from carillon_api.authentication.callers import ApiKey
from carillon_api.errors import Problem
from carillon_api.intake.completion import Circumstances, complete
from carillon_api.intake.event_types import EventType, EventTypes, RejectThrottle, message_type
from carillon_api.intake.given import GivenEvent
from carillon_api.intake.payload_schema import PayloadSchema
from carillon_api.intake.rows import IntakeRow

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
_CALLER = ApiKey(7, "acme", "key", frozenset({"events:write"}))
_TYPE = EventType(
    name="ticket.changed",
    category="tickets",
    channels=("inapp", "email"),
    lane="normal",
    audience={"users": ["{{ data.owner }}"], "topics": ["ticket:{{ data.ticket_id }}"]},
)
_DATA = {"owner": "u-7", "ticket_id": 42}


class _Types:
    def __init__(self, *types: EventType) -> None:
        self._types = {each.name: each for each in types}

    async def find(self, tenant_id: int, name: str) -> EventType | None:
        assert tenant_id == 7
        return self._types.get(name)


async def _row(plain: dict[str, Any], *types: EventType, default_id: str | None = None) -> IntakeRow:
    at = Circumstances(caller=_CALLER, now=NOW, default_id=default_id)
    return await complete(GivenEvent(plain), cast("EventTypes", _Types(*(types or (_TYPE,)))), at)


async def _refusal(plain: dict[str, Any], *types: EventType) -> dict[str, str]:
    with pytest.raises(Problem) as refused:
        await _row(plain, *types)
    assert refused.value.status == 422
    return {fault["pointer"]: fault["detail"] for fault in refused.value.errors}


def _changed(**fields: Any) -> dict[str, Any]:
    return {"type": "ticket.changed", "data": _DATA} | fields


async def test_what_is_left_out_comes_from_the_type() -> None:
    row = await _row(_changed())
    assert (row.category, row.lane, row.channels) == ("tickets", "normal", "{inapp,email}")
    assert orjson.loads(row.audience) == {"users": ["u-7"], "topics": ["ticket:42"]}
    assert row.key.tenant_id == 7
    assert row.key.source == "/"
    assert row.key.id != (await _row(_changed())).key.id


async def test_channels_come_in_the_order_of_the_type() -> None:
    row = await _row(_changed(channels=["email", "inapp"]))
    assert row.channels == "{inapp,email}"


async def test_what_is_given_wins_over_the_type() -> None:
    row = await _row(
        _changed(
            id="1",
            source="/x",
            channels=["email"],
            priority="critical",
            audience={"everyone": True, "exclude": ["u-9"]},
            actor="u-9",
        )
    )
    assert (row.key.id, row.key.source, row.channels, row.lane) == ("1", "/x", "{email}", "critical")
    assert orjson.loads(row.audience) == {"everyone": True, "exclude": ["u-9"]}
    assert row.actor == "u-9"


async def test_inline_people_become_ids_and_addresses() -> None:
    users = ["u-1", {"id": "u-2", "email": "b@example.org"}, {"id": "u-2", "phone": "+12025550147"}]
    row = await _row(_changed(audience={"users": users}))
    assert orjson.loads(row.audience) == {"users": ["u-1", "u-2"]}
    assert orjson.loads(row.inline_users or "") == [{"id": "u-2", "phone": "+12025550147"}]


async def test_an_idempotency_key_stands_in_for_a_missing_id_only() -> None:
    assert (await _row(_changed(), default_id="key-1")).key.id == "key-1"
    assert (await _row(_changed(id="own"), default_id="key-1")).key.id == "own"


async def test_the_hash_is_of_the_body_and_not_of_defaults_or_order() -> None:
    one = await _row({"type": "ticket.changed", "data": _DATA, "id": "1"})
    turned = await _row({"id": "1", "data": dict(reversed(_DATA.items())), "type": "ticket.changed"})
    spelled_out = await _row(_changed(id="1", priority="normal"))
    assert one.body_hash == turned.body_hash
    assert one.body_hash != spelled_out.body_hash


async def test_a_type_can_make_events_expire() -> None:
    expiring = EventType("t", "c", ("email",), "normal", {"everyone": True}, expires_after=timedelta(days=3))
    assert (await _row({"type": "t", "data": {}}, expiring)).expires_at == NOW + timedelta(days=3)
    later = {"type": "t", "data": {}, "deliver_at": "2026-11-22T10:00:00+00:00"}
    assert (await _row(later, expiring)).expires_at == NOW + timedelta(days=4)
    own = {"type": "t", "data": {}, "expires_at": "2026-11-21T11:00:00Z"}
    assert (await _row(own, expiring)).expires_at == NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"type": "unheard.of"}, "/type"),
        ({"type": 5}, "/type"),
        ({"data": []}, "/data"),
        ({"unknown": 1}, "/unknown"),
        ({"traceparent": "x"}, "/traceparent"),
        ({"id": ""}, "/id"),
        ({"id": 5}, "/id"),
        ({"id": "x" * 201}, "/id"),
        ({"source": "x" * 401}, "/source"),
        ({"time": "yesterday"}, "/time"),
        ({"time": "2026-02-30T10:00:00Z"}, "/time"),
        ({"time": "0001-01-01T00:00:00+23:59"}, "/time"),
        ({"audience": {}}, "/audience"),
        ({"audience": {"users": []}}, "/audience"),
        ({"audience": {"exclude": ["u-1"]}}, "/audience"),
        ({"audience": {"users": [5]}}, "/audience/users/0"),
        ({"audience": {"users": ["u", ""]}}, "/audience/users/1"),
        ({"audience": {"users": [{"email": "a@example.org"}]}}, "/audience/users/0/id"),
        ({"audience": {"users": [{"id": "u", "email": 5}]}}, "/audience/users/0/email"),
        ({"audience": {"users": [{"id": "u", "nick": "x"}]}}, "/audience/users/0/nick"),
        ({"audience": {"roles": "support"}}, "/audience/roles"),
        ({"audience": {"everyone": "yes"}}, "/audience/everyone"),
        ({"audience": {"a/b~c": 1}}, "/audience/a~1b~0c"),
        ({"channels": []}, "/channels"),
        ({"channels": ["fax"]}, "/channels/0"),
        ({"channels": ["email", "whatsapp"]}, "/channels/1"),
        ({"channels": ["email", "email"]}, "/channels/1"),
        ({"priority": "urgent"}, "/priority"),
        ({"category": "mine"}, "/category"),
        ({"deliver_at": "2026-12-22T10:00:00Z"}, "/deliver_at"),
        ({"deliver_at": 5}, "/deliver_at"),
        ({"deliver_at": "2026-11-22T10:00:00Z", "expires_at": "2026-11-22T09:00:00Z"}, "/expires_at"),
    ],
)
async def test_a_fault_is_named_by_its_pointer(fields: dict[str, Any], pointer: str) -> None:
    assert list(await _refusal(_changed(**fields))) == [pointer]


async def test_every_fault_is_named_at_once() -> None:
    assert set(await _refusal({"type": 5, "x": 1})) == {"/type", "/data", "/x"}


async def test_no_value_is_repeated() -> None:
    faults = await _refusal(_changed(audience={"users": [{"id": "u", "email": ["secret@example.org"]}]}))
    assert "secret" not in str(faults)


async def test_a_missing_variable_of_the_rule_is_named() -> None:
    faults = await _refusal({"type": "ticket.changed", "data": {"owner": "u-7"}})
    assert "data.ticket_id" in faults["/data"]


async def test_a_type_without_a_rule_needs_an_audience() -> None:
    bare = EventType("t", "c", ("email",), "normal")
    assert list(await _refusal({"type": "t", "data": {}}, bare)) == ["/audience"]


async def test_the_payload_must_match_its_schema() -> None:
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    typed = EventType("t", "c", ("email",), "normal", {"everyone": True}, payload=PayloadSchema(schema))
    assert (await _row({"type": "t", "data": {"n": 1}}, typed)).data == '{"n":1}'
    assert list(await _refusal({"type": "t", "data": {}}, typed)) == ["/data"]
    faults = await _refusal({"type": "t", "data": {"n": "secret"}}, typed)
    assert list(faults) == ["/data/n"]
    assert "secret" not in faults["/data/n"]


@pytest.mark.parametrize("schema", [{"type": "nothing"}, {"$ref": "http://192.0.2.1/schema"}])
def test_a_schema_that_cannot_be_used_says_so(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        PayloadSchema(schema)


async def test_the_built_in_message_needs_no_registration() -> None:
    body = {
        "type": "message",
        "data": {"title": "Hi", "body": "There"},
        "audience": {"everyone": True},
        "category": "news",
    }
    row = await _row(body, message_type())
    assert row.category == "news"
    assert row.channels == "{email,whatsapp,inapp}"
    assert list(await _refusal(body | {"data": {"title": "Hi"}}, message_type())) == ["/data"]


def _limited(**changes: Any) -> EventType:
    limit = RejectThrottle(limit=10, per_seconds=3600, channels=frozenset({"email", "whatsapp"}))
    return EventType("t", "c", ("inapp", "email"), "normal", reject=limit, **changes)


async def test_a_limit_that_refuses_is_checked_for_one_known_person() -> None:
    row = await _row({"type": "t", "data": {}, "audience": {"users": [{"id": "u-1"}]}}, _limited())
    assert orjson.loads(row.throttle or "") == {
        "subscriber": "u-1",
        "channels": ["email"],
        "limit": 10,
        "per_seconds": 3600,
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"audience": {"users": ["u-1", "u-2"]}},
        {"audience": {"users": ["u-1"], "roles": ["r"]}},
        {"audience": {"everyone": True}},
        {"audience": {"users": ["u-1"]}, "channels": ["inapp"]},
    ],
)
async def test_otherwise_the_limit_is_left_to_planning(fields: dict[str, Any]) -> None:
    assert (await _row({"type": "t", "data": {}} | fields, _limited())).throttle is None


async def test_one_event_may_not_be_larger_than_its_limit() -> None:
    with pytest.raises(Problem) as refused:
        await _row(_changed(data={"text": "x" * 256 * 1024}))
    assert refused.value.status == 413
