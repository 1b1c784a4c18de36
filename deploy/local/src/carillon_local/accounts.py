"""The system account that private servers run as when the platform is started by root.

PostgreSQL refuses to run as root, and a broker has no need to.
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from carillon_local.errors import LocalError

ACCOUNT_NAME = "carillon"


@dataclass(frozen=True, slots=True)
class Account:
    """Who a server process runs as; ``None`` ids mean "as whoever started it"."""

    uid: int | None = None
    gid: int | None = None

    def own(self, path: Path) -> None:
        """Give one file or folder of ours to the account; does nothing when no account is needed."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def make_folder(self, path: Path) -> Path:
        """Create a folder that only the account can enter and return it.

        Folders above it are made when they are missing and otherwise left alone.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        self.own(path)
        return path

    def write_private(self, path: Path, text: str) -> None:
        """Write a file that only the account can read, replacing it in one step."""
        draft = path.with_name(f"{path.name}.new")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        self.own(draft)
        draft.replace(path)


def server_account() -> Account:
    """Return the account servers run as: a system user for root, the caller otherwise.

    Raises:
        LocalError: when root's system user is missing and cannot be made.
    """
    if os.geteuid() != 0:
        return Account()
    try:
        entry = pwd.getpwnam(ACCOUNT_NAME)
    except KeyError:
        _create_system_user()
        entry = pwd.getpwnam(ACCOUNT_NAME)
    return Account(uid=entry.pw_uid, gid=entry.pw_gid)


def _create_system_user() -> None:
    command = _creation_command()
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    # Code 9 of useradd: another start made the account in the meantime.
    if result.returncode not in {0, 9}:
        raise LocalError(
            f"could not create the system user {ACCOUNT_NAME!r} that PostgreSQL needs when started by root: "
            f"{result.stderr.strip()}",
        )


def _creation_command() -> list[str]:
    shell = shutil.which("nologin") or "/bin/false"
    if useradd := shutil.which("useradd"):
        options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
        return [useradd, *options, "--shell", shell, ACCOUNT_NAME]
    if adduser := shutil.which("adduser"):  # the adduser of small images, such as Alpine's
        return [adduser, "-S", "-D", "-H", "-s", shell, ACCOUNT_NAME]
    raise LocalError(
        f"PostgreSQL does not run as root, and neither useradd nor adduser is here to make the system user "
        f"{ACCOUNT_NAME!r}: create that user, or start as a normal user",
    )
