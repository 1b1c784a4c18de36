"""Prometheus' own checks, from Debian's package; installed when it is missing and that is possible."""

import shutil
import subprocess
from pathlib import Path

from carillon_local import apt
from carillon_local.errors import LocalError

_MISSING = (
    "promtool is not installed and cannot be installed from here. Install it and start again: "
    "`sudo apt-get install prometheus` (Debian), or put Prometheus' own `promtool` on the PATH"
)
_SECONDS = 60.0


def ensure_promtool() -> Path:
    """Return the program, installing the package first when it is missing; its service is not started.

    Raises:
        LocalError: when it is missing and this process may not install it.
    """
    if program := shutil.which("promtool"):
        return Path(program)
    if not apt.can_install():
        raise LocalError(_MISSING)
    apt.install("prometheus", services=("prometheus",))
    if program := shutil.which("promtool"):
        return Path(program)
    raise LocalError(_MISSING)


def promtool(*arguments: str | Path, given: bytes = b"") -> str:
    """Run it; return all that it says, empty where it has nothing to find fault with in metrics.

    Raises `AssertionError` with what it says when it ends with another code than 0.
    """
    done = subprocess.run(  # noqa: S603 - a fixed program, and our own files
        [ensure_promtool(), *arguments],
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_SECONDS,
        check=False,
    )
    said = done.stdout.decode()
    assert done.returncode == 0, said
    return said
