"""Meta's status webhooks: which shapes are understood, and which are passed over."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest
from carillon_api.receipts.receipt import Failure, Receipt
from carillon_api.receipts.whatsapp import is_signed, receipts_in
from carillon_mock_providers.faults import Fault
from carillon_mock_providers.phones import PhoneMessage
from carillon_mock_providers.whatsapp_webhooks import signature, status_payload, status_plan
from carillon_shared.domain.states import Reason, ReceiptState
from carillon_shared.domain.suppressions import SuppressionReason
from support.whatsapp_webhooks import signed, status, webhook

DELIVERY = UUID("01936b1c-7e00-8abc-8def-000000000013")


def _read(document: Any) -> list[Receipt]:
    return receipts_in(orjson.dumps(document))


def test_every_status_of_every_change_and_entry_is_read() -> None:
    document = webhook(status(DELIVERY, "sent"), status(DELIVERY, "delivered"))
    document["entry"].append(webhook(status(DELIVERY, "read", id="wamid.2"))["entry"][0])
    assert [(one.state, one.message_id) for one in _read(document)] == [
        ("sent", "wamid.1"),
        ("delivered", "wamid.1"),
        ("read", "wamid.2"),
    ]


def test_a_status_says_whose_when_and_to_whom() -> None:
    assert _read(webhook(status(DELIVERY, "delivered"))) == [
        Receipt(
            delivery=DELIVERY,
            message_id="wamid.1",
            state=ReceiptState.DELIVERED,
            at=datetime.fromtimestamp(1763784000, UTC),
            phone="+12025550001",
        )
    ]


@pytest.mark.parametrize(
    ("code", "reason", "suppress"),
    [
        (131026, Reason.INVALID_ADDRESS, SuppressionReason.BOUNCED),
        (131050, Reason.OPTED_OUT, SuppressionReason.STOPPED),
        (131049, Reason.FREQUENCY_CAP, None),
        (132015, Reason.PROVIDER_REJECTED, None),
        (999999, Reason.PROVIDER_REJECTED, None),
        (131000, None, None),
        (131016, None, None),
        (190, None, None),
    ],
)
def test_a_failure_is_judged_by_its_code_as_the_answer_would_be(
    code: int, reason: Reason | None, suppress: SuppressionReason | None
) -> None:
    error = {"code": code, "title": "Title", "message": "Title", "error_data": {"details": "Details"}}
    (one,) = _read(webhook(status(DELIVERY, "failed", errors=[error])))
    assert one.failure == Failure(reason, f"whatsapp_{code}", "Title - Details", suppress)


def test_a_failure_without_an_error_passes() -> None:
    (one,) = _read(webhook(status(DELIVERY, "failed")))
    assert one.failure is not None
    assert one.failure.reason is None


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "text",
        {},
        {"entry": None},
        {"entry": [None, 1, {}]},
        {"entry": [{"changes": {"value": 1}}]},
        {"entry": [{"changes": [None, {"value": None}, {"value": {"statuses": "sent"}}]}]},
        webhook(None, 1, "sent", [], {}),
        webhook({"status": "sent"}, {"id": "wamid.1"}),
        webhook(status(DELIVERY, "played"), status(DELIVERY, "")),
        webhook(status(DELIVERY, "sent", id="")),
        webhook(status(DELIVERY, "sent", id=7)),
        webhook(status("another system's reference", "sent")),
        {"entry": [{"changes": [{"value": {"messages": [{"type": "text", "text": {"body": "stop"}}]}}]}]},
    ],
)
def test_what_is_none_of_ours_is_passed_over(document: Any) -> None:
    assert _read(document) == []


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_passed_over(body: bytes) -> None:
    assert receipts_in(body) == []


def test_one_bad_status_takes_no_other_with_it() -> None:
    document = webhook({"id": 1}, status(DELIVERY, "read"), status(DELIVERY, "seen"))
    assert [one.state for one in _read(document)] == ["read"]


@pytest.mark.parametrize("timestamp", [None, "1e300", "NaN", -1e20])
def test_a_moment_that_is_none_is_left_out(timestamp: Any) -> None:
    (one,) = _read(webhook(status(DELIVERY, "sent", timestamp=timestamp)))
    assert one.at is None


def test_texts_are_such_that_they_can_be_stored() -> None:
    error = {"code": 1, "title": "a\0b" + "x" * 9_000}
    (one,) = _read(webhook(status(None, "failed", id="wam\0id", errors=[error])))
    assert one.message_id == "wamid"
    assert one.failure is not None
    assert len(one.failure.error) == 500
    assert "\0" not in one.failure.error


def test_only_the_secret_s_own_signature_of_this_very_body_counts() -> None:
    body = b'{"entry":[]}'
    good = signed(body)["X-Hub-Signature-256"]
    assert is_signed(body, good, app_secret="the app's secret")
    assert not is_signed(body + b" ", good, app_secret="the app's secret")
    assert not is_signed(body, good, app_secret="another secret")
    assert not is_signed(body, good.removeprefix("sha256="), app_secret="the app's secret")
    assert not is_signed(body, "", app_secret="the app's secret")


@pytest.mark.parametrize("fault", [None, *Fault])
def test_what_the_mock_provider_posts_is_understood(fault: Fault | None) -> None:
    message = PhoneMessage(
        n=1,
        received_at=0.0,
        recipients=("97688123456",),
        message_id="wamid.X",
        phone_number_id="1055",
        kind="text",
        callback_data=str(DELIVERY),
        source=None,
    )
    for state in status_plan(fault):
        payload = status_payload(
            message, state, display_number="97675550100", timestamp=1763784000, failure=131026
        )
        body = orjson.dumps(payload)
        assert is_signed(body, signature(body, "s3cret"), app_secret="s3cret")
        (one,) = receipts_in(body)
        assert (one.delivery, one.message_id, one.state) == (DELIVERY, "wamid.X", state)
