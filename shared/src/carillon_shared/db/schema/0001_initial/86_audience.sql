-- Who an event is for. An audience is {"users": [id], "roles": [name], "topics": [name], "everyone": bool,
-- "exclude": [id]}; any part may be missing.

CREATE FUNCTION carillon.texts_of(list jsonb) RETURNS SETOF text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT jsonb_array_elements_text(nullif(list, 'null'::jsonb))
$$;

-- The topics an event is for, and those they are nested in, however deep: whoever follows a project hears of its tickets.
CREATE FUNCTION carillon.topics_about(tenant integer, audience jsonb) RETURNS SETOF text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH RECURSIVE about AS (
        SELECT carillon.texts_of(audience->'topics') AS name
        UNION
        SELECT p.parent FROM about a
        CROSS JOIN LATERAL (
            SELECT v.parent FROM carillon.topic_parents v WHERE v.tenant_id = tenant AND v.topic = a.name OFFSET 0) AS p
    )
    SELECT a.name FROM about a
$$;

-- The subscribers with lo < number <= hi whom the audience names, each once; "everyone" leaves out those who are known
-- by name only. Every branch goes from the names to a bounded range of an index: OFFSET 0 keeps the planner from going
-- the other way, from all members to the names.
CREATE FUNCTION carillon.audience_numbers(tenant integer, audience jsonb, lo bigint, hi bigint)
RETURNS TABLE (number bigint)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT s.number FROM carillon.subscribers s
    WHERE (audience->>'everyone')::boolean AND s.tenant_id = tenant AND s.number > lo AND s.number <= hi
      AND s.registered
    UNION
    SELECT s.number FROM carillon.texts_of(audience->'users') AS u(id)
    CROSS JOIN LATERAL (SELECT p.number FROM carillon.subscribers p WHERE p.tenant_id = tenant AND p.id = u.id OFFSET 0) AS s
    WHERE s.number > lo AND s.number <= hi
    UNION
    SELECT m.subscriber
    FROM (SELECT 'role'::carillon.membership_kind, r.name FROM carillon.texts_of(audience->'roles') AS r(name)
          UNION ALL
          SELECT 'topic', t.name FROM carillon.topics_about(tenant, audience) AS t(name)) AS g(kind, name)
    CROSS JOIN LATERAL (
        SELECT o.subscriber FROM carillon.memberships o
        WHERE o.tenant_id = tenant AND o.kind = g.kind AND o.name = g.name AND o.subscriber > lo AND o.subscriber <= hi
        OFFSET 0) AS m
$$;

-- An upper bound of the audience's size, found without reading more than `enough` rows of any part.
CREATE FUNCTION carillon.audience_bound(tenant integer, audience jsonb, enough integer) RETURNS bigint
LANGUAGE sql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET max_parallel_workers_per_gather = 0 AS $$
    SELECT (SELECT count(*) FROM carillon.texts_of(audience->'users'))
         + (SELECT count(*) FROM (
                SELECT FROM carillon.subscribers s
                WHERE (audience->>'everyone')::boolean AND s.tenant_id = tenant AND s.registered
                LIMIT enough) AS everyone)
         + (SELECT count(*) FROM (
                SELECT 'role'::carillon.membership_kind, r.name FROM carillon.texts_of(audience->'roles') AS r(name)
                UNION ALL
                SELECT 'topic', t.name FROM carillon.topics_about(tenant, audience) AS t(name)) AS g(kind, name)
            CROSS JOIN LATERAL (
                SELECT FROM carillon.memberships m
                WHERE m.tenant_id = tenant AND m.kind = g.kind AND m.name = g.name
                LIMIT enough) AS members)
$$;

-- Whether everybody whom the audience is for is listed by name, which spares a look at who is in which group.
CREATE FUNCTION carillon.audience_is_listed(audience jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT NOT coalesce((audience->>'everyone')::boolean, false)
       AND coalesce(audience->'roles', 'null') IN ('null', '[]')
       AND coalesce(audience->'topics', 'null') IN ('null', '[]')
$$;

-- Register the people whom these events bring with them, and give a number to every id they name. Ids are looked
-- up first: an insert that ends in a conflict would use up one of the 2^32 numbers each time.
CREATE FUNCTION carillon.ensure_subscribers(event_ids uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    lowest uuid := (SELECT i FROM unnest(event_ids) AS i ORDER BY i LIMIT 1);
    highest uuid := (SELECT i FROM unnest(event_ids) AS i ORDER BY i DESC LIMIT 1);
    has_inline boolean;
BEGIN
    WITH named AS MATERIALIZED (
        SELECT DISTINCT e.tenant_id, u.id
        FROM carillon.events e
        CROSS JOIN LATERAL (
            SELECT carillon.texts_of(e.audience->'users')
            UNION ALL
            SELECT g.value->>'id' FROM jsonb_array_elements(nullif(e.inline_users, 'null'::jsonb)) AS g(value)
        ) AS u(id)
        WHERE e.id = ANY (event_ids) AND e.id BETWEEN lowest AND highest
    )
    INSERT INTO carillon.subscribers (tenant_id, id, registered)
    SELECT n.tenant_id, n.id, false
    FROM named n
    -- A scalar subquery is looked up by the whole key, which a join is not sure to be.
    WHERE (SELECT s.number FROM carillon.subscribers s WHERE s.tenant_id = n.tenant_id AND s.id = n.id) IS NULL
    ORDER BY n.tenant_id, n.id
    ON CONFLICT (tenant_id, id) DO NOTHING;

    SELECT EXISTS (
        SELECT FROM carillon.events e
        WHERE e.id = ANY (event_ids) AND e.id BETWEEN lowest AND highest AND e.inline_users IS NOT NULL)
    INTO has_inline;
    IF has_inline THEN
        PERFORM carillon.update_inline_subscribers(event_ids, lowest, highest);
    END IF;
END $$;

-- What the newest event says about a person wins; what none of them says stays.
CREATE FUNCTION carillon.update_inline_subscribers(event_ids uuid[], lowest uuid, highest uuid) RETURNS void
LANGUAGE sql AS $$
    WITH given AS MATERIALIZED (
        SELECT e.tenant_id, g.id,
               (array_agg(g.email ORDER BY e.id DESC) FILTER (WHERE g.email IS NOT NULL))[1] AS email,
               (array_agg(g.phone ORDER BY e.id DESC) FILTER (WHERE g.phone IS NOT NULL))[1] AS phone,
               (array_agg(g.locale ORDER BY e.id DESC) FILTER (WHERE g.locale IS NOT NULL))[1] AS locale,
               (array_agg(g.time_zone ORDER BY e.id DESC) FILTER (WHERE g.time_zone IS NOT NULL))[1] AS time_zone,
               (array_agg(g.attributes ORDER BY e.id DESC) FILTER (WHERE g.attributes IS NOT NULL))[1] AS attributes
        FROM carillon.events e
        CROSS JOIN LATERAL jsonb_to_recordset(nullif(e.inline_users, 'null'::jsonb))
            AS g(id text, email text, phone text, locale text, time_zone text, attributes jsonb)
        WHERE e.id = ANY (event_ids) AND e.id BETWEEN lowest AND highest
        GROUP BY e.tenant_id, g.id
    ), changed AS MATERIALIZED (
        -- In order of the key, so that two planners that name the same people cannot wait for each other.
        SELECT s.tenant_id, s.number, g.email, g.phone, g.locale, g.time_zone, g.attributes
        FROM given g JOIN carillon.subscribers s ON s.tenant_id = g.tenant_id AND s.id = g.id
        WHERE NOT s.registered OR g.email <> coalesce(s.email, '') OR g.phone <> coalesce(s.phone, '')
           OR g.locale <> coalesce(s.locale, '') OR g.time_zone <> coalesce(s.time_zone, '')
           OR NOT s.attributes @> coalesce(g.attributes, '{}')
        ORDER BY s.tenant_id, s.id
        FOR UPDATE OF s
    )
    UPDATE carillon.subscribers s
    SET registered = true, email = coalesce(c.email, s.email), phone = coalesce(c.phone, s.phone),
        locale = coalesce(c.locale, s.locale), time_zone = coalesce(c.time_zone, s.time_zone),
        attributes = s.attributes || coalesce(c.attributes, '{}'), updated_at = now()
    FROM changed c
    WHERE s.tenant_id = c.tenant_id AND s.number = c.number
$$;
