import asyncio

import pytest
from carillon_shared.broker.backoff import Backoff
from carillon_shared.broker.cancellation import library_cancellation
from carillon_shared.broker.errors import ConnectionLostError


def test_pauses_grow_to_a_ceiling_and_begin_again_after_a_success() -> None:
    backoff = Backoff(first=0.2, longest=5.0, uniform=lambda _low, high: high)
    assert [backoff.next() for _ in range(7)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    backoff.reset()
    assert backoff.next() == 0.2


def test_pauses_differ_between_processes() -> None:
    backoff = Backoff(first=0.2, longest=5.0)
    delays = [backoff.next() for _ in range(50)]
    assert all(0.2 <= delay <= 5.0 for delay in delays)
    assert len(set(delays[5:])) > 10


async def test_a_cancellation_nobody_asked_for_is_a_lost_connection() -> None:
    cancelled = asyncio.get_running_loop().create_future()
    cancelled.cancel()
    with pytest.raises(ConnectionLostError), library_cancellation():
        await cancelled


async def test_a_cancellation_that_was_asked_for_stays_one() -> None:
    async def waits() -> None:
        with library_cancellation():
            await asyncio.Event().wait()

    task = asyncio.create_task(waits())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_time_limit_stays_a_time_limit() -> None:
    with pytest.raises(TimeoutError), library_cancellation():
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()
