-- What the API may do across tenants, and no more: these functions run as carillon_intake.

CREATE FUNCTION carillon.current_tenant() RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT nullif(current_setting('carillon.tenant_id', true), '')::integer
$$;

-- Take one throttle slot on each listed channel for one event, or none of them. True when taken.
-- The caller holds the event's key, so a duplicate never gets here.
CREATE FUNCTION carillon.take_intake_slots(
    tenant integer, subscriber_id text, scope_name text, channel_names text[], slot_limit integer, per_seconds integer)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    who bigint;
    found integer;
    window_start timestamptz := clock_timestamp() - make_interval(secs => per_seconds);
BEGIN
    SELECT s.number INTO who FROM carillon.subscribers s WHERE s.tenant_id = tenant AND s.id = subscriber_id;
    IF who IS NULL THEN
        RETURN true;                                      -- nobody has used a slot of a person who is not known
    END IF;
    LOOP                                                  -- again when housekeeping has removed one in between
        INSERT INTO carillon.limit_slots (tenant_id, subscriber, scope, channel, taken)
        SELECT tenant, who, scope_name, c::carillon.channel, '{}' FROM unnest(channel_names) AS c ORDER BY c
        ON CONFLICT DO NOTHING;
        PERFORM FROM carillon.limit_slots l
        WHERE l.tenant_id = tenant AND l.subscriber = who AND l.scope = scope_name
          AND l.channel = ANY (channel_names::carillon.channel[])
        ORDER BY l.channel FOR UPDATE;
        GET DIAGNOSTICS found = ROW_COUNT;
        EXIT WHEN found = (SELECT count(DISTINCT c) FROM unnest(channel_names) AS c);
    END LOOP;
    IF EXISTS (
        SELECT FROM carillon.limit_slots l
        WHERE l.tenant_id = tenant AND l.subscriber = who AND l.scope = scope_name
          AND l.channel = ANY (channel_names::carillon.channel[])
          AND (SELECT count(*) FROM unnest(l.taken) AS t WHERE t > window_start) >= slot_limit)
    THEN
        RETURN false;
    END IF;
    UPDATE carillon.limit_slots l
    SET taken = ARRAY(SELECT t FROM unnest(l.taken) AS t WHERE t > window_start ORDER BY t) || clock_timestamp()
    WHERE l.tenant_id = tenant AND l.subscriber = who AND l.scope = scope_name
      AND l.channel = ANY (channel_names::carillon.channel[]);
    RETURN true;
END $$;

-- Group commit. Arrays are aligned, in the order in which the events came; the caller has removed those with the same key,
-- and checked that text has no NUL. Result, one row per input:
--   accepted   stored now             duplicate  stored before with the same body
--   conflict   stored before with another body   throttled  its type refuses it now
--   collapsed  an earlier event with its collapse key is not completed: that one is named
--   busy       an earlier event that it replaces is being planned at this moment
-- Fast-path events are owed to the broker ten seconds from now: until then the API itself publishes.
CREATE FUNCTION carillon.accept_events(
    tenant_ids integer[], sources text[], external_ids text[], body_hashes bytea[], types text[], categories text[],
    lanes text[], channel_lists text[], subjects text[], times timestamptz[], datas text[], audiences text[],
    inline_lists text[], actors text[], deliver_ats timestamptz[], expires_ats timestamptz[], traceparents text[],
    throttles text[], approvals boolean[], collapse_keys text[], on_conflicts text[],
    publish_grace_seconds double precision DEFAULT 10)
RETURNS TABLE (n integer, event_id uuid, result text, accepted_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    moment timestamptz := clock_timestamp();
    won integer[];
    refused integer[] := '{}';
    refusals text[] := '{}';
    in_the_way uuid[] := '{}';
BEGIN
    WITH given AS (
        SELECT g.n::integer AS n, g.tenant_id, g.source, g.external_id, g.body_hash
        FROM unnest(tenant_ids, sources, external_ids, body_hashes)
             WITH ORDINALITY AS g(tenant_id, source, external_id, body_hash, n)
    ), inserted AS (
        INSERT INTO carillon.event_keys AS k (tenant_id, source, id, event_id, body_hash, accepted_at)
        SELECT g.tenant_id, g.source, g.external_id, carillon.new_event_id(moment + g.n * interval '1 microsecond'),
               g.body_hash, moment
        FROM given g ORDER BY g.tenant_id, g.source, g.external_id   -- in one order, or two flushes wait in a circle
        ON CONFLICT DO NOTHING
        RETURNING k.tenant_id, k.source, k.id
    )
    SELECT coalesce(array_agg(g.n ORDER BY g.n), '{}') INTO won
    FROM inserted i JOIN given g ON (g.tenant_id, g.source, g.external_id) = (i.tenant_id, i.source, i.id);

    INSERT INTO carillon.events (
        id, tenant_id, type, source, external_id, subject, time, category, lane, channels, data, audience,
        inline_users, actor, status, accepted_at, deliver_at, expires_at, owed_at, slots_taken, collapse_key, traceparent)
    SELECT k.event_id, tenant_ids[w], types[w], sources[w], external_ids[w], subjects[w],
           coalesce(times[w], moment), categories[w], lanes[w]::carillon.lane, channel_lists[w]::carillon.channel[],
           datas[w]::jsonb, audiences[w]::jsonb, inline_lists[w]::jsonb, actors[w],
           CASE WHEN approvals[w] THEN 'pending_approval' WHEN deliver_ats[w] > moment THEN 'scheduled'
                ELSE 'accepted' END::carillon.event_status,
           moment, deliver_ats[w], expires_ats[w],
           CASE WHEN NOT approvals[w]
                THEN greatest(deliver_ats[w], moment + make_interval(secs => publish_grace_seconds)) END,
           throttles[w] IS NOT NULL, collapse_keys[w], traceparents[w]
    FROM unnest(won) AS w
    JOIN carillon.event_keys k
      ON k.tenant_id = tenant_ids[w] AND k.source = sources[w] AND k.id = external_ids[w];

    IF EXISTS (SELECT FROM unnest(won) AS w WHERE throttles[w] IS NOT NULL OR collapse_keys[w] IS NOT NULL) THEN
        SELECT array_agg(r.n), array_agg(r.result), array_agg(r.earlier) INTO refused, refusals, in_the_way
        FROM carillon.refuse_events(
            won, tenant_ids, sources, external_ids, types, throttles, collapse_keys, on_conflicts) AS r;
        DELETE FROM carillon.events e USING unnest(refused) AS r, carillon.event_keys k
        WHERE k.tenant_id = tenant_ids[r] AND k.source = sources[r] AND k.id = external_ids[r] AND e.id = k.event_id;
        DELETE FROM carillon.event_keys k USING unnest(refused) AS r
        WHERE k.tenant_id = tenant_ids[r] AND k.source = sources[r] AND k.id = external_ids[r];
    END IF;

    -- An answer about what is there already must not be better than what it speaks of: a commit whose wait for a
    -- synchronous standby was given up is visible here and may be nowhere else. So this one waits for the standby too,
    -- which only a transaction that writes something does.
    IF won = '{}' THEN
        PERFORM pg_logical_emit_message(true, 'carillon', '');
    END IF;

    -- A new statement: it sees a concurrent winner that the first one only waited for.
    RETURN QUERY
    SELECT i.n::integer, coalesce(k.event_id, in_the_way[array_position(refused, i.n::integer)]),
           CASE WHEN i.n = ANY (refused) THEN refusals[array_position(refused, i.n::integer)]
                WHEN i.n = ANY (won) THEN 'accepted'
                WHEN k.body_hash = i.body_hash THEN 'duplicate'
                ELSE 'conflict' END,
           k.accepted_at
    FROM unnest(tenant_ids, sources, external_ids, body_hashes)
         WITH ORDINALITY AS i(tenant_id, source, external_id, body_hash, n)
    LEFT JOIN carillon.event_keys k
      ON k.tenant_id = i.tenant_id AND k.source = i.source AND k.id = i.external_id
    ORDER BY i.n;
END $$;

-- Of the events just stored those that their type's throttle or their collapse key does not let in, and why; the others
-- take their slots and their places. One after the other, in the order in which they came.
CREATE FUNCTION carillon.refuse_events(
    won integer[], tenant_ids integer[], sources text[], external_ids text[], types text[], throttles text[],
    collapse_keys text[], on_conflicts text[])
RETURNS TABLE (n integer, result text, earlier uuid)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    candidate record;
    throttle jsonb;
BEGIN
    PERFORM carillon.lock_collapse_keys(array_agg(tenant_ids[w]), array_agg(types[w]), array_agg(collapse_keys[w]))
    FROM unnest(won) AS w WHERE collapse_keys[w] IS NOT NULL HAVING count(*) > 0;
    FOR candidate IN
        SELECT w AS n, k.event_id, c.id AS key_id
        FROM unnest(won) AS w
        JOIN carillon.event_keys k ON k.tenant_id = tenant_ids[w] AND k.source = sources[w] AND k.id = external_ids[w]
        LEFT JOIN carillon.collapse_keys c
          ON c.tenant_id = tenant_ids[w] AND c.event_type = types[w] AND c.key = collapse_keys[w]
        WHERE throttles[w] IS NOT NULL OR collapse_keys[w] IS NOT NULL ORDER BY w
    LOOP
        n := candidate.n;
        result := NULL;
        earlier := NULL;
        throttle := throttles[n]::jsonb;
        IF candidate.key_id IS NOT NULL THEN
            SELECT v.verdict, v.earlier INTO result, earlier
            FROM carillon.collapse_verdict(candidate.key_id, on_conflicts[n]) AS v;
        END IF;
        IF result IS NULL AND throttle IS NOT NULL AND NOT carillon.take_intake_slots(
            tenant_ids[n], throttle->>'subscriber', 'type:' || types[n],
            ARRAY(SELECT jsonb_array_elements_text(throttle->'channels')),
            (throttle->>'limit')::integer, (throttle->>'per_seconds')::integer)
        THEN
            result := 'throttled';
        END IF;
        IF result IS NOT NULL THEN
            RETURN NEXT;
        ELSIF candidate.key_id IS NOT NULL THEN
            PERFORM carillon.enter_collapsed(tenant_ids[n], candidate.key_id, candidate.event_id, on_conflicts[n]);
        END IF;
    END LOOP;
END $$;

-- The broker has these, nothing is owed any more. `lowest` and `highest` bound the ids, so that partitions are pruned.
-- A plan may have failed and been postponed already, before its message was even confirmed: that stays owed.
CREATE FUNCTION carillon.mark_published(ids uuid[], lowest uuid, highest uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE carillon.events SET owed_at = NULL
    WHERE id = ANY (ids) AND owed_at IS NOT NULL AND status = 'accepted' AND plan_attempts = 0
      AND id BETWEEN lowest AND highest
$$;

-- Stop an event for good; nothing that is planned, leased or released after this commits is sent. Waits for planning
-- that is under way. Null: there is no such event. `transaction` is newer than all that could still send something.
CREATE FUNCTION carillon.cancel_event(tenant integer, event uuid, OUT status carillon.event_status, OUT transaction text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    found carillon.events;
BEGIN
    SELECT e.* INTO found FROM carillon.events e WHERE e.id = event AND e.tenant_id = tenant FOR UPDATE;
    IF found.id IS NULL THEN
        RETURN;
    END IF;
    IF found.status NOT IN ('completed', 'cancelled', 'rejected', 'expired') THEN
        UPDATE carillon.events e SET status = 'cancelled', cancelled_at = clock_timestamp(), owed_at = NULL
        WHERE e.id = event;
        found.status := 'cancelled';
        INSERT INTO carillon.cancellations (event_id, tenant_id) VALUES (event, tenant);
    END IF;
    cancel_event.status := found.status;
    cancel_event.transaction := pg_current_xact_id()::text;
END $$;

-- Then count what planning has left out, once: nothing is planned any more. In deliveries, that is people by channels.
CREATE FUNCTION carillon.count_unplanned(tenant integer, event uuid) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found carillon.events;
    people bigint;
BEGIN
    SELECT e.* INTO found FROM carillon.events e WHERE e.id = event AND e.tenant_id = tenant;
    IF found.status <> 'cancelled' THEN
        RETURN 0;
    ELSIF found.unplanned IS NOT NULL THEN
        RETURN found.unplanned;
    END IF;
    IF found.planned_at IS NOT NULL THEN
        people := 0;
    ELSIF found.ranges IS NULL THEN
        people := (SELECT count(*) FROM carillon.audience_numbers(tenant, found.audience, 0, 4294967295))
                + (SELECT count(DISTINCT u.id) FROM carillon.texts_of(found.audience->'users') AS u(id)
                   WHERE NOT EXISTS (SELECT FROM carillon.subscribers s WHERE s.tenant_id = tenant AND s.id = u.id));
    ELSE
        people := (SELECT count(*) FROM carillon.fanout_ranges r
                   CROSS JOIN LATERAL carillon.audience_numbers(tenant, found.audience, r.lo, r.hi)
                   WHERE r.event_id = event AND r.planned_at IS NULL);
    END IF;
    UPDATE carillon.events e SET unplanned = people * cardinality(e.channels)
    WHERE e.id = event AND e.unplanned IS NULL;
    RETURN people * cardinality(found.channels);
END $$;

-- Then, in a transaction of its own: stop what has not begun among the event's next `batch` deliveries after `last_seen`
-- (null: from the first). Returns the last id looked at, null at the end.
CREATE FUNCTION carillon.cancel_deliveries(tenant integer, event uuid, last_seen uuid, batch integer) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lowest uuid := coalesce(last_seen, (carillon.delivery_prefix(event) || '000000000')::uuid);
    highest uuid := (carillon.delivery_prefix(event) || 'fffffffff')::uuid;
BEGIN
    IF NOT EXISTS (SELECT FROM carillon.events e
                   WHERE e.id = event AND e.tenant_id = tenant AND e.status = 'cancelled') THEN
        DELETE FROM carillon.cancellations c WHERE c.event_id = event AND c.tenant_id = tenant;
        RETURN NULL;
    END IF;
    highest := (
        SELECT p.id FROM (
            SELECT d.id FROM carillon.deliveries d
            WHERE d.id > lowest AND d.id <= highest AND d.event_id = event ORDER BY d.id LIMIT batch) AS p
        ORDER BY p.id DESC LIMIT 1);
    WITH stopped AS (
        UPDATE carillon.deliveries d
        SET status = 'cancelled', reason = 'cancelled', hold_reason = NULL, next_attempt_at = NULL, updated_at = now()
        WHERE d.id IN (
            SELECT w.id FROM carillon.deliveries w
            WHERE w.id > lowest AND w.id <= highest AND w.event_id = event
              AND w.status IN ('held', 'queued', 'retrying')
            ORDER BY w.id FOR UPDATE)
          AND d.id > lowest AND d.id <= highest
        RETURNING d.id
    )
    DELETE FROM carillon.due u USING stopped s WHERE u.delivery_id = s.id;
    IF highest IS NULL THEN
        DELETE FROM carillon.cancellations c WHERE c.event_id = event;
    ELSE
        UPDATE carillon.cancellations c SET last_seen = highest, next_at = now() + interval '5 seconds'
        WHERE c.event_id = event;
    END IF;
    RETURN highest;
END $$;

-- Credentials are looked up before the tenant is known.
CREATE FUNCTION carillon.find_api_key(key_id text)
RETURNS TABLE (tenant_id integer, tenant text, secret_hash bytea, scopes text[], expires_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT k.tenant_id, t.slug, k.secret_hash, k.scopes, k.expires_at
    FROM carillon.api_keys k JOIN carillon.tenants t ON t.id = k.tenant_id
    WHERE k.id = key_id AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
$$;

CREATE FUNCTION carillon.find_tenant(tenant_slug text)
RETURNS TABLE (tenant_id integer, origins text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.id, t.origins FROM carillon.tenants t WHERE t.slug = tenant_slug
$$;

-- A browser's preflight carries no credential: is this origin listed by any tenant? (The answer to the real
-- request then checks the tenant's own list.)
CREATE FUNCTION carillon.origin_is_listed(origin text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM carillon.tenants t WHERE origin = ANY (t.origins))
$$;

-- Open a stream by its ticket: the first time within the minute it was made for, again until its token expires.
CREATE FUNCTION carillon.redeem_stream_ticket(ticket_hash bytea)
RETURNS TABLE (tenant_id integer, tenant text, subscriber text, topics text[], token_expires_at timestamptz)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE carillon.stream_tickets s SET opened_at = coalesce(s.opened_at, now())
    FROM carillon.tenants t
    WHERE s.hash = ticket_hash AND t.id = s.tenant_id AND s.token_expires_at > now()
      AND (s.opened_at IS NOT NULL OR s.open_until > now())
    RETURNING s.tenant_id, t.slug, s.subscriber, s.topics, s.token_expires_at
$$;

-- Can an event be stored at this moment? For readiness.
CREATE FUNCTION carillon.partition_exists_for(moment timestamptz) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT to_regclass('carillon.events' || to_char(moment AT TIME ZONE 'UTC', '_YYYYMMDD')) IS NOT NULL
$$;
