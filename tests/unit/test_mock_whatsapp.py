import time
from typing import Any

import orjson
import pytest
from carillon_mock_providers.faults import Fault
from carillon_mock_providers.phones import PhoneMessage
from carillon_mock_providers.whatsapp_errors import ERRORS, CloudApiError
from carillon_mock_providers.whatsapp_limits import ThroughputLimits
from carillon_mock_providers.whatsapp_messages import MessageRequest, read_message, read_request
from carillon_mock_providers.whatsapp_templates import Template, Templates
from carillon_mock_providers.whatsapp_webhooks import signature, status_payload, status_plan

TEXT = {"messaging_product": "whatsapp", "to": "+976 8811-2233", "type": "text", "text": {"body": "hi"}}


def template(*texts: str, name: str = "status", code: str = "mn") -> dict[str, Any]:
    parameters = [{"type": "text", "text": text} for text in texts]
    return {
        "name": name,
        "language": {"code": code},
        "components": [{"type": "body", "parameters": parameters}],
    }


def with_template(content: dict[str, Any]) -> dict[str, Any]:
    return TEXT | {"type": "template", "template": content}


def read(body: Any, templates: Templates | None = None) -> MessageRequest:
    source = orjson.dumps(body)
    return read_message(read_request(source), source=source, templates=templates or Templates())


def test_a_text_is_read() -> None:
    message = read(TEXT | {"biz_opaque_callback_data": "dlv_1"})
    assert (message.recipient, message.wa_id, message.kind) == ("+976 8811-2233", "97688112233", "text")
    assert message.callback_data == "dlv_1"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([], 100),
        (TEXT | {"messaging_product": "sms"}, 100),
        (TEXT | {"to": ""}, 100),
        (TEXT | {"to": 97688112233}, 100),
        (TEXT | {"to": "bat@x.example"}, 131009),
        (TEXT | {"type": "telegram"}, 100),
        (TEXT | {"type": ["text"]}, 100),
        (TEXT | {"text": {"body": ""}}, 100),
        (TEXT | {"text": "hi"}, 100),
        (TEXT | {"text": {"body": "x" * 4097}}, 100),
        (TEXT | {"biz_opaque_callback_data": "x" * 513}, 100),
        (with_template({"name": "status"}), 100),
        (with_template(template("x") | {"components": "none"}), 100),
        (with_template(template("x") | {"components": [{"type": "body", "parameters": ["x"]}]}), 100),
        (with_template(template("")), 131008),
        (with_template(template("two\nlines")), 132018),
        (with_template(template("a     b")), 132018),
    ],
)
def test_a_mistake_gets_its_code(body: Any, code: int) -> None:
    with pytest.raises(CloudApiError) as raised:
        read(body)
    assert raised.value.code == code


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(CloudApiError) as raised:
        read_request(b"{")
    assert raised.value.body()["error"]["code"] == 100


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (template("a", "b", name="other"), 132001),
        (template("a", "b", code="en"), 132001),
        (template("a"), 132000),
        (template(name="paused"), 132015),
        (template(name="disabled"), 132016),
        (template(name="pending"), 132001),
    ],
)
def test_registered_templates_are_checked(content: dict[str, Any], code: int) -> None:
    templates = Templates()
    states = ("paused", "disabled", "pending")
    templates.replace(
        (
            Template(name="status", language="mn", body="{{1}} {{2}} {{1}}"),
            *(Template(name=state, language="mn", status=state.upper()) for state in states),
        )
    )
    assert read(with_template(template("a", "b")), templates).kind == "template"
    with pytest.raises(CloudApiError) as raised:
        read(with_template(content), templates)
    assert raised.value.code == code


def test_a_phone_shows_the_template_filled_in_else_its_parameters() -> None:
    templates = Templates()
    assert templates.rendered(template("Бат", "42")) == "Бат\n42"
    templates.replace((Template(name="status", language="mn", body="{{1}}: №{{2}}"),))
    assert templates.rendered(template("Бат", "42")) == "Бат: №42"


def test_an_error_has_the_documented_shape() -> None:
    error = CloudApiError(131056).body()["error"]
    assert error.pop("fbtrace_id").startswith("A")
    assert error == {
        "message": "(#131056) (Business Account, Consumer Account) pair rate limit hit",
        "type": "OAuthException",
        "code": 131056,
        "error_data": {"messaging_product": "whatsapp", "details": "Too many to the same number"},
    }


def test_every_row_of_the_error_table_is_an_http_error() -> None:
    assert len(ERRORS) > 40
    assert all(400 <= row.status < 600 for row in ERRORS.values())


def test_throughput_is_limited_by_sender_and_refills() -> None:
    now = [0.0]
    limits = ThroughputLimits(messages_per_second=2, pair_interval_seconds=0, clock=lambda: now[0])
    for _ in range(2):
        limits.check(sender="1", recipient="p")
    with pytest.raises(CloudApiError) as raised:
        limits.check(sender="1", recipient="p")
    assert raised.value.code == 130429
    limits.check(sender="2", recipient="p")
    now[0] += 0.5
    limits.check(sender="1", recipient="p")


def test_a_pair_is_limited_by_its_interval() -> None:
    now = [0.0]
    limits = ThroughputLimits(messages_per_second=0, pair_interval_seconds=6, clock=lambda: now[0])
    limits.check(sender="1", recipient="p")
    limits.check(sender="1", recipient="q")
    with pytest.raises(CloudApiError) as raised:
        limits.check(sender="1", recipient="p")
    assert raised.value.code == 131056
    now[0] += 6
    limits.check(sender="1", recipient="p")


def test_the_signature_is_the_documented_hmac() -> None:
    # The value was made with: printf body | openssl dgst -sha256 -hmac key
    assert signature(b"body", "key") == (
        "sha256=515aae133b435d4000956731f68ae5cf5eb85d4f0dc6a546d2bfcd3595ec1ae1"
    )


def message(callback_data: str | None) -> PhoneMessage:
    return PhoneMessage(1, time.time(), ("97688112233",), "wamid.A", "1055", "text", callback_data, None)


def test_a_failed_status_carries_its_error_and_our_data() -> None:
    payload = status_payload(message("dlv_1"), "failed", display_number="976", timestamp=7, failure=131047)
    change = payload["entry"][0]["changes"][0]
    assert (payload["object"], change["field"]) == ("whatsapp_business_account", "messages")
    assert change["value"]["metadata"] == {"display_phone_number": "976", "phone_number_id": "1055"}
    assert change["value"]["contacts"][0]["wa_id"] == "97688112233"
    status = change["value"]["statuses"][0]
    assert status["errors"][0]["code"] == 131047
    assert set(status["errors"][0]) == {"code", "title", "message", "error_data", "href"}
    assert status["biz_opaque_callback_data"] == "dlv_1"
    assert (status["id"], status["timestamp"], status["recipient_id"]) == ("wamid.A", "7", "97688112233")


def test_a_message_without_our_data_gets_none_back() -> None:
    payload = status_payload(message(None), "sent", display_number="976", timestamp=7, failure=0)
    assert "biz_opaque_callback_data" not in payload["entry"][0]["changes"][0]["value"]["statuses"][0]


@pytest.mark.parametrize(
    ("fault", "plan"),
    [
        (None, ("sent", "delivered", "read")),
        (Fault.SLOW, ("sent", "delivered", "read")),
        (Fault.BOUNCE, ("sent", "failed")),
        (Fault.READ_ONLY, ("sent", "read")),
        (Fault.OUT_OF_ORDER, ("read", "sent", "delivered")),
        (Fault.DUPLICATE, ("sent", "sent", "delivered", "delivered", "read", "read")),
    ],
)
def test_statuses_follow_the_fault(fault: Fault | None, plan: tuple[str, ...]) -> None:
    assert status_plan(fault) == plan
