"""Finding RabbitMQ on this machine, and installing it when that is possible."""

import re
from collections.abc import Callable
from pathlib import Path

from carillon_local import apt
from carillon_local.errors import LocalError

_PLACES = ("/usr/lib/rabbitmq/lib", "/opt/homebrew/opt", "/usr/local/opt", "/opt")
_MISSING = (
    "RabbitMQ is not installed and cannot be installed from here. Install it and start again: "
    "`sudo apt-get install rabbitmq-server` (Debian, Ubuntu) or `brew install rabbitmq` (macOS); "
    "or name a running broker in CARILLON_BROKER_URL; or use Docker with `--backend compose`"
)


def find_scripts() -> Path | None:
    """Return the ``sbin`` folder of the newest RabbitMQ on this machine, or ``None``.

    These are the plain scripts, not the ones of ``/usr/sbin``, which change to the system broker's user.
    """
    found = [
        script.parent
        for place in _PLACES
        for pattern in ("rabbitmq_server-*/sbin/rabbitmq-server", "rabbitmq/sbin/rabbitmq-server")
        for script in Path(place).glob(pattern)
    ]
    return max(found, key=_version, default=None)


def ensure_scripts(say: Callable[[str], None]) -> Path:
    """Return RabbitMQ's ``sbin`` folder, installing the package first when it is missing.

    Raises:
        LocalError: when it is missing and this process may not install it.
    """
    if scripts := find_scripts():
        return scripts
    if not apt.can_install():
        raise LocalError(_MISSING)
    say("Installing rabbitmq-server with apt (once; no system broker is started or enabled)")
    apt.install("rabbitmq-server", services=("rabbitmq-server", "epmd"))
    if scripts := find_scripts():
        return scripts
    raise LocalError(_MISSING)


def _version(scripts: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", scripts.parent.name))
