"""Who gets an event, over which channels, and what comes of it. Everybody wants everything at once."""

from collections.abc import Mapping
from typing import Any

from carillon_client.testing.answering import text_of
from carillon_client.testing.state import FakeDelivery, FakeEvent, State, SubscriberRow, now

_ADDRESS = {"email": "email", "whatsapp": "phone"}
# Recipients that never work, as with the platform's mock providers: by what a mail address begins with, or
# what a phone number ends in.
_DEAD = ("500", "429"), ("9990010", "9990006")
_FAILED = ("reject",), ("9990003",)


def plan(state: State, event: FakeEvent) -> None:
    """Make the deliveries of an event, and let each come to its end."""
    for user in event.audience.get("users", ()):
        if isinstance(user, dict):
            _register(state, user)
    for subscriber in audience_of(state, event):
        for channel in event.channels:
            delivery = _decided(state, event, subscriber, channel)
            state.deliveries[delivery.id] = delivery
            if delivery.status == "queued":
                attempt(state, delivery)
    event.status = "completed"


def audience_of(state: State, event: FakeEvent) -> list[str]:
    """Return everybody whom the event is for, once."""
    audience = event.audience
    found = [user["id"] if isinstance(user, dict) else user for user in audience.get("users", ())]
    for kind in ("roles", "topics"):
        for name in audience.get(kind, ()):
            found += sorted(state.groups.get((kind, name), ()))
    if audience.get("everyone"):
        found += state.people
    return list(dict.fromkeys(found))


def attempt(state: State, delivery: FakeDelivery, *, address: str | None = None) -> None:
    """Try a delivery once, at an address of an operator if one is given."""
    person = state.people[delivery.subscriber]
    delivery.address = address or _address(person, delivery.channel)
    delivery.updated_at = now()
    if delivery.channel == "inapp":
        delivery.status, delivery.reason = "delivered", None
        _show(state, delivery)
        return
    delivery.status, delivery.reason = _outcome(delivery.address or "", delivery.channel)
    outcome = {"sent": "sent", "dead": "retry", "failed": "undeliverable"}[delivery.status]
    at = text_of(delivery.updated_at)
    made = {"number": len(delivery.attempts) + 1, "started_at": at, "ended_at": at, "outcome": outcome}
    delivery.attempts.append({**made, "provider": "fake", "code": None, "error": None, "stack": None})


def rendered(delivery: FakeDelivery) -> Mapping[str, Any]:
    """Return what a delivery says, by the fields of its channel."""
    kind, data = delivery.event.kind, delivery.event.data
    title, body = kind.said(kind.title, data), kind.said(kind.body, data)
    if delivery.channel == "email":
        return {"subject": title, "text": body, "html": None}
    return {"title": title, "body": body, "action_url": data.get("action_url")}


def _decided(state: State, event: FakeEvent, subscriber: str, channel: str) -> FakeDelivery:
    reason = _skip(state, event, subscriber, channel)
    return FakeDelivery(event, subscriber, channel, "skipped" if reason else "queued", reason)


def _skip(state: State, event: FakeEvent, subscriber: str, channel: str) -> str | None:
    if subscriber == event.body.get("actor"):
        return "actor"
    if subscriber in event.audience.get("exclude", ()):
        return "excluded"
    person = state.people.get(subscriber)
    if person is None:
        return "unknown_subscriber"
    return None if channel == "inapp" or _address(person, channel) else "no_address"


def _address(person: SubscriberRow, channel: str) -> str | None:
    found: str | None = person.given.get(_ADDRESS.get(channel, ""))
    return found


def _outcome(address: str, channel: str) -> tuple[str, str | None]:
    for (mails, phones), outcome in (
        (_DEAD, ("dead", "retries_exhausted")),
        (_FAILED, ("failed", "invalid_address")),
    ):
        if channel == "email" and address.partition("@")[0].partition("+")[0] in mails:
            return outcome
        if channel == "whatsapp" and address.endswith(phones):
            return outcome
    return "sent", None


def _show(state: State, delivery: FakeDelivery) -> None:
    event = delivery.event
    state.feed(delivery.subscriber).add(
        event_id=event.id,
        type=event.type,
        category=event.body.get("category") or event.kind.category,
        data=event.data,
        **rendered(delivery),
    )


def _register(state: State, user: Mapping[str, Any]) -> None:
    """Register somebody given with an event, or bring them up to date."""
    known = state.people.get(user["id"])
    given = {**(known.given if known else {}), **{name: user[name] for name in user if name != "id"}}
    state.people[user["id"]] = SubscriberRow(user["id"], given)
