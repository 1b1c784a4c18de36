"""Wires the WhatsApp worker together."""

from carillon_shared.clock import SystemClock
from carillon_shared.delivery.provider import Composer, Provider
from carillon_shared.delivery.worker import ChannelWorker, run_worker
from carillon_shared.domain.channels import Channel
from carillon_shared.lifecycle import Shutdown
from carillon_shared.service import Service

from carillon_whatsapp_worker.message import OutgoingWhatsapp, WhatsappComposer, compose_whatsapp
from carillon_whatsapp_worker.providers.cloud_api import CloudApiAccount, CloudApiProvider
from carillon_whatsapp_worker.providers.sandbox import SandboxWhatsappProvider
from carillon_whatsapp_worker.providers.twilio import TwilioAccount, TwilioProvider
from carillon_whatsapp_worker.settings import WhatsappSettings

# The provider gives up first and knows how far it got; the engine's own limit is for a provider that hangs.
_ENGINE_MARGIN_SECONDS = 5.0


async def run_whatsapp_worker(settings: WhatsappSettings, shutdown: Shutdown) -> None:
    """Deliver WhatsApp messages until the shutdown is requested, then finish what is under way and return."""
    worker: ChannelWorker[OutgoingWhatsapp] = ChannelWorker(
        channel=Channel.WHATSAPP,
        compose=_composer(settings),
        provider=_provider(settings),
        concurrency=settings.whatsapp_concurrency,
        attempt_limit=settings.whatsapp_attempt_timeout + _ENGINE_MARGIN_SECONDS,
        fallback=_fallback(settings),
        rate_per_second=settings.whatsapp_rate_per_second,
    )
    await run_worker(worker, Service.of(settings), shutdown)


def _composer(settings: WhatsappSettings) -> Composer[OutgoingWhatsapp]:
    return compose_whatsapp if settings.whatsapp_free_text == "always" else WhatsappComposer(SystemClock())


def _provider(settings: WhatsappSettings) -> Provider[OutgoingWhatsapp]:
    if settings.whatsapp_provider == "sandbox":
        return SandboxWhatsappProvider()
    if settings.whatsapp_provider == "twilio":
        return _twilio(settings, name="twilio")
    token, number = settings.whatsapp_access_token, settings.whatsapp_phone_number_id
    if token is None or number is None:
        raise ValueError("the settings let the Cloud API be chosen without an account")
    account = CloudApiAccount(
        url=settings.whatsapp_api_url,
        version=settings.whatsapp_api_version,
        phone_number_id=number,
        access_token=token.get_secret_value(),
    )
    return _cloud_api(settings, account)


def _fallback(settings: WhatsappSettings) -> Provider[OutgoingWhatsapp] | None:
    if settings.whatsapp_provider != "sandbox" and settings.whatsapp_fallback_provider == "twilio":
        return _twilio(settings, name="twilio_fallback")
    token, number = settings.whatsapp_fallback_access_token, settings.whatsapp_fallback_phone_number_id
    if settings.whatsapp_provider == "sandbox" or token is None or number is None:
        return None
    account = CloudApiAccount(
        url=settings.whatsapp_fallback_api_url or settings.whatsapp_api_url,
        version=settings.whatsapp_api_version,
        phone_number_id=number,
        access_token=token.get_secret_value(),
    )
    return _cloud_api(settings, account, name="cloud_api_fallback")


def _twilio(settings: WhatsappSettings, *, name: str) -> TwilioProvider:
    sid, token = settings.whatsapp_twilio_account_sid, settings.whatsapp_twilio_auth_token
    if sid is None or token is None or settings.whatsapp_twilio_sender is None:
        raise ValueError("the settings let Twilio be chosen without an account")
    account = TwilioAccount(
        url=settings.whatsapp_twilio_url,
        account_sid=sid,
        sender=settings.whatsapp_twilio_sender,
        auth_token=token.get_secret_value(),
        contents=settings.whatsapp_twilio_contents,
    )
    return TwilioProvider(
        account,
        connections=settings.whatsapp_connections,
        attempt_seconds=settings.whatsapp_attempt_timeout,
        name=name,
    )


def _cloud_api(
    settings: WhatsappSettings, account: CloudApiAccount, *, name: str = "cloud_api"
) -> CloudApiProvider:
    return CloudApiProvider(
        account,
        connections=settings.whatsapp_connections,
        attempt_seconds=settings.whatsapp_attempt_timeout,
        name=name,
    )
