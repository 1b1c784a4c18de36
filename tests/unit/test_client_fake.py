"""What a test of a product does with Carillon in memory."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest
from carillon_client import (
    ONCE,
    ConflictError,
    Event,
    Notification,
    NotReachableError,
    Reset,
    RetryPolicy,
    ThrottledError,
    UnavailableError,
    message,
)
from carillon_client.testing import FakeCarillon

QUICK = RetryPolicy(attempts=3, first_seconds=0.001)


@pytest.fixture
def fake() -> FakeCarillon:
    made = FakeCarillon()
    made.register("ticket.solved", channels=["inapp", "email"], title="Ticket {n}")
    with made.client() as carillon:
        carillon.subscribers.put("anna", email="anna@example.org")
        carillon.roles.add("support", "anna")
    return made


def test_a_test_sees_what_was_sent_and_who_was_told(fake: FakeCarillon) -> None:
    with fake.client(source="/helpdesk") as carillon:
        carillon.send_to_roles(["support"], Event("ticket.solved", {"n": 42}))
    (event,) = fake.events_of("ticket.solved")
    assert (event.data, event.body["source"]) == ({"n": 42}, "/helpdesk")
    assert [(told.channel, told.status) for told in fake.deliveries_to("anna")] == [
        ("inapp", "delivered"),
        ("email", "sent"),
    ]
    assert fake.deliveries_to("bat") == []


def test_a_lost_answer_leads_to_a_duplicate_and_not_to_a_second_event(fake: FakeCarillon) -> None:
    fake.lose_next_answers()
    with fake.client(retry=QUICK) as carillon:
        assert carillon.send(Event("ticket.solved", {"n": 1}, users=["anna"])).duplicate
    assert len(fake.events) == 1
    fake.lose_next_answers()
    with fake.client(retry=ONCE) as carillon, pytest.raises(NotReachableError) as raised:
        carillon.send(Event("ticket.solved", {"n": 2}, users=["anna"]))
    assert raised.value.outcome_unknown
    assert len(fake.events) == 2


def test_refusals_and_absence_can_be_had(fake: FakeCarillon) -> None:
    event = Event("ticket.solved", {"n": 1}, users=["anna"])
    with fake.client(retry=QUICK) as carillon:
        fake.refuse_next(503, times=2)
        assert not carillon.send(event).duplicate
        fake.refuse_next(429, retry_after=3600)
        with pytest.raises(ThrottledError) as raised:
            carillon.send(event)
        assert raised.value.retry_after == 3600
        fake.refuse_next(503, times=3)
        with pytest.raises(UnavailableError):
            carillon.send(event)
        fake.go_away()
        with pytest.raises(NotReachableError):
            carillon.send(event)
        fake.come_back()
        assert carillon.send(event).duplicate


def test_rules_schedules_and_collapse_keys_are_there(fake: FakeCarillon) -> None:
    fake.register("ticket.mine", audience=lambda data: {"users": [data["owner"]]}, title="Yours")
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    with fake.client() as carillon:
        carillon.send(Event("ticket.mine", {"owner": "anna"}, deliver_at=tomorrow, collapse_key="t-1"))
        assert fake.deliveries == []
        with pytest.raises(ConflictError) as raised:
            carillon.send(Event("ticket.mine", {"owner": "anna"}, collapse_key="t-1"))
        assert raised.value.slug == "collapsed"
        assert str(raised.value.event_id) == fake.events[0].id
        carillon.send(
            Event(
                "ticket.mine",
                {"owner": "anna"},
                deliver_at=tomorrow,
                collapse_key="t-1",
                on_conflict="replace",
            )
        )
        fake.release_scheduled()
        assert [told.status for told in fake.deliveries_to("anna")] == ["delivered"]
        assert [event.status for event in fake.events] == ["cancelled", "completed"]


def test_a_stream_waits_for_what_another_thread_does(fake: FakeCarillon) -> None:
    with fake.client() as carillon:
        frames = carillon.stream("anna")
        next(frames)
        thread = threading.Thread(target=carillon.send, args=[message("Hello", "You", users=["anna"])])
        thread.start()
        shown = next(frames)
        thread.join()
        frames.close()
        assert isinstance(shown, Notification)
        ahead = carillon.stream("anna", last_event_id=99)
        next(ahead)
        assert isinstance(next(ahead), Reset)
        ahead.close()


async def test_an_asynchronous_stream_waits_too(fake: FakeCarillon) -> None:
    async with fake.async_client() as carillon:
        frames = carillon.stream("anna")
        await anext(frames)
        waiting = asyncio.ensure_future(anext(frames))
        await carillon.send(message("Hello", "You", users=["anna"]))
        assert isinstance(await waiting, Notification)
        await frames.aclose()
