"""What people write back over WhatsApp."""

from typing import Any

import orjson
import pytest
from carillon_api.receipts.replies import replies_in


def webhook(**value: Any) -> bytes:
    changes = [{"field": "messages", "value": {"messaging_product": "whatsapp", **value}}]
    return orjson.dumps({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": changes}]})


def text(body: str, **fields: Any) -> dict[str, Any]:
    message = {"from": "97699112233", "id": "wamid.9", "timestamp": "1763784000", "type": "text"}
    return message | {"text": {"body": body}} | fields


@pytest.mark.parametrize(
    ("body", "wish"),
    [
        ("STOP", "stop"),
        (" Stop. ", "stop"),
        ("opt  out", "stop"),
        ("зогсоо", "stop"),
        ("Start", "start"),
        ("please stop the noise in room 4", None),
        ("", None),
    ],
)
def test_a_word_alone_is_a_wish_and_any_message_opens_the_window(body: str, wish: str | None) -> None:
    (reply,) = replies_in(webhook(messages=[text(body)]))
    assert (reply.phone, reply.at.isoformat(), reply.wish) == (
        "+97699112233",
        "2025-11-22T04:00:00+00:00",
        wish,
    )


def test_buttons_and_preferences_say_it_too() -> None:
    button = text("", type="button", text=None, button={"payload": "x", "text": "Stop"})
    preference = {"wa_id": "97699112233", "category": "marketing_messages", "timestamp": 1763784000}
    told = [preference | {"value": "stop"}, preference | {"value": "resume"}]
    replies = replies_in(webhook(messages=[button], user_preferences=told))
    assert [reply.wish for reply in replies] == ["stop", "stop", "start"]


@pytest.mark.parametrize(
    "message",
    [None, 7, {}, text("x", timestamp="never"), text("x", timestamp="9" * 30), text("x") | {"from": "x"}],
)
def test_what_cannot_be_read_is_passed_over(message: Any) -> None:
    assert replies_in(webhook(messages=[message])) == []
    assert replies_in(b"no json") == []
