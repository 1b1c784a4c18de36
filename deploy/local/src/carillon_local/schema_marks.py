"""Notices a local database whose tables were made by migrations that have been edited since.

Until the first release migrations are edited in place. The database cannot tell: its revision is the same.
"""

import hashlib
import json
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from carillon_local.accounts import Account
from carillon_local.errors import LocalError


def shipped_migrations() -> Traversable:
    """Return the folder with one folder of SQL files for each migration."""
    return files("carillon_shared.db.schema")


class SchemaMarks:
    """What the SQL files were when the database in `folder` (the server's) was migrated.

    Removed with the folder, so an empty database is never taken for an old one.
    """

    def __init__(self, folder: Path, account: Account, migrations: Traversable | None = None) -> None:
        self._folder = folder
        self._file = folder / "migrations.json"
        self._account = account
        self._migrations = migrations or shipped_migrations()

    def check(self) -> None:
        """Raise `LocalError` when a migration that was applied here reads differently now."""
        if not self._file.exists():
            return
        now = self._fingerprints()
        applied = json.loads(self._file.read_text(encoding="utf-8"))
        edited = [name for name, mark in applied.items() if now.get(name) != mark]
        if edited:
            names = ", ".join(edited)
            raise LocalError(
                f"The local database was made by migrations that have been edited since ({names}): "
                f"remove {self._folder} to start with an empty one"
            )

    def write(self) -> None:
        """Remember the migrations as they are now; all of them have been applied."""
        self._account.write_private(self._file, json.dumps(self._fingerprints(), indent=2) + "\n")

    def _fingerprints(self) -> dict[str, str]:
        folders = [folder for folder in self._migrations.iterdir() if folder.name[:1].isdigit()]
        return {folder.name: _fingerprint(folder) for folder in sorted(folders, key=lambda one: one.name)}


def _fingerprint(folder: Traversable) -> str:
    digest = hashlib.sha256()
    for script in sorted(folder.iterdir(), key=lambda one: one.name):
        if script.name.endswith(".sql"):
            digest.update(f"{script.name}\0".encode())
            digest.update(script.read_bytes())
    return digest.hexdigest()
