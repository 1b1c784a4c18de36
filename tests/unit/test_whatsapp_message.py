"""The request to the Cloud API, and what its answers mean."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from carillon_shared.clock import SystemClock
from carillon_shared.content import ContentError
from carillon_shared.domain.addresses import InvalidAddressError
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.outcomes import Outcome, Rejected, Retry, Sent, Undeliverable, Unknown
from carillon_shared.domain.states import Reason
from carillon_whatsapp_worker.message import WhatsappComposer, compose_whatsapp
from carillon_whatsapp_worker.providers.errors import reply_outcome
from support.content_examples import BAT, delivery

ACCEPTED = {"messaging_product": "whatsapp", "messages": [{"id": "wamid.X", "message_status": "accepted"}]}


def answer(status: int, body: Any, **headers: str) -> Outcome:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return reply_outcome(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


def error(code: int) -> dict[str, Any]:
    data = {"messaging_product": "whatsapp", "details": "details"}
    return {
        "error": {"message": f"(#{code}) title", "type": "OAuthException", "code": code, "error_data": data}
    }


def test_a_text_message() -> None:
    one = delivery(Channel.WHATSAPP, {"text": "Сайн байна, {{ subscriber.attributes.name }}"})
    message = compose_whatsapp(one)
    assert json.loads(message.body) == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": "+97699112233",
        "type": "text",
        "text": {"preview_url": False, "body": "Сайн байна, Bat"},
        "biz_opaque_callback_data": str(one.id),
    }
    assert (message.reference, message.recipient) == (str(one.id), "+97699112233")


def test_a_template_message() -> None:
    template = {"name": "ticket_status", "language": "mn", "parameters": ["{{ data.id }}"]}
    message = compose_whatsapp(delivery(Channel.WHATSAPP, {"template": template}, data={"id": 42}))
    sent = json.loads(message.body)
    assert sent["type"] == "template"
    assert sent["template"] == {
        "name": "ticket_status",
        "language": {"code": "mn"},
        "components": [{"type": "body", "parameters": [{"type": "text", "text": "42"}]}],
    }


def test_a_template_without_parameters_has_no_components() -> None:
    content = {"template": {"name": "hello_world", "language": "en_US"}}
    sent = json.loads(compose_whatsapp(delivery(Channel.WHATSAPP, content)).body)
    assert sent["template"] == {"name": "hello_world", "language": {"code": "en_US"}}


@pytest.mark.parametrize("phone", ["+976 9911-2233", "+97699112233"])
def test_numbers_are_written_as_e164(phone: str) -> None:
    one = delivery(Channel.WHATSAPP, {"text": "x"}, recipient=BAT._replace(phone=phone))
    assert compose_whatsapp(one).recipient == "+97699112233"


@pytest.mark.parametrize(
    "phone", [None, "", "99112233", "+1", "+99999", "+9769911223344556677", "bat", "+976 9911"]
)
def test_a_number_that_is_none_is_found_before_anything_is_sent(phone: str | None) -> None:
    with pytest.raises(InvalidAddressError) as caught:
        compose_whatsapp(delivery(Channel.WHATSAPP, {"text": "x"}, recipient=BAT._replace(phone=phone)))
    assert not phone or phone not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        (0, 401, Retry),
        (190, 401, Retry),
        (104, 401, Retry),
        (2, 503, Retry),
        (4, 429, Retry),
        (80007, 429, Retry),
        (130429, 429, Retry),
        (131000, 500, Retry),
        (131016, 500, Retry),
        (131048, 429, Retry),
        (131056, 429, Retry),
        (131026, 400, Undeliverable),
        (131050, 400, Undeliverable),
        (131049, 400, Undeliverable),
        (3, 500, Rejected),
        (10, 403, Retry),
        (100, 400, Rejected),
        (131009, 400, Rejected),
        (131047, 400, Rejected),
        (132000, 400, Rejected),
        (132001, 404, Rejected),
        (132015, 400, Rejected),
        (133010, 400, Retry),
        (987654, 400, Rejected),
        (987654, 503, Retry),
    ],
)
def test_errors_are_classified_by_their_code(code: int, status: int, kind: type[Outcome]) -> None:
    outcome = answer(status, error(code))
    assert isinstance(outcome, kind)
    assert not isinstance(outcome, Sent | Unknown)
    assert getattr(outcome, "code", None) == f"whatsapp_{code}"
    assert getattr(outcome, "error", None) == f"(#{code}) title - details"


def test_why_a_person_cannot_be_reached_is_kept() -> None:
    assert getattr(answer(400, error(131050)), "reason", None) is Reason.OPTED_OUT
    assert getattr(answer(400, error(131026)), "reason", None) is Reason.INVALID_ADDRESS


def test_retry_after_is_honoured() -> None:
    assert answer(429, error(130429), retry_after="17") == Retry(
        "whatsapp_130429", "(#130429) title - details", 17, provider_wide=True
    )
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    dated = answer(429, error(130429), retry_after=later)
    assert isinstance(dated, Retry)
    assert dated.after == pytest.approx(90, abs=5)


def test_a_date_in_retry_after_is_read_by_the_providers_own_clock() -> None:
    there = datetime.now(UTC) + timedelta(hours=1)
    until = format_datetime(there + timedelta(seconds=90), usegmt=True)
    outcome = answer(429, error(130429), retry_after=until, date=format_datetime(there, usegmt=True))
    assert isinstance(outcome, Retry)
    assert outcome.after == 90


@pytest.mark.parametrize("value", ["", "soon", "-5", "١٢", "9" * 30])
def test_a_retry_after_that_makes_no_sense_does_no_harm(value: str) -> None:
    outcome = answer(429, error(130429), retry_after=value)
    assert isinstance(outcome, Retry)
    assert outcome.after is None or outcome.after <= 3_600


def test_the_pair_limit_waits_six_seconds_by_itself() -> None:
    outcome = answer(429, error(131056))
    assert isinstance(outcome, Retry)
    assert outcome.after == 6.0


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, ACCEPTED, Sent),
        (200, b"", Unknown),
        (200, b"<html>", Unknown),
        (200, {"messages": []}, Unknown),
        (200, {"messages": [{"id": 7}]}, Unknown),
        (500, b"", Retry),
        (503, b"<html>", Retry),
        (502, b"<html>", Unknown),
        (504, b"", Unknown),
        (504, error(2), Retry),
        (429, b"", Retry),
        (408, b"", Retry),
        (401, b"", Retry),
        (404, b"", Rejected),
        (301, b"", Rejected),
        (400, [1], Rejected),
        (400, {"error": "text"}, Rejected),
    ],
)
def test_answers_that_are_not_the_apis_own(status: int, body: Any, kind: type[Outcome]) -> None:
    assert isinstance(answer(status, body), kind)


_BOTH = {"text": "Solved.", "template": {"name": "solved", "language": "en", "parameters": []}}


@pytest.mark.parametrize(
    ("content", "hours", "kind"),
    [
        (_BOTH, None, "template"),
        (_BOTH, 23.9, "text"),
        (_BOTH, 24.1, "template"),
        ({"template": _BOTH["template"]}, 1, "template"),
        ({"text": "Solved."}, 1, "text"),
    ],
)
def test_free_text_answers_only_those_who_wrote_within_a_day(
    content: dict[str, Any], hours: float | None, kind: str
) -> None:
    wrote_at = None if hours is None else datetime.now(UTC) - timedelta(hours=hours)
    one = delivery(Channel.WHATSAPP, content, recipient=BAT._replace(wrote_at=wrote_at))
    assert json.loads(WhatsappComposer(SystemClock())(one).body)["type"] == kind


def test_without_a_template_nobody_else_is_written_to() -> None:
    with pytest.raises(ContentError, match="24 hours") as refused:
        WhatsappComposer(SystemClock())(delivery(Channel.WHATSAPP, {"text": "Solved."}))
    assert refused.value.reason is Reason.TEMPLATE_MISSING
