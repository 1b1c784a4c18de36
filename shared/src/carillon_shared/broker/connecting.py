"""Making and unmaking one connection of the library's."""

import contextlib

import aio_pika
from aio_pika.abc import AbstractConnection
from pamqp.common import FieldTable
from yarl import URL


async def connect(url: URL | str, *, properties: FieldTable) -> AbstractConnection:
    """Return an open connection. Raises what the library raises; nothing is left behind then.

    The library's own `connect` drops a connection that did not come about without closing it, and its
    destructor then wants to be awaited wherever garbage happens to be collected.
    """
    connection = aio_pika.Connection(aio_pika.connection.make_url(url), client_properties=properties)
    try:
        await connection.connect()
    except BaseException:
        with contextlib.suppress(Exception):
            await connection.close()
        raise
    return connection
