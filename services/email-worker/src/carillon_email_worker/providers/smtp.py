"""Sends mail over SMTP (RFC 5321), and knows for each failure whether the message could have left."""

import asyncio
import re
from dataclasses import dataclass
from typing import Final

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPException,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPStatus,
)
from carillon_shared.domain.outcomes import Outcome, Rejected, Retry, Sent, Undeliverable, Unknown

from carillon_email_worker.message import OutgoingMail
from carillon_email_worker.providers.connections import SmtpConnection, SmtpConnections, SmtpServerAddress
from carillon_email_worker.providers.errors import MAX_ERROR, Stage, reply_outcome

ATTEMPT_SECONDS: Final = 30.0

_START_MESSAGE: Final = 354
_CLOSING: Final = 421
_COMPLETED, _REFUSED = 2, {4, 5}  # the first digits of answers to a message (RFC 5321, 4.2.1)
_UNREADABLE: Final = int(SMTPStatus.invalid_response)  # the library's, for a line that is no reply
_LINE_END = re.compile(rb"\r\n|\r|\n")
_QUEUED_AS = re.compile(r"queued as\s+<?([\w.@-]{1,200})", re.IGNORECASE)


@dataclass(slots=True)
class _Progress:
    """How far one attempt got."""

    stage: Stage = Stage.CONNECT
    handed_over: bool = False  # the message with its final dot was written: it may have been accepted

    def failure(self, code: str, error: str) -> Outcome:
        """Say what a call without an answer ended in. The server failed, whoever the mail was for."""
        if self.handed_over:
            return Unknown(code, error, provider_wide=True)
        return Retry(code, f"{error} ({self.stage.value})", provider_wide=True)


def _failure(error: Exception, progress: _Progress) -> Outcome:
    match error:
        case SMTPAuthenticationError():
            return Retry("authentication", f"{error.code} {error.message}", provider_wide=True)
        case SMTPResponseException():
            return _answer(error, progress)
        case TimeoutError():
            return progress.failure("timeout", "the server did not answer in time")
        case SMTPServerDisconnected():
            return progress.failure("disconnected", "the server closed the connection")
        case SMTPException() | OSError():
            return progress.failure("connection", f"{type(error).__name__}: {error}")
        case _:  # ValueError: an address that SMTP cannot carry
            return Rejected("address", str(error))


def _answer(error: SMTPResponseException, progress: _Progress) -> Outcome:
    if error.code == _UNREADABLE:
        return progress.failure("malformed_reply", f"the answer is no reply: {error.message}"[:MAX_ERROR])
    return reply_outcome(progress.stage, error.code, error.message)


class _StaleConnectionError(Exception):
    """A kept connection turned out to be gone before anything was said on it."""


class SmtpProvider:
    """A `carillon_shared.delivery.provider.Provider` for any SMTP server."""

    def __init__(
        self,
        server: SmtpServerAddress,
        *,
        connections: int = 10,
        attempt_seconds: float = ATTEMPT_SECONDS,
        name: str = "smtp",
    ) -> None:
        self.name = name
        self._connections = SmtpConnections(server, limit=connections)
        self._attempt_seconds = attempt_seconds

    async def send(self, message: OutgoingMail) -> Outcome:
        """Try once. See `Provider.send`."""
        progress = _Progress()
        try:
            async with asyncio.timeout(self._attempt_seconds), self._connections.slot():
                return await self._send(message, progress)
        except (SMTPException, OSError, ValueError) as error:  # TimeoutError is an OSError
            return _failure(error, progress)

    async def aclose(self) -> None:
        """Close the kept connections."""
        await self._connections.aclose()

    async def _send(self, message: OutgoingMail, progress: _Progress) -> Outcome:
        try:
            return await self._send_once(message, progress, fresh=False)
        except _StaleConnectionError:
            progress.stage = Stage.CONNECT
            return await self._send_once(message, progress, fresh=True)

    async def _send_once(self, message: OutgoingMail, progress: _Progress, *, fresh: bool) -> Outcome:
        async with self._connections.connection(fresh=fresh) as connection:
            if message.needs_smtputf8 and not await _takes_smtputf8(connection.client):
                connection.reusable = True
                return Undeliverable("smtputf8", "the server does not take addresses beyond ASCII")
            try:
                reply = await _converse(connection, message, progress)
            except SMTPResponseException as error:
                connection.reusable = connection.half_done = error.code not in {_CLOSING, _UNREADABLE}
                raise
            connection.reusable = True
            return Sent(_provider_id(reply))


async def _converse(connection: SmtpConnection, mail: OutgoingMail, progress: _Progress) -> str:
    """Say MAIL, RCPT, DATA and the message. Returns the last reply's text; raises `SMTPResponseException`."""
    client = connection.client
    encoding = "utf-8" if mail.needs_smtputf8 else "ascii"
    progress.stage = Stage.SENDER
    try:
        if connection.half_done:
            await client.rset()
            connection.half_done = False
        await client.mail(mail.sender, options=_options(client, mail), encoding=encoding)
    except (SMTPServerDisconnected, SMTPResponseException) as error:
        gone = not isinstance(error, SMTPResponseException) or error.code == _CLOSING
        if connection.mails and (gone or connection.half_done):
            raise _StaleConnectionError from error
        raise
    progress.stage = Stage.RECIPIENT
    await client.rcpt(mail.recipient, encoding=encoding)
    progress.stage = Stage.DATA
    ready = await client.execute_command(b"DATA")
    if ready.code != _START_MESSAGE:
        raise SMTPResponseException(ready.code, ready.message)
    return await _hand_over(client, mail, progress)


async def _hand_over(client: SMTP, mail: OutgoingMail, progress: _Progress) -> str:
    """Write the message. Done by hand, because the library's DATA hides whether it was written already."""
    protocol = client.protocol
    if protocol is None:
        raise SMTPServerDisconnected("the server closed the connection")
    protocol.write(on_the_wire(mail.content))
    progress.stage = Stage.MESSAGE
    progress.handed_over = True
    reply = await protocol.read_response()
    if reply.code // 100 == _COMPLETED:
        return reply.message
    if reply.code // 100 not in _REFUSED:
        raise SMTPResponseException(_UNREADABLE, f"{reply.code} {reply.message}")
    progress.handed_over = False  # it was not taken
    raise SMTPResponseException(reply.code, reply.message)


def on_the_wire(content: bytes) -> bytes:
    """Return a message as DATA takes it: CRLF everywhere, dots doubled, the final dot (RFC 5321, 4.5.2).

    No line end but CRLF leaves us, so no server can be made to see the end of a message inside it.
    """
    lines = _LINE_END.split(content)
    if lines[-1] == b"":
        lines.pop()
    return b"\r\n".join([b"." + line if line.startswith(b".") else line for line in lines]) + b"\r\n.\r\n"


def _options(client: SMTP, mail: OutgoingMail) -> list[str]:
    options = ["SMTPUTF8"] if mail.needs_smtputf8 else []
    if mail.needs_smtputf8 and client.supports_extension("8bitmime"):
        options.append("BODY=8BITMIME")
    return options


async def _takes_smtputf8(client: SMTP) -> bool:
    if client.is_ehlo_or_helo_needed:
        await client.ehlo()
    return client.supports_extension("smtputf8")


def _provider_id(reply: str) -> str | None:
    """Return the server's own reference, where its reply has one: "2.0.0 OK queued as 4F1A"."""
    found = _QUEUED_AS.search(reply)
    return found[1] if found else None
