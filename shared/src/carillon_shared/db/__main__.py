"""`python -m carillon_shared.db migrate|check`, with CARILLON_MIGRATION_DATABASE_URL."""

import asyncio
import os
import sys

from carillon_shared.db.migrate import is_current, migrate, newest_revision, wait_until_reachable


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
    url = os.environ.get("CARILLON_MIGRATION_DATABASE_URL")
    verbs = {"migrate", "check"}
    if not url or len(sys.argv) != 2 or sys.argv[1] not in verbs:
        print(
            "use: CARILLON_MIGRATION_DATABASE_URL=postgresql://... python -m carillon_shared.db migrate|check"
        )
        return 2
    try:
        return asyncio.run(_run(sys.argv[1], url))
    except TimeoutError:
        print("The database does not answer at CARILLON_MIGRATION_DATABASE_URL.", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
