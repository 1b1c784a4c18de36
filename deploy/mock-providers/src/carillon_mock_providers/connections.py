"""Cutting a connection the hard way."""

import asyncio
import socket
import struct

_LINGER_NONE = struct.pack("ii", 1, 0)


def reset_connection(transport: asyncio.BaseTransport) -> None:
    """Ends a connection with a TCP reset, so that the client sees an error and not an orderly end."""
    endpoint = transport.get_extra_info("socket")
    if endpoint is not None:
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
    else:
        transport.close()
