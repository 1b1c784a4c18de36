"""Signed links to unsubscribe, and what leaving does to preferences."""

from typing import Any

import pytest
from carillon_api.unsubscribing.wishes import Scope, without
from carillon_email_worker.unsubscribing import UnsubscribeLinks
from carillon_shared.content.builtin import DIGEST
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.unsubscribe import MailingOf, read_mailing, sign_mailing
from hypothesis import given
from hypothesis import strategies as st
from support.content_examples import delivery

SECRET = b"s" * 32
MAILING = MailingOf("acme", 7, Channel.EMAIL, "tickets", "ticket.changed")
_words = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FFF), min_size=1, max_size=60)


@given(tenant=_words, number=st.integers(1, 2**32 - 1), category=_words, event_type=_words)
def test_a_token_says_what_was_signed(tenant: str, number: int, category: str, event_type: str) -> None:
    mailing = MailingOf(tenant, number, Channel.EMAIL, category, event_type)
    token = sign_mailing(mailing, SECRET)
    assert read_mailing(token, SECRET) == mailing
    assert token.replace("-", "").replace("_", "").isalnum()
    assert read_mailing(token, b"t" * 32) is None


def test_a_token_with_any_character_changed_is_none() -> None:
    token = sign_mailing(MAILING, SECRET)
    for place, character in enumerate(token[:-1]):  # the last one has bits that mean nothing
        other = "A" if character != "A" else "B"
        assert read_mailing(token[:place] + other + token[place + 1 :], SECRET) is None
    for wrong in ("", "x", "%", "é", token * 2, token[:-4]):
        assert read_mailing(wrong, SECRET) is None


def test_a_link_leads_to_the_api_and_mandatory_mail_has_none() -> None:
    links = UnsubscribeLinks("https://notify.example.org/", SECRET)
    template = {"subject": "Hello", "text": "there"}
    one = delivery(Channel.EMAIL, template)
    link = links(one)
    assert link is not None
    start, _, token = link.rpartition("/")
    assert start == "https://notify.example.org/v1/unsubscribe"
    found = read_mailing(token, SECRET)
    assert found is not None
    assert (found.subscriber, found.event_type) == (one.recipient.number, one.event.type)
    assert links(delivery(Channel.EMAIL, template, mandatory=True)) is None


def test_a_digest_of_one_type_is_left_as_the_type_is_and_one_of_many_as_a_digest() -> None:
    links = UnsubscribeLinks("https://notify.example.org", SECRET)
    for data, expected in (({"type": "ticket.changed"}, "ticket.changed"), ({"types": ["a", "b"]}, DIGEST)):
        given = delivery(Channel.EMAIL, {"subject": "Hello", "text": "there"}, type=DIGEST, data=data)
        found = read_mailing((links(given) or "").rpartition("/")[2], SECRET)
        assert found is not None
        assert found.event_type == expected


@pytest.mark.parametrize(
    ("before", "scope", "after"),
    [
        ({}, Scope.CATEGORY, {"categories": {"tickets": {"email": False}}}),
        (
            {"types": {"ticket.changed": {"email": True, "inapp": True}, "other": {"email": True}}},
            Scope.CATEGORY,
            {
                "types": {"ticket.changed": {"inapp": True}, "other": {"email": True}},
                "categories": {"tickets": {"email": False}},
            },
        ),
        (
            {"all": {"inapp": False}, "categories": {"a": {"email": True}, "b": {"email": False}}},
            Scope.ALL,
            {"all": {"inapp": False, "email": False}, "categories": {"b": {"email": False}}},
        ),
        (
            {"types": {"ticket.changed": {"email": True}}},
            Scope.ALL,
            {"types": {}, "all": {"email": False}},
        ),
    ],
)
def test_leaving_takes_back_what_it_covers_and_nothing_else(
    before: dict[str, Any], scope: Scope, after: dict[str, Any]
) -> None:
    assert without(before, MAILING, scope) == after
    assert without(after, MAILING, scope) == after
