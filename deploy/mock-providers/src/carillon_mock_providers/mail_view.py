"""What the JSON API and the page say about a mail; here, and not at receipt, a source is parsed."""

from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from typing import Any

from carillon_mock_providers.mailbox import Bounce, Mail
from carillon_mock_providers.ring import iso_time


def mail_summary(mail: Mail) -> dict[str, Any]:
    """The light record, as JSON values."""
    return {
        "n": mail.n,
        "message_id": mail.message_id,
        "to": list(mail.recipients),
        "subject": decoded_subject(mail.subject_header),
        "size": mail.size,
        "received_at": iso_time(mail.received_at),
        "envelope": {"from": mail.sender, "to": list(mail.recipients)},
        "source_kept": mail.source is not None,
        "copy_of": mail.copy_of,
    }


def mail_detail(mail: Mail) -> dict[str, Any]:
    """The record with decoded headers and bodies; these are empty when the source is no longer kept."""
    parsed = parse(mail.source or b"")
    headers = _headers(parsed)
    return mail_summary(mail) | {
        "from": headers.get("From", mail.sender),
        "headers": headers,
        "text": _body(parsed, "plain") if mail.source is not None else None,
        "html": _body(parsed, "html"),
        "attachments": [_attachment(part) for part in parsed.iter_attachments()],
    }


def bounce_view(bounce: Bounce) -> dict[str, Any]:
    """A bounce as JSON values; the fields are those of RFC 3464's per-recipient part."""
    return {
        "n": bounce.mail_number,
        "message_id": bounce.message_id,
        "to": bounce.recipient,
        "envelope_from": bounce.sender,
        "action": "failed",
        "status": bounce.status,
        "diagnostic_code": bounce.diagnostic,
        "bounced_at": iso_time(bounce.bounced_at),
    }


def parse(source: bytes) -> EmailMessage:
    """The message with decoded headers."""
    return message_from_bytes(source, policy=policy.default)


def html_body(mail: Mail) -> str | None:
    """The HTML of a mail whose source is kept."""
    return _body(parse(mail.source), "html") if mail.source is not None else None


def decoded_subject(header: bytes) -> str:
    """The subject in plain characters (RFC 2047), whatever was sent."""
    unfolded = header.decode("utf-8", "replace").replace("\r\n", "").strip()
    try:
        return str(make_header(decode_header(unfolded)))
    except (LookupError, ValueError):
        return unfolded


def _headers(parsed: EmailMessage) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in parsed.items():
        headers[name] = f"{headers[name]}\n{value}" if name in headers else str(value)
    return headers


def _body(parsed: EmailMessage, kind: str) -> str | None:
    part = parsed.get_body(preferencelist=(kind,))
    if part is None or not part.get_content_type().startswith("text/"):
        return None
    try:
        return str(part.get_content())
    except (LookupError, ValueError):
        raw = part.get_payload(decode=True)
        return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else None


def _attachment(part: Any) -> dict[str, Any]:
    content = part.get_payload(decode=True) or b""
    return {
        "filename": part.get_filename(),
        "content_type": part.get_content_type(),
        "size": len(content),
    }
