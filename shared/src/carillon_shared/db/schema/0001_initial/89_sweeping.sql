-- What sweepers do. Each function claims its work with SKIP LOCKED, so any number of dispatchers may sweep at once.
-- As in the workers' statements, rows are found by `= ANY` and everything else is looked up by key (OFFSET 0 keeps a
-- lookup apart), so that no plan can scan a table or turn quadratic, whatever the statistics say.

-- Of a lane's owed events the next `most`: the tenants take turns, each with its oldest. A tenant is found by one step
-- in the index, however many events of another are owed, and with many tenants each is asked for few.
CREATE FUNCTION carillon.next_owed(of_lane carillon.lane, most integer) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    tenants integer[];
BEGIN
    WITH RECURSIVE found AS (
        (SELECT e.tenant_id FROM carillon.events e
         WHERE e.lane = of_lane AND e.owed_at IS NOT NULL ORDER BY e.tenant_id LIMIT 1)
        UNION ALL
        SELECT (SELECT e.tenant_id FROM carillon.events e
                WHERE e.lane = of_lane AND e.owed_at IS NOT NULL AND e.tenant_id > f.tenant_id
                ORDER BY e.tenant_id LIMIT 1)
        FROM found f WHERE f.tenant_id IS NOT NULL
    )
    SELECT array_agg(f.tenant_id) INTO tenants FROM found f WHERE f.tenant_id IS NOT NULL;
    RETURN QUERY
    SELECT o.id
    FROM unnest(tenants) AS t(id)
    CROSS JOIN LATERAL (
        SELECT e.id, e.owed_at, row_number() OVER (ORDER BY e.owed_at) AS turn FROM carillon.events e
        WHERE e.lane = of_lane AND e.tenant_id = t.id AND e.owed_at <= now()
        ORDER BY e.owed_at LIMIT least(most, 1 + 8 * most / cardinality(tenants))) AS o
    ORDER BY o.turn, o.owed_at LIMIT most;
END $$;

-- Claim events that are owed to the broker, for so many seconds, urgent lanes first. `claim` is the claim's own mark:
-- clearing names it, so that what was owed anew meanwhile stays owed. One claims at a time, or two would look at the
-- same events and each get some of them.
CREATE FUNCTION carillon.claim_owed(
    most integer, seconds double precision, lanes carillon.lane[] DEFAULT '{critical,normal,bulk}')
RETURNS TABLE (
    event_id uuid, tenant text, type text, lane carillon.lane, traceparent text, claim timestamptz)
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    owed uuid[] := '{}';
    one carillon.lane;
    lowest uuid;
    highest uuid;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('carillon.claim_owed'));
    FOREACH one IN ARRAY lanes LOOP
        owed := owed || ARRAY(SELECT n FROM carillon.next_owed(one, most - cardinality(owed)) AS n);
    END LOOP;
    lowest := (SELECT o FROM unnest(owed) AS o ORDER BY o LIMIT 1);
    highest := (SELECT o FROM unnest(owed) AS o ORDER BY o DESC LIMIT 1);
    owed := ARRAY(SELECT e.id FROM carillon.events e
                  WHERE e.id = ANY (owed) AND e.id BETWEEN lowest AND highest AND e.owed_at <= now()
                  ORDER BY e.id FOR UPDATE SKIP LOCKED);
    RETURN QUERY
    UPDATE carillon.events e SET owed_at = now() + make_interval(secs => seconds)
    FROM carillon.tenants t
    WHERE e.id = ANY (owed) AND e.id BETWEEN owed[1] AND owed[cardinality(owed)] AND t.id = e.tenant_id
    RETURNING e.id, t.slug, e.type, e.lane, e.traceparent, e.owed_at;
END $$;

-- Ranges whose message is gone: planned and not published, or not even planned while nothing else of their lane has
-- moved. Marks them as sent now.
CREATE FUNCTION carillon.claim_stalled_ranges(most integer, seconds double precision)
RETURNS TABLE (event_id uuid, n integer, lane carillon.lane)
LANGUAGE sql AS $$
    WITH moving AS MATERIALIZED (
        SELECT DISTINCT e.lane FROM carillon.fanout_ranges r JOIN carillon.events e ON e.id = r.event_id
        WHERE r.published_at > now() - make_interval(secs => seconds)
    ), stalled AS MATERIALIZED (
        SELECT r.event_id, r.n, e.lane FROM carillon.fanout_ranges r JOIN carillon.events e ON e.id = r.event_id
        WHERE r.published_at IS NULL AND e.status = 'dispatching' AND e.cancelled_at IS NULL AND e.plan_error IS NULL
          AND r.sent_at < now() - make_interval(secs => seconds)
          AND CASE WHEN r.planned_at IS NULL THEN e.lane NOT IN (SELECT m.lane FROM moving m)
                   ELSE r.planned_at < now() - make_interval(secs => seconds) END
        ORDER BY r.event_id, r.n LIMIT most FOR UPDATE OF r SKIP LOCKED
    )
    UPDATE carillon.fanout_ranges r SET sent_at = now()
    FROM stalled s WHERE r.event_id = s.event_id AND r.n = s.n
    RETURNING r.event_id, r.n, s.lane
$$;

-- Leases whose worker did not come back. What was being sent has an unknown outcome, and counts as an attempt; its
-- token stays, so that a late settle still wins until somebody leases again.
CREATE FUNCTION carillon.expire_leases(most integer)
RETURNS TABLE (channel carillon.channel, total bigint, leases bigint)
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    tokens bigint[];
    ids uuid[];
BEGIN
    WITH expired AS (
        DELETE FROM carillon.leases l WHERE l.token = ANY (ARRAY(
            SELECT o.token FROM carillon.leases o WHERE o.until < now()
            ORDER BY o.until LIMIT most FOR UPDATE SKIP LOCKED))
        RETURNING l.token, l.delivery_ids
    )
    SELECT array_agg(DISTINCT x.token), array_agg(i.id ORDER BY i.id) INTO tokens, ids
    FROM expired x CROSS JOIN LATERAL unnest(x.delivery_ids) AS i(id);
    IF ids IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH held AS MATERIALIZED (
        SELECT d.id, d.tenant_id, d.attempt, d.channel, d.provider, d.updated_at AS leased_at
        FROM carillon.deliveries d
        WHERE d.id = ANY (ids) AND d.id BETWEEN ids[1] AND ids[cardinality(ids)]
          AND d.status = 'sending' AND d.lease_token = ANY (tokens)
        ORDER BY d.id FOR UPDATE OF d
    ), changed AS (
        UPDATE carillon.deliveries d
        SET status = 'unknown', unknowns = d.unknowns + 1, updated_at = now()
        WHERE d.id = ANY (ARRAY(SELECT h.id FROM held h)) AND d.id BETWEEN ids[1] AND ids[cardinality(ids)]
    ), attempts_made AS (
        INSERT INTO carillon.attempts (delivery_id, number, tenant_id, started_at, outcome, provider, code, error)
        SELECT h.id, h.attempt, h.tenant_id, h.leased_at, 'unknown',
               coalesce(h.provider, carillon.channel_name(h.channel)), 'worker_lost',
               'the worker ended before it wrote down the outcome'
        FROM held h
        ON CONFLICT (delivery_id, number) DO NOTHING
    ), due_made AS (
        INSERT INTO carillon.due (delivery_id, due_at, kind)
        SELECT h.id, now(), 'unknown' FROM held h
        ON CONFLICT (delivery_id) DO UPDATE SET due_at = excluded.due_at, kind = excluded.kind
    )
    SELECT h.channel, count(*), cardinality(tokens)::bigint FROM held h GROUP BY h.channel;
END $$;

-- Lock what came due `since_seconds` ago or earlier. A row whose delivery is in another state by now (a late settle, a
-- cancel) is stale.
CREATE FUNCTION carillon.claim_due(wanted carillon.due_kind, most integer, since_seconds double precision)
RETURNS TABLE (
    delivery_id uuid, status carillon.delivery_status, event_id uuid, tenant_id integer, tenant text,
    traceparent text, channel carillon.channel, lane carillon.lane, attempt smallint, budget_start smallint,
    unknowns smallint, ending text, event_type text, on_unknown carillon.unknown_rule, retry jsonb)
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    ids uuid[];
BEGIN
    SELECT array_agg(o.delivery_id ORDER BY o.delivery_id) INTO ids
    FROM (SELECT u.delivery_id FROM carillon.due u
          WHERE u.due_at <= now() - make_interval(secs => since_seconds) AND u.kind = wanted
          ORDER BY u.due_at LIMIT most FOR UPDATE SKIP LOCKED) AS o;
    IF ids IS NULL THEN
        RETURN;
    END IF;
    PERFORM FROM carillon.deliveries d
    WHERE d.id = ANY (ids) AND d.id BETWEEN ids[1] AND ids[cardinality(ids)]
    ORDER BY d.id FOR UPDATE;
    RETURN QUERY
    SELECT w.id, d.status, d.event_id, d.tenant_id, t.slug, e.traceparent, d.channel, d.lane, d.attempt,
           d.budget_start, d.unknowns,
           CASE WHEN e.cancelled_at IS NOT NULL THEN 'cancelled' WHEN e.expires_at <= now() THEN 'expired' END,
           e.type, coalesce(y.on_unknown, 'at_least_once'), coalesce(y.retry, '{}')
    FROM unnest(ids) AS w(id)
    LEFT JOIN LATERAL (
        SELECT v.* FROM carillon.deliveries v
        WHERE v.id = w.id AND v.id BETWEEN ids[1] AND ids[cardinality(ids)] OFFSET 0) AS d ON true
    LEFT JOIN LATERAL (
        SELECT v.* FROM carillon.events v
        WHERE v.id = d.event_id AND v.id BETWEEN carillon.event_bound(ids[1], '0')
                                             AND carillon.event_bound(ids[cardinality(ids)], 'f') OFFSET 0) AS e ON true
    LEFT JOIN LATERAL (SELECT v.slug FROM carillon.tenants v WHERE v.id = d.tenant_id OFFSET 0) AS t ON true
    LEFT JOIN LATERAL (
        SELECT v.on_unknown, v.retry FROM carillon.event_types v
        WHERE v.tenant_id = d.tenant_id AND v.name = e.type OFFSET 0) AS y ON true;
END $$;

-- Give deliveries that `claim_due` has locked their next state. A retry keeps a due row: it is overdue, its message
-- lost, if nobody has leased it by then; each time it is sent again it is given twice as long.
CREATE FUNCTION carillon.apply_due(ids uuid[], statuses text[], reasons text[], again_seconds double precision)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    lowest uuid := (SELECT i FROM unnest(ids) AS i ORDER BY i LIMIT 1);
    highest uuid := (SELECT i FROM unnest(ids) AS i ORDER BY i DESC LIMIT 1);
BEGIN
    WITH changed AS (
        UPDATE carillon.deliveries d
        SET status = statuses[array_position(ids, d.id)]::carillon.delivery_status,
            reason = reasons[array_position(ids, d.id)]::carillon.reason,
            next_attempt_at = CASE WHEN statuses[array_position(ids, d.id)] = 'retrying'
                                   THEN coalesce(d.next_attempt_at, now()) END,
            updated_at = now()
        WHERE d.id = ANY (ids) AND d.id BETWEEN lowest AND highest AND statuses[array_position(ids, d.id)] IS NOT NULL
        RETURNING d.id, d.tenant_id, d.event_id, d.channel, d.attempt, d.status, d.reason, d.provider, d.next_attempt_at
    ), buried AS (
        INSERT INTO carillon.dead_letters (
            delivery_id, tenant_id, channel, event_type, attempt, reason, provider, code, error)
        SELECT c.id, c.tenant_id, c.channel, e.type, c.attempt, c.reason, c.provider, a.code, a.error
        FROM changed c
        CROSS JOIN LATERAL (
            SELECT v.type FROM carillon.events v
            WHERE v.id = c.event_id
              AND v.id BETWEEN carillon.event_bound(lowest, '0') AND carillon.event_bound(highest, 'f') OFFSET 0) AS e
        LEFT JOIN LATERAL (
            SELECT v.code, v.error FROM carillon.attempts v
            WHERE v.delivery_id = c.id AND v.number = c.attempt AND v.delivery_id BETWEEN lowest AND highest
            OFFSET 0) AS a ON true
        WHERE c.status = 'dead'
        ON CONFLICT (delivery_id) DO UPDATE
        SET attempt = excluded.attempt, reason = excluded.reason, code = excluded.code, error = excluded.error,
            dead_at = now()
    ), later AS (
        INSERT INTO carillon.due (delivery_id, due_at, kind)
        SELECT c.id, now() + greatest(make_interval(secs => again_seconds), now() - c.next_attempt_at), 'retry'
        FROM changed c WHERE c.status = 'retrying'
        ON CONFLICT (delivery_id) DO UPDATE SET due_at = excluded.due_at, kind = excluded.kind
    )
    DELETE FROM carillon.due u
    WHERE u.delivery_id = ANY (ids) AND statuses[array_position(ids, u.delivery_id)] IS DISTINCT FROM 'retrying';
END $$;

-- Whether a person has read (or thrown away) an event's item in the feed: what the inbox does not show as unread.
CREATE FUNCTION carillon.is_read_in_feed(tenant integer, person bigint, event uuid) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT coalesce((
        SELECT i.read_at IS NOT NULL OR i.deleted_at IS NOT NULL OR i.attention_seq <= f.read_all_seq
        FROM carillon.events e
        JOIN carillon.feed_items i
          ON i.tenant_id = tenant AND i.subscriber = person AND i.event_id = e.id
         AND i.id = carillon.feed_item_id(e.id, e.feed_event, person)
        JOIN carillon.feeds f ON f.tenant_id = i.tenant_id AND f.subscriber = i.subscriber
        WHERE e.id = event), false)
$$;

-- Deliveries that are held, with what the rules say about them now. Those who were leased before have their slots. The
-- delivery of a digest is asked for its address only: its members have their own rules.
CREATE FUNCTION carillon.hold_targets(ids uuid[], lowest uuid, highest uuid)
RETURNS TABLE (
    id uuid, tenant_id integer, subscriber bigint, channel carillon.channel, ending text, skip carillon.reason,
    quiet_until timestamptz, wants_slot boolean, scope text, slot_limit integer, per_seconds integer,
    expires_at timestamptz, wants_cap boolean, cap_scope text, cap_limit integer, cap_seconds integer, event_id uuid,
    category text, lane carillon.lane, carrier boolean, wait_until timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT d.id, d.tenant_id, d.subscriber, d.channel,
           CASE WHEN e.cancelled_at IS NOT NULL THEN 'cancelled' WHEN e.expires_at <= now() THEN 'expired' END,
           coalesce(
               carillon.skip_reason(
                   false, false, s.registered, d.channel = ANY (t.disabled_channels || carillon.switched_off()),
                   carillon.has_address(d.channel, s.email, s.phone), coalesce(d.channel = ANY (x.suppressed), false),
                   y.mandatory, carillon.mutes_event(p.document, d.tenant_id, e.audience),
                   carillon.wants(p.document, t.preferences, e.type, e.category, d.channel)),
               CASE WHEN NOT y.mandatory AND f.is_read THEN 'already_read'::carillon.reason END,
               condition.skip,
               CASE WHEN q.until IS NOT NULL AND y.quiet_hours = 'skip' THEN 'quiet_hours'::carillon.reason END),
           q.until,
           coalesce(d.first_attempt_at IS NULL AND d.lease_token IS NULL AND d.carrier IS NULL AND NOT e.slots_taken
                    AND y.throttle->'channels' ? carillon.channel_name(d.channel), false),
           'type:' || e.type, (y.throttle->>'limit')::integer, (y.throttle->>'per_seconds')::integer, e.expires_at,
           d.first_attempt_at IS NULL AND d.lease_token IS NULL AND d.lane <> 'critical' AND NOT y.mandatory
               AND y.frequency_cap AND carillon.has_channel(cap.rule, d.channel),
           cap.scope, (cap.rule->>'limit')::integer, (cap.rule->>'per_seconds')::integer, d.event_id, e.category, d.lane,
           coalesce(d.carrier, false), condition.wait_until
    FROM carillon.deliveries d
    CROSS JOIN LATERAL (
        SELECT v.* FROM carillon.events v
        WHERE v.id = d.event_id
          AND v.id BETWEEN carillon.event_bound(lowest, '0') AND carillon.event_bound(highest, 'f') OFFSET 0) AS e
    CROSS JOIN LATERAL (SELECT v.* FROM carillon.tenants v WHERE v.id = d.tenant_id OFFSET 0) AS t
    CROSS JOIN LATERAL (
        SELECT v.* FROM carillon.subscribers v
        WHERE v.tenant_id = d.tenant_id AND v.number = d.subscriber OFFSET 0) AS s
    LEFT JOIN LATERAL (
        SELECT v.mandatory, v.quiet_hours, v.throttle, v.frequency_cap,
               v.conditions->carillon.channel_name(d.channel) AS condition, v.stop_on_first_success
        FROM carillon.event_types v
        WHERE v.tenant_id = d.tenant_id AND v.name = carillon.ruling_type(e.type, e.data, d.carrier) OFFSET 0) AS own ON true
    CROSS JOIN LATERAL (
        SELECT coalesce(own.mandatory OR d.carrier, d.carrier, false) AS mandatory, own.quiet_hours, own.throttle,
               coalesce(own.frequency_cap, true) AS frequency_cap) AS y
    CROSS JOIN LATERAL carillon.cap_of(t.frequency_caps, e.category) AS cap
    LEFT JOIN LATERAL (
        SELECT v.document, v.quiet, v.quiet_zone FROM carillon.preferences v
        WHERE v.tenant_id = d.tenant_id AND v.subscriber = d.subscriber OFFSET 0) AS p ON true
    CROSS JOIN LATERAL carillon.suppressions_of(d.tenant_id, d.subscriber, s.email, s.phone) AS x
    CROSS JOIN LATERAL (
        SELECT CASE WHEN p.quiet IS NOT NULL AND d.channel <> 'inapp'
                         AND carillon.quiet_rule(y.quiet_hours, d.lane) <> 'pass'
                    THEN carillon.quiet_until(
                        p.quiet, coalesce(p.quiet_zone, s.time_zone, t.default_time_zone), now()) END AS until) AS q
    CROSS JOIN LATERAL (
        SELECT carillon.is_read_in_feed(d.tenant_id, d.subscriber, d.event_id) AS is_read OFFSET 0) AS f
    LEFT JOIN LATERAL carillon.condition_now(
        own.condition, own.stop_on_first_success, d.tenant_id, e.id, e.channels, d.subscriber, d.channel, d.created_at)
        AS condition ON d.carrier IS NULL AND (own.condition IS NOT NULL OR own.stop_on_first_success)
    WHERE d.id = ANY (ids) AND d.id BETWEEN lowest AND highest AND d.status = 'held'
$$;

-- Release what was held until now: the rules are applied again, and a throttled delivery takes its slot or waits on. What
-- meets quiet hours or a full cap joins its digest.
-- Answers with all that is to be published. That stays due, in case this process ends before that is done; whoever has
-- published removes the row that still carries `due_at`.
CREATE FUNCTION carillon.release_holds(most integer, again_seconds double precision)
RETURNS TABLE (
    delivery_id uuid, event_id uuid, tenant text, traceparent text, channel carillon.channel, lane carillon.lane,
    attempt smallint, due_at timestamptz)
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    ids uuid[];
    lowest uuid;
    highest uuid;
    moment timestamptz;
    joining carillon.joining[];
BEGIN
    SELECT array_agg(o.delivery_id ORDER BY o.delivery_id) INTO ids
    FROM (SELECT u.delivery_id FROM carillon.due u WHERE u.due_at <= now() AND u.kind = 'hold'
          ORDER BY u.due_at LIMIT most FOR UPDATE SKIP LOCKED) AS o;
    IF ids IS NULL THEN
        RETURN;
    END IF;
    lowest := ids[1];
    highest := ids[cardinality(ids)];
    PERFORM FROM carillon.deliveries d
    WHERE d.id = ANY (ids) AND d.id BETWEEN lowest AND highest ORDER BY d.id FOR UPDATE;
    PERFORM carillon.lock_slots(
        array_agg(h.tenant_id), array_agg(h.subscriber), array_agg(w.scope), array_agg(h.channel))
    FROM carillon.hold_targets(ids, lowest, highest) AS h
    CROSS JOIN LATERAL (VALUES (h.scope, h.wants_slot), (h.cap_scope, h.wants_cap)) AS w(scope, wanted)
    WHERE h.ending IS NULL AND h.skip IS NULL AND h.wait_until IS NULL AND h.quiet_until IS NULL AND w.wanted
    HAVING count(*) > 0;
    moment := clock_timestamp();

    WITH ranked AS (
        SELECT h.*, k.is_open, k.is_open AND h.wants_slot AS takes, row_number() OVER (
            PARTITION BY h.tenant_id, h.subscriber, h.scope, h.channel, k.is_open AND h.wants_slot ORDER BY h.id) AS rank
        FROM carillon.hold_targets(ids, lowest, highest) AS h
        CROSS JOIN LATERAL (
            SELECT h.ending IS NULL AND h.skip IS NULL AND h.wait_until IS NULL AND h.quiet_until IS NULL AS is_open) AS k
    ), placed AS (
        SELECT r.*, CASE WHEN r.takes AND l.taken IS NULL THEN moment WHEN r.takes THEN carillon.slot_wait(
                   ARRAY(SELECT t FROM unnest(l.taken) AS t
                         WHERE t > moment - make_interval(secs => r.per_seconds) ORDER BY t),
                   r.rank, r.slot_limit, r.per_seconds, moment) END AS free_at
        FROM ranked r
        LEFT JOIN LATERAL (
            SELECT v.taken FROM carillon.limit_slots v
            WHERE v.tenant_id = r.tenant_id AND v.subscriber = r.subscriber AND v.scope = r.scope
              AND v.channel = r.channel OFFSET 0) AS l ON true
    ), counted AS (
        SELECT p.*, c.counts, row_number() OVER (
            PARTITION BY p.tenant_id, p.subscriber, p.cap_scope, p.channel, c.counts ORDER BY p.id) AS cap_rank
        FROM placed p
        CROSS JOIN LATERAL (SELECT p.is_open AND p.free_at IS NULL AND p.wants_cap AS counts) AS c
    ), final AS MATERIALIZED (
        SELECT p.*, CASE WHEN p.counts AND l.taken IS NULL THEN moment WHEN p.counts THEN carillon.slot_wait(
                   ARRAY(SELECT t FROM unnest(l.taken) AS t
                         WHERE t > moment - make_interval(secs => p.cap_seconds) ORDER BY t),
                   p.cap_rank, p.cap_limit, p.cap_seconds, moment) END AS cap_at
        FROM counted p
        LEFT JOIN LATERAL (
            SELECT v.taken FROM carillon.limit_slots v
            WHERE v.tenant_id = p.tenant_id AND v.subscriber = p.subscriber AND v.scope = p.cap_scope
              AND v.channel = p.channel OFFSET 0) AS l ON true
    ), changed AS (
        UPDATE carillon.deliveries d
        SET status = CASE WHEN p.ending IS NOT NULL THEN p.ending WHEN p.skip IS NOT NULL THEN 'skipped'
                          WHEN p.is_open AND p.free_at IS NULL AND p.cap_at IS NULL THEN 'queued'
                          ELSE 'held' END::carillon.delivery_status,
            reason = coalesce(p.ending::carillon.reason, p.skip,
                              CASE WHEN p.cap_at IS NOT NULL THEN 'frequency_cap'::carillon.reason END),
            hold_reason = CASE WHEN p.ending IS NOT NULL OR p.skip IS NOT NULL THEN NULL
                               WHEN p.wait_until IS NOT NULL THEN 'condition'
                               WHEN p.quiet_until IS NOT NULL THEN 'quiet_hours' WHEN p.free_at IS NOT NULL THEN 'throttled'
                               WHEN p.cap_at IS NOT NULL THEN 'digest' END::carillon.hold_reason,
            next_attempt_at = CASE WHEN p.ending IS NULL AND p.skip IS NULL AND p.wait_until IS NULL
                                   THEN coalesce(p.quiet_until, p.free_at, p.cap_at) END,
            updated_at = now()
        FROM final p
        WHERE d.id = p.id AND d.id = ANY (ids) AND d.id BETWEEN lowest AND highest
    ), slots AS (
        SELECT p.tenant_id, p.subscriber, p.scope, p.channel, p.per_seconds, count(*)::integer AS n
        FROM final p WHERE p.takes AND p.free_at IS NULL
        GROUP BY p.tenant_id, p.subscriber, p.scope, p.channel, p.per_seconds
        UNION ALL
        SELECT p.tenant_id, p.subscriber, p.cap_scope, p.channel, p.cap_seconds, count(*)::integer AS n
        FROM final p WHERE p.counts AND p.cap_at IS NULL
        GROUP BY p.tenant_id, p.subscriber, p.cap_scope, p.channel, p.cap_seconds
    ), taken AS (
        UPDATE carillon.limit_slots l
        SET taken = ARRAY(SELECT t FROM unnest(l.taken) AS t
                          WHERE t > moment - make_interval(secs => s.per_seconds) ORDER BY t)
                    || array_fill(moment, ARRAY[s.n])
        FROM slots s
        WHERE l.tenant_id = s.tenant_id AND l.subscriber = s.subscriber AND l.scope = s.scope
          AND l.channel = s.channel
    ), due_made AS (
        -- A digest that meets quiet hours on its way waits by itself; everything else is gathered for their end.
        INSERT INTO carillon.due (delivery_id, due_at, kind)
        SELECT p.id, least(coalesce(p.wait_until, p.free_at, p.quiet_until), p.expires_at), 'hold' FROM final p
        WHERE p.free_at IS NOT NULL OR (p.ending IS NULL AND p.skip IS NULL AND p.wait_until IS NOT NULL)
           OR (p.ending IS NULL AND p.skip IS NULL AND p.quiet_until IS NOT NULL AND p.carrier)
        ON CONFLICT (delivery_id) DO UPDATE SET due_at = excluded.due_at
    )
    SELECT array_agg(ROW(
        p.id, p.event_id, p.tenant_id, p.subscriber, p.channel,
        CASE WHEN p.quiet_until IS NOT NULL THEN 'quiet_hours' ELSE 'frequency_cap' END,
        CASE WHEN p.quiet_until IS NOT NULL THEN 'quiet' ELSE p.cap_scope END, NULL, p.category, p.lane,
        coalesce(p.quiet_until, p.cap_at), NULL)::carillon.joining)
    INTO joining
    FROM final p
    WHERE p.ending IS NULL AND p.skip IS NULL AND p.wait_until IS NULL AND NOT p.carrier AND (p.quiet_until IS NOT NULL OR p.cap_at IS NOT NULL);
    IF joining IS NOT NULL THEN
        PERFORM carillon.join_digests(ARRAY(SELECT g FROM unnest(joining) AS g WHERE g.kind = 'quiet_hours'));
        PERFORM carillon.join_digests(ARRAY(SELECT g FROM unnest(joining) AS g WHERE g.kind = 'frequency_cap'));
        DELETE FROM carillon.due u WHERE u.delivery_id = ANY (ARRAY(SELECT g.delivery_id FROM unnest(joining) AS g));
    END IF;

    -- New statements, which see the states that the last one wrote.
    DELETE FROM carillon.due u
    WHERE u.delivery_id = ANY (ids) AND u.delivery_id <> ALL (ARRAY(
        SELECT d.id FROM carillon.deliveries d
        WHERE d.id = ANY (ids) AND d.id BETWEEN lowest AND highest AND d.status IN ('held', 'queued')));
    RETURN QUERY
    WITH queued AS MATERIALIZED (
        SELECT d.id, d.event_id, d.tenant_id, d.channel, d.lane, d.attempt FROM carillon.deliveries d
        WHERE d.id = ANY (ids) AND d.id BETWEEN lowest AND highest AND d.status = 'queued'
    ), again AS (
        UPDATE carillon.due u SET due_at = now() + make_interval(secs => again_seconds)
        WHERE u.delivery_id = ANY (ARRAY(SELECT q.id FROM queued q))
    )
    SELECT q.id, q.event_id, t.slug, e.traceparent, q.channel, q.lane, q.attempt,
           now() + make_interval(secs => again_seconds)
    FROM queued q
    CROSS JOIN LATERAL (
        SELECT v.traceparent FROM carillon.events v
        WHERE v.id = q.event_id
          AND v.id BETWEEN carillon.event_bound(lowest, '0') AND carillon.event_bound(highest, 'f') OFFSET 0) AS e
    CROSS JOIN LATERAL (SELECT v.slug FROM carillon.tenants v WHERE v.id = q.tenant_id OFFSET 0) AS t;
END $$;

-- Of these events the queued deliveries whose message is gone: the queue, which keeps its order, has
-- given out messages that were published long after theirs. `margin` in seconds; per event at most `most` of them.
CREATE FUNCTION carillon.lost_deliveries(event_ids uuid[], margin double precision, most integer)
RETURNS TABLE (delivery_id uuid, updated_at timestamptz)
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH marks AS MATERIALIZED (
        SELECT w.queue, max(w.newest_published_at) - make_interval(secs => margin) AS mark
        FROM carillon.queue_watermarks w GROUP BY w.queue
    )
    SELECT d.id, d.updated_at
    FROM unnest(event_ids) AS w(event_id)
    CROSS JOIN LATERAL (
        SELECT v.published_at, v.channels FROM carillon.events v WHERE v.id = w.event_id OFFSET 0) AS e
    CROSS JOIN LATERAL (SELECT carillon.delivery_prefix(w.event_id) AS prefix) AS p
    CROSS JOIN LATERAL (
        SELECT o.id, o.updated_at FROM carillon.deliveries o
        JOIN marks m ON m.queue = 'carillon.' || carillon.channel_name(o.channel) || '.' || o.lane::text
        WHERE o.id BETWEEN carillon.delivery_id(p.prefix, 0, 'inapp')
                       AND carillon.delivery_id(p.prefix, 4294967295, 'whatsapp')
          AND o.event_id = w.event_id AND o.status = 'queued'
          AND o.updated_at < m.mark AND e.published_at < m.mark
        ORDER BY o.id LIMIT most) AS d;
END $$;

-- The oldest queued delivery of each work queue that has stood still so long that nobody knows: a queue that gives
-- out nothing has no watermark. Sending that one again tells a backlog from a loss.
CREATE FUNCTION carillon.silent_deliveries(event_ids uuid[], margin double precision)
RETURNS TABLE (delivery_id uuid, updated_at timestamptz, channel carillon.channel, lane carillon.lane)
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT DISTINCT ON (d.channel, d.lane) d.id, d.updated_at, d.channel, d.lane
    FROM unnest(event_ids) AS w(event_id)
    CROSS JOIN LATERAL (
        SELECT v.published_at, v.channels FROM carillon.events v WHERE v.id = w.event_id OFFSET 0) AS e
    CROSS JOIN LATERAL (SELECT carillon.delivery_prefix(w.event_id) AS prefix) AS p
    CROSS JOIN unnest(e.channels) AS c(channel)
    CROSS JOIN LATERAL (
        SELECT o.id, o.updated_at, o.channel, o.lane FROM carillon.deliveries o
        WHERE o.id BETWEEN carillon.delivery_id(p.prefix, 0, 'inapp')
                       AND carillon.delivery_id(p.prefix, 4294967295, 'whatsapp')
          AND o.event_id = w.event_id AND o.status = 'queued' AND o.channel = c.channel
          AND o.updated_at < now() - make_interval(secs => margin)
          AND e.published_at < now() - make_interval(secs => margin)
        ORDER BY o.id LIMIT 1) AS d
    ORDER BY d.channel, d.lane, d.updated_at;
END $$;

-- Take these queued deliveries for publishing again, unless somebody has touched them since they were looked at.
CREATE FUNCTION carillon.touch_queued(ids uuid[], seen timestamptz[])
RETURNS TABLE (
    delivery_id uuid, event_id uuid, tenant text, traceparent text, channel carillon.channel, lane carillon.lane,
    attempt smallint)
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    lowest uuid := (SELECT i FROM unnest(ids) AS i ORDER BY i LIMIT 1);
    highest uuid := (SELECT i FROM unnest(ids) AS i ORDER BY i DESC LIMIT 1);
BEGIN
    RETURN QUERY
    WITH free AS MATERIALIZED (
        SELECT d.id, d.event_id, d.tenant_id, d.channel, d.lane, d.attempt FROM carillon.deliveries d
        WHERE d.id = ANY (ids) AND d.id BETWEEN lowest AND highest AND d.status = 'queued'
          AND d.updated_at = seen[array_position(ids, d.id)]
        ORDER BY d.id FOR UPDATE OF d SKIP LOCKED
    ), touched AS (
        UPDATE carillon.deliveries d SET updated_at = now()
        WHERE d.id = ANY (ARRAY(SELECT f.id FROM free f)) AND d.id BETWEEN lowest AND highest
    )
    SELECT f.id, f.event_id, t.slug, e.traceparent, f.channel, f.lane, f.attempt
    FROM free f
    CROSS JOIN LATERAL (
        SELECT v.traceparent FROM carillon.events v
        WHERE v.id = f.event_id
          AND v.id BETWEEN carillon.event_bound(lowest, '0') AND carillon.event_bound(highest, 'f') OFFSET 0) AS e
    CROSS JOIN LATERAL (SELECT v.slug FROM carillon.tenants v WHERE v.id = f.tenant_id OFFSET 0) AS t;
END $$;

-- For each event its first delivery at or after `froms` that is still on its way; events without one are done there.
CREATE FUNCTION carillon.first_open(event_ids uuid[], froms uuid[])
RETURNS TABLE (event_id uuid, delivery_id uuid)
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT w.event_id, d.id
    FROM unnest(event_ids, froms) AS w(event_id, first)
    CROSS JOIN LATERAL (SELECT carillon.delivery_prefix(w.event_id) AS prefix) AS p
    LEFT JOIN LATERAL (
        SELECT o.id FROM carillon.deliveries o
        WHERE o.id BETWEEN coalesce(w.first, carillon.delivery_id(p.prefix, 0, 'inapp'))
                       AND carillon.delivery_id(p.prefix, 4294967295, 'whatsapp')
          AND o.event_id = w.event_id AND o.status IN ('held', 'queued', 'sending', 'retrying', 'unknown')
        ORDER BY o.id LIMIT 1) AS d ON true;
END $$;
