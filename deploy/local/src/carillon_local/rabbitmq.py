"""A private RabbitMQ node: own name, ports, cookie and data, loopback only; never the machine's own."""

import hashlib
import os
import secrets
import shutil
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

from carillon_local.accounts import Account
from carillon_local.errors import LocalError
from carillon_local.processes import Command, ServerProcess

HOST = "127.0.0.1"
USER = "carillon"
_READY_SECONDS = 120
_AMQP_HEADER = b"AMQP\x00\x00\x09\x01"  # AMQP 0-9-1, section 4.2.2

_CONFIGURATION = """\
# Written at every start; changes here are lost.
listeners.tcp.local = {host}:{amqp}
management.tcp.ip = {host}
management.tcp.port = {management}
prometheus.tcp.ip = {host}
prometheus.tcp.port = {prometheus}
default_user = {user}
default_pass = {password}
default_user_tags.administrator = true
heartbeat = 15
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
raft.wal_max_size_bytes = 67108864
collect_statistics_interval = 10000
management.rates_mode = none
log.console = false
log.file = node.log
log.file.level = info
"""
_PLUGINS = "[rabbitmq_management,rabbitmq_prometheus].\n"
# Schedulers that find nothing to do sleep at once instead of spinning: an idle node then costs next to
# nothing.
_ERLANG_FLAGS = (
    "-noinput -start_epmd false -kernel inet_dist_use_interface {127,0,0,1} "
    "+S 2:2 +SDio 8 +sbwt none +sbwtdcpu none +sbwtdio none"
)


@dataclass(frozen=True, slots=True)
class RabbitmqPorts:
    """The TCP ports of one node, all on 127.0.0.1."""

    amqp: int
    management: int
    prometheus: int
    distribution: int
    epmd: int


class RabbitmqServer:
    """One RabbitMQ node in a folder of its own, with its own Erlang port mapper.

    Args:
        folder: holds data, logs and the Erlang cookie; made when missing, owned by ``account``.
        ports: where it listens.
        password: of the only user, ``carillon``; fixed when the data folder is first made. There is no
            ``guest``.
        scripts: RabbitMQ's ``sbin`` folder (see ``rabbitmq_install``).
        account: who the node runs as.
    """

    def __init__(
        self,
        *,
        folder: Path,
        ports: RabbitmqPorts,
        password: str,
        scripts: Path,
        account: Account | None = None,
    ) -> None:
        self.folder = folder
        self.ports = ports
        self.scripts = scripts
        self.account = account or Account()
        self._password = password
        logs = folder / "logs"
        self.port_mapper = ServerProcess(
            name="epmd",
            command=self.port_mapper_command,
            log=logs / "epmd.out",
        )
        self.process = ServerProcess(name="RabbitMQ", command=self.command, log=logs / "node.out")

    @property
    def node_name(self) -> str:
        """Name of the Erlang node; differs for every folder on this machine."""
        digest = hashlib.sha256(str(self.folder.absolute()).encode()).hexdigest()[:12]
        return f"carillon-{digest}@localhost"

    @property
    def amqp_url(self) -> str:
        """URL of the default virtual host."""
        return f"amqp://{USER}:{self._password}@{HOST}:{self.ports.amqp}/"

    @property
    def management_url(self) -> str:
        """URL of the management API, with the user's name and password."""
        return f"http://{USER}:{self._password}@{HOST}:{self.ports.management}"

    @property
    def prometheus_url(self) -> str:
        """URL of the node's metrics."""
        return f"http://{HOST}:{self.ports.prometheus}/metrics"

    @property
    def pid(self) -> int:
        """Process id of the node."""
        return self.process.pid

    @property
    def port_mapper_command(self) -> Command:
        """How to run the Erlang port mapper in the foreground."""
        argv = [_epmd(), "-port", str(self.ports.epmd), "-address", HOST]
        return Command(argv=argv, env=self._environment(), account=self.account, folder=self.folder)

    @property
    def command(self) -> Command:
        """How to run the node in the foreground; the process is the Erlang machine itself."""
        argv = [str(self.scripts / "rabbitmq-server")]
        return Command(argv=argv, env=self._environment(), account=self.account, folder=self.folder)

    def prepare(self) -> None:
        """Make the folders and write the settings."""
        for folder in (self.folder, self.folder / "home", self.folder / "data", self.folder / "logs"):
            self.account.make_folder(folder)
        settings = {"host": HOST, "user": USER, "password": self._password, **asdict(self.ports)}
        self.account.write_private(self.folder / "rabbitmq.conf", _CONFIGURATION.format(**settings))
        self.account.write_private(self.folder / "enabled_plugins", _PLUGINS)
        # Stands in for the machine's own /etc/rabbitmq/rabbitmq-env.conf, which is not ours to follow.
        self.account.write_private(self.folder / "rabbitmq-env.conf", "")
        self._ensure_cookie()

    def begin(self) -> None:
        """Prepare and start it, without waiting until it accepts connections."""
        self.prepare()
        self.port_mapper.begin()
        self.port_mapper.wait_ready(self.port_mapper_is_ready, seconds=10)
        self.process.begin()

    def wait_ready(self) -> None:
        """Wait until it speaks AMQP, which it does only when start-up is over.

        Raises:
            LocalError: when it does not within two minutes.
        """
        try:
            self.process.wait_ready(self.is_ready, seconds=_READY_SECONDS)
        except LocalError:
            self.stop()
            raise

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        self.begin()
        self.wait_ready()

    def stop(self) -> None:
        """Stop the node cleanly, then its port mapper."""
        self.process.stop()
        self.port_mapper.stop(seconds=5)

    def kill(self) -> None:
        """End node and port mapper at once, as a power cut would."""
        self.process.kill()
        self.port_mapper.kill()

    def pause(self) -> None:
        """Freeze the node: connections stay open and nothing answers."""
        self.process.pause()

    def resume(self) -> None:
        """Let a paused node go on."""
        self.process.resume()

    def is_ready(self) -> bool:
        """Tell whether it speaks AMQP."""
        return answers_amqp(HOST, self.ports.amqp)

    def port_mapper_is_ready(self) -> bool:
        """Tell whether the port mapper answers."""
        return _maps_ports(self.ports.epmd)

    def _ensure_cookie(self) -> None:
        cookie = self.folder / "home" / ".erlang.cookie"
        if not cookie.exists():
            self.account.write_private(cookie, secrets.token_hex(20))
            cookie.chmod(0o400)

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin", "/sbin", "/bin"]),
            "LC_ALL": "C.UTF-8",
            "HOME": str(self.folder / "home"),
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(self.ports.epmd),
            "ERL_CRASH_DUMP": str(self.folder / "logs" / "erl_crash.dump"),
            "RABBITMQ_NODENAME": self.node_name,
            "RABBITMQ_DIST_PORT": str(self.ports.distribution),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_PID_FILE": str(self.folder / "node.pid"),
            # With "input" allowed the start script becomes the Erlang machine, so its process id is the
            # node's.
            "RABBITMQ_ALLOW_INPUT": "true",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG_FLAGS,
        }


def _epmd() -> str:
    found = shutil.which("epmd") or shutil.which(
        "epmd", path="/usr/lib/erlang/bin:/opt/homebrew/bin:/usr/local/bin"
    )
    if found is None:
        raise LocalError(
            "epmd, a part of Erlang that RabbitMQ needs, is not installed: install `erlang-base`"
        )
    return found


def _maps_ports(port: int) -> bool:
    """Tell whether a port mapper answers NAMES_REQ (Erlang distribution protocol, 13.2) with its own port."""
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(b"\x00\x01n")
            return int.from_bytes(connection.recv(4), "big") == port
    except OSError:
        return False


def answers_amqp(host: str, port: int) -> bool:
    """Tell whether a broker there answers the AMQP 0-9-1 protocol header with its first method frame."""
    try:
        with socket.create_connection((host, port), timeout=2) as connection:
            connection.sendall(_AMQP_HEADER)
            return connection.recv(1) == b"\x01"
    except OSError:
        return False
