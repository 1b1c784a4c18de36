"""`python -m carillon_shared.db migrate|check`, with CARILLON_MIGRATION_DATABASE_URL."""

import asyncio
import sys

from pydantic import Field, SecretStr

from carillon_shared.db.migrate import is_current, migrate, newest_revision, wait_until_reachable
from carillon_shared.settings import CarillonSettings, load_settings


class MigrationSettings(CarillonSettings):
    """Where the database is."""

    migration_database_url: SecretStr = Field(
        description="PostgreSQL as the schema's owner: postgresql://..."
    )


async def _run(verb: str, url: str) -> int:
    await wait_until_reachable(url, seconds=60)
    if verb == "migrate":
        await migrate(url)
        print(f"The database is at revision {newest_revision()}.")
        return 0
    if await is_current(url):
        print(f"The database is at revision {newest_revision()}.")
        return 0
    print("The database is behind this release: run `carillon db migrate`.", file=sys.stderr)
    return 1


def main() -> int:
    """Run one verb. Returns the exit code: 0 done, 1 behind, 2 wrong use, 3 not reachable."""
    if len(sys.argv) != 2 or sys.argv[1] not in {"migrate", "check"}:
        print(
            "use: CARILLON_MIGRATION_DATABASE_URL=postgresql://... python -m carillon_shared.db migrate|check"
        )
        return 2
    url = load_settings(MigrationSettings).migration_database_url.get_secret_value()
    try:
        return asyncio.run(_run(sys.argv[1], url))
    except TimeoutError:
        print("The database does not answer at CARILLON_MIGRATION_DATABASE_URL.", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
