"""Wires the e-mail worker together."""

from carillon_shared.clock import SystemClock
from carillon_shared.delivery.provider import Provider
from carillon_shared.delivery.worker import ChannelWorker, run_worker
from carillon_shared.domain.channels import Channel
from carillon_shared.lifecycle import Shutdown
from carillon_shared.service import Service
from pydantic import SecretStr

from carillon_email_worker.message import MailComposer, OutgoingMail, Sender
from carillon_email_worker.providers.connections import SmtpServerAddress
from carillon_email_worker.providers.resend import ResendAccount, ResendProvider
from carillon_email_worker.providers.sandbox import SandboxMailProvider
from carillon_email_worker.providers.smtp import SmtpProvider
from carillon_email_worker.settings import EmailSettings
from carillon_email_worker.unsubscribing import UnsubscribeLinks

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
        fallback=_fallback(settings),
        rate_per_second=settings.email_rate_per_second,
    )
    await run_worker(worker, Service.of(settings), shutdown)


def _composer(settings: EmailSettings) -> MailComposer:
    return MailComposer(
        sender=Sender(settings.email_sender_name, settings.email_sender_address),
        message_id_domain=settings.message_id_domain,
        clock=SystemClock(),
        unsubscribe_url=_unsubscribe_links(settings),
        bounce_address=settings.email_bounce_address,
    )


def _unsubscribe_links(settings: EmailSettings) -> UnsubscribeLinks | None:
    if settings.public_url is None or settings.unsubscribe_secret is None:
        return None
    return UnsubscribeLinks(settings.public_url, settings.unsubscribe_secret.get_secret_value().encode())


def _provider(settings: EmailSettings) -> Provider[OutgoingMail]:
    if settings.email_provider == "sandbox":
        return SandboxMailProvider()
    if settings.email_provider == "resend":
        return _resend(settings, name="resend")
    server = SmtpServerAddress(
        host=settings.email_smtp_host,
        port=settings.email_smtp_port,
        username=settings.email_smtp_username,
        password=_shown(settings.email_smtp_password),
        tls=settings.email_smtp_tls,
    )
    return _smtp(settings, server)


def _fallback(settings: EmailSettings) -> Provider[OutgoingMail] | None:
    if settings.email_provider == "sandbox":
        return None
    if settings.email_fallback_provider == "resend":
        return _resend(settings, name="resend_fallback")
    if settings.email_fallback_smtp_host is None:
        return None
    server = SmtpServerAddress(
        host=settings.email_fallback_smtp_host,
        port=settings.email_fallback_smtp_port,
        username=settings.email_fallback_smtp_username,
        password=_shown(settings.email_fallback_smtp_password),
        tls=settings.email_fallback_smtp_tls,
    )
    return _smtp(settings, server, name="smtp_fallback")


def _smtp(settings: EmailSettings, server: SmtpServerAddress, *, name: str = "smtp") -> SmtpProvider:
    return SmtpProvider(
        server,
        connections=settings.email_smtp_connections,
        attempt_seconds=settings.email_attempt_timeout,
        name=name,
    )


def _resend(settings: EmailSettings, *, name: str) -> ResendProvider:
    if settings.email_resend_api_key is None:
        raise ValueError("the settings let Resend be chosen without a key")
    return ResendProvider(
        ResendAccount(settings.email_resend_url, settings.email_resend_api_key.get_secret_value()),
        connections=settings.email_smtp_connections,
        attempt_seconds=settings.email_attempt_timeout,
        name=name,
    )


def _shown(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None
