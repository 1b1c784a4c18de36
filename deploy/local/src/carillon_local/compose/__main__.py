"""One step of `docker compose up`: `python -m carillon_local.compose secrets|migrate`."""

import argparse
import asyncio
import sys
from pathlib import Path

import asyncpg
from carillon_shared.db.migrate import migrate, newest_revision, wait_until_reachable

from carillon_local.compose.secret_files import (
    INSTALLATION,
    INSTALLATION_FILE,
    owner_url,
    superuser_url,
    write_secret_files,
)
from carillon_local.database import prepare_database
from carillon_local.platform import DATABASE
from carillon_local.secrets import Secrets, load_secrets

_SERVER_SECONDS = 60.0


def main(arguments: list[str] | None = None) -> int:
    """Do the step; both may be repeated. Returns the exit code: 0 done, 1 refused, 3 no database."""
    parser = argparse.ArgumentParser(prog="python -m carillon_local.compose", description=__doc__)
    parser.add_argument("step", choices=["secrets", "migrate"])
    parser.add_argument("--folder", type=Path, default=Path("/secrets"), help="where the volumes are mounted")
    options = parser.parse_args(arguments)
    secrets = load_secrets(options.folder / INSTALLATION / INSTALLATION_FILE)
    if options.step == "secrets":
        write_secret_files(secrets, options.folder)
        print("The secrets are in their volumes.")
        return 0
    return _migrate(secrets)


def _migrate(secrets: Secrets) -> int:
    try:
        asyncio.run(_prepare_and_migrate(secrets))
    except TimeoutError:
        print("The database does not answer.", file=sys.stderr)
        return 3
    except (OSError, asyncpg.PostgresError) as error:
        print(f"The database cannot be prepared: {error}", file=sys.stderr)
        return 1
    print(f"The database is at revision {newest_revision()}.")
    return 0


async def _prepare_and_migrate(secrets: Secrets) -> None:
    await wait_until_reachable(superuser_url(secrets), seconds=_SERVER_SECONDS)
    await prepare_database(superuser_url(secrets), DATABASE, secrets)
    await migrate(owner_url(secrets))


if __name__ == "__main__":
    sys.exit(main())
