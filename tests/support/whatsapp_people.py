"""People with phones that misbehave in a known way, and what came to them."""

from typing import Any
from uuid import uuid4

from support.seen import Seen
from support.tenant import Tenant
from support.waiting import eventually


def phone(twin: int | None = None) -> str:
    """Return a number that nobody else has; for a `twin`, one that acts as the simulator 99900<twin>.

    A number counts as a simulator by its last seven digits, which leaves three to choose.
    """
    free = uuid4().int
    own = f"{free // 1000 % 980_0000:07d}" if twin is None else f"99900{twin:02d}"
    return f"+1{200 + free % 790}{own}"


async def message_to(tenant: Tenant, number: str, *, on_unknown: str = "at_least_once", **retry: Any) -> str:
    """Send an event to one new person over WhatsApp; return the event's id."""
    policy = {"strategy": "fixed", "initial": "1s", "jitter": 0, "max_attempts": 3} | retry
    await tenant.http.put(
        "/v1/event-types/note.written",
        json={"channels": ["whatsapp"], "on_unknown": on_unknown, "retry": {"whatsapp": policy}},
    )
    await tenant.http.put("/v1/event-types/note.written/templates/whatsapp/en", json={"text": "A note."})
    person = f"p-{uuid4().hex[:10]}"
    await tenant.http.put(f"/v1/subscribers/{person}", json={"phone": number})
    return await tenant.send(type="note.written", data={}, audience={"users": [person]})


async def the_delivery(tenant: Tenant, event: str, *statuses: str, seconds: float = 30) -> dict[str, Any]:
    """Wait until the event's one delivery is in one of these states; return it."""

    async def look() -> Any:
        found = await tenant.deliveries(event)
        return found[0] if len(found) == 1 and found[0]["status"] in statuses else None

    delivery: dict[str, Any] = await eventually(look, seconds=seconds, what=f"{event} to be {statuses}")
    return delivery


async def messages_on(platform: Seen, number: str) -> list[dict[str, Any]]:
    """Return the messages on a phone now."""
    items: list[dict[str, Any]] = (await platform.mock("/api/whatsapp", to=number.removeprefix("+")))["items"]
    return items
