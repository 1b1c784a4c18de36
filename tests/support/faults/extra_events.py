"""Events that a test posts beside the traffic, written into the same ledger."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from support.faults.ledger import Accepted
from support.faults.mix import TYPES
from support.faults.traffic import Traffic


async def announce(flow: Traffic, *, kind: str = "team.note", **more: Any) -> UUID:
    """Post one event for everybody of the traffic's tenant; return its id."""
    own, source = f"extra-{uuid4().hex}", "/faults/extra"
    body = {"type": kind, "source": source, "id": own, "data": {"n": 0}, "audience": {"everyone": True}}
    event = UUID(await flow.tenant.send(**body, **more))
    pairs = frozenset((person, channel) for person in flow.people for channel in TYPES[kind]["channels"])
    flow.ledger.accepted[own] = Accepted(event, source, own, kind, pairs, datetime.now(UTC))
    return event
