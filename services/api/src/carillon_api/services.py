"""What requests need, made once by `app.py` and reached through the application."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from carillon_shared.clock import Clock
from carillon_shared.db.pool import Pool
from carillon_shared.lifecycle import Shutdown
from starlette.requests import HTTPConnection

from carillon_api.authentication.api_keys import ApiKeys
from carillon_api.authentication.subscriber_tokens import SubscriberTokens
from carillon_api.authentication.tenants import Tenants
from carillon_api.settings import ApiSettings

if TYPE_CHECKING:
    from carillon_shared.broker.errors import PublishError
    from carillon_shared.broker.outgoing import Outgoing


class Publishes(Protocol):
    """The part of the broker's publisher that the API uses."""

    @property
    def connected(self) -> bool:
        """True while a publish can leave the process."""
        ...

    async def publish_many(self, outgoings: "Sequence[Outgoing]") -> "list[PublishError | None]":
        """Publish all and return one result for each: None when the broker has it safely."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of a running API."""

    settings: ApiSettings
    pool: Pool
    publisher: Publishes
    clock: Clock
    shutdown: Shutdown
    api_keys: ApiKeys
    tenants: Tenants
    subscriber_tokens: SubscriberTokens
    intake: Any = field(default=None)
    event_types: Any = field(default=None)
    hub: Any = field(default=None)


def services_of(connection: HTTPConnection) -> Services:
    """Return the parts of the application that serves this request."""
    services: Services = connection.app.state.services
    return services
