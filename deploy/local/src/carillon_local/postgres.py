"""A private PostgreSQL server: own data folder, own port, loopback only, durable as in production."""

import shutil
import signal
import socket
import struct
import subprocess
from pathlib import Path

from carillon_local.accounts import Account
from carillon_local.errors import LocalError
from carillon_local.processes import Command, ServerProcess

SUPERUSER = "postgres"
HOST = "127.0.0.1"
_READY_SECONDS = 60

# A statement that was committed stays committed: fsync and synchronous_commit are as in production.
_CONFIGURATION = """\
# Written at every start; changes here are lost.
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
max_connections = 200
password_encryption = scram-sha-256
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = 256MB
max_wal_size = 2GB
checkpoint_timeout = 15min
random_page_cost = 1.1
jit = off
logging_collector = off
log_statement = none
log_connections = off
log_checkpoints = off
timezone = 'UTC'
log_timezone = 'UTC'
"""
_ACCESS = f"host all all {HOST}/32 scram-sha-256\nhost replication all {HOST}/32 reject\n"


class PostgresServer:
    """One PostgreSQL server in a folder of its own.

    Args:
        folder: holds data and log; made when missing, owned by ``account``.
        port: TCP port on 127.0.0.1; there is no Unix socket.
        password: of the superuser ``postgres``; fixed when the data folder is first made.
        binaries: folder of PostgreSQL's programs (see ``postgres_binaries``).
        account: who the server runs as.
    """

    def __init__(
        self,
        *,
        folder: Path,
        port: int,
        password: str,
        binaries: Path,
        account: Account | None = None,
    ) -> None:
        self.folder = folder
        self.port = port
        self.binaries = binaries
        self.account = account or Account()
        self.data = folder / "data"
        self._password = password
        self.process = ServerProcess(name="PostgreSQL", command=self.command, log=folder / "postgres.log")

    @property
    def command(self) -> Command:
        """How to run it in the foreground. SIGINT is the "fast" stop: sessions are ended, data is written."""
        return Command(
            argv=[str(self.binaries / "postgres"), "-D", str(self.data)],
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"},
            account=self.account,
            stop_signal=signal.SIGINT,
            folder=self.folder,
        )

    @property
    def superuser_url(self) -> str:
        """URL of the maintenance database as superuser."""
        return f"postgresql://{SUPERUSER}:{self._password}@{HOST}:{self.port}/postgres"

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self.process.pid

    def prepare(self) -> None:
        """Make the data folder when it is missing and write the settings.

        Raises:
            LocalError: when initdb fails.
        """
        self.account.make_folder(self.folder)
        if not (self.data / "PG_VERSION").exists():
            self._make_data_folder()
        configuration = _CONFIGURATION.format(host=HOST, port=self.port)
        self.account.write_private(self.data / "postgresql.conf", configuration)
        self.account.write_private(self.data / "pg_hba.conf", _ACCESS)

    def begin(self) -> None:
        """Prepare and start it, without waiting until it accepts connections."""
        self.prepare()
        self.process.begin()

    def wait_ready(self) -> None:
        """Wait until it accepts connections.

        Raises:
            LocalError: when it does not within a minute.
        """
        self.process.wait_ready(self.is_ready, seconds=_READY_SECONDS)

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        self.begin()
        self.wait_ready()

    def stop(self, *, at_once: bool = False) -> None:
        """Stop it; sessions that are open are ended.

        With `at_once` nothing is written any more, and the next start has to recover ("immediate").
        """
        self.process.stop(number=signal.SIGQUIT if at_once else None)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self.process.kill()

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        self.process.pause()

    def resume(self) -> None:
        """Let it go on."""
        self.process.resume()

    def is_ready(self) -> bool:
        """Tell whether it asks a new session for its password, which it does only when start-up is over."""
        return answers_startup(HOST, self.port)

    def _make_data_folder(self) -> None:
        """Build it under another name first, so that an interrupted start leaves no half of a cluster."""
        draft = self.folder / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        self._initdb(draft)
        draft.rename(self.data)

    def _initdb(self, data: Path) -> None:
        password_file = self.folder / "superuser-password"
        self.account.write_private(password_file, f"{self._password}\n")
        options = ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        options += ["--auth=scram-sha-256", f"--username={SUPERUSER}", f"--pwfile={password_file}"]
        try:
            self._run([str(self.binaries / "initdb"), *options, "-D", str(data)])
        finally:
            password_file.unlink(missing_ok=True)

    def _run(self, argv: list[str]) -> None:
        result = subprocess.run(
            argv,
            env=dict(self.command.env),
            cwd=self.folder,
            user=self.account.uid,
            group=self.account.gid,
            extra_groups=None if self.account.uid is None else [],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise LocalError(f"initdb for PostgreSQL failed: {result.stdout.strip()}")


def answers_startup(host: str, port: int) -> bool:
    """Tell whether a PostgreSQL server there answers a startup message with an authentication request.

    Until it can serve it answers with an error (protocol 3.0, "Start-up" in the PostgreSQL manual, 54.2.1).
    """
    parameters = f"user\0{SUPERUSER}\0database\0postgres\0\0".encode()
    message = struct.pack("!ii", 8 + len(parameters), 3 << 16) + parameters
    try:
        with socket.create_connection((host, port), timeout=2) as connection:
            connection.sendall(message)
            # The whole answer is read: closing with a rest unread would be a reset, which the server logs.
            return connection.recv(1024).startswith(b"R")
    except OSError:
        return False
