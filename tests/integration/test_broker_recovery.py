"""What a broker that dies, freezes or runs out of memory does to what is under way."""

import asyncio
import os
import subprocess
from collections.abc import Callable

from carillon_local.rabbitmq import RabbitmqServer
from carillon_shared.broker import BrokerSession, Incoming, PublishUnconfirmedError, declare
from carillon_shared.consumer import Ack, MessageSource
from support.broker_queues import (
    DEAD_QUEUE,
    QUEUE,
    SMALL_TOPOLOGY,
    broker_session,
    depth,
    number_of,
    numbered,
    publish_numbers,
)
from support.waiting import eventually

_PUBLISH_AT_ONCE = 50
# RabbitMQ 3.10 can lose a quorum queue that is killed within about a second of being declared (tried), so the
# kill waits for this much traffic over this long first.
_SETTLED_IN_SECONDS = 6.0


class Traffic:
    """Publishes numbers until told to stop, and consumes them so that many are open at any time."""

    def __init__(self, session: BrokerSession) -> None:
        self.session = session
        self.source = MessageSource(session.subscribe(QUEUE, prefetch=100))
        self.confirmed: set[int] = set()
        self.settled: set[int] = set()
        self.unknown = 0
        self.stop = asyncio.Event()
        self._next = 0

    async def publish(self) -> None:
        """Publish; what is not confirmed is published again with its id until it is."""
        owed: list[int] = []
        while owed or not self.stop.is_set():
            while len(owed) < _PUBLISH_AT_ONCE and not self.stop.is_set():
                owed.append(self._next)
                self._next += 1
            results = await self.session.publisher.publish_many([numbered(number) for number in owed])
            failed = {number for number, result in zip(owed, results, strict=True) if result is not None}
            self.confirmed |= set(owed) - failed
            self.unknown += len(failed)
            owed = sorted(failed)
            await asyncio.sleep(0.05)  # a pace, not a wait

    async def consume(self) -> None:
        """Settle the newer half of what is here, so that there are always older messages open."""
        held: list[Incoming] = []
        while True:
            came = await self.source.get_batch(20, wait=0.2)
            held = [incoming for incoming in [*held, *came] if self.source.is_current(incoming)]
            keep = len(held) // 2 if came else 0
            for incoming in held[keep:]:
                await self.source.settle(incoming, Ack())
                self.settled.add(number_of(incoming.type, incoming.body))
            held = held[:keep]


async def _until(fact: Callable[[], bool], what: str, *, seconds: float = 60) -> None:
    async def asked() -> bool:
        return fact()

    await eventually(asked, seconds=seconds, what=what)


async def _killed_and_started_again(server: RabbitmqServer) -> None:
    await asyncio.to_thread(server.kill)
    server.begin()
    await asyncio.to_thread(server.wait_ready)


async def test_a_killed_broker_loses_nothing_that_was_confirmed_and_nothing_is_acked_unsettled(
    own_rabbitmq: RabbitmqServer,
) -> None:
    url = own_rabbitmq.amqp_url
    async with broker_session(url) as session:
        traffic = Traffic(session)
        clock = asyncio.get_running_loop().time
        begun = clock()
        await session.publisher.wait_connected()
        publishing = asyncio.create_task(traffic.publish())
        consuming = asyncio.create_task(traffic.consume())
        await _until(
            lambda: len(traffic.settled) > 200 and clock() - begun > _SETTLED_IN_SECONDS, "traffic to flow"
        )
        await _killed_and_started_again(own_rabbitmq)
        settled_before = len(traffic.settled)
        await _until(lambda: len(traffic.settled) > settled_before + 200, "traffic to flow again")
        traffic.stop.set()
        async with asyncio.timeout(30):
            await publishing
        await _until(lambda: traffic.confirmed <= traffic.settled, "every confirmed message to be settled")
        consuming.cancel()
        await asyncio.wait([consuming])
        assert consuming.cancelled(), consuming.exception()
        assert traffic.unknown > 0
        assert traffic.source._generation > 1
        assert await depth(url, DEAD_QUEUE) == 0


async def test_a_frozen_broker_leaves_publishes_unknown_in_time_and_traffic_goes_on_after_it(
    own_rabbitmq: RabbitmqServer,
) -> None:
    await declare(own_rabbitmq.amqp_url, topology=SMALL_TOPOLOGY)
    async with BrokerSession(
        own_rabbitmq.amqp_url, name="test", confirm_timeout=0.5, connect_timeout=1.0
    ) as session:
        await session.publisher.wait_connected()
        await session.publisher.publish(numbered(0))
        own_rabbitmq.pause()
        try:
            async with asyncio.timeout(5):
                results = await session.publisher.publish_many([numbered(n) for n in range(1, 1000)])
            assert {type(result) for result in results} <= {
                PublishUnconfirmedError,
                *PublishUnconfirmedError.__subclasses__(),
            }
            await _until(lambda: not session.connected, "the connection to be given up", seconds=10)
        finally:
            own_rabbitmq.resume()

        async def published() -> bool:
            return await session.publisher.publish_many([numbered(n) for n in range(1000)]) == [None] * 1000

        await eventually(published, seconds=30, what="publishing to work again")


async def test_a_memory_alarm_shows_and_passes(own_rabbitmq: RabbitmqServer) -> None:
    url = own_rabbitmq.amqp_url
    await declare(url, topology=SMALL_TOPOLOGY)
    async with BrokerSession(url, name="test", confirm_timeout=1.0) as session:
        source = MessageSource(session.subscribe(QUEUE, prefetch=10))
        await publish_numbers(session, range(5))
        await asyncio.to_thread(_set_memory_limit, own_rabbitmq, "0.000001")
        changes = 0

        def changed() -> None:
            nonlocal changes
            changes += 1

        session.on_change(changed)
        # The broker blocks a connection only when it next publishes.
        (result,) = await session.publisher.publish_many([numbered(5)])
        assert isinstance(result, PublishUnconfirmedError)
        await _until(lambda: session.blocked, "the alarm to show", seconds=20)
        assert session.connected
        taken: list[Incoming] = []
        async with asyncio.timeout(10):
            while len(taken) < 5:  # consuming goes on
                taken += await source.get_batch(5)
        await source.settle_many([(incoming, Ack()) for incoming in taken])
        await asyncio.to_thread(_set_memory_limit, own_rabbitmq, "0.6")
        await _until(lambda: not session.blocked, "the alarm to pass", seconds=20)
        await _publish_until_confirmed(session, 6)
        assert changes >= 2


async def _publish_until_confirmed(session: BrokerSession, number: int) -> None:
    async def published() -> bool:
        return await session.publisher.publish_many([numbered(number)]) == [None]

    await eventually(published, seconds=20, what="a confirm")


def _set_memory_limit(server: RabbitmqServer, share: str) -> None:
    subprocess.run(  # noqa: S603 - RabbitMQ's own tool, on the node of this test
        [server.scripts / "rabbitmqctl", "-n", server.node_name, "set_vm_memory_high_watermark", share],
        env={**os.environ, **server._environment()},
        check=True,
        capture_output=True,
        timeout=60,
    )
