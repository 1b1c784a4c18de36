"""The count of sockets whose other end is gone, as tests of leaks use it."""

import os
import socket
import struct

from support.faults.database_sessions import deserted_sockets


def _pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        return client, server.accept()[0]


def test_a_socket_counts_once_its_other_end_is_closed_or_reset() -> None:
    before = deserted_sockets(os.getpid())
    for linger in (None, struct.pack("ii", 1, 0)):  # a FIN; a RST
        client, held = _pair()
        with held:
            assert deserted_sockets(os.getpid()) == before
            if linger:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            client.close()
            assert deserted_sockets(os.getpid()) == before + 1
        assert deserted_sockets(os.getpid()) == before
