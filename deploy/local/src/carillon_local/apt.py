"""Installing a Debian package without its services being started or enabled."""

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from carillon_local.errors import LocalError

POLICY = Path("/usr/sbin/policy-rc.d")
LOCK = Path("/run/lock/carillon-apt")  # only root comes here
# 101 means "action forbidden by policy": invoke-rc.d then starts nothing (invoke-rc.d(8)).
_FORBID_STARTS = "#!/bin/sh\n# Written for one installation; removed when it ends.\nexit 101\n"
_SYSTEMD_WANTS = Path("/etc/systemd/system")
_INSTALL_SECONDS = 600


def can_install() -> bool:
    """Tell whether this process may install packages with apt."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(package: str, *, services: Sequence[str]) -> None:
    """Install a package, keeping its services from being started now or enabled for later.

    A service that was on this machine before is left as it was. Several processes may ask at once.

    Raises:
        LocalError: when apt fails; the text holds apt's last lines.
    """
    with _one_at_a_time():
        added = [service for service in services if not _is_known(service)]
        with _starts_forbidden():
            if not _is_offered(package):
                _apt_get("update", "-qq")
            _apt_get("install", "-y", "-qq", "--no-install-recommends", package)
        for service in added:
            _disable(service)


def _is_offered(package: str) -> bool:
    result = subprocess.run(["apt-cache", "show", package], capture_output=True, check=False)
    return result.returncode == 0


def _apt_get(*arguments: str) -> None:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    options = ["-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::Retries=3"]
    command = ["apt-get", *options, *arguments]
    result = subprocess.run(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_INSTALL_SECONDS,
        check=False,
    )
    if result.returncode != 0:
        last = " / ".join(result.stdout.strip().splitlines()[-3:])
        raise LocalError(f"{' '.join(['apt-get', *arguments])} failed: {last}")


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Wait for other installations of ours: they share the policy, and apt its lists."""
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _starts_forbidden() -> Iterator[None]:
    """Forbid service starts while packages are configured, then put back what was there."""
    before = POLICY.read_bytes() if POLICY.exists() else None
    mode = POLICY.stat().st_mode if before is not None else 0o755
    _write_policy(_FORBID_STARTS.encode(), 0o755)
    try:
        yield
    finally:
        if before is None:
            POLICY.unlink(missing_ok=True)
        else:
            _write_policy(before, mode)


def _write_policy(content: bytes, mode: int) -> None:
    draft = POLICY.with_name("policy-rc.d.carillon")
    draft.write_bytes(content)
    draft.chmod(mode)
    draft.replace(POLICY)


def _is_known(service: str) -> bool:
    folders = ("/etc/init.d", "/lib/systemd/system", "/etc/systemd/system")
    names = (service, f"{service}.service", f"{service}.socket")
    return any(Path(folder, name).exists() for folder in folders for name in names)


def _disable(service: str) -> None:
    """Undo what the package's own scripts enabled, with or without systemd running."""
    if shutil.which("update-rc.d") and Path("/etc/init.d", service).exists():
        subprocess.run(["update-rc.d", service, "disable"], capture_output=True, check=False)
    for suffix in ("service", "socket"):
        for link in _SYSTEMD_WANTS.glob(f"*/{service}.{suffix}"):
            if link.is_symlink():
                link.unlink()
