"""The feed of the fake, for a subscriber token."""

from typing import Any

from carillon_client.testing.answering import Asked, Refused, Said, invalid, not_found, only, page
from carillon_client.testing.feeds import Feed
from carillon_client.testing.state import State

_CHANGE = ("read", "seen", "archived", "snoozed_until")
_FILTERS = {"all", "unread", "unseen", "archived", "snoozed"}


def list_inbox(state: State, asked: Asked) -> Said:
    """`GET /v1/inbox`."""
    kept = asked.query.get("filter", "all")
    if kept not in _FILTERS:
        raise Refused(422, "invalid-content", errors=[{"parameter": "filter", "detail": "is none"}])
    feed = own(state, asked)
    items = [
        item
        for item in feed.listed(kept)
        if asked.query.get("category", item.shown["category"]) == item.shown["category"]
        and asked.query.get("type", item.shown["type"]) == item.shown["type"]
    ]
    return page(items, asked, lambda item: item.as_json(), **feed.counts())


def counts(state: State, asked: Asked) -> Said:
    """`GET /v1/inbox/unread-count`."""
    return Said(200, own(state, asked).counts())


def change_item(state: State, asked: Asked, item: str) -> Said:
    """`PATCH /v1/inbox/{id}`."""
    feed = own(state, asked)
    found = feed.change([item], _wanted(asked.body))
    if not found:
        raise not_found("item")
    return Said(200, {"item": found[0].as_json(), "counts": feed.counts()})


def change_items(state: State, asked: Asked) -> Said:
    """`POST /v1/inbox:bulk`."""
    body = only(asked.body, "ids", "set")
    feed = own(state, asked)
    found = feed.change(body["ids"], _wanted(body["set"], "deleted"))
    items = [item.as_json() for item in found if not item.deleted]
    return Said(200, {"items": items, "counts": feed.counts()})


def delete_item(state: State, asked: Asked, item: str) -> Said:
    """`DELETE /v1/inbox/{id}`."""
    feed = own(state, asked)
    if not feed.change([item], {"deleted": True}):
        raise not_found("item")
    return Said(200, {"counts": feed.counts()})


def read_all(state: State, asked: Asked) -> Said:
    """`POST /v1/inbox:read-all`."""
    return _marked(own(state, asked), "read")


def seen_all(state: State, asked: Asked) -> Said:
    """`POST /v1/inbox:seen-all`."""
    return _marked(own(state, asked), "seen")


def archive_read(state: State, asked: Asked) -> Said:
    """`POST /v1/inbox:archive-read`."""
    feed = own(state, asked)
    read = [
        name for name, item in feed.items.items() if item.shown["read_at"] is not None and not item.hidden
    ]
    feed.change(read, {"archived": True})
    return Said(200, {"counts": feed.counts()})


def own(state: State, asked: Asked) -> Feed:
    """Return the feed of the person who asks. Raises `Refused` 404 for one who is not registered any more."""
    if asked.subscriber not in state.people:
        raise not_found("subscriber")
    return state.feed(str(asked.subscriber))


def _marked(feed: Feed, word: str) -> Said:
    feed.mark_all(word)
    return Said(200, {"counts": feed.counts()})


def _wanted(body: Any, *more: str) -> dict[str, Any]:
    wanted = only(body, *_CHANGE, *more)
    if not wanted:
        raise invalid("", "name at least one of read, seen, archived, snoozed_until")
    return wanted
