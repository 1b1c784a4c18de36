"""The only package that speaks AMQP: sessions, publishing, consuming, declaring the topology."""

from carillon_shared.broker.admin import BrokerUnreachableError, DifferentError
from carillon_shared.broker.consumer import Subscription
from carillon_shared.broker.declare import declare
from carillon_shared.broker.drift import Drift, check
from carillon_shared.broker.errors import (
    BrokerError,
    ConnectionLostError,
    NotConnectedError,
    PublishError,
    PublishRefusedError,
    PublishUnconfirmedError,
    UnroutableError,
)
from carillon_shared.broker.incoming import Incoming, Settlements
from carillon_shared.broker.live import LiveSubscription
from carillon_shared.broker.outgoing import Outgoing, live, outcome
from carillon_shared.broker.publisher import Publisher, PublishResult
from carillon_shared.broker.session import BrokerSession

__all__ = [
    "BrokerError",
    "BrokerSession",
    "BrokerUnreachableError",
    "ConnectionLostError",
    "DifferentError",
    "Drift",
    "Incoming",
    "LiveSubscription",
    "NotConnectedError",
    "Outgoing",
    "PublishError",
    "PublishRefusedError",
    "PublishResult",
    "PublishUnconfirmedError",
    "Publisher",
    "Settlements",
    "Subscription",
    "UnroutableError",
    "check",
    "declare",
    "live",
    "outcome",
]
