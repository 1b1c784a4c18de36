"""The JSON API over what was received, for tests, the demo and the page."""

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from starlette.responses import Response

from carillon_mock_providers.faults import Channel
from carillon_mock_providers.json_reply import JsonReply
from carillon_mock_providers.mail_view import bounce_view, html_body, mail_detail, mail_summary
from carillon_mock_providers.mailbox import Mail
from carillon_mock_providers.phones import message_view
from carillon_mock_providers.providers import Providers
from carillon_mock_providers.ring import RecipientRing, iso_time

To = Annotated[str | None, Query(description="An address, or a glob such as *@example.com")]
Since = Annotated[str | None, Query(description="A record's number or an ISO 8601 time; what came later")]
Limit = Annotated[int, Query(ge=1, le=5000)]

# A mail's HTML comes from strangers: no script, no form, no frame; links open outside of the sandbox.
_HTML_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; "
    "img-src data: http: https:; font-src data:"
)
_LINKS_OUTSIDE = '<base target="_blank">'


def read_router(providers: Providers) -> APIRouter:
    """The routes under ``/api``."""
    router = APIRouter(prefix="/api", tags=["read"])
    _add_mail(router, providers)
    _add_one_mail(router, providers)
    _add_whatsapp(router, providers)
    _add_records(router, providers)
    return router


def _add_mail(router: APIRouter, providers: Providers) -> None:
    log = providers.mailbox.log

    @router.get("/mail")
    async def read_mail(
        to: To = None, since: Since = None, limit: Limit = 100, *, detail: bool = True
    ) -> JsonReply:
        """Accepted mail in the order of arrival; without `detail` nothing is parsed."""
        view = mail_detail if detail else mail_summary
        return _page(log, [view(mail) for mail in _records(log, to, since, limit)], to)

    @router.get("/mail/count")
    async def count_mail(to: To = None) -> JsonReply:
        """How many mails are kept, and how many were accepted since the start or the last clearing."""
        return JsonReply(_counts(log, to))


def _add_one_mail(router: APIRouter, providers: Providers) -> None:
    def find(n: int) -> Mail:
        mail = providers.mailbox.log.get(n)
        if mail is None:
            raise HTTPException(404, f"Mail {n} is not kept.")
        return mail

    @router.get("/mail/{n}")
    async def read_source(n: int) -> Response:
        """The raw source of a mail, as received."""
        source = find(n).source
        if source is None:
            raise HTTPException(410, f"Mail {n} is too old: only its light record is kept.")
        return Response(source, media_type="text/plain; charset=utf-8")

    @router.get("/mail/{n}/message")
    async def read_message(n: int) -> JsonReply:
        """A mail with decoded headers and bodies."""
        return JsonReply(mail_detail(find(n)))

    @router.get("/mail/{n}/html")
    async def read_html(n: int) -> Response:
        """A mail's HTML, safe to look at in a frame."""
        html = html_body(find(n))
        if html is None:
            raise HTTPException(404, f"Mail {n} has no HTML.")
        headers = {"Content-Security-Policy": _HTML_POLICY}
        return Response(_LINKS_OUTSIDE + html, media_type="text/html; charset=utf-8", headers=headers)


def _add_whatsapp(router: APIRouter, providers: Providers) -> None:
    log = providers.phones.log

    @router.get("/whatsapp")
    async def read_whatsapp(to: To = None, since: Since = None, limit: Limit = 100) -> JsonReply:
        """Accepted WhatsApp messages in the order of arrival."""
        phone = _digits(to)
        records = _records(log, phone, since, limit)
        return _page(log, [message_view(message, providers.templates) for message in records], phone)

    @router.get("/whatsapp/count")
    async def count_whatsapp(to: To = None) -> JsonReply:
        """How many messages are kept, and how many were accepted since the start or the last clearing."""
        return JsonReply(_counts(log, _digits(to)))


def _add_records(router: APIRouter, providers: Providers) -> None:
    log = providers.attempts.log

    @router.get("/attempts")
    async def read_attempts(
        to: To = None, since: Since = None, channel: Channel | None = None, limit: Limit = 100
    ) -> JsonReply:
        """Every call, however it ended; `channel` picks among the records of the page."""
        records = _records(log, to, since, limit)
        return _page(log, [a.view() for a in records if channel in (None, a.channel)], to)

    @router.get("/bounces")
    async def read_bounces(to: To = None) -> JsonReply:
        """Mail that was accepted and came back."""
        wanted = to.lower() if to else None
        views = [bounce_view(b) for b in providers.mailbox.bounces if wanted in (None, b.recipient.lower())]
        return JsonReply({"items": views, "total": len(views)})

    @router.get("/overview")
    async def read_overview(
        containing: Annotated[str, Query()] = "", limit: Annotated[int, Query(ge=1, le=1000)] = 200
    ) -> JsonReply:
        """Mailboxes and phones, the one heard of last first."""
        return JsonReply(_overview(providers, containing, limit))

    @router.delete("/messages")
    async def delete_messages() -> JsonReply:
        """Forgets all messages, attempts and bounces; fault rules stay."""
        mails, messages = providers.mailbox.clear(), providers.phones.clear()
        providers.attempts.clear()
        providers.webhooks.forget()
        return JsonReply({"mail": mails, "whatsapp": messages})


def _overview(providers: Providers, containing: str, limit: int) -> dict[str, Any]:
    mail, phones = providers.mailbox.log, providers.phones.log
    return {
        "revision": f"{mail.next_number()}.{len(mail)}.{phones.next_number()}.{len(phones)}."
        f"{providers.phones.revision}.{len(providers.mailbox.bounces)}",
        "mailboxes": [
            {
                "address": who,
                "count": len(mails),
                "last_subject": mail_summary(mails[-1])["subject"],
                "last_at": iso_time(mails[-1].received_at),
            }
            for who, mails in mail.recipients(containing=containing, limit=limit)
        ],
        "phones": [
            {
                "number": who,
                "count": len(messages),
                "last_body": message_view(messages[-1], providers.templates)["body"],
                "last_at": iso_time(messages[-1].received_at),
            }
            for who, messages in phones.recipients(containing=containing, limit=limit)
        ],
        "mailbox_total": mail.recipient_count(),
        "phone_total": phones.recipient_count(),
        "mail_total": mail.appended,
        "whatsapp_total": phones.appended,
    }


def _records(log: RecipientRing[Any], to: str | None, since: str | None, limit: int) -> list[Any]:
    try:
        return log.page(recipient=to, since=since, limit=limit)
    except ValueError as error:
        raise HTTPException(400, "since is neither a number nor an ISO 8601 time.") from error


def _page(log: RecipientRing[Any], views: list[dict[str, Any]], to: str | None) -> JsonReply:
    last = views[-1]["n"] if views else None
    return JsonReply({"items": views, "total": log.count(to), "last": last})


def _counts(log: RecipientRing[Any], to: str | None) -> dict[str, int]:
    return {"count": log.count(to), "accepted": log.appended}


def _digits(to: str | None) -> str | None:
    """A phone as it is kept; a plus sign that came as a space is taken off too."""
    return to if to is None else to.lstrip("+ ")
