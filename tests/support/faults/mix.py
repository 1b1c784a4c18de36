"""The mixture of events that runs while faults happen, and the types it needs."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from support.faults.ledger import Pair
from support.tenant import Tenant

_EVERY_CHANNEL = ("email", "inapp", "whatsapp")
_QUICK = {"strategy": "fixed", "initial": "2s", "jitter": 0.1, "max_attempts": 12}
_RETRY = {"email": _QUICK, "whatsapp": _QUICK}

TYPES: dict[str, dict[str, Any]] = {
    "order.changed": {"channels": list(_EVERY_CHANNEL), "on_unknown": "at_least_once", "retry": _RETRY},
    "login.code": {
        "channels": ["email", "whatsapp"],
        "priority": "critical",
        "on_unknown": "at_most_once",
        "retry": _RETRY,
    },
    "team.note": {"channels": ["email", "inapp"], "on_unknown": "at_least_once", "retry": _RETRY},
    "news.published": {"channels": ["inapp"], "priority": "bulk", "on_unknown": "at_least_once"},
}
_TEMPLATES = {
    "email": {"subject": "Number {{ data.n }}", "text": "This is number {{ data.n }}."},
    "inapp": {"title": "Number {{ data.n }}", "body": "This is number {{ data.n }}."},
    "whatsapp": {"text": "This is number {{ data.n }}."},
}
# How often each comes; the remainder is one person's order on every channel.
_SHARES = {"news.published": 0.06, "team.note": 0.2, "login.code": 0.2}
_CANCELLED = 0.08
_LATER, _LATER_SECONDS = 0.1, 1.0  # these are scheduled, and so published by the relay
_TEAM = 4


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that is to be posted."""

    body: dict[str, Any]
    pairs: frozenset[Pair]
    cancelled_soon: bool


async def register_types(tenant: Tenant) -> None:
    """Register every type of the mixture with its templates."""
    for name, document in TYPES.items():
        reply = await tenant.http.put(f"/v1/event-types/{name}", json=document)
        assert reply.is_success, reply.text
        for channel in document["channels"]:
            path = f"/v1/event-types/{name}/templates/{channel}/en"
            reply = await tenant.http.put(path, json=_TEMPLATES[channel])
            assert reply.is_success, reply.text


class Mix:
    """Draws one event after another, always the same ones for a seed."""

    def __init__(self, people: Sequence[str], *, source: str, seed: int) -> None:
        self._people = list(people)
        self._source = source
        self._draw = random.Random(seed)  # noqa: S311 -- which person an example is about is no secret
        self._n = 0

    def next(self) -> Draft:
        """Return the next event."""
        self._n += 1
        kind = self._kind()
        people = self._audience(kind)
        everyone = kind == "news.published"
        body = {
            "type": kind,
            "source": self._source,
            "id": f"n-{self._n}",
            "data": {"n": self._n},
            "audience": {"everyone": True} if everyone else {"users": people},
            "priority": TYPES[kind].get("priority")
            or self._draw.choice(["normal", "normal", "critical", "bulk"]),
        }
        pairs = frozenset((person, channel) for person in people for channel in TYPES[kind]["channels"])
        if self._draw.random() < _LATER:
            body["deliver_at"] = (datetime.now(UTC) + timedelta(seconds=_LATER_SECONDS)).isoformat()
        return Draft(body, pairs, self._draw.random() < _CANCELLED)

    def _kind(self) -> str:
        place = self._draw.random()
        for kind, share in _SHARES.items():
            place -= share
            if place < 0:
                return kind
        return "order.changed"

    def _audience(self, kind: str) -> list[str]:
        if kind == "news.published":
            return self._people
        size = min(_TEAM, len(self._people)) if kind == "team.note" else 1
        return self._draw.sample(self._people, size)
