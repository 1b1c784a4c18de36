"""nchan, the publish-subscribe module of nginx, from Debian's package (https://nchan.io)."""

import shutil
from collections.abc import Callable
from pathlib import Path

from bench.contender import Program
from carillon_local import apt
from carillon_local.errors import LocalError

_PACKAGE = "libnginx-mod-nchan"
_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
_CONFIGURATION = Path(__file__).parent / "floors" / "nchan.conf"


def ensure_nchan(say: Callable[[str], object]) -> str:
    """Return nginx's path, installing nginx with the module first when one is missing.

    Raises:
        LocalError: when something is missing and this process may not install it.
    """
    if not (nginx := _nginx()):
        if not apt.can_install():
            raise LocalError(f"nginx with nchan is needed beside Carillon: `sudo apt-get install {_PACKAGE}`")
        say("Installing nginx with nchan with apt (once; it is neither started nor enabled)")
        apt.install(_PACKAGE, services=["nginx"])
        nginx = _nginx()
    if not nginx:
        raise LocalError(f"the package {_PACKAGE} brought no nginx, or no {_MODULE.name}")
    return nginx


def nchan_program(name: str, nginx: str, *, folder: Path, port: int, files: int) -> Program:
    """Return how to run it, with all it writes in this folder and so many open files."""
    text = _CONFIGURATION.read_text(encoding="utf-8")
    configuration = folder / "nginx.conf"
    configuration.write_text(
        text.format(module=_MODULE, folder=folder, port=port, files=files), encoding="utf-8"
    )
    return Program(name, [nginx, "-c", str(configuration), "-e", str(folder / "error.log")])


def _nginx() -> str | None:
    return shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin") if _MODULE.exists() else None
