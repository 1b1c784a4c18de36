"""Every migration can be undone: going back one leaves what was there before it."""

from alembic import command
from alembic.script import ScriptDirectory
from carillon_shared.db import migrate as migrating
from carillon_shared.db.pool import Pool
from sqlalchemy import Connection
from support.migrated import MigratedDatabase
from support.revisions import go_back

_OWN = "n.nspname = 'carillon'"
_RIGHTS = """
    , coalesce((SELECT string_agg(x.grantee::regrole || ':' || x.privilege_type, ' ' ORDER BY 1)
                FROM aclexplode({acl}) AS x WHERE x.grantee NOT IN (0, {owner})), '')
"""
# What there is, one line each. Functions without their bodies: no migration replaces one.
_THINGS = (
    f"""SELECT 'column', c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
        {_RIGHTS.format(acl="a.attacl", owner="c.relowner")}
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {_OWN} AND a.attnum > 0 AND NOT a.attisdropped AND NOT c.relispartition
      AND c.relkind IN ('r', 'p')""",
    f"""SELECT 'relation', c.relname {_RIGHTS.format(acl="c.relacl", owner="c.relowner")}
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {_OWN} AND c.relkind IN ('r', 'p', 'i', 'I', 'S') AND c.relname !~ '_[0-9]{{8}}'""",
    f"""SELECT 'function', p.oid::regprocedure || ' ' || p.proowner::regrole
        {_RIGHTS.format(acl="p.proacl", owner="p.proowner")}
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {_OWN}""",
    f"""SELECT 'type', t.typname, '' FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE {_OWN} AND t.typtype = 'e'""",
    f"""SELECT 'constraint', c.relname || ': ' || k.conname || ' ' || pg_get_constraintdef(k.oid), ''
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {_OWN} AND NOT c.relispartition""",
    f"""SELECT 'trigger', c.relname || ': ' || g.tgname, ''
    FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {_OWN} AND NOT g.tgisinternal AND NOT c.relispartition""",
    f"""SELECT 'policy', c.relname || ': ' || y.polname, ''
    FROM pg_policy y JOIN pg_class c ON c.oid = y.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {_OWN}""",
)


async def test_going_back_one_migration_leaves_what_was_there_before_it(migrated: MigratedDatabase) -> None:
    owner = await migrated.pool(max_size=1)
    chain = [script.revision for script in ScriptDirectory.from_config(migrating._config()).walk_revisions()]
    url = migrated.url()
    await go_back(url, chain[-1])
    before = {}
    for revision in reversed(chain):
        await _upgrade(url, revision)
        before[revision] = await _everything(owner)
    for revision in chain[1:]:
        await go_back(url, revision)
        now = await _everything(owner)
        assert (revision, now - before[revision], before[revision] - now) == (revision, set(), set())
    await owner.close()


async def _upgrade(url: str, revision: str) -> None:
    def upgrade(connection: Connection) -> None:
        command.upgrade(migrating._config(connection), revision)

    engine = migrating._engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(upgrade)
    await engine.dispose()


async def _everything(owner: Pool) -> set[tuple[str, ...]]:
    return {tuple(row) for query in _THINGS for row in await owner.fetch(query)}
