"""Dead letters over the wire: found, mended and replayed, and the queue agrees."""

from typing import Any
from uuid import uuid4

import pytest
from carillon_shared.contracts.codec import decode
from carillon_shared.contracts.messages import DeadDelivery
from carillon_shared.domain.channels import Channel
from carillon_shared.topology.carillon import dead_queue
from support.broker_queues import plain_channel
from support.platform import Platform
from support.seen import Seen
from support.tenant import Tenant
from support.waiting import eventually

pytestmark = pytest.mark.timeout(120)

DEAD_LETTERS = "/v1/admin/dead-letters"
TYPE = "report.ready"


def unique(name: str) -> str:
    return f"{name}-{uuid4().hex[:10]}"


class Story:
    """Somebody whose mail server answers every mail with an error, until it is mended."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.user = unique("u")
        self.address = f"{unique('mended')}@example.org"

    async def begin(self) -> tuple[str, str]:
        """Return an event and its delivery, which is dead."""
        await self.tenant.call(
            "PUT",
            f"/v1/event-types/{TYPE}",
            expect=201,
            json={"channels": ["email"], "retry": {"email": {"max_attempts": 1}}},
        )
        reply = await self.tenant.http.put(
            f"/v1/event-types/{TYPE}/templates/email/en", json={"subject": "Ready", "text": "It is ready."}
        )
        assert reply.is_success, reply.text
        await self.lives_at(f"500+{self.user}@example.org")
        event = await self.tenant.send(type=TYPE, data={}, audience={"users": [self.user]})
        await self.tenant.event_is(event, dead=1)
        (delivery,) = await self.tenant.deliveries(event)
        return event, str(delivery["id"])

    async def lives_at(self, address: str) -> None:
        reply = await self.tenant.http.put(f"/v1/subscribers/{self.user}", json={"email": address})
        assert reply.is_success, reply.text

    async def ask(self, verb: str, **body: Any) -> dict[str, Any]:
        """Replay or discard, and wait until that is done."""
        asked = await self.tenant.call(
            "POST",
            f"{DEAD_LETTERS}:{verb}",
            expect=202,
            json={"filter": {"event_type": TYPE}, "reason": "the server is mended"} | body,
        )
        return await self.over(asked["operation_id"])

    async def over(self, operation: str) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            found: dict[str, Any] = await self.tenant.call("GET", f"/v1/admin/operations/{operation}")
            return found if found["status"] != "running" else None

        return await eventually(look, seconds=30, what=f"operation {operation} to end") or {}


async def copies(platform: Platform) -> list[DeadDelivery]:
    """Return what lies in the dead queue of e-mail, and leave it there."""
    found = []
    async with plain_channel(platform.addresses.broker_url) as channel:
        queue = await channel.get_queue(dead_queue(Channel.EMAIL))
        while (message := await queue.get(fail=False)) is not None:
            found.append(decode(message.type, message.body))
    return [one for one in found if isinstance(one, DeadDelivery)]


def own(platform: Seen) -> Platform:
    if not isinstance(platform, Platform):
        pytest.skip("the broker of a given platform is not for tests")
    return platform


async def test_what_is_mended_is_replayed_and_arrives_once(platform: Seen, tenant: Tenant) -> None:
    story = Story(tenant)
    event, delivery = await story.begin()
    counted = await tenant.call("GET", f"{DEAD_LETTERS}:count")
    assert counted == {"total": 1, "by_reason": {"retries_exhausted": 1}}
    dry = await tenant.call(
        "POST", f"{DEAD_LETTERS}:replay", json={"filter": {"channel": "email"}, "dry_run": True}
    )
    assert dry == {"matched": 1, "acted": 1, "skipped": {}, "complete": True}

    await story.lives_at(story.address)
    done = await story.ask("replay")
    assert (done["status"], done["acted"], done["skipped"]) == ("done", 1, {})
    await tenant.event_is(event, sent=1)
    assert len(await platform.mails_to(story.address)) == 1
    shown = await tenant.call("GET", f"/v1/deliveries/{delivery}")
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["retry", "sent"]
    assert (await tenant.call("GET", f"{DEAD_LETTERS}:count"))["total"] == 0

    again = await story.ask("replay")
    assert (again["matched"], again["acted"]) == (0, 0)
    assert len(await platform.mails_to(story.address)) == 1


async def test_a_correction_arrives_where_and_as_it_was_put_right(platform: Seen, tenant: Tenant) -> None:
    kind = {"channels": ["email"], "retry": {"email": {"max_attempts": 1}}}
    await tenant.call("PUT", "/v1/event-types/report.due", json=kind, expect=201)
    content = {"subject": "Due: {{ data.report }}", "text": "For {{ data.who }}."}
    reply = await tenant.http.put("/v1/event-types/report.due/templates/email/en", json=content)
    assert reply.is_success, reply.text
    story = Story(tenant)
    await story.lives_at(f"500+{story.user}@example.org")
    data = {"report": "Q2", "who": "Bat"}
    event = await tenant.send(type="report.due", data=data, audience={"users": [story.user]})
    await tenant.event_is(event, dead=1)
    (delivery,) = await tenant.deliveries(event)
    overrides = {"address": {"email": story.address}, "data": {"report": "Q3"}}
    done = await story.ask("replay", filter={"ids": [delivery["id"]]}, overrides=overrides)
    assert (done["status"], done["acted"]) == ("done", 1)
    await tenant.event_is(event, sent=1)
    (mail,) = await platform.mails_to(story.address)
    assert (mail["subject"], mail["text"].strip()) == ("Due: Q3", "For Bat.")


async def test_one_delivery_is_tried_again_by_hand(platform: Seen, tenant: Tenant) -> None:
    story = Story(tenant)
    event, delivery = await story.begin()
    await story.lives_at(story.address)
    asked = await tenant.call("POST", f"/v1/deliveries/{delivery}/retry", expect=202)
    assert (await story.over(asked["operation_id"]))["acted"] == 1
    await tenant.event_is(event, sent=1)
    (mail,) = await platform.mails_to(story.address)
    assert mail["subject"] == "Ready"


async def test_who_has_opted_out_since_is_left_in_peace(platform: Seen, tenant: Tenant) -> None:
    story = Story(tenant)
    event, delivery = await story.begin()
    await story.lives_at(story.address)
    token = await tenant.token(story.user)
    reply = await tenant.http.put(
        "/v1/me/preferences", json={"all": {"email": False}}, headers={"Authorization": f"Bearer {token}"}
    )
    assert reply.is_success, reply.text
    refused = await tenant.call("POST", f"/v1/deliveries/{delivery}/retry", expect=409)
    assert refused["reason"] == "opted_out"
    done = await story.ask("replay")
    assert (done["acted"], done["skipped"]) == (0, {"opted_out": 1})
    await tenant.event_is(event, dead=1)
    assert (await platform.mock("/api/mail", to=story.address))["items"] == []


async def test_the_dead_queue_agrees_after_a_replay_and_after_a_discard(platform: Seen) -> None:
    running = own(platform)

    async def lies_there(delivery: str) -> bool:
        return delivery in {str(one.delivery_id) for one in await copies(running)}

    async def is_gone(delivery: str) -> bool:
        return not await lies_there(delivery)

    for verb in ("replay", "discard"):
        story = Story(await running.new_tenant())
        _, delivery = await story.begin()
        await eventually(lambda: lies_there(delivery), seconds=30, what="the copy")  # noqa: B023 - awaited here
        await story.lives_at(story.address)
        await story.ask(verb)
        await eventually(lambda: is_gone(delivery), seconds=30, what="the copy to go")  # noqa: B023 - awaited here


async def test_a_purged_dead_queue_loses_nothing(platform: Seen, tenant: Tenant) -> None:
    running, story = own(platform), Story(tenant)
    event, _ = await story.begin()
    async with plain_channel(running.addresses.broker_url) as channel:
        await (await channel.get_queue(dead_queue(Channel.EMAIL))).purge()
    await story.lives_at(story.address)
    assert (await story.ask("replay"))["acted"] == 1
    await tenant.event_is(event, sent=1)
    assert len(await running.mails_to(story.address)) == 1
