# ruff: noqa: INP001 - a program of its own, copied alone into the images
"""A container's health check: exit code 0 when `/livez` on HEALTH_PORT of this container answers 200.

Run as `python -IS livez.py`, it needs no package and next to no time, because every container runs it again
and again. Liveness needs no other server, so a database that is away does not get containers restarted.
"""

import os
import socket
import sys

_SECONDS = 3.0


def main() -> int:
    """Ask once; return the exit code."""
    try:
        with socket.create_connection(
            ("127.0.0.1", int(os.environ["HEALTH_PORT"])), timeout=_SECONDS
        ) as server:
            server.sendall(b"GET /livez HTTP/1.0\r\nHost: localhost\r\n\r\n")
            answer = server.recv(16)
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0 if answer.split(b" ")[1:2] == [b"200"] else 1


if __name__ == "__main__":
    sys.exit(main())
