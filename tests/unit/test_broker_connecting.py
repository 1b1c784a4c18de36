"""A connection that does not come about leaves nothing behind."""

import gc

import aio_pika
import pytest
from aio_pika.exceptions import AMQPError
from carillon_shared.broker.connecting import connect


async def test_a_refused_connection_is_closed(unused_tcp_port: int) -> None:
    url = f"amqp://127.0.0.1:{unused_tcp_port}/"
    with pytest.raises((OSError, AMQPError)) as raised:  # keeps the frames, and so the connection
        await connect(url, properties={"connection_name": "test"})
    made = [one for one in gc.get_objects() if isinstance(one, aio_pika.Connection)]
    ours = [one for one in made if one.url.port == unused_tcp_port]
    assert raised.value is not None
    assert [one.is_closed for one in ours] == [True]
