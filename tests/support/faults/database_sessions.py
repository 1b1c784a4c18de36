"""What the services' connections to the database look like, from both ends."""

from collections import Counter
from collections.abc import Mapping

from carillon_shared.db.pool import Pool
from support.faults.database_ground import USERS, DatabaseGround
from support.faults.sockets import sockets_to
from support.platform import Platform
from support.waiting import eventually

LIMITS = {"api": 10} | {name: 6 for name in USERS if name != "api"}
"""Most connections of each service, as its settings have them."""

_SESSIONS = """
    SELECT application_name, count(*) AS n, count(*) FILTER (WHERE state LIKE 'idle in transaction%') AS open
    FROM pg_stat_activity WHERE datname = current_database() GROUP BY 1
"""


async def sessions(pool: Pool) -> Counter[str]:
    """Return how many sessions each service has at the server."""
    names = {user: name for name, user in USERS.items()}
    found = {row["application_name"]: row["n"] for row in await pool.fetch(_SESSIONS)}
    return Counter({names[user]: n for user, n in found.items() if user in names})


async def assert_no_leaks(ground: DatabaseGround) -> None:
    """Wait until each service has as many connections as the server has sessions of it, within its limit."""
    await assert_sessions_fit(ground.platform, dict.fromkeys(USERS, ground.proxy.port))


async def assert_sessions_fit(platform: Platform, ports: Mapping[str, int]) -> None:
    """Do the same where each service reaches the database through a port of its own."""
    pool = await platform.database.pool(max_size=1)

    async def look() -> bool:
        at_server = await sessions(pool)
        rows = await pool.fetch(_SESSIONS)
        here = {name: sockets_to(platform.processes[name].pid, ports[name]) for name in USERS}
        seen.update(server=dict(at_server), here=here)
        fits = all(here[name] == at_server[name] <= LIMITS[name] for name in USERS)
        return fits and not any(row["open"] for row in rows)

    seen: dict[str, object] = {}
    try:
        await eventually(look, seconds=30, what="connections to be as many at both ends")
    except AssertionError as error:
        raise AssertionError(f"{error}: {seen}") from None
    finally:
        await pool.close()
