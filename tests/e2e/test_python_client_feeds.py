"""What the Python client is told of feeds, streams and dead letters, by the platform and by the fake."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from uuid import uuid4

import pytest
from carillon_client import (
    DeadLetterFilter,
    Event,
    Frame,
    InvalidContentError,
    NotFoundError,
    Notification,
    Ready,
    Signal,
    UnauthorizedError,
    Update,
)
from support.two_carillons import SECONDS, Side
from support.waiting import eventually

pytestmark = pytest.mark.timeout(180)


async def test_a_feed_is_read_and_changed(side: Side) -> None:
    kind = await side.register("ticket.solved")
    await side.people("anna")
    inbox = side.carillon.inbox("anna")
    for n in range(3):
        accepted = await side.carillon.send(Event(kind, {"n": n}, users=["anna"]))
        await side.completed(accepted.id)
    newest, middle, oldest = [item async for item in inbox.list()]
    assert (newest.title, newest.body, newest.type) == ("Ticket 2", "Number 2", kind)
    changed = await inbox.change(newest.id, read=True)
    assert changed.item.read_at is not None
    assert (changed.counts.unread, changed.counts.unseen, changed.counts.seq) == (2, 2, 4)
    assert [item.id async for item in inbox.list("unread")] == [middle.id, oldest.id]
    both = await inbox.change_many([middle.id, uuid4()], archived=True)
    assert ([item.id for item in both.items], both.counts.unread) == ([middle.id], 1)
    assert [item.id async for item in inbox.list("archived")] == [middle.id]
    assert (await inbox.delete(oldest.id)).counts.unread == 0
    with pytest.raises(NotFoundError):
        await inbox.delete(oldest.id)
    await inbox.change(newest.id, read=False)
    assert (await inbox.counts()).unread == 1
    assert (await inbox.read_all()).counts.unread == 0
    with pytest.raises(InvalidContentError):
        await inbox.change(newest.id)


async def _next(frames: AsyncIterator[Frame]) -> Frame:
    async with asyncio.timeout(SECONDS):
        return await anext(frames)


async def test_a_stream_shows_what_happens_and_goes_on_where_it_was(side: Side) -> None:
    kind = await side.register("ticket.solved")
    await side.people("anna")
    inbox = side.carillon.inbox("anna")
    async with aclosing(side.carillon.stream("anna", topics=["job:17"])) as frames:
        ready = await _next(frames)
        assert isinstance(ready, Ready)
        assert (ready.counts.unread, ready.counts.seq) == (0, 0)
        await side.carillon.send(Event(kind, {"n": 1}, users=["anna"]))
        shown = await _next(frames)
        assert isinstance(shown, Notification)
        assert (shown.item.title, shown.counts.unread, shown.counts.seq) == ("Ticket 1", 1, 1)
        await side.carillon.signal("job.progress", {"percentage": 40}, topics=["job:17"])
        assert await _next(frames) == Signal(name="job.progress", data={"percentage": 40}, topic="job:17")
    await inbox.change(shown.item.id, read=True)
    await side.carillon.send(Event(kind, {"n": 2}, users=["anna"]))
    await eventually(lambda: _has(side, "anna", 2), seconds=SECONDS, what="the second item")
    async with aclosing(side.carillon.stream("anna", last_event_id=shown.counts.seq)) as frames:
        assert isinstance(await _next(frames), Ready)
        updated, second = await _next(frames), await _next(frames)
        assert isinstance(updated, Update)
        assert [(state.id, state.read) for state in updated.items] == [(shown.item.id, True)]
        assert isinstance(second, Notification)
        assert (second.item.title, second.counts.seq) == ("Ticket 2", 3)
        await inbox.read_all()
        marked = await _next(frames)
        assert isinstance(marked, Update)
        assert marked.all == {"read": True}
        await inbox.delete(shown.item.id)
        deleted = await _next(frames)
        assert isinstance(deleted, Update)
        assert [(state.id, state.deleted) for state in deleted.items] == [(shown.item.id, True)]


async def _has(side: Side, subscriber: str, count: int) -> bool:
    return len([item async for item in side.carillon.inbox(subscriber).list()]) == count


async def test_a_stream_of_somebody_unknown_ends_at_once(side: Side) -> None:
    with pytest.raises(NotFoundError):
        await _next(side.carillon.stream("nobody"))

    async def forged() -> str:
        return "e30.e30.e30"

    with pytest.raises(UnauthorizedError):
        await _next(side.carillon.stream(token=forged))


async def test_dead_letters_are_found_tried_and_replayed(side: Side) -> None:
    kind = await side.register("report", channels=["email"], retry={"email": {"max_attempts": 1}})
    person, address = f"u-{uuid4().hex[:8]}", f"500+{uuid4().hex[:8]}@example.org"
    await side.carillon.subscribers.put(person, email=address)
    accepted = await side.carillon.send(Event(kind, {"n": 7}, users=[person]))
    assert {status for _, _, status, _ in await side.deliveries(accepted.id)} == {"dead"}
    wanted = DeadLetterFilter(channel="email", event_type=kind)
    (dead,) = [each async for each in side.carillon.dead_letters.list(wanted)]
    assert (dead.event_id, dead.subscriber, dead.reason) == (accepted.id, person, "retries_exhausted")
    assert len(dead.attempts) == 1
    count = await side.carillon.dead_letters.count(wanted)
    assert (count.total, count.by_reason) == (1, {"retries_exhausted": 1})
    detail = await side.carillon.dead_letters.get(dead.id)
    assert detail.preview is not None
    assert (detail.preview.rendered or {})["subject"] == "Ticket 7"
    would = await side.carillon.dead_letters.preview_replay(wanted)
    assert (would.matched, would.acted, would.complete) == (1, 1, True)
    mended = {"address": {"email": f"{person}@example.org"}}
    named = DeadLetterFilter(ids=[dead.id])
    started = await side.carillon.dead_letters.replay(named, reason="mended", overrides=mended)
    assert started.matched == 1

    async def done() -> bool:
        return (await side.carillon.operations.get(started.operation_id)).status == "done"

    await eventually(done, seconds=SECONDS, what="the replay to be done")
    assert (await side.carillon.operations.get(started.operation_id)).acted == 1

    async def sent() -> bool:
        return (await side.carillon.deliveries.get(dead.id)).status == "sent"

    await eventually(sent, seconds=SECONDS, what="the delivery to be sent")
    assert (await side.carillon.dead_letters.count(wanted)).total == 0


async def test_dead_letters_are_given_up_for_a_reason(side: Side) -> None:
    kind = await side.register("report", channels=["email"], retry={"email": {"max_attempts": 1}})
    await side.carillon.subscribers.put("anna", email=f"500+{uuid4().hex[:8]}@example.org")
    accepted = await side.carillon.send(Event(kind, {"n": 7}, users=["anna"]))
    await side.completed(accepted.id)
    with pytest.raises(InvalidContentError):
        await side.carillon.dead_letters.discard(DeadLetterFilter(), reason="too wide")
    assert (await side.carillon.dead_letters.preview_discard(DeadLetterFilter(), everything=True)).acted == 1
    started = await side.carillon.dead_letters.discard(
        DeadLetterFilter(event_type=kind), reason="nobody needs it"
    )

    async def discarded() -> bool:
        return {each.status async for each in side.carillon.deliveries.list(event=accepted.id)} == {
            "discarded"
        }

    await eventually(discarded, seconds=SECONDS, what="the delivery to be discarded")
    assert (await side.carillon.operations.get(started.operation_id)).kind == "discard"
