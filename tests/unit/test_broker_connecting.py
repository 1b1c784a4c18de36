"""A connection that does not come about leaves nothing behind."""

import asyncio
import gc
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from aio_pika.exceptions import AMQPError
from carillon_shared.broker.connecting import connect


async def _refused(port: int) -> None:
    with pytest.raises((OSError, AMQPError)):
        await connect(f"amqp://127.0.0.1:{port}/", properties={"connection_name": "test"})


def _collected_without_a_loop(port: int) -> None:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(_refused(port))
    gc.collect()
    loop.close()


def test_a_refused_connection_wants_nothing_when_it_is_collected(unused_tcp_port: int) -> None:
    # In a thread of its own no loop is current when garbage is collected, as between two tests.
    with warnings.catch_warnings(record=True) as caught, ThreadPoolExecutor(1) as thread:
        warnings.simplefilter("always")
        thread.submit(_collected_without_a_loop, unused_tcp_port).result()
    assert [str(one.message) for one in caught] == []
