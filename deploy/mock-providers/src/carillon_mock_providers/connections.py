"""Cutting a connection the hard way."""

import asyncio
import socket
import struct
from typing import cast

_LINGER_NONE = struct.pack("ii", 1, 0)


def answer_and_close(transport: asyncio.BaseTransport, answer: bytes) -> None:
    """Writes these bytes, whatever the protocol says, and ends the connection in order."""
    if not transport.is_closing():
        cast("asyncio.WriteTransport", transport).write(answer)  # uvloop's is none by its bases
    transport.close()


def reset_connection(transport: asyncio.BaseTransport) -> None:
    """Ends a connection with a TCP reset, so that the client sees an error and not an orderly end."""
    endpoint = transport.get_extra_info("socket")
    if endpoint is not None:
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
    else:
        transport.close()
