"""Other revisions of the schema than the newest: the one before it, and one that no release has."""

import shutil
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory
from carillon_shared.db import migrate as migrating
from sqlalchemy import Connection

_NEXT = '''"""What a release might add while services of the one before run."""

from alembic import op

revision = "9999"
down_revision = "{before}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Touch the busiest tables."""
    for statement in {up!r}:
        op.execute(statement)


def downgrade() -> None:
    """Undo it."""
    for statement in {down!r}:
        op.execute(statement)
'''


def previous_revision() -> str:
    """Return the revision before the newest."""
    scripts = ScriptDirectory.from_config(migrating._config())
    newest = scripts.get_revision(scripts.get_current_head() or "")
    assert newest is not None
    return str(newest.down_revision)


async def go_back(url: str, revision: str) -> None:
    """Downgrade a database to an earlier revision, as its owner."""

    def downgrade(connection: Connection) -> None:
        command.downgrade(migrating._config(connection), revision)

    engine = migrating._engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(downgrade)
    await engine.dispose()


def make_next_revision(folder: Path, *, up: list[str], down: list[str]) -> Path:
    """Copy the migrations and add one; return the folder that `carillon_shared.db.migrate` is to use."""
    target = folder / "migrations"
    shutil.copytree(migrating._MIGRATIONS, target, ignore=shutil.ignore_patterns("__pycache__"))
    text = _NEXT.format(before=migrating.newest_revision(), up=up, down=down)
    (target / "versions" / "9999_next.py").write_text(text)
    return target
