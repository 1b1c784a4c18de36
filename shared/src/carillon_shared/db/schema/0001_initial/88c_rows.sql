-- What was decided becomes delivery rows. The statements are planned as their callers say: see 88d_planning.sql.

-- Rows for events that nothing limits or gathers; only quiet hours can hold them. `again`: some of the rows exist already.
-- Without ON CONFLICT, which would look into the index twice for each row: the caller's lock keeps others from adding the
-- same rows meanwhile.
CREATE FUNCTION carillon.insert_plain(
    event_ids uuid[], lowest uuid, highest uuid, lo bigint, hi bigint, again boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    joining carillon.joining[];
BEGIN
    WITH targets AS MATERIALIZED (
        SELECT * FROM carillon.plan_targets(event_ids, lowest, highest)
    ), inserted AS (
        INSERT INTO carillon.deliveries (
            id, event_id, subscriber, tenant_id, channel, lane, status, hold_reason, reason, next_attempt_at)
        SELECT carillon.delivery_id(t.prefix, d.subscriber, d.channel), t.event_id, d.subscriber, t.tenant_id,
               d.channel, t.lane,
               CASE WHEN d.reason IS NOT NULL THEN 'skipped'::carillon.delivery_status
                    WHEN d.quiet_until IS NOT NULL THEN 'held'::carillon.delivery_status
                    ELSE 'queued'::carillon.delivery_status END,
               CASE WHEN d.reason IS NULL AND d.quiet_until IS NOT NULL THEN 'quiet_hours'::carillon.hold_reason END,
               d.reason,
               CASE WHEN d.reason IS NULL THEN d.quiet_until END
        FROM targets t
        CROSS JOIN LATERAL carillon.decide(
            t.tenant_id, t.type, t.category, t.channels, t.audience, t.actor, t.excluded, t.mandatory, t.about, t.defaults,
            t.disabled, t.quiet_rule, t.zone, lo, hi) AS d
        WHERE NOT (again AND EXISTS (
            SELECT FROM carillon.deliveries o
            WHERE o.id = carillon.delivery_id(t.prefix, d.subscriber, d.channel) AND o.event_id = t.event_id))
        ORDER BY t.event_id, d.subscriber, d.channel
        RETURNING id, event_id, subscriber, channel, status, next_attempt_at
    )
    SELECT array_agg(ROW(
        i.id, i.event_id, t.tenant_id, i.subscriber, i.channel, 'quiet_hours', 'quiet', NULL, t.category, t.lane,
        i.next_attempt_at, NULL)::carillon.joining)
    INTO joining
    FROM inserted i JOIN targets t ON t.event_id = i.event_id
    WHERE i.status = 'held';
    IF joining IS NOT NULL THEN
        PERFORM carillon.join_digests(joining);
    END IF;
END $$;

-- Rows for events of which some have a type that limits how many a subscriber gets in a window or gathers them, or that a
-- frequency cap counts. The windows are true sliding ones: the rows in limit_slots are locked in one statement and read in
-- the next, whose snapshot is newer. In this order: quiet hours, the type's digest, its throttle, the cap. What passes the
-- throttle takes its slot, although the cap may still gather it; the cap's slot is taken by what is sent now.
CREATE FUNCTION carillon.insert_limited(
    event_ids uuid[], lowest uuid, highest uuid, lo bigint, hi bigint, again boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    moment timestamptz;
    opened uuid[];
    joining carillon.joining[];
BEGIN
    PERFORM carillon.lock_slots(
        array_agg(t.tenant_id), array_agg(d.subscriber), array_agg(s.scope), array_agg(d.channel))
    FROM carillon.plan_targets(event_ids, lowest, highest) AS t
    CROSS JOIN LATERAL carillon.decide(
        t.tenant_id, t.type, t.category, t.channels, t.audience, t.actor, t.excluded, t.mandatory, t.about, t.defaults,
        t.disabled, t.quiet_rule, t.zone, lo, hi) AS d
    CROSS JOIN LATERAL (VALUES ('type:' || t.type, d.channel = ANY (t.throttled)),
                               (t.cap_scope, carillon.has_channel(t.cap, d.channel))) AS s(scope, wanted)
    WHERE d.reason IS NULL AND d.quiet_until IS NULL AND s.wanted
      AND (t.first_at_once OR d.channel <> ALL (t.gathered))
    HAVING count(*) > 0;
    moment := clock_timestamp();

    -- Whoever opens such a window sends at once; whoever finds it open, joins.
    opened := ARRAY(
        SELECT o.digest_id FROM carillon.open_digests((
            SELECT array_agg(ROW(
                NULL, NULL, t.tenant_id, d.subscriber, d.channel, 'type', t.digest_key, t.type, t.category, t.lane,
                moment + make_interval(secs => t.window_seconds),
                moment + make_interval(secs => t.max_seconds))::carillon.joining)
            FROM carillon.plan_targets(event_ids, lowest, highest) AS t
            CROSS JOIN LATERAL carillon.decide(
                t.tenant_id, t.type, t.category, t.channels, t.audience, t.actor, t.excluded, t.mandatory, t.about, t.defaults,
                t.disabled, t.quiet_rule, t.zone, lo, hi) AS d
            WHERE t.first_at_once AND d.reason IS NULL AND d.quiet_until IS NULL AND d.channel = ANY (t.gathered)
              AND NOT (again AND EXISTS (
                  SELECT FROM carillon.deliveries o
                  WHERE o.id = carillon.delivery_id(t.prefix, d.subscriber, d.channel) AND o.event_id = t.event_id)))) AS o
        WHERE o.opened);

    WITH targets AS MATERIALIZED (
        SELECT p.*, 'type:' || p.type AS scope, (p.throttle->>'limit')::integer AS slot_limit,
               (p.throttle->>'per_seconds')::integer AS per_seconds, coalesce(p.throttle->>'on_exceed', 'hold') AS on_exceed,
               (p.cap->>'limit')::integer AS cap_limit, (p.cap->>'per_seconds')::integer AS cap_seconds
        FROM carillon.plan_targets(event_ids, lowest, highest) AS p
    ), decided AS (
        SELECT t.*, d.subscriber, d.channel, d.reason, d.quiet_until,
               d.reason IS NULL AND d.quiet_until IS NULL AS is_open,
               d.reason IS NULL AND d.quiet_until IS NULL AND d.channel = ANY (t.gathered) AS gathers
        FROM targets t
        CROSS JOIN LATERAL carillon.decide(
            t.tenant_id, t.type, t.category, t.channels, t.audience, t.actor, t.excluded, t.mandatory, t.about, t.defaults,
            t.disabled, t.quiet_rule, t.zone, lo, hi) AS d
        WHERE NOT (again AND EXISTS (
            SELECT FROM carillon.deliveries o
            WHERE o.id = carillon.delivery_id(t.prefix, d.subscriber, d.channel) AND o.event_id = t.event_id))
    ), gathered AS (
        SELECT d.*, d.gathers AND NOT (g.id IS NOT NULL AND row_number() OVER (
            PARTITION BY d.tenant_id, d.subscriber, d.channel, d.digest_key, d.gathers ORDER BY d.event_id) = 1) AS joins
        FROM decided d
        LEFT JOIN carillon.digests g
          ON d.gathers AND d.first_at_once AND g.tenant_id = d.tenant_id AND g.subscriber = d.subscriber
         AND g.channel = d.channel AND g.key = d.digest_key AND g.closed_at IS NULL AND g.id = ANY (opened)
    ), wanting AS (
        SELECT d.*, d.is_open AND NOT d.joins AND d.channel = ANY (d.throttled) AS wants_slot FROM gathered d
    ), ranked AS (
        SELECT d.*, CASE WHEN d.wants_slot THEN row_number() OVER (
            PARTITION BY d.tenant_id, d.subscriber, d.scope, d.channel, d.wants_slot ORDER BY d.event_id) END AS rank
        FROM wanting d
    ), placed AS (
        SELECT r.*, r.on_exceed = 'skip' AND l.taken IS NOT NULL AS may_skip,
               -- Without a row that is locked, for somebody whose preferences changed this moment: look again.
               CASE WHEN r.wants_slot AND l.taken IS NULL THEN moment
                    WHEN r.wants_slot THEN carillon.slot_wait(
                   ARRAY(SELECT t FROM unnest(l.taken) AS t
                         WHERE t > moment - make_interval(secs => r.per_seconds) ORDER BY t),
                   r.rank, r.slot_limit, r.per_seconds, moment) END AS free_at
        FROM ranked r
        LEFT JOIN carillon.limit_slots l
          ON r.wants_slot AND l.tenant_id = r.tenant_id AND l.subscriber = r.subscriber AND l.scope = r.scope
         AND l.channel = r.channel
    ), counted AS (
        SELECT p.*, c.counts, CASE WHEN c.counts THEN row_number() OVER (
            PARTITION BY p.tenant_id, p.subscriber, p.cap_scope, p.channel, c.counts ORDER BY p.event_id) END AS cap_rank
        FROM placed p
        CROSS JOIN LATERAL (
            SELECT p.is_open AND NOT p.joins AND p.free_at IS NULL AND carillon.has_channel(p.cap, p.channel) AS counts) AS c
    ), capped AS (
        SELECT p.*, CASE WHEN p.counts AND l.taken IS NULL THEN moment
                         WHEN p.counts THEN carillon.slot_wait(
                   ARRAY(SELECT t FROM unnest(l.taken) AS t
                         WHERE t > moment - make_interval(secs => p.cap_seconds) ORDER BY t),
                   p.cap_rank, p.cap_limit, p.cap_seconds, moment) END AS cap_at
        FROM counted p
        LEFT JOIN carillon.limit_slots l
          ON p.counts AND l.tenant_id = p.tenant_id AND l.subscriber = p.subscriber AND l.scope = p.cap_scope
         AND l.channel = p.channel
    ), final AS MATERIALIZED (
        SELECT p.*, carillon.delivery_id(p.prefix, p.subscriber, p.channel) AS id,
               CASE WHEN p.reason IS NOT NULL THEN 'skipped' WHEN NOT p.is_open OR p.joins THEN 'held'
                    WHEN p.free_at IS NOT NULL AND p.may_skip THEN 'skipped'
                    WHEN p.free_at IS NOT NULL OR p.cap_at IS NOT NULL THEN 'held'
                    ELSE 'queued' END::carillon.delivery_status AS status,
               CASE WHEN p.reason IS NOT NULL THEN NULL WHEN NOT p.is_open THEN 'quiet_hours' WHEN p.joins THEN 'digest'
                    WHEN p.free_at IS NOT NULL AND p.may_skip THEN NULL WHEN p.free_at IS NOT NULL THEN 'throttled'
                    WHEN p.cap_at IS NOT NULL THEN 'digest' END::carillon.hold_reason AS hold_reason,
               CASE WHEN p.reason IS NOT NULL THEN NULL WHEN NOT p.is_open THEN p.quiet_until
                    WHEN p.joins THEN moment + make_interval(secs => p.window_seconds)
                    WHEN p.free_at IS NOT NULL AND p.may_skip THEN NULL
                    ELSE CASE WHEN p.free_at IS NOT NULL THEN least(p.free_at, p.expires_at) ELSE p.cap_at END END AS until
        FROM capped p
    ), inserted AS (
        INSERT INTO carillon.deliveries (
            id, event_id, subscriber, tenant_id, channel, lane, status, hold_reason, reason, next_attempt_at)
        SELECT p.id, p.event_id, p.subscriber, p.tenant_id, p.channel, p.lane, p.status, p.hold_reason,
               CASE WHEN p.free_at IS NOT NULL AND p.may_skip THEN 'throttled' WHEN p.cap_at IS NOT NULL THEN 'frequency_cap'
                    ELSE p.reason END, p.until
        FROM final p
    ), held AS (
        INSERT INTO carillon.due (delivery_id, due_at, kind)
        SELECT p.id, p.until, 'hold' FROM final p WHERE p.hold_reason = 'throttled'
    ), slots AS (
        SELECT p.tenant_id, p.subscriber, p.scope, p.channel, p.per_seconds, count(*)::integer AS n
        FROM final p WHERE p.wants_slot AND p.free_at IS NULL
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
        WHERE l.tenant_id = s.tenant_id AND l.subscriber = s.subscriber AND l.scope = s.scope AND l.channel = s.channel
    )
    SELECT array_agg(ROW(
        p.id, p.event_id, p.tenant_id, p.subscriber, p.channel,
        CASE WHEN NOT p.is_open THEN 'quiet_hours' WHEN p.joins THEN 'type' ELSE 'frequency_cap' END,
        CASE WHEN NOT p.is_open THEN 'quiet' WHEN p.joins THEN p.digest_key ELSE p.cap_scope END,
        CASE WHEN p.is_open AND p.joins THEN p.type END, p.category, p.lane, p.until,
        CASE WHEN p.is_open AND p.joins THEN moment + make_interval(secs => p.max_seconds) END)::carillon.joining)
    INTO joining
    FROM final p WHERE p.hold_reason IN ('quiet_hours', 'digest');
    PERFORM carillon.join_digests(ARRAY(SELECT j FROM unnest(joining) AS j WHERE j.kind <> 'frequency_cap'));
    PERFORM carillon.join_digests(ARRAY(SELECT j FROM unnest(joining) AS j WHERE j.kind = 'frequency_cap'));
END $$;

-- The same for one event and a range of its audience. Nobody is counted twice here, so a limit is asked and counted in one
-- upsert, which sees what is newest; `taken` ends with this moment if there was a slot. In the order of keys, types first.
CREATE FUNCTION carillon.insert_limited_range(
    event_ids uuid[], lowest uuid, highest uuid, lo bigint, hi bigint, again boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    moment timestamptz := clock_timestamp();
    t record;
    limit_scope text;
    slot_limit integer;
    slot_window interval;
    cap_limit integer;
    cap_window interval;
    capped carillon.channel[];
    joining carillon.joining[];
    capping carillon.joining[];
BEGIN
    SELECT * INTO t FROM carillon.plan_targets(event_ids, lowest, highest);
    limit_scope := 'type:' || t.type;
    slot_limit := (t.throttle->>'limit')::integer;
    slot_window := make_interval(secs => (t.throttle->>'per_seconds')::integer);
    cap_limit := (t.cap->>'limit')::integer;
    cap_window := make_interval(secs => (t.cap->>'per_seconds')::integer);
    capped := ARRAY(SELECT c::carillon.channel FROM carillon.texts_of(t.cap->'channels') AS c);

    WITH decided AS MATERIALIZED (
        SELECT d.subscriber, d.channel, d.reason, d.quiet_until, k.is_open, k.is_open AND d.channel = ANY (t.gathered) AS joins
        FROM carillon.decide(
            t.tenant_id, t.type, t.category, t.channels, t.audience, t.actor, t.excluded, t.mandatory, t.about, t.defaults,
            t.disabled, t.quiet_rule, t.zone, lo, hi) AS d
        CROSS JOIN LATERAL (SELECT d.reason IS NULL AND d.quiet_until IS NULL AS is_open) AS k
        WHERE NOT (again AND EXISTS (
            SELECT FROM carillon.deliveries o
            WHERE o.id = carillon.delivery_id(t.prefix, d.subscriber, d.channel) AND o.event_id = t.event_id))
    ), throttled AS (
        INSERT INTO carillon.limit_slots AS l (tenant_id, subscriber, scope, channel, taken)
        SELECT t.tenant_id, d.subscriber, limit_scope, d.channel, ARRAY[moment] FROM decided d
        WHERE d.is_open AND NOT d.joins AND d.channel = ANY (t.throttled)
        ORDER BY d.subscriber, d.channel
        ON CONFLICT (tenant_id, subscriber, scope, channel) DO UPDATE
        SET taken = CASE WHEN cardinality(l.taken) < slot_limit AND l.taken[1] > moment - slot_window THEN l.taken || moment
                         ELSE carillon.take_slot(l.taken, slot_limit, moment - slot_window, moment) END
        RETURNING l.subscriber, l.channel, l.taken
    ), placed AS MATERIALIZED (
        SELECT d.*, s.taken[cardinality(s.taken)] <> moment AS must_wait, s.taken
        FROM decided d LEFT JOIN throttled s ON s.subscriber = d.subscriber AND s.channel = d.channel
    ), counted AS (
        INSERT INTO carillon.limit_slots AS l (tenant_id, subscriber, scope, channel, taken)
        SELECT t.tenant_id, p.subscriber, t.cap_scope, p.channel, ARRAY[moment] FROM placed p
        WHERE p.is_open AND NOT p.joins AND p.must_wait IS NOT TRUE AND p.channel = ANY (capped)
        ORDER BY p.subscriber, p.channel
        ON CONFLICT (tenant_id, subscriber, scope, channel) DO UPDATE
        SET taken = CASE WHEN cardinality(l.taken) < cap_limit AND l.taken[1] > moment - cap_window THEN l.taken || moment
                         ELSE carillon.take_slot(l.taken, cap_limit, moment - cap_window, moment) END
        RETURNING l.subscriber, l.channel, l.taken
    ), judged AS (
        SELECT p.*, c.taken AS cap_taken, c.taken[cardinality(c.taken)] <> moment AS is_over,
               p.must_wait AND t.throttle->>'on_exceed' = 'skip' AS must_skip
        FROM placed p LEFT JOIN counted c ON c.subscriber = p.subscriber AND c.channel = p.channel
    ), final AS MATERIALIZED (
        SELECT j.subscriber, j.channel, carillon.delivery_id(t.prefix, j.subscriber, j.channel) AS id,
               CASE WHEN j.is_over THEN 'frequency_cap' WHEN j.must_skip THEN 'throttled' ELSE j.reason END AS reason,
               CASE WHEN j.reason IS NOT NULL OR j.must_skip THEN NULL WHEN NOT j.is_open THEN 'quiet_hours'
                    WHEN j.joins OR j.is_over THEN 'digest' WHEN j.must_wait THEN 'throttled'
                    END::carillon.hold_reason AS hold_reason,
               CASE WHEN j.reason IS NOT NULL OR j.must_skip THEN NULL WHEN NOT j.is_open THEN j.quiet_until
                    WHEN j.joins THEN moment + make_interval(secs => t.window_seconds)
                    WHEN j.must_wait THEN least(t.expires_at, carillon.slot_wait(
                        carillon.slots_within(j.taken, moment - slot_window), 1, slot_limit,
                        (t.throttle->>'per_seconds')::integer, moment))
                    WHEN j.is_over THEN carillon.slot_wait(
                        carillon.slots_within(j.cap_taken, moment - cap_window), 1, cap_limit,
                        (t.cap->>'per_seconds')::integer, moment) END AS until
        FROM judged j
    ), inserted AS (
        INSERT INTO carillon.deliveries (
            id, event_id, subscriber, tenant_id, channel, lane, status, hold_reason, reason, next_attempt_at)
        SELECT f.id, t.event_id, f.subscriber, t.tenant_id, f.channel, t.lane,
               CASE WHEN f.hold_reason IS NOT NULL THEN 'held' WHEN f.reason IS NOT NULL THEN 'skipped'
                    ELSE 'queued' END::carillon.delivery_status, f.hold_reason, f.reason, f.until
        FROM final f ORDER BY f.subscriber, f.channel
    ), held AS (
        INSERT INTO carillon.due (delivery_id, due_at, kind)
        SELECT f.id, f.until, 'hold' FROM final f WHERE f.hold_reason = 'throttled'
    )
    SELECT array_agg(j.one) FILTER (WHERE NOT j.is_over), array_agg(j.one) FILTER (WHERE j.is_over) INTO joining, capping
    FROM final f
    CROSS JOIN LATERAL (
        SELECT f.hold_reason = 'quiet_hours' AS is_quiet, f.reason IS NOT NULL AS is_over) AS k
    CROSS JOIN LATERAL (SELECT k.is_over, ROW(
        f.id, t.event_id, t.tenant_id, f.subscriber, f.channel,
        CASE WHEN k.is_quiet THEN 'quiet_hours' WHEN k.is_over THEN 'frequency_cap' ELSE 'type' END,
        CASE WHEN k.is_quiet THEN 'quiet' WHEN k.is_over THEN t.cap_scope ELSE t.digest_key END,
        CASE WHEN NOT k.is_quiet AND NOT k.is_over THEN t.type END, t.category, t.lane, f.until,
        CASE WHEN NOT k.is_quiet AND NOT k.is_over
             THEN moment + make_interval(secs => t.max_seconds) END)::carillon.joining AS one) AS j
    WHERE f.hold_reason IN ('quiet_hours', 'digest');
    IF joining IS NOT NULL THEN
        PERFORM carillon.join_digests(joining);
    END IF;
    IF capping IS NOT NULL THEN
        PERFORM carillon.join_digests(capping);
    END IF;
END $$;

-- Write the delivery rows of these events for the subscribers with lo < number <= hi. Doing it twice adds nothing.
-- Ids are unique by construction; if two events ever shared one, the second fails and does not vanish in silence.
CREATE FUNCTION carillon.insert_deliveries(event_ids uuid[], lo bigint, hi bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    lowest uuid := (SELECT i FROM unnest(event_ids) AS i ORDER BY i LIMIT 1);
    highest uuid := (SELECT i FROM unnest(event_ids) AS i ORDER BY i DESC LIMIT 1);
    limited boolean;
    conditional boolean;
    single boolean;
BEGIN
    SELECT bool_or(t.throttle IS NOT NULL OR t.cap IS NOT NULL OR t.gathered <> '{}'),
           bool_or(t.conditions IS NOT NULL OR t.stops),
           -- A range of one event. Those of small audiences are many, and planned once a session.
           count(*) = 1 AND hi < 4294967295 AND NOT bool_or(t.first_at_once)
    INTO limited, conditional, single
    FROM carillon.plan_targets(event_ids, lowest, highest) AS t;
    FOR again IN 0..1 LOOP
        BEGIN
            -- What waits for a condition is not asked for anything else yet: those rows are there already.
            IF conditional THEN
                PERFORM carillon.insert_conditional(event_ids, lowest, highest, lo, hi);
            END IF;
            -- All of them in one way: the order of locks is that of one statement, not of two.
            IF limited AND single THEN
                PERFORM carillon.insert_limited_range(event_ids, lowest, highest, lo, hi, conditional OR again = 1);
            ELSIF limited THEN
                PERFORM carillon.insert_limited(event_ids, lowest, highest, lo, hi, conditional OR again = 1);
            ELSE
                PERFORM carillon.insert_plain(event_ids, lowest, highest, lo, hi, conditional OR again = 1);
            END IF;
            RETURN;
        EXCEPTION WHEN unique_violation THEN
            IF again = 1 THEN
                RAISE;
            END IF;
        END;
    END LOOP;
END $$;
