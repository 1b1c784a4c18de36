"""The sockets of a process, as the kernel knows them (proc(5), /proc/PID/net)."""

from pathlib import Path

_ESTABLISHED, _LISTENING = "01", "0A"


def sockets_to(pid: int, port: int) -> int:
    """Return how many open TCP connections a process has to a port of this machine (Linux)."""
    rows = [row for row in _connections(pid) if row[3] == _ESTABLISHED]
    return len(_sockets(pid) & {row[9] for row in rows if int(row[2].rpartition(":")[2], 16) == port})


def deserted_sockets(pid: int) -> int:
    """Return how many sockets a process holds whose other end has closed or reset them (Linux)."""
    alive = {row[9] for row in _connections(pid) if row[3] in {_ESTABLISHED, _LISTENING}}
    local = {row[6] for row in _table(pid, "unix")}
    return len(_sockets(pid) - alive - local)


def served_sockets(pid: int) -> int:
    """Return how many connections that came to a process are open at both ends (Linux)."""
    rows = _connections(pid)
    own = _sockets(pid)
    ports = {row[1].rpartition(":")[2] for row in rows if row[3] == _LISTENING and row[9] in own}
    came = {row[9] for row in rows if row[3] == _ESTABLISHED and row[1].rpartition(":")[2] in ports}
    return len(own & came)


def _connections(pid: int) -> list[list[str]]:
    return _table(pid, "tcp") + _table(pid, "tcp6")


def _table(pid: int, name: str) -> list[list[str]]:
    return [line.split() for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]]


def _sockets(pid: int) -> set[str]:
    """Return the inodes of the sockets that a process has open."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(link.readlink())
        except FileNotFoundError:  # closed between two looks
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found
