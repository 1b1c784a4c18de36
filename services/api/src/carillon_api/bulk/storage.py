"""Many people in a few statements, whatever their number. Always of the current tenant."""

from collections.abc import Mapping, Sequence
from typing import Any

from carillon_shared.db.pool import Connection

# Two imports at once, in whatever order their files are, would else wait for each other. And a plan for each
# statement, those of foreign keys as well, that knows how large the tables are: what a session planned for
# the first batch, when hardly anybody was there, would read a whole tenant for each row.
_BEGIN = """
SELECT pg_advisory_xact_lock(hashtext('carillon.subscribers.bulk'), $1),
       set_config('plan_cache_mode', 'force_custom_plan', true), set_config('enable_seqscan', 'off', true),
       set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)
"""
_GIVEN = """
WITH given AS MATERIALIZED (
    SELECT d->>'id' AS id, d AS doc, coalesce(d->'some_attributes', '{}') AS part
    FROM unnest($2::jsonb[]) AS d
)"""
# Those who are there are left out beforehand: an insert that ends in a conflict would use up a number.
_INSERT = f"""{_GIVEN}
INSERT INTO carillon.subscribers (tenant_id, id, email, phone, locale, time_zone, attributes)
SELECT $1, g.id, g.doc->>'email', g.doc->>'phone', g.doc->>'locale', g.doc->>'time_zone',
       coalesce(g.doc->'attributes', '{{}}') || g.part
FROM given g
WHERE (SELECT s.number FROM carillon.subscribers s WHERE s.tenant_id = $1 AND s.id = g.id) IS NULL
ORDER BY g.id
ON CONFLICT (tenant_id, id) DO NOTHING
RETURNING id
"""
# Rows are locked in order of their ids, as the dispatcher locks those whom events bring with them.
_UPDATE = f"""{_GIVEN}, changed AS MATERIALIZED (
    SELECT s.tenant_id, s.number, v.*
    FROM given g
    JOIN carillon.subscribers s ON s.tenant_id = $1 AND s.id = g.id
    CROSS JOIN LATERAL (
        SELECT CASE WHEN g.doc ? 'email' THEN g.doc->>'email' ELSE s.email END AS email,
               CASE WHEN g.doc ? 'phone' THEN g.doc->>'phone' ELSE s.phone END AS phone,
               CASE WHEN g.doc ? 'locale' THEN g.doc->>'locale' ELSE s.locale END AS locale,
               CASE WHEN g.doc ? 'time_zone' THEN g.doc->>'time_zone' ELSE s.time_zone END AS time_zone,
               coalesce(g.doc->'attributes', s.attributes) || g.part AS attributes) AS v
    WHERE (s.email, s.phone, s.locale, s.time_zone, s.attributes, s.registered)
          IS DISTINCT FROM (v.email, v.phone, v.locale, v.time_zone, v.attributes, true)
    ORDER BY s.id
    FOR NO KEY UPDATE OF s
)
UPDATE carillon.subscribers s
SET email = c.email, phone = c.phone, locale = c.locale, time_zone = c.time_zone, attributes = c.attributes,
    registered = true, updated_at = now(),
    created_at = CASE WHEN s.registered THEN s.created_at ELSE now() END
FROM changed c
WHERE s.tenant_id = c.tenant_id AND s.number = c.number
RETURNING s.id, s.created_at = now() AS created
"""
_NUMBERS = "SELECT id, number FROM carillon.subscribers WHERE tenant_id = $1 AND id = ANY ($2)"

_LEAVE = """
DELETE FROM carillon.memberships m
USING unnest($2::bigint[], $3::jsonb[]) AS g(number, doc)
WHERE m.tenant_id = $1 AND m.subscriber = g.number
  AND NOT coalesce(g.doc->CASE m.kind WHEN 'role' THEN 'roles' ELSE 'topics' END ? m.name, true)
RETURNING m.subscriber AS number
"""
_JOIN = """
INSERT INTO carillon.memberships (tenant_id, kind, name, subscriber)
SELECT $1, k.kind, n.name, g.number
FROM unnest($2::bigint[], $3::jsonb[]) AS g(number, doc)
CROSS JOIN (VALUES ('role'::carillon.membership_kind, 'roles'), ('topic', 'topics')) AS k(kind, field)
CROSS JOIN LATERAL jsonb_array_elements_text(g.doc->k.field) AS n(name)
ORDER BY k.kind, n.name, g.number
ON CONFLICT DO NOTHING
RETURNING subscriber AS number
"""
_CHOOSE = """
INSERT INTO carillon.preferences AS p (tenant_id, subscriber, document)
SELECT $1, g.number, g.doc->'preferences'
FROM unnest($2::bigint[], $3::jsonb[]) AS g(number, doc)
WHERE g.doc->'preferences' <> '{}'
ORDER BY g.number
ON CONFLICT (tenant_id, subscriber) DO UPDATE SET document = excluded.document, updated_at = now()
WHERE p.document <> excluded.document
RETURNING p.subscriber AS number
"""
_CHOOSE_NOTHING = """
DELETE FROM carillon.preferences p
USING unnest($2::bigint[], $3::jsonb[]) AS g(number, doc)
WHERE p.tenant_id = $1 AND p.subscriber = g.number AND g.doc->'preferences' = '{}'
RETURNING p.subscriber AS number
"""
_BELONGINGS = ("roles", "topics", "preferences")


async def put_people(
    connection: Connection, *, tenant_id: int, people: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """Store people, each named once, and return what became of them by id.

    `created`, `updated` or `unchanged`; what a document leaves out stays as it is.
    """
    await connection.execute(_BEGIN, tenant_id)
    became = dict.fromkeys((str(person["id"]) for person in people), "unchanged")
    for row in await connection.fetch(_INSERT, tenant_id, people):
        became[row["id"]] = "created"
    old = [person for person in people if became[str(person["id"])] != "created"]
    for row in await connection.fetch(_UPDATE, tenant_id, old) if old else ():
        became[row["id"]] = "created" if row["created"] else "updated"
    for changed in await _put_belongings(connection, tenant_id=tenant_id, people=people):
        if became[changed] == "unchanged":
            became[changed] = "updated"
    return became


async def _put_belongings(
    connection: Connection, *, tenant_id: int, people: Sequence[Mapping[str, Any]]
) -> set[str]:
    """Store roles, topics and preferences, and return the ids of those for whom anything is different."""
    with_any = {person["id"]: person for person in people if any(name in person for name in _BELONGINGS)}
    if not with_any:
        return set()
    rows = await connection.fetch(_NUMBERS, tenant_id, list(with_any))
    ids = {row["number"]: row["id"] for row in rows}
    given = (tenant_id, list(ids), [with_any[each] for each in ids.values()])
    changed: set[int] = set()
    for statement in (_LEAVE, _JOIN, _CHOOSE, _CHOOSE_NOTHING):
        changed |= {row["number"] for row in await connection.fetch(statement, *given)}
    return {ids[number] for number in changed}
