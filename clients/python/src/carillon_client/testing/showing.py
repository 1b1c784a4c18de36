"""Events, deliveries and people of the fake, as the API shows them."""

from collections import Counter
from typing import Any

from carillon_client.testing.answering import text_of, time_of
from carillon_client.testing.state import FakeDelivery, FakeEvent, State, SubscriberRow, now

_AT_REST = {"sent", "delivered", "skipped", "failed", "dead", "discarded", "cancelled"}


def event(row: FakeEvent) -> dict[str, Any]:
    """Show an event in a list."""
    body = row.body
    copied = ("subject", "actor", "collapse_key")
    return {
        "id": row.id,
        "type": row.type,
        "source": body.get("source", "/"),
        "external_id": body.get("id", row.id),
        **{name: body.get(name) for name in copied},
        "time": text_of(time_of(body.get("time")) or row.accepted_at),
        "status": row.status,
        "category": body.get("category") or row.kind.category,
        "priority": body.get("priority", "normal"),
        "channels": list(row.channels),
        "audience": _audience(row),
        "accepted_at": text_of(row.accepted_at),
        "deliver_at": body.get("deliver_at"),
        "expires_at": body.get("expires_at"),
        "cancelled_at": text_of(row.cancelled_at),
        "replaced_by": None,
    }


def event_detail(state: State, row: FakeEvent) -> dict[str, Any]:
    """Show an event with its progress."""
    counts = _counts(state, row)
    total = sum(counts.values())
    settled = sum(count for status, count in counts.items() if status in _AT_REST)
    percent = 100.0 * settled / total if total else 100.0 if row.status == "completed" else 0.0
    progress = {"total": total, "by_status": counts, "percent": percent}
    cancellation = cancelled(state, row) if row.status == "cancelled" else None
    return event(row) | {
        "data": row.data,
        "plan_error": None,
        "progress": progress,
        "cancellation": cancellation,
    }


def cancelled(state: State, row: FakeEvent) -> dict[str, Any]:
    """Show what cancelling an event came to."""
    counts = _counts(state, row)
    sent = counts.get("sent", 0) + counts.get("delivered", 0)
    stopped = counts.get("cancelled", 0)
    return {"stopped": stopped, "already_sent": sent, "in_flight": 0, "unplanned": row.unplanned}


def delivery(row: FakeDelivery) -> dict[str, Any]:
    """Show a delivery with its attempts."""
    return {
        "id": row.id,
        "event_id": row.event.id,
        "subscriber": row.subscriber,
        "channel": row.channel,
        "status": row.status,
        "reason": row.reason,
        "hold_reason": None,
        "attempt": len(row.attempts),
        "next_attempt_at": None,
        "provider": "fake" if row.attempts else None,
        "provider_id": None,
        "created_at": text_of(row.created_at),
        "updated_at": text_of(row.updated_at),
        "attempts": row.attempts,
        "receipts": [],
    }


def dead_letter(row: FakeDelivery) -> dict[str, Any]:
    """Show a dead letter."""
    return {
        "id": row.id,
        "event_id": row.event.id,
        "event_type": row.event.type,
        "subscriber": row.subscriber,
        "channel": row.channel,
        "address": _masked(row.address),
        "reason": row.reason,
        "provider": "fake",
        "code": None,
        "error": None,
        "attempt": len(row.attempts),
        "dead_at": text_of(row.updated_at),
        "age_seconds": (now() - row.updated_at).total_seconds(),
        "attempts": row.attempts,
    }


def subscriber(state: State, row: SubscriberRow) -> dict[str, Any]:
    """Show a person with roles and topics."""
    names = ("email", "phone", "locale", "time_zone")
    return {
        "id": row.id,
        **{name: row.given.get(name) for name in names},
        "attributes": row.given.get("attributes", {}),
        "roles": state.groups_of("roles", row.id),
        "topics": state.groups_of("topics", row.id),
        "created_at": text_of(row.created_at),
        "updated_at": text_of(row.updated_at),
    }


def _counts(state: State, row: FakeEvent) -> dict[str, int]:
    return dict(Counter(each.status for each in state.deliveries.values() if each.event is row))


def _audience(row: FakeEvent) -> dict[str, Any]:
    users = [each["id"] if isinstance(each, dict) else each for each in row.audience.get("users", ())]
    shown = {**row.audience, "users": users}
    return {name: value for name, value in shown.items() if value}


def _masked(address: str | None) -> str | None:
    return None if address is None else f"{address[:1]}***"
