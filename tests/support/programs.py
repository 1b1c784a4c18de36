"""Programs that some tests need, from Debian's packages.

A test that asks for one by the marker `needs` gets it installed, when it is missing and that is possible,
before the first test begins and outside of any test's time limit.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass

from carillon_local import apt
from carillon_local.errors import LocalError


@dataclass(frozen=True, slots=True)
class _Package:
    name: str
    services: tuple[str, ...] = ()  # that are neither started nor enabled


_PACKAGES = {
    "nginx": _Package("nginx", ("nginx",)),
    "caddy": _Package("caddy", ("caddy",)),
    "curl": _Package("curl"),
    "promtool": _Package("prometheus", ("prometheus",)),
}


def ensure_program(name: str, say: Callable[[str], None]) -> str:
    """Return a program's path, installing its package first when it is missing.

    Raises:
        LocalError: when it is missing and this process may not install it.
    """
    if found := shutil.which(name):
        return found
    package = _PACKAGES[name]
    if not apt.can_install():
        raise LocalError(
            f"{name} is missing and cannot be installed from here: `sudo apt-get install {package.name}`"
        )
    say(f"Installing {package.name} with apt (once; nothing is started or enabled)")
    apt.install(package.name, services=package.services)
    if found := shutil.which(name):
        return found
    raise LocalError(f"the package {package.name} brought no program {name}")
