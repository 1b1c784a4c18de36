"""Where the private servers and our own notes lie."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from carillon_local.accounts import Account, server_account

ROOT_SERVERS = Path("/var/lib/carillon")


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of one checkout.

    Attributes:
        checkout: the checkout itself; its permissions are never changed.
        state: notes, passwords and service logs, for whoever starts the platform (``.carillon``).
        servers: data of PostgreSQL and RabbitMQ, for ``account``.
        account: who the servers run as.
    """

    checkout: Path
    state: Path
    servers: Path
    account: Account

    @property
    def state_file(self) -> Path:
        """Addresses, ports and process ids."""
        return self.state / "local.json"

    @property
    def secrets_file(self) -> Path:
        """Random passwords, made once."""
        return self.state / "secrets.json"

    @property
    def logs(self) -> Path:
        """One log file per process."""
        return self.state / "logs"


def find_places(checkout: Path) -> Places:
    """Return the folders of a checkout, making those that are missing.

    A normal user's servers lie in the checkout. Root's lie below ``/var/lib/carillon``, owned by the system
    account, which may not be able to enter the checkout.

    Raises:
        LocalError: when root's system account cannot be made.
    """
    checkout = checkout.resolve()
    account = server_account()
    state = Account().make_folder(checkout / ".carillon")
    (state / "logs").mkdir(mode=0o700, exist_ok=True)
    if account.uid is None:
        servers = account.make_folder(state / "servers")
    else:
        servers = account.make_folder(root_servers_folder() / folder_hash(checkout))
    return Places(checkout=checkout, state=state, servers=servers, account=account)


def root_servers_folder() -> Path:
    """Return the folder that holds the servers root started, one folder per checkout; it is ours to make."""
    try:
        ROOT_SERVERS.mkdir(parents=True)
    except FileExistsError:
        return ROOT_SERVERS
    ROOT_SERVERS.chmod(0o755)  # whatever the umask: the system account has to pass
    return ROOT_SERVERS


def folder_hash(folder: Path) -> str:
    """Return a short name that stands for the folder's path."""
    return hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]


def find_checkout(start: Path) -> Path:
    """Return the nearest folder at or above ``start`` that is a checkout, else ``start`` itself."""
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / "deploy" / "local").is_dir() and (folder / "pyproject.toml").is_file():
            return folder
    return start
