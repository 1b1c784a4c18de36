"""Taking messages in batches, handling them together, and giving them back exactly once each."""

from carillon_shared.consumer.ack_window import AckWindow
from carillon_shared.consumer.batch_consumer import BatchConsumer, BatchLimits
from carillon_shared.consumer.handling import Handler, PoisonHandler, Received
from carillon_shared.consumer.settlement import Ack, DeadLetter, Requeue, Settlement
from carillon_shared.consumer.source import MessageSource

__all__ = [
    "Ack",
    "AckWindow",
    "BatchConsumer",
    "BatchLimits",
    "DeadLetter",
    "Handler",
    "MessageSource",
    "PoisonHandler",
    "Received",
    "Requeue",
    "Settlement",
]
