"""`python -m bench.planning`: planning a broadcast beside the plain INSERT of the same rows (scenario S2)."""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from carillon_dispatcher.planning.store import PlanStore
from carillon_local.database import prepare_database
from carillon_local.places import find_checkout, find_places
from carillon_local.ports import PortHolder
from carillon_local.postgres import PostgresServer
from carillon_local.postgres_binaries import ensure_binaries
from carillon_local.secrets import Secrets
from carillon_shared.db.migrate import migrate
from carillon_shared.db.pool import Pool, open_pool

_RANGE = 5000
_PEOPLE = """
    INSERT INTO carillon.subscribers (tenant_id, id, email, phone, time_zone)
    SELECT $1, 'u-' || n, 'u-' || n || '@example.org', '+1202' || lpad(n::text, 7, '0'),
           (ARRAY['Asia/Ulaanbaatar', 'Europe/Berlin', 'America/New_York', 'Asia/Kolkata'])[n % 4 + 1]
    FROM generate_series(1, $2::integer) AS n
"""
# Three in ten have opted out of mail; everybody has quiet hours, of which those of one in four are now.
_CHOICES = """
    INSERT INTO carillon.preferences (tenant_id, subscriber, document)
    SELECT $1, number, jsonb_build_object(
        'all', CASE WHEN number % 10 < 3 THEN '{"email": false}' ELSE '{}' END::jsonb,
        'quiet_hours', jsonb_build_object('time_zone', 'UTC', 'windows', jsonb_build_array(jsonb_build_object(
            'from', to_char(now() AT TIME ZONE 'UTC' + h.shift - interval '1 h', 'HH24:MI'),
            'to', to_char(now() AT TIME ZONE 'UTC' + h.shift + interval '2 h', 'HH24:MI'),
            'days', '["mon", "tue", "wed", "thu", "fri", "sat", "sun"]'::jsonb))))
    FROM carillon.subscribers
    CROSS JOIN LATERAL (
        SELECT CASE WHEN number % 4 = 0 THEN interval '0' ELSE interval '8 h' END AS shift) AS h
    WHERE tenant_id = $1
"""
_CAPS = """
    UPDATE carillon.tenants
    SET frequency_caps = '{"default": {"limit": 3, "per_seconds": 86400, "channels": ["email", "whatsapp"]}}'
"""
_EVENT = """
    INSERT INTO carillon.events (
        id, tenant_id, type, source, external_id, time, category, lane, channels, data, audience, status,
        accepted_at)
    VALUES (carillon.new_event_id(clock_timestamp()), $1, 'message', '/bench', gen_random_uuid()::text, now(),
            'general', 'bulk', '{inapp,email,whatsapp}', '{}', '{"everyone": true}', 'accepted', now())
    RETURNING id
"""
_COLUMNS = "id, event_id, subscriber, tenant_id, channel, lane, status, hold_reason, reason, next_attempt_at"
# What planning writes besides deliveries, in the order of their keys.
_OTHERS = {
    "digests": "tenant_id, subscriber, channel, key",
    "digest_members": "digest_id, event_id",
    "limit_slots": "tenant_id, subscriber, scope, channel",
}
_FLOOR = f"""
    INSERT INTO carillon.deliveries ({_COLUMNS})
    SELECT {_COLUMNS} FROM kept_deliveries WHERE subscriber > $1 AND subscriber <= $2 ORDER BY id
"""


@asynccontextmanager
async def _database(people: int) -> AsyncIterator[tuple[Pool, int]]:
    places, ports, secrets = find_places(find_checkout(Path(__file__))), PortHolder(), Secrets()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=places.servers) as folder:
        places.account.own(Path(folder))
        server = PostgresServer(
            folder=Path(folder) / "postgres",
            port=ports.pick(),
            password=secrets.superuser,
            binaries=ensure_binaries(places.servers, places.account),
            account=places.account,
        )
        server.start()
        try:
            await prepare_database(server.superuser_url, "bench", secrets)
            owner = secrets.database_url("carillon_owner", port=server.port, database="bench")
            await migrate(owner)
            pool = await open_pool(owner, name="bench", max_size=2)
            tenant = await pool.fetchval(
                "INSERT INTO carillon.tenants (slug, name) VALUES ('acme', 'acme') RETURNING id"
            )
            await pool.execute(_PEOPLE, tenant, people)
            await pool.execute("ANALYZE")
            yield pool, tenant
            await pool.close()
        finally:
            server.stop()
            ports.release()


async def _plan(pool: Pool, tenant: int) -> float:
    """Plan one event for everybody; returns the seconds that its ranges took."""
    event: UUID = await pool.fetchval(_EVENT, tenant)
    store = PlanStore(pool, range_size=_RANGE)
    keys = [key for key, _ in await store.cut(event)]
    started = time.perf_counter()
    for key in keys:
        await store.plan_range(key)
    return time.perf_counter() - started


async def _insert(pool: Pool) -> float:
    """Insert the rows that planning made once more, in ranges as large; returns the seconds."""
    row = await pool.fetchrow("SELECT min(number) AS lo, max(number) AS hi FROM carillon.subscribers")
    assert row is not None
    started = time.perf_counter()
    for lo in range(row["lo"] - 1, row["hi"], _RANGE):
        await pool.execute(_FLOOR, lo, min(lo + _RANGE, row["hi"]))
    return time.perf_counter() - started


async def _insert_others(pool: Pool) -> float:
    """Insert the digests, their members and the slots that planning wrote; returns the seconds."""
    started = time.perf_counter()
    for table, order in _OTHERS.items():
        await pool.execute(f"INSERT INTO carillon.{table} SELECT * FROM kept_{table} ORDER BY {order}")
    return time.perf_counter() - started


async def _keep(pool: Pool) -> int:
    """Keep copies of what planning wrote; returns how many deliveries that are."""
    for table in ("deliveries", *_OTHERS):
        await pool.execute(f"DROP TABLE IF EXISTS kept_{table}")
        await pool.execute(f"CREATE TABLE kept_{table} AS SELECT * FROM carillon.{table}")
        await pool.execute(f"ANALYZE kept_{table}")
    await pool.execute("CREATE INDEX ON kept_deliveries (subscriber)")
    return int(await pool.fetchval("SELECT count(*) FROM kept_deliveries"))


async def _measure(people: int, rounds: int) -> None:
    async with _database(people) as (pool, tenant):
        await _compare("nobody chose anything", pool, tenant, rounds)
        await pool.execute(_CHOICES, tenant)
        await pool.execute("ANALYZE")
        await _compare("30 % opted out, all have quiet hours (1 in 4 now)", pool, tenant, rounds)
        await pool.execute(_CAPS)
        await _compare("the same, with a frequency cap", pool, tenant, rounds)


async def _compare(what: str, pool: Pool, tenant: int, rounds: int) -> None:
    await _plan(pool, tenant)  # the first one warms up, and makes the rows for the floor
    total = await _keep(pool)
    ratios, of_all, rates = [], [], []
    for _ in range(rounds):
        await _clear(pool)
        floor = await _insert(pool)
        others = await _insert_others(pool)
        await _clear(pool)
        plan = await _plan(pool, tenant)
        ratios.append(floor / plan)
        of_all.append((floor + others) / plan)
        rates.append(total / plan)
    await _clear(pool)
    sys.stdout.write(
        f"{what}: {statistics.median(rates):,.0f} deliveries/s, {statistics.median(of_all):.2f} of the plain"
        f" INSERT of all rows it writes, {statistics.median(ratios):.2f} of that of the deliveries alone\n"
    )


async def _clear(pool: Pool) -> None:
    tables = ("deliveries", "digests", "digest_members", "due", "limit_slots", "fanout_ranges")
    await pool.execute("TRUNCATE " + ", ".join(f"carillon.{table}" for table in tables))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.planning", description=__doc__)
    parser.add_argument("--people", type=int, default=100_000, help="subscribers (100000)")
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds (3)")
    options = parser.parse_args()
    asyncio.run(_measure(options.people, options.rounds))


if __name__ == "__main__":
    main()
