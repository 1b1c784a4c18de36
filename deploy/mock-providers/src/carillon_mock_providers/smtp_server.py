"""The SMTP server: real ESMTP by aiosmtpd, with faults by recipient."""

import asyncio
import hmac
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from carillon_mock_providers.attempts import Attempt, Outcome
from carillon_mock_providers.connections import answer_and_close, reset_connection
from carillon_mock_providers.faults import Channel, Decision, Fault
from carillon_mock_providers.garbage import smtp_answer
from carillon_mock_providers.mailbox import Mail, read_message_id
from carillon_mock_providers.open_calls import Ending
from carillon_mock_providers.providers import Providers

_HOSTNAME = "mock.carillon.invalid"
_IDLE_SECONDS = 600.0
_AT_RECIPIENT = frozenset({Fault.REJECT, Fault.RETRY, Fault.RATE_LIMITED})
_REFUSALS = {
    Fault.REJECT: "550 5.1.1 The mailbox does not exist (simulated)",
    Fault.RETRY: "451 4.3.0 Temporary failure, try again later (simulated)",
    Fault.RATE_LIMITED: "450 4.2.1 The recipient is receiving mail at too high a rate (simulated)",
    Fault.SERVER_ERROR: "451 4.3.0 Local error in processing (simulated)",
}


class SmtpConnection(SMTP):
    """One client's connection; known to the server for as long as it lives."""

    def __init__(self, providers: Providers, live: set["SmtpConnection"]) -> None:
        self._live = live
        user = providers.settings.smtp_user
        super().__init__(
            MailHandler(providers),
            hostname=_HOSTNAME,
            ident="Carillon mock",
            data_size_limit=providers.settings.smtp_size_limit,
            enable_SMTPUTF8=True,
            timeout=_IDLE_SECONDS,
            auth_require_tls=not user,
            authenticator=_authenticator(providers) if user else None,
            auth_exclude_mechanism=None if user else ("LOGIN", "PLAIN"),
            loop=asyncio.get_running_loop(),
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Notes that the client is there."""
        self._live.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Notes that the client is gone; aiosmtpd cancels its open call."""
        self._live.discard(self)
        super().connection_lost(error)


class MailHandler:
    """What happens to the mail of one connection; the method names are aiosmtpd's hooks."""

    def __init__(self, providers: Providers) -> None:
        self._providers = providers
        self._decisions: list[tuple[str, Decision | None]] = []

    async def handle_EHLO(  # noqa: N802 -- the hook's name
        self, _server: SMTP, session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        """Adds the extensions that the library supports but does not announce."""
        session.host_name = hostname
        return [*responses[:-1], "250-PIPELINING", "250-ENHANCEDSTATUSCODES", responses[-1]]

    async def handle_MAIL(  # noqa: N802 -- the hook's name
        self, _server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Begins a transaction."""
        if self._providers.settings.smtp_user and not session.authenticated:
            return "530 5.7.0 Authentication required"
        self._decisions = []
        envelope.mail_from = _clean(address)
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802 -- the hook's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Takes or refuses one recipient."""
        recipient = _clean(address)
        decision = self._providers.faults.decide(channel=Channel.SMTP, recipient=recipient)
        if decision is not None and decision.fault in _AT_RECIPIENT:
            reply = _refusal(decision)
            attempt = self._attempt(recipient, decision, "")
            self._providers.attempts.settle(attempt, Outcome.REFUSED)
            attempt.reply = reply
            return reply
        self._decisions.append((recipient, decision))
        envelope.rcpt_tos.append(recipient)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802 -- the hook's name
        self, server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Keeps the message, or plays the first recipient's fault."""
        transaction = Transaction(self._providers, envelope, self._decisions)
        with self._providers.calls.call(Channel.SMTP):
            ending = await transaction.run()
            if ending in {Ending.CUT, Ending.GARBAGE} and server.transport is not None:
                transaction.cut(ending, server.transport)
                # The library cancels this once it learns that the connection is lost.
                await asyncio.get_running_loop().create_future()
        return transaction.reply(ending)

    def _attempt(self, recipient: str, decision: Decision | None, reference: str) -> Attempt:
        return self._providers.attempts.open(
            channel=Channel.SMTP, recipient=recipient, reference=reference, decision=decision
        )


class Transaction:
    """One message on its way from the final dot to the reply."""

    def __init__(
        self, providers: Providers, envelope: Envelope, decisions: list[tuple[str, Decision | None]]
    ) -> None:
        self._providers = providers
        self._sender = envelope.mail_from or ""
        self._decisions = decisions
        content = envelope.original_content
        self._source = bytes(content) if content is not None else b""
        self._mail: Mail | None = None
        reference = read_message_id(self._source)
        self._attempts = [
            providers.attempts.open(
                channel=Channel.SMTP, recipient=recipient, reference=reference, decision=decision
            )
            for recipient, decision in decisions
        ]

    async def run(self) -> Ending:
        """Plays the fault of the first recipient that has one; the others share it."""
        recipient, decision = next(
            ((who, made) for who, made in self._decisions if made is not None), ("", None)
        )
        if decision is None:
            self.accept()
            return Ending.ANSWER
        try:
            ending = await self._providers.stage.play(
                decision, channel=Channel.SMTP, recipient=recipient, accept=self.accept
            )
        finally:
            if self._mail is None:
                self._settle(Outcome.DROPPED)
        if ending is Ending.REFUSE:
            self._settle(Outcome.REFUSED)
        return ending

    def accept(self) -> None:
        """The provider's point of no return: the message counts as taken."""
        recipients = tuple(dict.fromkeys(recipient.lower() for recipient, _ in self._decisions))
        box = self._providers.mailbox
        self._mail = box.add(sender=self._sender, recipients=recipients, source=self._source)
        self._settle(Outcome.ACCEPTED)
        for recipient, decision in self._decisions:
            if decision is not None:
                self._after(self._mail, recipient, decision)

    def _after(self, mail: Mail, recipient: str, decision: Decision) -> None:
        box = self._providers.mailbox
        if decision.fault is Fault.DUPLICATE:
            box.add(sender=self._sender, recipients=(recipient.lower(),), source=self._source, copy_of=mail.n)
        elif decision.fault is Fault.BOUNCE:
            late = decision.delay_seconds
            seconds = self._providers.settings.bounce_seconds if late is None else late
            asyncio.get_running_loop().call_later(seconds, self._bounce, mail, recipient)

    def _bounce(self, mail: Mail, recipient: str) -> None:
        bounce = self._providers.mailbox.bounce(mail, recipient)
        self._providers.bounce_mails.send(bounce, mail.source or b"")

    def cut(self, ending: Ending, transport: asyncio.BaseTransport) -> None:
        """Ends the connection with a reset, or with an answer that nobody can read."""
        if ending is Ending.CUT:
            reset_connection(transport)
            return
        garbage = next(made.garbage for _, made in self._decisions if made is not None)
        for attempt in self._attempts:
            attempt.reply = garbage
        answer_and_close(transport, smtp_answer(garbage))

    def reply(self, ending: Ending) -> str:
        """The answer to the final dot."""
        if ending is Ending.ANSWER and self._mail is not None:
            reply = f"250 2.0.0 OK queued as {self._mail.n}"
        else:
            reply = _refusal(next(made for _, made in self._decisions if made is not None))
        for attempt in self._attempts:
            attempt.reply = reply
        return reply

    def _settle(self, outcome: Outcome) -> None:
        for attempt in self._attempts:
            self._providers.attempts.settle(attempt, outcome)


class SmtpServer:
    """Listens, and at the end cuts what is still open."""

    def __init__(self, providers: Providers) -> None:
        self._providers = providers
        self._live: set[SmtpConnection] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, *, host: str, port: int) -> None:
        """Listens; raises OSError when the address is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: SmtpConnection(self._providers, self._live), host, port
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stops listening and cuts every connection."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._live):
            if isinstance(connection.transport, asyncio.WriteTransport):
                connection.transport.abort()
        if self._server is not None:
            await self._server.wait_closed()


def _refusal(decision: Decision) -> str:
    if decision.code is None:
        return _REFUSALS[decision.fault]
    return f"{decision.code} {decision.code // 100}.0.0 Simulated reply"


def _authenticator(providers: Providers) -> Any:
    settings = providers.settings

    def authenticate(
        _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: Any
    ) -> AuthResult:
        right = isinstance(given, LoginPassword) and hmac.compare_digest(
            given.login + b"\0" + given.password,
            f"{settings.smtp_user}\0{settings.smtp_password.get_secret_value()}".encode(),
        )
        return AuthResult(success=right, handled=right)

    return authenticate


def _clean(address: str) -> str:
    """The address without the marks of bytes that were not UTF-8."""
    return address.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
