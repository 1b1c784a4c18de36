"""Events, deliveries and signals of the fake."""

from carillon_client.testing import showing
from carillon_client.testing.answering import Asked, Refused, Said, invalid, not_found, only, page, time_of
from carillon_client.testing.planning import audience_of, plan
from carillon_client.testing.state import FakeDelivery, FakeEvent, LiveSignal, State, now


def get_event(state: State, _asked: Asked, event: str) -> Said:
    """`GET /v1/events/{id}`."""
    return Said(200, showing.event_detail(state, _event(state, event)))


def list_events(state: State, asked: Asked) -> Said:
    """`GET /v1/events`."""
    since, until = time_of(asked.query.get("since")), time_of(asked.query.get("until"))
    rows = [
        row
        for row in reversed(state.events.values())
        if asked.query.get("type", row.type) == row.type
        and asked.query.get("status", row.status) == row.status
        and (since is None or row.accepted_at >= since)
        and (until is None or row.accepted_at < until)
    ]
    return page(rows, asked, showing.event)


def cancel_event(state: State, _asked: Asked, event: str) -> Said:
    """`DELETE /v1/events/{id}`."""
    row = _event(state, event)
    if row.status in {"scheduled", "pending_approval"}:
        row.unplanned = len(audience_of(state, row)) * len(row.channels)
    if row.status != "cancelled":
        row.status, row.cancelled_at = "cancelled", now()
    return Said(200, showing.cancelled(state, row))


def approve_event(state: State, _asked: Asked, event: str) -> Said:
    """`POST /v1/events/{id}/approve`."""
    row = _event(state, event)
    if row.status != "pending_approval":
        raise Refused(409, "not-pending", f"The event waits for no approval: it is {row.status}.")
    later = time_of(row.body.get("deliver_at"))
    row.status = "scheduled" if later is not None and later > now() else "accepted"
    answer = {"id": row.id, "status": row.status}
    if row.status == "accepted":
        plan(state, row)
    return Said(200, answer)


def reject_event(state: State, _asked: Asked, event: str) -> Said:
    """`POST /v1/events/{id}/reject`."""
    row = _event(state, event)
    if row.status not in {"pending_approval", "rejected"}:
        raise Refused(409, "not-pending", f"The event waits for no approval: it is {row.status}.")
    row.status = "rejected"
    return Said(200, {"id": row.id, "status": row.status})


def get_delivery(state: State, _asked: Asked, delivery: str) -> Said:
    """`GET /v1/deliveries/{id}`."""
    return Said(200, showing.delivery(found_delivery(state, delivery)))


def list_deliveries(state: State, asked: Asked) -> Said:
    """`GET /v1/deliveries`."""
    wanted = asked.query
    rows = [
        row
        for row in reversed(state.deliveries.values())
        if wanted.get("event", row.event.id) == row.event.id
        and wanted.get("subscriber", row.subscriber) == row.subscriber
        and wanted.get("channel", row.channel) == row.channel
        and wanted.get("status", row.status) == row.status
    ]
    return page(rows, asked, showing.delivery)


def cancel_delivery(state: State, _asked: Asked, delivery: str) -> Said:
    """`POST /v1/deliveries/{id}/cancel`: here nothing ever waits."""
    row = found_delivery(state, delivery)
    if row.status != "cancelled":
        raise Refused(409, "not-cancellable", f"The delivery is {row.status}.")
    return Said(200, {"id": row.id, "status": row.status})


def send_signal(state: State, asked: Asked) -> Said:
    """`POST /v1/signals`."""
    body = only(asked.body, "name", "data", "users", "topics")
    users, topics = body.get("users", []), body.get("topics", [])
    if not users and not topics:
        raise invalid("", "name users or topics")
    if not body.get("name"):
        raise invalid("/name", "Field required")
    state.signals.append(LiveSignal(frozenset(users), tuple(topics), body["name"], body.get("data")))
    return Said(202, {"status": "accepted"})


def found_delivery(state: State, delivery: str) -> FakeDelivery:
    """Return a delivery. Raises `Refused` 404."""
    row = state.deliveries.get(delivery)
    if row is None:
        raise not_found("delivery")
    return row


def _event(state: State, event: str) -> FakeEvent:
    row = state.events.get(event)
    if row is None:
        raise not_found("event")
    return row
