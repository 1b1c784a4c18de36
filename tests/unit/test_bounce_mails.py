"""Mails that come back, in the shapes that mail servers give them."""

import pytest
from carillon_api.receipts.bounces import bounces_in
from carillon_mock_providers.bounce_mails import bounce_mail
from carillon_mock_providers.mailbox import Bounce
from carillon_shared.domain.states import Reason, ReceiptState
from carillon_shared.domain.suppressions import SuppressionReason
from hypothesis import given
from hypothesis import strategies as st

ID = "0193a2b4-5c6d-8e7f-8a1b-2c3d4e5f6071"
RETURNED = f"Message-ID: <{ID}@carillon.test>\r\nTo: Anna <anna@example.org>\r\nSubject: Hi\r\n"


def report(
    recipients: str,
    *,
    returned: str = RETURNED,
    kind: str = "text/rfc822-headers",
    to: str = "no-reply@carillon.test",
) -> bytes:
    """A report as RFC 3464 shows it; `recipients` are the fields of each, with an empty line between."""
    parts = [
        "Content-Type: text/plain; charset=us-ascii\r\n\r\nYour mail could not be delivered.\r\n",
        f"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.test\r\n\r\n{recipients}",
    ]
    if returned:
        parts.append(f"Content-Type: {kind}\r\n\r\n{returned}\r\n")
    body = "".join(f"--b0\r\n{part}\r\n" for part in parts)
    return (
        f"From: MAILER-DAEMON@mx.example.org\r\nTo: {to}\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: multipart/report; report-type=delivery-status; boundary="b0"\r\n\r\n{body}--b0--\r\n'
    ).encode()


def fields(status: str = "5.1.1", action: str = "failed", diagnostic: str = "smtp; 550 no such user") -> str:
    return (
        f"Final-Recipient: rfc822; anna@example.org\r\nAction: {action}\r\nStatus: {status}\r\n"
        f"Diagnostic-Code: {diagnostic}\r\n\r\n"
    )


@pytest.mark.parametrize("kind", ["text/rfc822-headers", "message/rfc822"])
def test_the_returned_headers_name_the_delivery(kind: str) -> None:
    returned = RETURNED if kind.startswith("text") else f"{RETURNED}\r\nbody"
    (receipt,) = bounces_in(report(fields(), returned=returned, kind=kind))
    assert (str(receipt.delivery), receipt.state) == (ID, ReceiptState.FAILED)
    failure = receipt.failure
    assert failure is not None
    assert (failure.reason, failure.code) == (Reason.INVALID_ADDRESS, "bounce_5.1.1")
    assert (failure.suppress, failure.address) == (SuppressionReason.BOUNCED, "anna@example.org")


def test_our_own_header_goes_before_a_message_id_that_a_relay_wrote() -> None:
    returned = f"Message-ID: <x@relay.example>\r\nX-Carillon-Delivery: {ID}\r\n"
    (receipt,) = bounces_in(report(fields(), returned=returned))
    assert str(receipt.delivery) == ID
    assert receipt.failure is not None
    assert receipt.failure.address == "anna@example.org"  # of the report, where the mail's own is not told


def test_without_headers_the_address_it_came_to_names_the_delivery() -> None:
    (receipt,) = bounces_in(report(fields(), returned="", to=f"<bounces+{ID}@carillon.test>"))
    assert str(receipt.delivery) == ID


@pytest.mark.parametrize(
    ("status", "diagnostic", "reason", "suppressed"),
    [
        ("5.1.1", "smtp; 550", Reason.INVALID_ADDRESS, True),
        ("5.0.0", "smtp; 550 5.1.1 unknown", Reason.INVALID_ADDRESS, True),
        ("5.2.1", "smtp; 550 disabled", Reason.INVALID_ADDRESS, True),
        ("5.2.2", "smtp; 552 full", Reason.PROVIDER_REJECTED, False),
        ("5.7.1", "smtp; 554 spam", Reason.PROVIDER_REJECTED, False),
        ("4.4.7", "smtp; 451 gave up", Reason.PROVIDER_REJECTED, False),
        ("", "", Reason.PROVIDER_REJECTED, False),
    ],
)
def test_only_addresses_that_nothing_reaches_are_suppressed(
    status: str, diagnostic: str, reason: Reason, *, suppressed: bool
) -> None:
    (receipt,) = bounces_in(report(fields(status, diagnostic=diagnostic)))
    assert receipt.failure is not None
    assert receipt.failure.reason is reason
    assert (receipt.failure.suppress is not None) == suppressed


def test_mail_still_on_its_way_says_nothing_and_delivered_says_so() -> None:
    assert bounces_in(report(fields("4.2.0", "delayed") + fields("2.0.0", "relayed"))) == []
    (receipt,) = bounces_in(report(fields("2.0.0", "delivered")))
    assert (receipt.state, receipt.failure) == (ReceiptState.DELIVERED, None)


@pytest.mark.parametrize(
    "mail",
    [
        b"",
        b"\x00\xff\xfe",
        b"Subject: out of office\r\n\r\nI am away.",
        report(fields(), returned="Message-ID: <x@relay.example>\r\n"),
        report(fields(), returned="", to="bounces+x@carillon.test"),
        report(""),
        RETURNED.encode(),
        report(fields()).replace(b"message/delivery-status", b"text/plain"),
        b"Content-Type: multipart/report; boundary=b0\r\n\r\n" + b"--b0\r\n" * 2000,
        b"Content-Type: message/rfc822\r\n\r\n" * 2000,
    ],
)
def test_any_other_mail_reports_nothing(mail: bytes) -> None:
    assert bounces_in(mail) == []


@given(st.binary(max_size=2_000), st.integers(0, 1_000))
def test_no_mail_does_harm(noise: bytes, place: int) -> None:
    good = report(fields())
    bounces_in(good[:place] + noise + good[place:])


def test_the_mock_provider_s_bounces_are_read() -> None:
    bounce = Bounce(1, f"<{ID}@carillon.test>", "anna@example.org", "no-reply@carillon.test", 1_700_000_000)
    source = f"{RETURNED}X-Text: Сайн уу\r\n\r\nbody".encode()
    (receipt,) = bounces_in(bounce_mail(bounce, source))
    assert (str(receipt.delivery), receipt.state) == (ID, ReceiptState.FAILED)
    assert receipt.at is not None
