"""Composed mail, read back with the standard library's parser."""

import email
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import parseaddr
from typing import Any
from uuid import UUID

import pytest
from carillon_email_worker.address import deliverable_address, validate_address, wire_address
from carillon_email_worker.message import MailComposer, Sender
from carillon_email_worker.mime import (
    address_header,
    mail_bytes,
    named_address_header,
    plain_header,
    text_header,
)
from carillon_email_worker.providers.smtp import on_the_wire
from carillon_shared.content import ContentError
from carillon_shared.content.scope import one_line
from carillon_shared.domain.addresses import InvalidAddressError
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.delivery import LeasedDelivery
from email_validator import EmailNotValidError
from hypothesis import given
from hypothesis import strategies as st
from support.content_examples import BAT, TENANT, delivery

CONTENT = {"subject": "{{ data.s }}", "html": "<p>{{ data.h }}</p>", "text": "{{ data.t }}"}
NAMES = {"From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Carillon-Delivery"}
MIME_NAMES = {"MIME-Version", "Content-Type"}


class StillClock:
    def now(self) -> datetime:
        return datetime(2026, 11, 21, 10, 0, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0


def composer(**changes: Any) -> MailComposer:
    sender = Sender("Carillon", "no-reply@carillon.test")
    return MailComposer(sender=sender, message_id_domain="mail.example.org", clock=StillClock(), **changes)


def mail_of(one: LeasedDelivery, **changes: Any) -> EmailMessage:
    outgoing = composer(**changes)(one)
    policy = SMTPUTF8 if outgoing.needs_smtputf8 else SMTP
    parsed = email.message_from_bytes(outgoing.content, policy=policy)
    assert isinstance(parsed, EmailMessage)
    return parsed


def filled(s: str = "s", h: str = "h", t: str = "t", **changes: Any) -> LeasedDelivery:
    return delivery(Channel.EMAIL, CONTENT, data={"s": s, "h": h, "t": t}, **changes)


def body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    content = part.get_content()
    assert isinstance(content, str)
    return content.replace("\r\n", "\n")


def test_a_mail_has_the_headers_of_a_good_citizen() -> None:
    one = filled("Тасалбар 42 шийдэгдлээ", "Сайн <байна>", "Сайн байна")
    message = mail_of(one)
    assert message["From"].addresses == (Address("Acme", "hello", "acme.example"),)
    assert message["To"].addresses == (Address("", "bat", "example.org"),)
    assert message["Subject"] == "Тасалбар 42 шийдэгдлээ"
    assert message["Date"].datetime == StillClock().now()
    assert message["Message-ID"] == f"<{one.id}@mail.example.org>"
    assert message["X-Carillon-Delivery"] == str(one.id)
    assert message["Auto-Submitted"] == "auto-generated"
    assert set(message.keys()) == NAMES | MIME_NAMES


def test_text_comes_first_and_html_last() -> None:
    message = mail_of(filled("s", "Сайн <байна>", "Сайн байна"))
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert body(message, "plain") == "Сайн байна\n"
    assert body(message, "html") == "<p>Сайн &lt;байна&gt;</p>\n"
    assert message.defects == []


def test_a_template_without_html_makes_a_single_part() -> None:
    message = mail_of(delivery(Channel.EMAIL, {"subject": "s", "text": "plain"}))
    assert message.get_content_type() == "text/plain"
    assert body(message, "plain") == "plain\n"


def test_the_event_types_sender_goes_before_the_tenants_and_ours() -> None:
    own = mail_of(
        filled(sender_name="Дэлгүүр", sender_address="shop@acme.example", reply_to="help@acme.example")
    )
    assert own["From"].addresses == (Address("Дэлгүүр", "shop", "acme.example"),)
    assert own["Reply-To"].addresses == (Address("", "help", "acme.example"),)
    nobody = replace(TENANT, sender_name=None, sender_address=None)
    assert mail_of(filled(tenant=nobody))["From"].addresses == (
        Address("Carillon", "no-reply", "carillon.test"),
    )


def test_unsubscribing_is_one_click() -> None:
    message = mail_of(filled(), unsubscribe_url=lambda one: f"https://n.example/u/{one.recipient.id}")
    assert message["List-Unsubscribe"] == "<https://n.example/u/u-7>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


@pytest.mark.parametrize(
    "address",
    [
        None,
        "",
        "bat",
        "bat@",
        "@example.org",
        "a b@example.org",
        "a@b@example.org",
        "bat@example.org\r\nBcc: x@example.org",
        "bat@example.org>",
        "<bat@example.org>",
        "bat@exa mple.org",
        "bat@-example.org",
        '"a b"@example.org',
        "x" * 65 + "@example.org",
        "bat@example.org, eve@example.org",
    ],
)
def test_an_address_that_is_none_is_found_before_anything_is_sent(address: str | None) -> None:
    with pytest.raises(InvalidAddressError) as caught:
        composer()(filled(recipient=BAT._replace(email=address)))
    assert "example" not in str(caught.value)


def test_international_domains_travel_in_ascii_and_local_parts_as_they_are() -> None:
    domain = composer()(filled(recipient=BAT._replace(email="bat@улс.example")))
    assert domain.recipient == "bat@xn--k1ame.example"
    assert not domain.needs_smtputf8
    local = composer()(filled(recipient=BAT._replace(email="батаа@example.org")))
    assert local.recipient == "батаа@example.org"
    assert local.needs_smtputf8
    assert "\r\nTo: батаа@example.org\r\n".encode() in local.content


def test_a_tenants_sender_that_is_none_is_an_error_to_look_at() -> None:
    with pytest.raises(ContentError, match="sender address"):
        composer()(filled(sender_address="nonsense\r\nBcc: x@example.org"))


@pytest.mark.parametrize("value", ["a\r\nb", "a\nb", "a\x00b", "é", "x" * 1_000])
def test_plain_headers_take_nothing_but_plain_text(value: str) -> None:
    with pytest.raises(ValueError, match="X-Test"):
        plain_header("X-Test", value)


@pytest.mark.parametrize("address", ["a b@c", "a@b>", "<a@b", "a@b,c@d", "a@b\r\nX: y"])
def test_address_headers_take_nothing_but_one_address(address: str) -> None:
    with pytest.raises(ValueError, match="To is no address"):
        address_header("To", address)


def shown_name(raw: bytes) -> str:
    """Decode the name in From; the newer parser of Python 3.11 puts spaces between encoded words."""
    name, _ = parseaddr(email.message_from_bytes(raw)["From"])
    return str(make_header(decode_header(name)))


def lines_are_sound(raw: bytes) -> bool:
    """Every line ends with CRLF, none is too long, and CR and LF occur nowhere else."""
    rows = raw.split(b"\r\n")
    return all(b"\r" not in row and b"\n" not in row and len(row) <= 998 for row in rows)


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=200))
def test_no_value_of_an_event_adds_a_header_or_a_part(subject: str, html: str, text: str) -> None:
    one = filled(f"s{subject}", html, text)
    raw = composer()(one).content
    message = mail_of(one)
    assert lines_are_sound(raw)
    assert set(message.keys()) == NAMES | MIME_NAMES
    assert len(list(message.iter_parts())) == 2
    assert message.defects == []
    assert not str(message["Subject"]).splitlines()[1:]


@given(st.text(max_size=120))
def test_subjects_come_back_as_they_were(subject: str) -> None:
    expected = one_line(f"s{subject}")
    raw = (text_header("Subject", expected) + "\r\n").encode()
    parsed = email.message_from_bytes(raw, policy=SMTP)
    assert raw.isascii()
    assert lines_are_sound(raw)
    assert str(parsed["Subject"]).split() == expected.encode("utf-8", "replace").decode().split()


@given(st.text(max_size=120))
def test_no_name_of_a_sender_adds_an_address_or_a_header(name: str) -> None:
    shown = one_line(name)
    raw = (named_address_header("From", shown, "a@example.org") + "\r\n").encode()
    parsed = email.message_from_bytes(raw, policy=SMTP)
    assert lines_are_sound(raw)
    assert list(parsed.keys()) == ["From"]
    assert [address.addr_spec for address in parsed["From"].addresses] == ["a@example.org"]
    assert shown_name(raw).split() == shown.split()


@given(st.text(alphabet="ab\r\n.-= \x0b\x1cж", max_size=300))
def test_bodies_come_back_with_the_lines_they_had(text: str) -> None:
    raw = b"Subject: s\r\n" + mail_bytes([], text=text, html=text)
    message = email.message_from_bytes(raw, policy=SMTP)
    assert isinstance(message, EmailMessage)
    wanted = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n") + "\n"
    assert body(message, "plain") == wanted
    assert body(message, "html") == wanted


def test_a_body_that_names_our_boundary_stays_inside_its_part() -> None:
    evil = "x\r\n--=-carillon-part--\r\n--=-carillon-part\r\nContent-Type: text/html\r\n\r\n<b>evil</b>"
    message = mail_of(filled(t=evil))
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert body(message, "plain") == evil.replace("\r\n", "\n") + "\n"


@given(st.binary(max_size=200).map(lambda raw: raw.replace(b"\x00", b".")))
def test_on_the_wire_only_the_last_line_is_a_dot(content: bytes) -> None:
    wire = on_the_wire(content)
    assert wire.endswith(b"\r\n.\r\n")
    rows = wire.removesuffix(b"\r\n.\r\n").split(b"\r\n")
    assert not any(row == b"." or b"\r" in row or b"\n" in row for row in rows)


def test_lines_that_begin_with_a_dot_are_doubled_once() -> None:
    assert on_the_wire(b".a\r\n..\nb\r.\r\n") == b"..a\r\n...\r\nb\r\n..\r\n.\r\n"


def test_long_lines_and_names_are_folded() -> None:
    words = " ".join(["Их сургууль"] * 30)
    message = mail_of(filled(words, sender_name=words[:150], h="x" * 5_000))
    assert message["Subject"] == words
    assert shown_name(composer()(filled(sender_name=words[:150])).content) == words[:150].strip()
    assert body(message, "html") == f"<p>{'x' * 5_000}</p>\n"


def test_composing_is_repeatable() -> None:
    one = filled("s", "h", "t")
    first = composer()(one).content
    random.seed(5)
    assert composer()(one).content == first


LOCAL_PARTS = st.one_of(
    st.from_regex(r"[A-Za-z0-9_.+-]{1,70}", fullmatch=True),
    st.text(alphabet="ab.Z'\"@ +ö", min_size=0, max_size=8),
    st.sampled_from(["INFO", "Postmaster", "a" * 64, "a" * 65]),
)
LONG = f"{'a' * 60}."
USUAL_DOMAINS = ["example.org", "EXAMPLE.org", "сайн.mn", "localhost", "a.test"]
ODD_DOMAINS = ["[127.0.0.1]", "-a.org", "a..b", "", " a.org", f"{LONG * 3}org", f"{LONG * 4}org"]
DOMAINS = st.sampled_from(USUAL_DOMAINS + ODD_DOMAINS)


@given(local=LOCAL_PARTS, domain=DOMAINS)
def test_the_quick_way_judges_an_address_as_the_long_way_does(local: str, domain: str) -> None:
    address = f"{local}@{domain}"
    assert judged(deliverable_address, address) == judged(
        lambda a: wire_address(validate_address(a)), address
    )


def judged(way: Callable[[str], str], address: str) -> str | None:
    try:
        return way(address)
    except EmailNotValidError:
        return None


def test_mails_of_one_event_share_what_is_not_the_recipients_own() -> None:
    make = composer()
    one = filled(h="<b>all</b>")
    others = [one._replace(id=UUID(int=n), recipient=BAT._replace(email=f"p{n}@b.test")) for n in range(3)]
    mails = [make(other) for other in others]
    assert [mail.recipient for mail in mails] == ["p0@b.test", "p1@b.test", "p2@b.test"]
    bodies = {mail.content.partition(b"\r\nMIME-Version")[2] for mail in mails}
    assert len(bodies) == 1
    assert all(str(other.id).encode() in mail.content for other, mail in zip(others, mails, strict=True))


def test_what_mentions_the_recipient_is_theirs_alone() -> None:
    make = composer()
    content = {"subject": "s", "text": "Dear {{ subscriber.id }}"}
    one = delivery(Channel.EMAIL, content, data={})
    people = [one._replace(recipient=BAT._replace(id=f"person-{n}")) for n in range(4)]
    texts = [make(person).content for person in people]
    assert [f"Dear person-{n}".encode() in text for n, text in enumerate(texts)] == [True] * 4


def test_a_newer_template_is_seen_at_once() -> None:
    make = composer()
    old = filled()
    new = old._replace(templates={locale: CONTENT | {"text": "new"} for locale in old.templates})
    assert [b"\r\nnew\r\n" in make(one).content for one in (old, old, new, new)] == [False, False, True, True]
