"""Whose a work message is."""

from carillon_shared.broker import Incoming
from carillon_shared.consumer.fair_source import Portion
from carillon_shared.contracts.codec import UndecodableMessageError, decode
from carillon_shared.contracts.messages import WorkChunk

_NOBODYS = Portion("")


def portion_of(incoming: Incoming) -> Portion:
    """Return whose a work message is, and for how many people. What cannot be read is nobody's."""
    try:
        message = decode(incoming.type, incoming.body)
    except UndecodableMessageError:
        return _NOBODYS
    return Portion(message.tenant, len(message.delivery_ids)) if isinstance(message, WorkChunk) else _NOBODYS
