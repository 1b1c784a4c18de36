"""Both providers' shared state: what was sent, what is open, what goes wrong."""

from dataclasses import dataclass

from carillon_mock_providers.attempts import Attempts
from carillon_mock_providers.bounce_mails import BounceMails
from carillon_mock_providers.faults import FaultPlan
from carillon_mock_providers.mailbox import Mailbox
from carillon_mock_providers.open_calls import FaultStage, OpenCalls
from carillon_mock_providers.phones import Phones
from carillon_mock_providers.settings import MockSettings
from carillon_mock_providers.whatsapp_limits import ThroughputLimits
from carillon_mock_providers.whatsapp_templates import Templates
from carillon_mock_providers.whatsapp_webhooks import StatusWebhooks, WebhookKeys


@dataclass(frozen=True, slots=True)
class Providers:
    """What every part of the process works on."""

    settings: MockSettings
    faults: FaultPlan
    calls: OpenCalls
    stage: FaultStage
    attempts: Attempts
    mailbox: Mailbox
    phones: Phones
    templates: Templates
    limits: ThroughputLimits
    webhooks: StatusWebhooks
    bounce_mails: BounceMails


def build_providers(settings: MockSettings) -> Providers:
    """Fresh state for these settings."""
    calls = OpenCalls()
    phones = Phones(records=settings.kept_records, sources=settings.kept_sources)
    return Providers(
        settings=settings,
        faults=FaultPlan(
            seed=settings.seed, simulators=settings.simulators, retry_failures=settings.retry_failures
        ),
        calls=calls,
        stage=FaultStage(calls, settings.slow_seconds),
        attempts=Attempts(settings.kept_records),
        mailbox=Mailbox(records=settings.kept_records, sources=settings.kept_sources),
        phones=phones,
        templates=Templates(),
        limits=ThroughputLimits(
            messages_per_second=settings.whatsapp_messages_per_second,
            pair_interval_seconds=settings.whatsapp_pair_interval_seconds,
        ),
        webhooks=_webhooks(settings, phones),
        bounce_mails=BounceMails(settings.bounce_url, settings.bounce_secret.get_secret_value()),
    )


def _webhooks(settings: MockSettings, phones: Phones) -> StatusWebhooks:
    return StatusWebhooks(
        url=settings.whatsapp_webhook_url,
        keys=WebhookKeys(
            app_secret=settings.whatsapp_app_secret.get_secret_value(),
            verify_token=settings.whatsapp_verify_token.get_secret_value(),
        ),
        phones=phones,
        display_number=settings.whatsapp_display_number,
        delay_seconds=settings.whatsapp_status_delay_seconds,
    )
