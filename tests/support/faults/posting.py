"""Events that a test posts by hand, kept in a ledger like those of running traffic."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from support.faults.ledger import Accepted, Ledger

_SOURCE = "/by-hand"


async def post(
    ledger: Ledger, kind: str, *, channels: Iterable[str], people: Iterable[str], **body: Any
) -> UUID:
    """Post an event and write down what must come of it: each of these people over each of these channels.

    The audience is these people, unless the body names another that comes to the same.
    """
    names, own = list(people), uuid4().hex
    event = {"type": kind, "source": _SOURCE, "id": own, "data": {"n": 0}, "audience": {"users": names}}
    reply = await ledger.tenant.call("POST", "/v1/events", expect=202, json=event | body)
    accepted = UUID(reply["id"])
    pairs = frozenset((person, channel) for person in names for channel in channels)
    ledger.accepted[own] = Accepted(accepted, _SOURCE, own, kind, pairs, datetime.now(UTC))
    return accepted
