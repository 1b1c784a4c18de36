"""Free TCP ports on the loopback address, held so that two starts at once cannot pick the same one."""

import random
import socket
import sys
from collections.abc import Iterable, Mapping

from carillon_local.errors import LocalError

HOST = "127.0.0.1"
# Below the range that outgoing connections take theirs from (32768 and up on Linux), so that a port we
# remember is not in use by a passing connection when we come back.
_RANGE = range(20000, 32000)
_ATTEMPTS = 200


class PortHolder:
    """Picks ports and holds each as long as this object (or the process) lives.

    Holding is an abstract Unix socket named after the port: it belongs to the same network namespace as the
    port does, and the kernel lets go of it when the process ends, however it ends. Where there are none (not
    Linux), ports are picked without being held.
    """

    def __init__(self) -> None:
        self._held: dict[int, socket.socket | None] = {}

    def pick(self, preferred: Iterable[int | None] = ()) -> int:
        """Return the first preferred port that is free, else a random free one, and hold it.

        Raises:
            LocalError: when no free port was found.
        """
        chooser = random.SystemRandom()
        candidates = [port for port in preferred if port]
        candidates += chooser.sample(_RANGE, _ATTEMPTS)
        for port in candidates:
            if self._take(port):
                return port
        raise LocalError(f"found no free TCP port between {_RANGE.start} and {_RANGE.stop}")

    def pick_all(self, wanted: Mapping[str, int | None], remembered: Mapping[str, int]) -> dict[str, int]:
        """Pick a port for each name: its well-known one, else the one it had last time, else any free one."""
        return {name: self.pick([usual, remembered.get(name)]) for name, usual in wanted.items()}

    def release(self) -> None:
        """Let go of all ports."""
        for holder in self._held.values():
            if holder is not None:
                holder.close()
        self._held.clear()

    def _take(self, port: int) -> bool:
        if port in self._held or not is_free(port):
            return False
        holder: socket.socket | None = None
        if sys.platform == "linux":
            holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                holder.bind(f"\0carillon-port-{port}")
            except OSError:
                holder.close()
                return False
        self._held[port] = holder
        return True


def is_free(port: int) -> bool:
    """Tell whether a server could listen there; lingering connections of an earlier one do not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True
