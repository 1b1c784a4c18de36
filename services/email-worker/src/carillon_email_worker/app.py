"""Wires the e-mail worker together."""

from carillon_shared.clock import SystemClock
from carillon_shared.delivery.worker import ChannelWorker, run_worker
from carillon_shared.domain.channels import Channel
from carillon_shared.lifecycle import Shutdown
from carillon_shared.service import Service

from carillon_email_worker.message import MailComposer, OutgoingMail, Sender
from carillon_email_worker.providers.connections import SmtpServerAddress
from carillon_email_worker.providers.sandbox import SandboxMailProvider
from carillon_email_worker.providers.smtp import SmtpProvider
from carillon_email_worker.settings import EmailSettings

# The provider gives up first and knows how far it got; the engine's own limit is for a provider that hangs.
_ENGINE_MARGIN_SECONDS = 5.0


async def run_email_worker(settings: EmailSettings, shutdown: Shutdown) -> None:
    """Deliver e-mail until the shutdown is requested, then finish what is under way and return."""
    worker: ChannelWorker[OutgoingMail] = ChannelWorker(
        channel=Channel.EMAIL,
        compose=_composer(settings),
        provider=_provider(settings),
        concurrency=settings.email_concurrency,
        attempt_limit=settings.email_attempt_timeout + _ENGINE_MARGIN_SECONDS,
    )
    await run_worker(worker, Service.of(settings), shutdown)


def _composer(settings: EmailSettings) -> MailComposer:
    return MailComposer(
        sender=Sender(settings.email_sender_name, settings.email_sender_address),
        message_id_domain=settings.message_id_domain,
        clock=SystemClock(),
    )


def _provider(settings: EmailSettings) -> SmtpProvider | SandboxMailProvider:
    if settings.email_provider == "sandbox":
        return SandboxMailProvider()
    password = settings.email_smtp_password
    server = SmtpServerAddress(
        host=settings.email_smtp_host,
        port=settings.email_smtp_port,
        username=settings.email_smtp_username,
        password=password.get_secret_value() if password else None,
        tls=settings.email_smtp_tls,
    )
    return SmtpProvider(
        server,
        connections=settings.email_smtp_connections,
        attempt_seconds=settings.email_attempt_timeout,
    )
