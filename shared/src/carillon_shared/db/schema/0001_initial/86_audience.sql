-- Who an event is for. An audience is {"users": [id], "roles": [name], "topics": [name], "everyone": bool,
-- "exclude": [id]}; any part may be missing.

CREATE FUNCTION carillon.texts_of(list jsonb) RETURNS SETOF text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT jsonb_array_elements_text(nullif(list, 'null'::jsonb))
$$;

-- The subscribers with lo < number <= hi whom the audience names, each once. Every branch is a bounded range of
-- an index; "everyone" leaves out those who are known by name only.
CREATE FUNCTION carillon.audience_numbers(tenant integer, audience jsonb, lo bigint, hi bigint)
RETURNS TABLE (number bigint)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT s.number FROM carillon.subscribers s
    WHERE (audience->>'everyone')::boolean AND s.tenant_id = tenant AND s.number > lo AND s.number <= hi
      AND s.registered
    UNION
    SELECT s.number FROM carillon.texts_of(audience->'users') AS u(id)
    JOIN carillon.subscribers s ON s.tenant_id = tenant AND s.id = u.id
    WHERE s.number > lo AND s.number <= hi
    UNION
    SELECT m.subscriber FROM carillon.texts_of(audience->'roles') AS r(name)
    JOIN carillon.memberships m ON m.tenant_id = tenant AND m.kind = 'role' AND m.name = r.name
    WHERE m.subscriber > lo AND m.subscriber <= hi
    UNION
    SELECT m.subscriber FROM carillon.texts_of(audience->'topics') AS t(name)
    JOIN carillon.memberships m ON m.tenant_id = tenant AND m.kind = 'topic' AND m.name = t.name
    WHERE m.subscriber > lo AND m.subscriber <= hi
$$;

-- An upper bound of the audience's size, found without reading more than `enough` rows of any part.
CREATE FUNCTION carillon.audience_bound(tenant integer, audience jsonb, enough integer) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT (SELECT count(*) FROM carillon.texts_of(audience->'users'))
         + (SELECT count(*) FROM (
                SELECT FROM carillon.subscribers s
                WHERE (audience->>'everyone')::boolean AND s.tenant_id = tenant AND s.registered
                LIMIT enough) AS bounded)
         + (SELECT count(*) FROM (
                SELECT FROM carillon.texts_of(audience->'roles') AS r(name)
                JOIN carillon.memberships m ON m.tenant_id = tenant AND m.kind = 'role' AND m.name = r.name
                LIMIT enough) AS bounded)
         + (SELECT count(*) FROM (
                SELECT FROM carillon.texts_of(audience->'topics') AS t(name)
                JOIN carillon.memberships m ON m.tenant_id = tenant AND m.kind = 'topic' AND m.name = t.name
                LIMIT enough) AS bounded)
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
    INSERT INTO carillon.subscribers (tenant_id, id, registered)
    SELECT DISTINCT e.tenant_id, u.id, false
    FROM carillon.events e
    CROSS JOIN LATERAL (
        SELECT carillon.texts_of(e.audience->'users')
        UNION ALL
        SELECT g.value->>'id' FROM jsonb_array_elements(nullif(e.inline_users, 'null'::jsonb)) AS g(value)
    ) AS u(id)
    WHERE e.id = ANY (event_ids) AND e.id BETWEEN lowest AND highest
      AND NOT EXISTS (SELECT FROM carillon.subscribers s WHERE s.tenant_id = e.tenant_id AND s.id = u.id)
    ORDER BY e.tenant_id, u.id
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
