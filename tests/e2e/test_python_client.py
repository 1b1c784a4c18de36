"""What the Python client is told by the platform, and by the fake in its place: the same."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from carillon_client import (
    Carillon,
    ConflictError,
    Event,
    InvalidContentError,
    NotFoundError,
    Notification,
    Person,
    Ready,
    UnauthorizedError,
    message,
)
from support.two_carillons import Side

pytestmark = pytest.mark.timeout(180)


async def test_an_event_is_accepted_once_and_then_a_duplicate(side: Side) -> None:
    await side.people("anna")
    event = message("Hello", "It works", users=["anna"], channels=["inapp"])
    first = await side.carillon.send(event)
    again = await side.carillon.send(event)
    assert (first.status, first.duplicate) == ("accepted", False)
    assert (again.id, again.duplicate) == (first.id, True)
    other = message("Hello", "Something else", users=["anna"], channels=["inapp"], id=event.id)
    with pytest.raises(ConflictError) as raised:
        await side.carillon.send(other)
    assert raised.value.event_id == first.id
    elsewhere = message("Hello", "Something else", users=["anna"], id=event.id, source="/elsewhere")
    assert not (await side.carillon.send(elsewhere)).duplicate


@pytest.mark.parametrize(
    ("event", "pointer"),
    [
        (Event("never.registered", users=["anna"]), "/type"),
        (Event("ticket.solved"), "/audience"),
        (Event("ticket.solved", users=["anna"], channels=["email"]), "/channels/0"),
        (Event("ticket.solved", users=["anna"], category="mine"), "/category"),
        (Event("ticket.solved", users=[""]), "/audience/users/0"),
        (Event("ticket.solved", users=["anna"], deliver_at=datetime(2999, 1, 1, tzinfo=UTC)), "/deliver_at"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_is_wrong_is_named(side: Side, event: Event, pointer: str) -> None:
    await side.register("ticket.solved")
    with pytest.raises(InvalidContentError) as raised:
        await side.carillon.send(event)
    assert raised.value.slug == "invalid-content"
    assert pointer in {fault.pointer for fault in raised.value.errors}


async def test_many_events_have_a_result_each_in_their_order(side: Side) -> None:
    await side.people("anna")
    good = message("Hello", "One", users=["anna"], channels=["inapp"])
    changed = message("Hello", "Other", users=["anna"], channels=["inapp"], id=good.id)
    results = await side.carillon.send_many([good, Event("never.registered"), good, changed])
    assert [type(sent.error) for sent in results] == [
        type(None),
        InvalidContentError,
        type(None),
        ConflictError,
    ]
    first, third = results[0].result(), results[2].result()
    assert (first.duplicate, third.duplicate, third.id) == (False, True, first.id)
    assert await side.carillon.send_many([]) == []


async def test_users_roles_and_topics_are_reached_once(side: Side) -> None:
    kind = await side.register("ticket.solved")
    await side.people("anna", "bat", role="support")
    await side.people("cem", topic="ticket:42")
    carillon = side.carillon
    both = await carillon.send_to_users_and_roles(["anna", "nobody"], ["support"], Event(kind, {"n": 1}))
    roles = await carillon.send_to_roles(["support"], Event(kind, {"n": 2}, exclude=["bat"], actor="anna"))
    topics = await carillon.send_to_topics(["ticket:42"], Event(kind, {"n": 3}))
    everyone = await carillon.send(Event(kind, {"n": 4}, everyone=True))
    assert await side.deliveries(both.id) == {
        ("anna", "inapp", "delivered", None),
        ("bat", "inapp", "delivered", None),
        ("nobody", "inapp", "skipped", "unknown_subscriber"),
    }
    assert await side.deliveries(roles.id) == {
        ("anna", "inapp", "skipped", "actor"),
        ("bat", "inapp", "skipped", "excluded"),
    }
    assert await side.deliveries(topics.id) == {("cem", "inapp", "delivered", None)}
    assert {person for person, *_ in await side.deliveries(everyone.id)} == {"anna", "bat", "cem"}


async def test_somebody_given_by_address_is_registered(side: Side) -> None:
    guest = Person("guest", email="guest@example.org")
    accepted = await side.carillon.send(message("Welcome", "Come in", users=[guest], channels=["email"]))
    assert await side.deliveries(accepted.id) == {("guest", "email", "sent", None)}
    assert (await side.carillon.subscribers.get("guest")).email == "guest@example.org"
    await side.carillon.subscribers.put("mute")
    unreachable = await side.carillon.send(message("Welcome", "Come in", users=["mute"], channels=["email"]))
    assert await side.deliveries(unreachable.id) == {("mute", "email", "skipped", "no_address")}


async def test_an_event_is_shown_and_listed_newest_first(side: Side) -> None:
    kind = await side.register("ticket.solved")
    await side.people("anna")
    sent = await side.carillon.send_many([Event(kind, {"n": n}, users=["anna"]) for n in range(60)])
    last = await side.completed(sent[-1].result().id)
    assert (last.type, last.source, last.external_id) == (kind, "/test", sent[-1].event.id)
    assert (last.data, last.audience) == ({"n": 59}, {"users": ["anna"]})
    assert (last.progress.total, last.progress.percent) == (1, 100)
    listed = [each.id async for each in side.carillon.events.list(type=kind)]
    assert len(listed) == 60
    assert set(listed) == {each.result().id for each in sent}
    assert [each async for each in side.carillon.events.list(type="another")] == []
    with pytest.raises(NotFoundError):
        await side.carillon.events.get(uuid4())


async def test_an_event_to_come_can_be_cancelled(side: Side) -> None:
    kind = await side.register("ticket.solved")
    await side.people("anna", "bat")
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    event = Event(kind, {"n": 1}, users=["anna", "bat"], deliver_at=tomorrow)
    accepted = await side.carillon.send(event)
    assert accepted.status == "scheduled"
    for _ in range(2):
        cancelled = await side.carillon.events.cancel(accepted.id)
        assert (cancelled.stopped, cancelled.already_sent, cancelled.unplanned) == (0, 0, 2)
    assert (await side.carillon.events.get(accepted.id)).status == "cancelled"


async def test_an_event_that_waits_for_approval_goes_on_or_not(side: Side) -> None:
    kind = await side.register("campaign", approval=True)
    await side.people("anna")
    first, second = [
        sent.result()
        for sent in await side.carillon.send_many([Event(kind, {"n": n}, users=["anna"]) for n in (1, 2)])
    ]
    assert first.status == second.status == "pending_approval"
    assert (await side.carillon.events.approve(first.id, reason="good")).status == "accepted"
    assert (await side.carillon.events.reject(second.id)).status == "rejected"
    await side.completed(first.id)
    with pytest.raises(ConflictError):
        await side.carillon.events.approve(second.id)


async def test_subscribers_are_registered_replaced_listed_and_forgotten(side: Side) -> None:
    people = side.carillon.subscribers
    await people.put("anna", email="anna@example.org", attributes={"name": "Anna"})
    await side.carillon.roles.add("support", "anna")
    replaced = await people.put("anna", locale="mn-MN", time_zone="Asia/Ulaanbaatar")
    assert (replaced.email, replaced.locale, replaced.attributes) == (None, "mn-MN", {})
    assert replaced.roles == ("support",)
    await people.put("bat")
    assert [each.id async for each in people.list()] == ["anna", "bat"]
    assert [each async for each in side.carillon.roles.members("support")] == ["anna"]
    await side.carillon.roles.remove("support", "anna")
    assert [each async for each in side.carillon.roles.members("support")] == []
    with pytest.raises(InvalidContentError) as raised:
        await people.put("anna", email="nobody")
    assert [fault.pointer for fault in raised.value.errors] == ["/email"]
    await people.delete("anna")
    for call in (
        people.get("anna"),
        people.delete("anna"),
        people.token("anna"),
        side.carillon.roles.add("x", "anna"),
    ):
        with pytest.raises(NotFoundError):
            await call


async def test_a_person_is_erased(side: Side) -> None:
    kind = await side.register("ticket.solved")
    await side.people("anna", "bat")
    accepted = await side.carillon.send(Event(kind, {"n": 1}, users=["anna", "bat"]))
    await side.completed(accepted.id)
    await side.carillon.subscribers.delete("anna", erase=True)
    people = {person for person, *_ in await side.deliveries(accepted.id)}
    assert "bat" in people
    assert "anna" not in people
    with pytest.raises(NotFoundError):
        await side.carillon.subscribers.get("anna")


async def test_many_people_are_registered_each_with_an_answer(side: Side) -> None:
    people = side.carillon.subscribers
    given: list[dict[str, Any]] = [
        {"id": "anna", "email": "anna@example.org", "roles": ["support"], "attributes": {"name": "Anna"}},
        {"id": "bat", "email": "bat@"},
        {"id": "cem", "topics": ["ticket:42"]},
    ]
    results = [each async for each in people.put_many(given)]
    assert [(each.id, each.status) for each in results] == [
        ("anna", "created"),
        ("bat", "refused"),
        ("cem", "created"),
    ]
    assert isinstance(results[1].error, InvalidContentError)
    assert [fault.pointer for fault in results[1].error.errors] == ["/email"]
    assert [each.status async for each in people.put_many([given[0], {"id": "cem", "topics": []}])] == [
        "unchanged",
        "updated",
    ]
    assert ((await people.get("anna")).roles, (await people.get("cem")).topics) == (("support",), ())


async def test_events_of_a_batcher_arrive(side: Side) -> None:
    kind = await side.register("ticket.solved")
    await side.people("anna")
    async with side.carillon.batcher() as batcher:
        answers = await asyncio.gather(
            *(batcher.send(Event(kind, {"n": n}, users=["anna"])) for n in range(30))
        )
    assert len({answer.id for answer in answers}) == 30


async def test_a_key_that_nobody_made_opens_nothing(side: Side) -> None:
    with pytest.raises(UnauthorizedError):
        await side.stranger.send(message("Hello", "World", everyone=True))


async def test_the_blocking_client_is_told_the_same(side: Side) -> None:
    kind = await side.register("ticket.solved")
    await asyncio.to_thread(_blocking_story, side.blocking, kind)


def _blocking_story(carillon: Carillon, kind: str) -> None:
    carillon.subscribers.put("anna", email="anna@example.org")
    carillon.roles.add("support", "anna")
    assert list(carillon.roles.members("support")) == ["anna"]
    frames = carillon.stream("anna")
    assert isinstance(next(frames), Ready)
    with carillon.batcher() as batcher:
        accepted = batcher.send(Event(kind, {"n": 1}, roles=["support"]))
    shown = next(frames)
    assert isinstance(shown, Notification)
    frames.close()
    inbox = carillon.inbox("anna")
    assert [item.id for item in inbox.list()] == [shown.item.id]
    assert inbox.change(shown.item.id, read=True).counts.unread == 0
    (delivery,) = carillon.deliveries.list(event=accepted.id)
    assert carillon.deliveries.get(delivery.id).subscriber == "anna"
    assert [each.id for each in carillon.events.list(type=kind)] == [accepted.id]
    assert carillon.dead_letters.count().total == 0
    with pytest.raises(NotFoundError):
        carillon.operations.get(uuid4())
