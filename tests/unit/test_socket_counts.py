"""The counts of sockets that tests of leaks use."""

import os
import socket
import struct

from support.faults.sockets import deserted_sockets, served_sockets


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


def test_a_connection_is_served_as_long_as_somebody_listens_and_both_ends_are_there() -> None:
    before = served_sockets(os.getpid())
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()), server.accept()[0]:
            assert served_sockets(os.getpid()) == before + 1
        assert served_sockets(os.getpid()) == before
