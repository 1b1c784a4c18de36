"""CloudEvents over HTTP: the official SDK as the peer, and bad events as the conformance suite has them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from carillon_api.errors import Problem
from carillon_api.intake import cloudevents
from carillon_api.intake.given import GivenEvent
from carillon_api.intake.json_body import parse_json
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

_TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_ATTRIBUTES: dict[str, Any] = {
    "specversion": "1.0",
    "id": "chg-9131",
    "source": "/helpdesk",
    "type": "ticket.status_changed",
    "subject": 'ticket/42 "Сайн уу" 100% ☎',
    "time": datetime(2026, 11, 21, 10, 0, 0, 123456, tzinfo=UTC),
    "datacontenttype": "application/json",
    "traceparent": _TRACE,
}
_DATA = {"ticket_id": 42, "text": 'Ünïcode "quoted" 100% ☎', "list": [1, None, {"a": True}]}
_PLAIN = {
    "type": "ticket.status_changed",
    "source": "/helpdesk",
    "id": "chg-9131",
    "subject": _ATTRIBUTES["subject"],
    "time": _ATTRIBUTES["time"],
    "data": _DATA,
}
_MINIMAL: dict[str, Any] = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}


def _json(raw: bytes | None) -> Any:
    assert raw is not None
    return parse_json(raw)


def test_what_the_sdk_sends_structured_is_understood() -> None:
    message = to_structured_event(CloudEvent(_ATTRIBUTES, _DATA))
    assert message.headers["content-type"] == cloudevents.STRUCTURED
    assert cloudevents.from_structured(_json(message.body)) == GivenEvent(_PLAIN, _TRACE)


def test_what_the_sdk_sends_binary_is_understood() -> None:
    message = to_binary_event(CloudEvent(_ATTRIBUTES, _DATA))
    assert cloudevents.is_binary(message.headers)
    assert cloudevents.from_binary(message.headers, message.body or b"") == GivenEvent(_PLAIN, _TRACE)


def test_both_modes_of_one_event_come_to_the_same() -> None:
    event = CloudEvent(_ATTRIBUTES, _DATA)
    binary, structured = to_binary_event(event), to_structured_event(event)
    assert cloudevents.from_binary(binary.headers, binary.body or b"") == cloudevents.from_structured(
        _json(structured.body)
    )


def test_the_least_event_has_empty_data() -> None:
    assert cloudevents.from_structured(_MINIMAL).plain == {
        "type": "t",
        "source": "/s",
        "id": "1",
        "data": {},
    }


def test_data_in_base64_is_decoded() -> None:
    given = cloudevents.from_structured(_MINIMAL | {"data_base64": "eyJhIjogMX0="})
    assert given.plain["data"] == {"a": 1}


def test_expiry_time_becomes_ours() -> None:
    given = cloudevents.from_structured(_MINIMAL | {"expirytime": "2026-11-21T10:00:00Z"})
    assert given.plain["expires_at"] == datetime(2026, 11, 21, 10, tzinfo=UTC)


def test_extensions_are_allowed_and_null_is_the_same_as_absent() -> None:
    extended = _MINIMAL | {"partitionkey": "p", "sequence": 7, "flag": False, "subject": None}
    assert cloudevents.from_structured(extended) == cloudevents.from_structured(_MINIMAL)


def test_a_trace_context_that_is_none_is_left_out() -> None:
    assert cloudevents.from_structured(_MINIMAL | {"traceparent": "nonsense"}).traceparent is None


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        pytest.param({"specversion": None}, "/specversion", id="missingSpecversion"),
        pytest.param({"specversion": "0.3"}, "/specversion", id="otherSpecversion"),
        pytest.param({"id": None}, "/id", id="missingId"),
        pytest.param({"id": ""}, "/id", id="invalidEmptyId"),
        pytest.param({"id": 1}, "/id", id="invalidIdType"),
        pytest.param({"source": None}, "/source", id="missingSource"),
        pytest.param({"source": ""}, "/source", id="invalidEmptySource"),
        pytest.param({"source": "not a uri"}, "/source", id="invalidSourceUri"),
        pytest.param({"type": None}, "/type", id="missingType"),
        pytest.param({"type": ""}, "/type", id="invalidEmptyType"),
        pytest.param({"subject": ""}, "/subject", id="invalidEmptySubject"),
        pytest.param({"time": "2026-11-21T10:00Z"}, "/time", id="invalidTimeToMinute"),
        pytest.param({"time": "2026-11-21"}, "/time", id="invalidTimeDateOnly"),
        pytest.param({"time": "2026-11-21T10:00:00"}, "/time", id="invalidTimeWithoutOffset"),
        pytest.param({"time": 1764000000}, "/time", id="invalidTimeNumber"),
        pytest.param({"dataschema": ""}, "/dataschema", id="invalidEmptyDataschema"),
        pytest.param({"datacontenttype": ""}, "/datacontenttype", id="invalidEmptyDatacontenttype"),
        pytest.param({"datacontenttype": "text/xml"}, "/datacontenttype", id="otherDatacontenttype"),
        pytest.param({"Capital": "x"}, "", id="invalidCapitalizedExtension"),
        pytest.param({"under_score": "x"}, "", id="invalidExtensionName"),
        pytest.param({"ext": {"a": 1}}, "", id="invalidExtensionObject"),
        pytest.param({"ext": 2**31}, "", id="invalidExtensionInteger"),
        pytest.param({"ext": 1.5}, "", id="invalidExtensionFloat"),
        pytest.param({"data": {}, "data_base64": "e30="}, "/data_base64", id="invalidBothDataAndDataBase64"),
        pytest.param({"data_base64": "?"}, "/data_base64", id="invalidDataBase64"),
        pytest.param({"data_base64": 1}, "/data_base64", id="invalidDataBase64Type"),
        pytest.param({"data_base64": "AAA="}, "/data_base64", id="base64WithoutJson"),
        pytest.param({"data": [1]}, "/data", id="dataWithoutNames"),
    ],
)
def test_an_invalid_event_is_refused_by_name(change: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Problem) as refused:
        cloudevents.from_structured(_MINIMAL | change)
    assert refused.value.status == 422
    assert [fault["pointer"] for fault in refused.value.errors] == [pointer]


@pytest.mark.parametrize("value", [None, [], "x", 1])
def test_what_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(Problem) as refused:
        cloudevents.from_structured(value)
    assert refused.value.status == 422


def _headers(**attributes: str) -> dict[str, str]:
    given = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"} | attributes
    return {f"ce-{name}": value for name, value in given.items()} | {"content-type": "application/json"}


def test_faults_of_binary_events_name_their_headers() -> None:
    with pytest.raises(Problem) as refused:
        cloudevents.from_binary(_headers(time="yesterday"), b'{"a": 1}')
    assert [fault["parameter"] for fault in refused.value.errors] == ["ce-time"]


def test_the_content_type_must_not_be_given_twice() -> None:
    with pytest.raises(Problem) as refused:
        cloudevents.from_binary(_headers(datacontenttype="application/json"), b"{}")
    assert refused.value.errors[0]["parameter"] == "ce-datacontenttype"


def test_binary_data_must_be_json() -> None:
    with pytest.raises(Problem) as refused:
        cloudevents.from_binary(_headers() | {"content-type": "text/plain"}, b"hello")
    assert refused.value.status == 415


@pytest.mark.parametrize("value", ["%ff", "%00"])
def test_header_values_must_be_text(value: str) -> None:
    with pytest.raises(Problem) as refused:
        cloudevents.from_binary(_headers(subject=value), b"{}")
    assert refused.value.errors[0]["parameter"] == "ce-subject"


def test_quoted_header_values_lose_their_quotes() -> None:
    given = cloudevents.from_binary(_headers(subject='"a \\"b\\" %25"'), b"{}")
    assert given.plain["subject"] == 'a "b" %'
