"""The limit that all attempts of a worker share."""

import asyncio
import time

import pytest
from carillon_shared.delivery.time_limit import TimeLimit


async def hang(limit: TimeLimit) -> str:
    try:
        with limit.call():
            await asyncio.Event().wait()
    except TimeoutError:
        return "too late"
    return "ended"


async def test_calls_that_hang_are_ended_each_at_its_time() -> None:
    limit = TimeLimit(0.05)
    began = time.monotonic()
    assert list(await asyncio.gather(hang(limit), hang(limit))) == ["too late", "too late"]
    assert time.monotonic() - began >= 0.045
    assert await hang(limit) == "too late"
    assert time.monotonic() - began >= 0.095


async def test_a_quick_call_is_left_alone_and_the_next_one_is_still_limited() -> None:
    limit = TimeLimit(0.02)
    with limit.call():
        await asyncio.sleep(0)
    assert await hang(limit) == "too late"  # by the second timer: the first was set for the quick call


async def test_the_task_can_go_on_after_its_call_was_ended() -> None:
    limit = TimeLimit(0.01)

    async def twice() -> list[str]:
        return [await hang(limit), await hang(limit)]

    assert await asyncio.create_task(twice()) == ["too late", "too late"]


async def test_a_cancelled_task_is_cancelled_and_not_late() -> None:
    task = asyncio.create_task(hang(TimeLimit(60)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_task_that_others_cancel_at_the_same_moment_stays_cancelled() -> None:
    limit = TimeLimit(60)
    task = asyncio.create_task(hang(limit))
    await asyncio.sleep(0)
    (call,) = limit._open
    call.cut_off()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_errors_pass_through() -> None:
    with pytest.raises(KeyError), TimeLimit(1).call():
        raise KeyError("mine")
