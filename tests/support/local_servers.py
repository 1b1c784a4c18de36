"""Private servers of one test session, in a folder that goes with it."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from carillon_local.accounts import Account
from carillon_local.places import Places, find_checkout, find_places, root_servers_folder
from carillon_local.ports import PortHolder
from carillon_local.postgres import PostgresServer
from carillon_local.postgres_binaries import ensure_binaries
from carillon_local.processes import start_mark
from carillon_local.rabbitmq import RabbitmqPorts, RabbitmqServer
from carillon_local.rabbitmq_install import ensure_scripts
from carillon_local.secrets import new_password

_PREFIX = "carillon-test-"
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
_ENOUGH_MEMORY = 2 * 1024**3


class LocalServers:
    """Starts the servers when asked, and removes them with their data when closed."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._ports = PortHolder()
        self._places = find_places(find_checkout(Path(__file__)))
        self._folder: Path | None = None
        self._postgres: PostgresServer | None = None
        self._rabbitmq: RabbitmqServer | None = None
        self._own: list[PostgresServer | RabbitmqServer] = []

    def begin(self, names: Iterable[str]) -> None:
        """Start the slow one first; neither is waited for."""
        if "rabbitmq" in names and self._rabbitmq is None:
            self._rabbitmq = self.new_rabbitmq("rabbitmq")
            self._rabbitmq.begin()
        if "postgres" in names and self._postgres is None:
            self._postgres = self.new_postgres("postgres")
            self._postgres.begin()

    def postgres_url(self) -> str:
        """Wait for PostgreSQL and return its superuser URL."""
        assert self._postgres is not None, "begin() comes first"
        self._postgres.wait_ready()
        return self._postgres.superuser_url

    def rabbitmq_urls(self) -> tuple[str, str]:
        """Wait for RabbitMQ and return its AMQP and management URLs."""
        assert self._rabbitmq is not None, "begin() comes first"
        self._rabbitmq.wait_ready()
        return self._rabbitmq.amqp_url, self._rabbitmq.management_url

    def new_postgres(self, name: str, *, below: Path | None = None) -> PostgresServer:
        """Return a server of its own, not started yet, that lies in our folder or below another."""
        server = PostgresServer(
            folder=(below or self.folder) / name,
            port=self._ports.pick(),
            password=new_password(),
            binaries=ensure_binaries(self._places.servers, self.account),
            account=self.account,
        )
        self._own.append(server)
        return server

    def new_rabbitmq(self, name: str) -> RabbitmqServer:
        """Return a node of its own, not started yet."""
        server = RabbitmqServer(
            folder=self.folder / name,
            ports=RabbitmqPorts(*(self._ports.pick() for _ in range(5))),
            password=new_password(),
            scripts=ensure_scripts(self._say),
            account=self.account,
        )
        self._own.append(server)
        return server

    @property
    def account(self) -> Account:
        """Who the servers run as."""
        return self._places.account

    @property
    def folder(self) -> Path:
        """The session's folder, in memory where there is enough of it."""
        if self._folder is None:
            self._folder = _make_session_folder(self._places)
        return self._folder

    def close(self) -> None:
        """End the servers and remove their folder."""
        for server in self._own:
            # PostgreSQL's clean stop gives back its shared memory; RabbitMQ's takes seconds for nothing.
            end = server.stop if isinstance(server, PostgresServer) else server.kill
            end()
        self._own.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder)
        self._ports.release()


def _make_session_folder(places: Places) -> Path:
    base = _base_folder(places)
    _remove_leftovers(base)
    mark = f"{_PREFIX}{os.getuid()}-{os.getpid()}-{start_mark(os.getpid())}-"
    folder = Path(tempfile.mkdtemp(prefix=mark, dir=base))
    places.account.own(folder)
    return folder


def _base_folder(places: Places) -> Path:
    if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ENOUGH_MEMORY:
        return _MEMORY
    return Path(tempfile.gettempdir()) if places.account.uid is None else root_servers_folder()


def _remove_leftovers(base: Path) -> None:
    """Remove folders of our earlier sessions that were killed before they could."""
    for folder in base.glob(f"{_PREFIX}{os.getuid()}-*"):
        pid, mark = folder.name.removeprefix(_PREFIX).split("-")[1:3]
        if start_mark(int(pid)) != mark:
            shutil.rmtree(folder, ignore_errors=True)
