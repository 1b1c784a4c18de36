"""What a digest says: its own templates, and of each item the title that its type's template gives it."""

from collections.abc import Mapping
from typing import Any

import pytest
from carillon_shared.content import render
from carillon_shared.content.builtin import DIGEST, builtin_templates
from carillon_shared.content.digest_items import MAX_SECONDS, with_titles
from carillon_shared.content.email_content import RenderedEmail
from carillon_shared.content.whatsapp_content import RenderedWhatsapp
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.delivery import LeasedDelivery
from support.content_examples import delivery

_TICKET = {
    "en": {"subject": "Ticket {{ data.id }} is {{ data.status }}", "text": "*{{ data.id }}* changed\nagain"}
}
_TYPES = {"ticket.changed": _TICKET, "broken": {"en": {"subject": "{{ data.nothing }}", "text": ""}}}


def _item(kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "event_id": "0199a000-0000-7000-8000-0000000000aa",
        "type": kind,
        "category": "tickets",
        "subject": None,
        "time": "2026-11-21T10:00:00+00:00",
        "data": data,
    }


def _digest(channel: Channel, *items: dict[str, Any], locale: str = "en") -> LeasedDelivery:
    data = {"kind": "quiet_hours", "types": [], "items": list(items), "total": len(items)}
    made = delivery(channel, data=data)
    return made._replace(
        event=made.event.__class__(**{**_fields(made.event), "type": DIGEST}),
        recipient=made.recipient._replace(locale=locale),
        templates=builtin_templates(DIGEST, channel),
    )


def _fields(event: Any) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__slots__}


def _titles(made: LeasedDelivery) -> list[str]:
    return [item["title"] for item in made.event.data["items"]]


def test_an_item_is_called_what_its_own_mail_would_have_been() -> None:
    made = _digest(
        Channel.EMAIL,
        _item("ticket.changed", {"id": 42, "status": "solved"}),
        _item("message", {"title": "Hello", "body": "There"}),
    )
    assert _titles(with_titles(made, _TYPES)) == ["Ticket 42 is solved", "Hello"]


def test_on_a_phone_it_is_the_first_line() -> None:
    made = _digest(
        Channel.WHATSAPP,
        _item("ticket.changed", {"id": 42}),
        _item("message", {"title": "Hello", "body": ""}),
    )
    assert _titles(with_titles(made, _TYPES)) == ["42 changed", "Hello"]


@pytest.mark.parametrize("kind", ["broken", "forgotten"])
def test_an_item_whose_template_is_broken_or_gone_is_called_by_its_type(kind: str) -> None:
    made = _digest(Channel.EMAIL, _item(kind, {}), _item("message", {"title": "Hello", "body": ""}))
    assert _titles(with_titles(made, _TYPES)) == [kind, "Hello"]


def test_titles_take_no_more_time_than_one_rendering(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, *[MAX_SECONDS / 2] * 2, *[MAX_SECONDS * 2] * 1000])
    monkeypatch.setattr("carillon_shared.content.digest_items.time.thread_time", lambda: next(clock))
    made = _digest(Channel.EMAIL, *[_item("forgotten", {})] * 300)
    assert _titles(with_titles(made, {})) == ["forgotten"] * 300


@pytest.mark.parametrize(("locale", "words"), [("en", "2 notifications"), ("mn-MN", "2 мэдэгдэл")])
def test_the_built_in_digest_shows_every_item(locale: str, words: str) -> None:
    items = [_item("message", {"title": title, "body": ""}) for title in ("<b>One</b>", "Two")]
    mail = render(with_titles(_digest(Channel.EMAIL, *items, locale=locale), {}))
    assert isinstance(mail, RenderedEmail)
    assert words in mail.subject
    assert "&lt;b&gt;One" in (mail.html or "")
    assert "- <b>One</b>" in mail.text
    assert "- Two" in mail.text
    text = render(with_titles(_digest(Channel.WHATSAPP, *items, locale=locale), {}))
    assert isinstance(text, RenderedWhatsapp)
    assert words in (text.text or "")
    assert "Two" in (text.text or "")


def test_a_type_may_write_its_own_digest() -> None:
    own = {
        "en": {
            "subject": "{{ data.total }} notes",
            "text": "{% for item in data.items %}{{ item.data.note }};{% endfor %}",
        }
    }
    made = _digest(Channel.EMAIL, _item("note", {"note": "a"}), _item("note", {"note": "b"}))._replace(
        templates=own
    )
    mail = render(made)
    assert isinstance(mail, RenderedEmail)
    assert (mail.subject, mail.text.strip()) == ("2 notes", "a;b;")
