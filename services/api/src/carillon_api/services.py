"""What requests need, made once by `app.py` and reached through the application."""

import asyncio
from dataclasses import dataclass

from carillon_shared.broker import BrokerSession
from carillon_shared.clock import Clock
from carillon_shared.db.pool import Pool
from carillon_shared.lifecycle import Shutdown
from starlette.requests import HTTPConnection

from carillon_api.authentication.api_keys import ApiKeys
from carillon_api.authentication.subscriber_tokens import SubscriberTokens
from carillon_api.authentication.tenants import Tenants
from carillon_api.intake.event_types import EventTypes
from carillon_api.intake.publishing import Publishes
from carillon_api.intake.service import Intake
from carillon_api.origins import ListedOrigins
from carillon_api.receipts.line import ReceiptLine
from carillon_api.settings import ApiSettings
from carillon_api.stream.announcing import Announcer
from carillon_api.stream.hub import Hub


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of a running API."""

    settings: ApiSettings
    pool: Pool
    broker: BrokerSession
    publisher: Publishes
    clock: Clock
    shutdown: Shutdown
    api_keys: ApiKeys
    tenants: Tenants
    subscriber_tokens: SubscriberTokens
    event_types: EventTypes
    intake: Intake
    receipts: ReceiptLine
    hub: Hub
    announcer: Announcer
    listed_origins: ListedOrigins
    import_turns: asyncio.Semaphore
    """Imports that write at the same time; the others wait, and leave connections to everybody else."""


def services_of(connection: HTTPConnection) -> Services:
    """Return the parts of the application that serves this request."""
    services: Services = connection.app.state.services
    return services
