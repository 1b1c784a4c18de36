import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import aio_pika
from carillon_shared.broker import BrokerSession, Incoming
from carillon_shared.consumer import (
    Ack,
    BatchConsumer,
    BatchLimits,
    DeadLetter,
    MessageSource,
    Received,
    Settlement,
)
from carillon_shared.contracts.codec import UndecodableMessageError
from carillon_shared.contracts.messages import RangePlanned
from carillon_shared.lifecycle import Shutdown
from support.broker_queues import (
    DEAD_QUEUE,
    EXCHANGE,
    KEY,
    QUEUE,
    broker_session,
    depth,
    fetch,
    plain_channel,
    publish_numbers,
)
from support.waiting import eventually

Handle = Callable[[list[Received]], Awaitable[Sequence[Settlement]]]


class PassingError(Exception):
    """An outage, as the tests make them."""


def _numbers(batch: list[Received]) -> list[int]:
    return [received.message.n for received in batch if isinstance(received.message, RangePlanned)]


class Consuming:
    """A running consumer and what it did."""

    def __init__(self, session: BrokerSession, handler: Handle, limits: BatchLimits) -> None:
        self.shutdown = Shutdown()
        self.poison: list[tuple[Incoming, UndecodableMessageError]] = []
        self.consumer = BatchConsumer(
            session,
            [QUEUE],
            limits=limits,
            handler=handler,
            on_poison=self._store,
            is_transient=lambda error: isinstance(error, PassingError),
        )
        self.running = asyncio.create_task(self.consumer.run(self.shutdown))

    async def stop(self) -> None:
        self.shutdown.request()
        async with asyncio.timeout(20):
            await self.running

    async def _store(self, incoming: Incoming, error: UndecodableMessageError) -> None:
        self.poison.append((incoming, error))


@asynccontextmanager
async def _consuming(
    session: BrokerSession, handler: Handle, limits: BatchLimits | None = None
) -> AsyncIterator[Consuming]:
    consuming = Consuming(session, handler, limits or BatchLimits(prefetch=100, max_batch=50))
    try:
        yield consuming
    finally:
        await consuming.stop()


async def _until(fact: Callable[[], bool], what: str) -> None:
    async def asked() -> bool:
        return fact()

    await eventually(asked, seconds=20, what=what)


async def _settled_for_good(url: str, *, dead: int = 0) -> None:
    """Nothing is left, also not with consumers, which are gone by now."""

    async def fact() -> bool:
        return (await depth(url), await depth(url, DEAD_QUEUE)) == (0, dead)

    await eventually(fact, seconds=15, what=f"an empty queue and {dead} dead letters")


async def test_a_batch_takes_whatever_came_while_the_last_one_was_handled(broker_url: str) -> None:
    batches: list[list[int]] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def handler(batch: list[Received]) -> list[Settlement]:
        batches.append(_numbers(batch))
        begun.set()
        await go_on.wait()
        return [Ack()] * len(batch)

    async with broker_session(broker_url) as session, _consuming(session, handler) as consuming:
        await publish_numbers(session, [0])
        await begun.wait()
        await publish_numbers(session, range(1, 31))
        (source,) = consuming.consumer.sources
        await _until(lambda: source._subscription.waiting == 30, "30 messages in the line")
        go_on.set()
        await _until(lambda: len(batches) == 2, "the second batch")
        assert source.newest_published_at is not None
    assert batches == [[0], list(range(1, 31))]
    await _settled_for_good(broker_url)


async def test_an_outage_keeps_the_batch_here_and_costs_no_delivery(broker_url: str) -> None:
    calls: list[list[int]] = []

    async def handler(batch: list[Received]) -> list[Settlement]:
        calls.append(_numbers(batch))
        assert all(received.incoming.delivery_count == 0 for received in batch)
        if len(calls) < 4:
            raise PassingError("database away")
        return [Ack()] * len(batch)

    async with broker_session(broker_url) as session:
        await publish_numbers(session, range(5))
        async with _consuming(session, handler):
            await _until(lambda: len(calls) >= 4, "the fourth call")
    assert [calls[0]] * 4 == calls[:4]
    await _settled_for_good(broker_url)


async def test_a_message_that_breaks_the_handler_is_found_and_dead_lettered(broker_url: str) -> None:
    handled: set[int] = set()

    async def handler(batch: list[Received]) -> list[Settlement]:
        numbers = _numbers(batch)
        if 13 in numbers:
            raise ZeroDivisionError("a bug")
        handled.update(numbers)
        return [Ack()] * len(batch)

    async with broker_session(broker_url) as session:
        await publish_numbers(session, range(20))
        async with _consuming(session, handler):
            await _until(lambda: len(handled) == 19, "the other 19")
        await _settled_for_good(broker_url, dead=1)
    message = await fetch(broker_url, DEAD_QUEUE)
    assert message is not None
    assert message.message_id == "m-13"


async def test_a_handler_that_loses_count_acks_nothing_it_did_not_name(broker_url: str) -> None:
    async def handler(batch: list[Received]) -> list[Settlement]:
        return [Ack()] if len(batch) == 1 else [Ack()] * (len(batch) - 1)

    async with broker_session(broker_url) as session:
        await publish_numbers(session, range(5))
        async with _consuming(session, handler):
            await _settled_for_good(broker_url)


async def test_messages_are_dead_lettered_when_the_handler_says_so(broker_url: str) -> None:
    async def handler(batch: list[Received]) -> list[Settlement]:
        return [DeadLetter("odd") if number % 2 else Ack() for number in _numbers(batch)]

    async with broker_session(broker_url) as session:
        await publish_numbers(session, range(10))
        async with _consuming(session, handler):
            await _settled_for_good(broker_url, dead=5)


async def test_what_cannot_be_read_is_stored_and_acked(broker_url: str) -> None:
    handled: list[int] = []

    async def handler(batch: list[Received]) -> list[Settlement]:
        handled.extend(_numbers(batch))
        return [Ack()] * len(batch)

    async with broker_session(broker_url) as session:
        await _publish_raw(broker_url, b"{", "fanout.range.v1")
        await _publish_raw(broker_url, b"{}", "fanout.range.v99")
        await publish_numbers(session, [1])
        async with _consuming(session, handler) as consuming:
            await _until(lambda: len(consuming.poison) == 2 and handled == [1], "both stored, one handled")
    bodies = [incoming.body for incoming, _ in consuming.poison]
    assert bodies == [b"{", b"{}"]
    assert "fanout.range.v99" in str(consuming.poison[1][1])
    await _settled_for_good(broker_url)


async def test_stopping_finishes_what_was_begun_and_gives_back_the_rest(broker_url: str) -> None:
    batches: list[list[int]] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def handler(batch: list[Received]) -> list[Settlement]:
        batches.append(_numbers(batch))
        begun.set()
        await go_on.wait()
        return [Ack()] * len(batch)

    async with broker_session(broker_url) as session:
        await publish_numbers(session, range(20))
        limits = BatchLimits(prefetch=20, max_batch=5)
        async with _consuming(session, handler, limits) as consuming:
            (source,) = consuming.consumer.sources
            await begun.wait()
            await _until(lambda: source._subscription.waiting == 20 - len(batches[0]), "all of them here")
            consuming.shutdown.request()
            await _until(lambda: source._subscription.waiting == 0, "the rest given back")
            assert not consuming.running.done()
            go_on.set()
            await consuming.running
        assert len(batches) == 1
        assert await depth(broker_url) == 20 - len(batches[0])


async def test_stopping_during_an_outage_gives_the_batch_back(broker_url: str) -> None:
    failed = asyncio.Event()

    async def handler(batch: list[Received]) -> list[Settlement]:
        failed.set()
        raise PassingError("database away")

    async with broker_session(broker_url) as session:
        await publish_numbers(session, range(5))
        async with _consuming(session, handler):
            await failed.wait()
    assert await depth(broker_url) == 5


async def test_a_call_that_does_not_end_is_left_behind_and_its_messages_come_again(broker_url: str) -> None:
    begun = asyncio.Event()

    async def handler(batch: list[Received]) -> list[Settlement]:
        begun.set()
        await asyncio.Event().wait()
        return [Ack()] * len(batch)

    async with broker_session(broker_url) as session:
        await publish_numbers(session, range(5))
        limits = BatchLimits(prefetch=5, max_batch=5, drain_timeout=0.1)
        async with _consuming(session, handler, limits):
            await begun.wait()

        async def back() -> bool:
            return await depth(broker_url) == 5

        await eventually(back, seconds=10, what="all five back in the queue")


async def test_a_connection_lost_under_a_running_handler_loses_and_confuses_nothing(broker_url: str) -> None:
    seen: dict[int, int] = {}
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def handler(batch: list[Received]) -> list[Settlement]:
        for number in _numbers(batch):
            seen[number] = seen.get(number, 0) + 1
        begun.set()
        await go_on.wait()
        return [Ack()] * len(batch)

    async with broker_session(broker_url) as session:
        await publish_numbers(session, range(30))
        async with _consuming(session, handler, BatchLimits(prefetch=30, max_batch=7)) as consuming:
            (source,) = consuming.consumer.sources
            await begun.wait()
            session._links["consume"].recycle("test")
            await _until(lambda: source._subscription.generation == 2, "the second channel")
            go_on.set()
            await _until(lambda: len(seen) == 30, "every message")
            await _settled_for_good(broker_url)
            assert source._subscription.generation == 2
    assert set(seen.values()) <= {1, 2}


async def test_many_calls_at_once_never_ack_what_another_still_holds(broker_url: str) -> None:
    calls = 0

    async def handler(batch: list[Received]) -> list[Settlement]:
        nonlocal calls
        calls += 1
        for _ in range(calls * 7 % 5):  # calls overtake one another
            await asyncio.sleep(0)
        return [DeadLetter("every tenth") if n % 10 == 0 else Ack() for n in _numbers(batch)]

    async with broker_session(broker_url) as session:
        await publish_numbers(session, range(2000))
        limits = BatchLimits(prefetch=200, max_batch=3, concurrency=8)
        async with _consuming(session, handler, limits) as consuming:
            await _settled_for_good(broker_url, dead=200)
            (source,) = consuming.consumer.sources
            # A wrong tag would have closed the channel, and this would be the next one.
            assert source._subscription.generation == 1
            assert source.open_messages == 0


async def test_a_source_waits_no_longer_than_it_is_asked_to(broker_url: str) -> None:
    async with broker_session(broker_url) as session:
        source = MessageSource(session.subscribe(QUEUE, prefetch=10))
        assert await source.get_batch(5, wait=0.01) == []
        await publish_numbers(session, range(3))
        taken: list[Incoming] = []
        async with asyncio.timeout(10):
            while len(taken) < 3:
                taken += await source.get_batch(5)
        await source.settle(taken[1], Ack())
        await source.settle(taken[0], Ack())
        await source.settle(taken[2], DeadLetter("no"))
        await source.close()
    await _settled_for_good(broker_url, dead=1)


async def _publish_raw(url: str, body: bytes, message_type: str) -> None:
    async with plain_channel(url) as channel:
        exchange = await channel.get_exchange(EXCHANGE, ensure=False)
        await exchange.publish(aio_pika.Message(body, type=message_type), KEY)
