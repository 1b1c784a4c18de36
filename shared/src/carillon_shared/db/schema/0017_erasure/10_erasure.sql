-- Erasing a person: what is theirs goes, what others need of it (that something was sent, how often, when) stays under a name
-- that says nothing. Done in steps, each a transaction of its own, so that a person with much, or a tenant with many events,
-- takes long and nothing else; whoever begins again after a crash comes to the same end, because the person's own row, which
-- says what has to be looked for, is emptied last.

-- Under which name an erased person's deliveries go on.
CREATE FUNCTION carillon.erased_name(number bigint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT 'erased-' || lpad(to_hex(number), 8, '0')
$$;

-- What names a person in texts: `parts` wherever they stand as a word (addresses, names, an id like `bat.erdene`), `whole` only
-- where they are all that a value has: what is short is a word of its own in some language, and JSON has words, too.
CREATE FUNCTION carillon.traces_of(tenant integer, person bigint, OUT parts text[], OUT whole text[])
LANGUAGE sql STABLE AS $$
    WITH named AS (
        SELECT a.value #>> '{}' AS value
        FROM carillon.subscribers s CROSS JOIN LATERAL jsonb_each(s.attributes) AS a(key, value)
        WHERE s.tenant_id = tenant AND s.number = person AND jsonb_typeof(a.value) = 'string'
          AND a.key ~* '^((full|first|last|family|given|middle|nick|display|sur)[_ -]?)?name$|mail|phone|mobile|address'
    )
    SELECT coalesce(array_agg(t.value) FILTER (WHERE t.part), '{}'),
           coalesce(array_agg(t.value) FILTER (WHERE NOT t.part), '{}')
    FROM (SELECT s.email AS value, true AS part FROM carillon.subscribers s WHERE s.tenant_id = tenant AND s.number = person
          UNION SELECT s.phone, true FROM carillon.subscribers s WHERE s.tenant_id = tenant AND s.number = person
          UNION SELECT s.id, length(s.id) >= 5 AND s.id ~ '[[:alpha:]]' AND s.id <> 'false' FROM carillon.subscribers s WHERE s.tenant_id = tenant AND s.number = person
          UNION SELECT n.value, length(n.value) >= 5 FROM named n) AS t
    WHERE t.value <> ''
$$;

-- How a text stands within JSON.
CREATE FUNCTION carillon.in_json(value text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT substr(to_jsonb(value)::text, 2, length(to_jsonb(value)::text) - 2)
$$;

-- A pattern that is exactly this text.
CREATE FUNCTION carillon.pattern_of(value text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT regexp_replace(value, '([^[:alnum:]_@ ])', '\\\1', 'g')
$$;

-- The pattern of all that names a person in JSON; in `of_json` false: in plain text, where `whole` is not looked for.
CREATE FUNCTION carillon.trace_pattern(parts text[], whole text[], of_json boolean) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(string_agg(p.pattern, '|'), '$.^')  -- which is nowhere
    FROM (SELECT '(?<![[:alnum:]_])' || carillon.pattern_of(CASE WHEN of_json THEN carillon.in_json(v) ELSE v END)
                 || '(?![[:alnum:]_]|":)' AS pattern  -- nor the name of a field
          FROM unnest(parts) AS v
          UNION ALL
          SELECT '(?<=")' || carillon.pattern_of(carillon.in_json(v)) || '(?="(?!:))' FROM unnest(whole) AS v
          WHERE of_json) AS p
$$;

-- A text without a person.
CREATE FUNCTION carillon.without_person(value text, pattern text, alias text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT regexp_replace(value, pattern, alias, 'gi')
$$;

-- Whoever calls these sees one tenant; they see to it that it is this one.
CREATE FUNCTION carillon.only_own(tenant integer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF tenant IS DISTINCT FROM carillon.current_tenant() THEN
        RAISE insufficient_privilege USING MESSAGE = 'another tenant''s';
    END IF;
END $$;

-- The first step: nothing is planned for them any more, and what has not begun ends. Null: there is nobody of that id.
CREATE FUNCTION carillon.begin_erasure(tenant integer, person text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found bigint;
BEGIN
    PERFORM carillon.only_own(tenant);
    UPDATE carillon.subscribers s SET registered = false, updated_at = now()
    WHERE s.tenant_id = tenant AND s.id = person RETURNING s.number INTO found;
    DELETE FROM carillon.stream_tickets t WHERE t.tenant_id = tenant AND t.subscriber = person;
    RETURN found;
END $$;

-- End what is open of theirs, some at a time; returns how many that were.
CREATE FUNCTION carillon.end_deliveries_of(tenant integer, person bigint, most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ids uuid[];
BEGIN
    PERFORM carillon.only_own(tenant);
    SELECT array_agg(o.id ORDER BY o.id) INTO ids
    FROM (SELECT d.id FROM carillon.deliveries d
          WHERE d.tenant_id = tenant AND d.subscriber = person
            AND d.status IN ('held', 'queued', 'retrying', 'unknown', 'dead')
          ORDER BY d.id LIMIT most FOR UPDATE) AS o;
    UPDATE carillon.deliveries d
    SET status = 'skipped', reason = 'unknown_subscriber', hold_reason = NULL, next_attempt_at = NULL, updated_at = now()
    WHERE d.id = ANY (ids) AND d.id BETWEEN ids[1] AND ids[array_length(ids, 1)];
    DELETE FROM carillon.due u WHERE u.delivery_id = ANY (ids);
    DELETE FROM carillon.dead_letters l WHERE l.delivery_id = ANY (ids);
    RETURN coalesce(array_length(ids, 1), 0);
END $$;

-- Take a person out of the next events of their tenant: those that were for them alone lose their content. Returns the last
-- event that was looked at (null: there was none), and those whose content others have in their feeds. `changing` false only
-- tells of them: what others have goes first, for it could not be found by an event that says nothing any more.
CREATE FUNCTION carillon.erase_from_events(
    tenant integer, person bigint, after uuid, most integer, changing boolean, OUT last uuid, OUT shared uuid[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
    told text;  -- the pattern in JSON
    said text;  -- and in text
    own text;
    alias text := carillon.erased_name(person);
BEGIN
    PERFORM carillon.only_own(tenant);
    SELECT * INTO t FROM carillon.traces_of(tenant, person);
    SELECT s.id INTO own FROM carillon.subscribers s WHERE s.tenant_id = tenant AND s.number = person;
    told := carillon.trace_pattern(t.parts, t.whole, true);
    said := carillon.trace_pattern(t.parts, t.whole, false);
    SELECT (array_agg(e.id ORDER BY e.id DESC))[1] INTO last
    FROM (SELECT v.id FROM carillon.events v WHERE v.tenant_id = tenant AND v.id > after ORDER BY v.id LIMIT most) AS e;
    WITH found AS MATERIALIZED (
        SELECT e.id, e.audience->'users' = jsonb_build_array(own)
                     AND coalesce(jsonb_array_length(nullif(e.audience->'roles', 'null')), 0) = 0
                     AND coalesce(jsonb_array_length(nullif(e.audience->'topics', 'null')), 0) = 0
                     AND NOT coalesce((e.audience->>'everyone')::boolean, false) AS alone,
               e.data::text ~* told AS names_them
        FROM carillon.events e
        WHERE e.tenant_id = tenant AND e.id > after AND e.id <= last
          AND (concat_ws(' ', e.data::text, e.audience::text, e.inline_users::text) ~* told OR e.actor = own OR e.subject = own
               OR concat_ws(' ', e.actor, e.subject, e.collapse_key, e.plan_error) ~* said)
    ), changed AS (
        UPDATE carillon.events e
        SET data = CASE WHEN f.alone THEN '{}' ELSE carillon.without_person(e.data::text, told, alias)::jsonb END,
            audience = carillon.without_person(e.audience::text, told, alias)::jsonb,
            inline_users = CASE WHEN f.alone THEN NULL ELSE carillon.without_person(e.inline_users::text, told, alias)::jsonb END,
            actor = CASE WHEN e.actor = own THEN alias ELSE carillon.without_person(e.actor, said, alias) END,
            subject = CASE WHEN f.alone THEN NULL WHEN e.subject = own THEN alias
                           ELSE carillon.without_person(e.subject, said, alias) END,
            collapse_key = carillon.without_person(e.collapse_key, said, alias),
            plan_error = carillon.without_person(e.plan_error, said, alias)
        FROM found f WHERE changing AND e.id = f.id AND e.id > after AND e.id <= last
    )
    SELECT array_agg(f.id) INTO shared FROM found f WHERE f.names_them AND NOT f.alone;
END $$;

-- Take a person out of what others have of an event in their feeds, for the next deliveries after one. Returns the last.
CREATE FUNCTION carillon.erase_from_items(tenant integer, person bigint, event uuid, after uuid, below uuid, most integer)
RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
    told text;
    said text;
    last uuid;
    alias text := carillon.erased_name(person);
BEGIN
    PERFORM carillon.only_own(tenant);
    SELECT * INTO t FROM carillon.traces_of(tenant, person);
    told := carillon.trace_pattern(t.parts, t.whole, true);
    said := carillon.trace_pattern(t.parts || t.whole, '{}', false);  -- short names too: this event is known to tell of them
    SELECT (array_agg(o.id ORDER BY o.id DESC))[1] INTO last
    FROM (SELECT d.id FROM carillon.deliveries d WHERE d.id > after AND d.id <= below ORDER BY d.id LIMIT most) AS o;
    UPDATE carillon.feed_items i
    SET title = carillon.without_person(i.title, said, alias), body = carillon.without_person(i.body, said, alias),
        action_url = carillon.without_person(i.action_url, said, alias),
        data = carillon.without_person(i.data::text, told, alias)::jsonb
    FROM carillon.deliveries d
    WHERE d.id > after AND d.id <= last AND d.event_id = event AND d.channel = 'inapp'
      AND i.tenant_id = tenant AND i.subscriber = d.subscriber AND i.id = d.id AND i.id > after AND i.id <= last
      AND (concat_ws(' ', i.title, i.body, i.action_url) ~* said OR i.data::text ~* told);
    RETURN last;
END $$;

-- The last step: everything that is found by the person's number or name, and then the person.
CREATE FUNCTION carillon.end_erasure(tenant integer, person bigint, who text, why text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
    told text;
    said text;
    own record;
    ids uuid[];
    digest_ids uuid[];
    alias text := carillon.erased_name(person);
BEGIN
    PERFORM carillon.only_own(tenant);
    SELECT s.* INTO own FROM carillon.subscribers s WHERE s.tenant_id = tenant AND s.number = person FOR UPDATE;
    SELECT * INTO t FROM carillon.traces_of(tenant, person);
    told := carillon.trace_pattern(t.parts, t.whole, true);
    said := carillon.trace_pattern(t.parts, t.whole, false);
    SELECT array_agg(d.id ORDER BY d.id) INTO ids
    FROM carillon.deliveries d WHERE d.tenant_id = tenant AND d.subscriber = person;
    IF ids IS NOT NULL THEN  -- providers answer with addresses, and some have the number in their own ids
        UPDATE carillon.attempts a SET error = NULL, stack = NULL
        WHERE a.delivery_id = ANY (ids) AND a.delivery_id BETWEEN ids[1] AND ids[array_length(ids, 1)];
        DELETE FROM carillon.receipts r
        WHERE r.delivery_id = ANY (ids) AND r.delivery_id BETWEEN ids[1] AND ids[array_length(ids, 1)];
        UPDATE carillon.deliveries d SET provider_id = NULL
        WHERE d.id = ANY (ids) AND d.id BETWEEN ids[1] AND ids[array_length(ids, 1)] AND d.provider_id IS NOT NULL
          AND d.status <> 'sending';
        DELETE FROM carillon.corrections k WHERE k.delivery_id = ANY (ids);
        DELETE FROM carillon.dead_letters l WHERE l.delivery_id = ANY (ids);
        UPDATE carillon.audit_log a SET reason = carillon.without_person(a.reason, said, alias), details = '{}'
        WHERE a.tenant_id = tenant AND a.target = ANY (ARRAY(SELECT i::text FROM unnest(ids) AS i));
    END IF;
    SELECT array_agg(g.id) INTO digest_ids FROM carillon.digests g WHERE g.tenant_id = tenant AND g.subscriber = person;
    DELETE FROM carillon.digest_members m WHERE m.digest_id = ANY (digest_ids);
    DELETE FROM carillon.digests g WHERE g.id = ANY (digest_ids);
    DELETE FROM carillon.feed_items i WHERE i.tenant_id = tenant AND i.subscriber = person;
    DELETE FROM carillon.feeds f WHERE f.tenant_id = tenant AND f.subscriber = person;
    DELETE FROM carillon.memberships m WHERE m.tenant_id = tenant AND m.subscriber = person;
    DELETE FROM carillon.preferences p WHERE p.tenant_id = tenant AND p.subscriber = person;
    DELETE FROM carillon.limit_slots l WHERE l.tenant_id = tenant AND l.subscriber = person;
    DELETE FROM carillon.stream_tickets k WHERE k.tenant_id = tenant AND k.subscriber = own.id;
    DELETE FROM carillon.conversations c WHERE c.tenant_id = tenant AND c.target = carillon.address_digest(own.phone);
    -- That an address wants nothing is kept by its digest: whoever imports it again must not write to it.
    DELETE FROM carillon.suppressions s WHERE s.tenant_id = tenant AND s.subscriber = person;
    UPDATE carillon.suppressions s SET shown = NULL, detail = NULL
    WHERE s.tenant_id = tenant AND s.target IN (carillon.address_digest(own.email), carillon.address_digest(own.phone));
    UPDATE carillon.schedules c SET event = carillon.without_person(
        jsonb_set(c.event, '{audience,users}', (
            SELECT coalesce(jsonb_agg(u), '[]') FROM jsonb_array_elements(c.event #> '{audience,users}') AS u
            WHERE u #>> '{}' <> own.id AND u->>'id' IS DISTINCT FROM own.id))::text, told, alias)::jsonb
    WHERE c.tenant_id = tenant AND jsonb_typeof(c.event #> '{audience,users}') = 'array' AND c.event::text ~* told;
    UPDATE carillon.schedules c
    SET event = carillon.without_person(c.event::text, told, alias)::jsonb, name = carillon.without_person(c.name, said, alias)
    WHERE c.tenant_id = tenant AND (c.event::text ~* told OR c.name ~* said);
    UPDATE carillon.operations o
    SET overrides = carillon.without_person(o.overrides::text, told, alias)::jsonb,
        reason = carillon.without_person(o.reason, said, alias), error = carillon.without_person(o.error, said, alias)
    WHERE o.tenant_id = tenant AND (o.overrides::text ~* told OR o.reason ~* said OR o.error ~* said);
    UPDATE carillon.audit_log a
    SET details = carillon.without_person(a.details::text, told, alias)::jsonb,
        target = CASE WHEN a.target = own.id THEN alias ELSE carillon.without_person(a.target, said, alias) END,
        reason = carillon.without_person(a.reason, said, alias)
    WHERE a.tenant_id = tenant AND (a.details::text ~* told OR a.target = own.id OR concat_ws(' ', a.target, a.reason) ~* said);
    UPDATE carillon.webhook_messages w SET payload = carillon.without_person(w.payload, told, alias)
    WHERE w.tenant_id = tenant AND w.payload ~* told;
    UPDATE carillon.subscribers s
    SET id = alias, registered = false, email = NULL, phone = NULL, locale = NULL, time_zone = NULL, attributes = '{}',
        updated_at = now()
    WHERE s.tenant_id = tenant AND s.number = person;
    INSERT INTO carillon.audit_log (tenant_id, actor, action, target, reason)
    VALUES (tenant, who, 'subscriber.erased', alias, why);
END $$;
