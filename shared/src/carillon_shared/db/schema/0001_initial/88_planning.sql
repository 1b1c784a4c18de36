-- Planning: one set-based statement turns events into delivery rows, whether they have one recipient or a range of
-- a large audience. A lock on the event keeps a cancel waiting until the rows are there, so that it stops them too.

-- What the rules say about everyone with lo < number <= hi whom an audience names, on each of the channels.
CREATE FUNCTION carillon.decide(
    tenant integer, event_type text, category text, channels carillon.channel[], audience jsonb, actor bigint,
    excluded bigint[], mandatory boolean, about text[], defaults jsonb, disabled carillon.channel[], quiet_rule text,
    zone text, lo bigint, hi bigint)
RETURNS TABLE (subscriber bigint, channel carillon.channel, reason carillon.reason, quiet_until timestamptz)
LANGUAGE sql STABLE AS $$
    WITH people AS MATERIALIZED (
        SELECT s.number, s.registered, s.email, s.phone, p.document, x.suppressed,
               CASE WHEN quiet_rule <> 'pass' THEN p.quiet END AS quiet, coalesce(p.quiet_zone, s.time_zone, zone) AS zone
        FROM carillon.audience_numbers(tenant, audience, lo, hi) AS a
        JOIN carillon.subscribers s
          ON s.tenant_id = tenant AND s.number = a.number AND s.number > lo AND s.number <= hi
        LEFT JOIN carillon.preferences p
          ON p.tenant_id = tenant AND p.subscriber = a.number AND p.subscriber > lo AND p.subscriber <= hi
        CROSS JOIN LATERAL carillon.suppressions_of(tenant, s.number, s.email, s.phone) AS x
    ), clocks AS MATERIALIZED (
        -- What the clock on the wall says, once for each zone: that alone tells who is left in peace now.
        SELECT jsonb_object_agg(z.zone, carillon.week_minute(z.zone, now())) AS minutes
        FROM (SELECT DISTINCT n.zone FROM people n WHERE n.quiet IS NOT NULL) AS z
    )
    SELECT s.number, c.channel,
           coalesce(
               carillon.skip_reason(
                   s.number = actor, s.number = ANY (excluded), s.registered, c.channel = ANY (disabled),
                   carillon.has_address(c.channel, s.email, s.phone),
                   coalesce(c.channel = ANY (s.suppressed), false), mandatory, carillon.mutes(s.document, about),
                   carillon.wants(s.document, defaults, event_type, category, c.channel)),
               CASE WHEN q.until IS NOT NULL AND quiet_rule = 'skip' AND c.channel <> 'inapp'
                    THEN 'quiet_hours'::carillon.reason END),
           CASE WHEN c.channel <> 'inapp' THEN q.until END
    FROM people s
    CROSS JOIN clocks k
    -- Until when, once for each person.
    CROSS JOIN LATERAL (
        SELECT CASE WHEN s.quiet @> (k.minutes->>s.zone)::integer
                    THEN carillon.quiet_until(s.quiet, s.zone, now()) END AS until
        OFFSET 0) AS q
    CROSS JOIN unnest(channels) AS c(channel)
$$;

-- Events with all that planning needs to know about them, looked up once each. `gathered` are the channels on which the
-- type's digest gathers, `cap` is the frequency cap that counts them: neither for what is urgent, no cap for what is mandatory.
CREATE FUNCTION carillon.plan_targets(event_ids uuid[], lowest uuid, highest uuid)
RETURNS TABLE (
    event_id uuid, tenant_id integer, prefix text, type text, category text, lane carillon.lane,
    channels carillon.channel[], audience jsonb, actor bigint, excluded bigint[], mandatory boolean, about text[],
    defaults jsonb, disabled carillon.channel[], quiet_rule text, zone text, throttle jsonb, throttled carillon.channel[],
    expires_at timestamptz, cap jsonb, cap_scope text, gathered carillon.channel[], digest_key text, window_seconds integer,
    max_seconds integer, first_at_once boolean, conditions jsonb, stops boolean)
LANGUAGE sql STABLE AS $$
    SELECT e.id, e.tenant_id, carillon.delivery_prefix(e.id), e.type, e.category, e.lane, e.channels, e.audience,
           (SELECT s.number FROM carillon.subscribers s WHERE s.tenant_id = e.tenant_id AND s.id = e.actor),
           ARRAY(SELECT s.number FROM carillon.texts_of(e.audience->'exclude') AS x(id)
                 JOIN carillon.subscribers s ON s.tenant_id = e.tenant_id AND s.id = x.id),
           coalesce(y.mandatory, false), ARRAY(SELECT carillon.topics_about(e.tenant_id, e.audience)), t.preferences,
           t.disabled_channels || carillon.switched_off(),
           carillon.quiet_rule(y.quiet_hours, e.lane),
           t.default_time_zone, throttle.rule,
           ARRAY(SELECT c::carillon.channel FROM carillon.texts_of(throttle.rule->'channels') AS c),
           e.expires_at,
           CASE WHEN e.lane <> 'critical' AND NOT coalesce(y.mandatory, false) AND coalesce(y.frequency_cap, true)
                THEN cap.rule END, cap.scope,
           ARRAY(SELECT c::carillon.channel FROM carillon.texts_of(digest.rule->'channels') AS c),
           'type:' || e.type || ':'
               || CASE WHEN digest.rule->'key' <> '[]'
                       THEN coalesce(left(e.data #>> ARRAY(SELECT carillon.texts_of(digest.rule->'key')), 200), '')
                       ELSE '' END,
           (digest.rule->>'seconds')::integer,
           CASE digest.rule->>'window' WHEN 'sliding' THEN (digest.rule->>'max_seconds')::integer END,
           coalesce((digest.rule->>'first_at_once')::boolean, false),
           nullif(y.conditions, 'null'::jsonb), coalesce(y.stop_on_first_success, false)
    FROM carillon.events e
    JOIN carillon.tenants t ON t.id = e.tenant_id
    LEFT JOIN carillon.event_types y ON y.tenant_id = e.tenant_id AND y.name = e.type
    -- Slots that intake took are not taken again.
    CROSS JOIN LATERAL (SELECT CASE WHEN NOT e.slots_taken THEN nullif(y.throttle, 'null'::jsonb) END) AS throttle(rule)
    CROSS JOIN LATERAL (SELECT CASE WHEN e.lane <> 'critical' THEN nullif(y.digest, 'null'::jsonb) END) AS digest(rule)
    CROSS JOIN LATERAL carillon.cap_of(t.frequency_caps, e.category) AS cap
    WHERE e.id = ANY (event_ids) AND e.id BETWEEN lowest AND highest
$$;

-- The slots taken since a moment, in order.
CREATE FUNCTION carillon.slots_within(taken timestamptz[], since timestamptz) RETURNS timestamptz[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ARRAY(SELECT t FROM unnest(taken) AS t WHERE t > since ORDER BY t)
$$;

-- One slot more, or the same when all are taken.
CREATE FUNCTION carillon.take_slot(taken timestamptz[], slot_limit integer, since timestamptz, moment timestamptz)
RETURNS timestamptz[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    slots timestamptz[] := carillon.slots_within(taken, since);
BEGIN
    RETURN CASE WHEN cardinality(slots) < slot_limit THEN slots || moment ELSE slots END;
END $$;

-- The moment at which the `rank`-th of those who want a slot now may have one; null: at once. `taken` holds the
-- moments within the window in ascending order. Everyone before has been given the slot that frees next.
CREATE FUNCTION carillon.slot_wait(
    taken timestamptz[], rank bigint, slot_limit integer, per_seconds integer, moment timestamptz)
RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    used integer := cardinality(taken);
    free integer := greatest(slot_limit - used, 0);
    place integer := rank - free - 1;                     -- from zero, among those who wait
    index integer;
BEGIN
    IF rank <= free THEN
        RETURN NULL;
    END IF;
    index := greatest(used - slot_limit, 0) + place % slot_limit + 1;
    RETURN coalesce(taken[index], moment) + make_interval(secs => per_seconds) * (1 + place / slot_limit);
END $$;

-- Have a row for each of these limits and lock them all, in one order so that nobody waits in a circle: those of types
-- before those of caps, as a single event asks them. An update that changes nothing locks, and sees what is newest.
CREATE FUNCTION carillon.lock_slots(
    tenants integer[], subscribers bigint[], scopes text[], channels carillon.channel[]) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO carillon.limit_slots AS l (tenant_id, subscriber, scope, channel, taken)
    SELECT w.tenant_id, w.subscriber, w.scope, w.channel, '{}'::timestamptz[]
    FROM (SELECT DISTINCT u.scope LIKE 'cap:%' AS is_cap, u.tenant_id, u.subscriber, u.scope, u.channel
          FROM unnest(tenants, subscribers, scopes, channels) AS u(tenant_id, subscriber, scope, channel)) AS w
    ORDER BY w.is_cap, w.tenant_id, w.subscriber, w.scope, w.channel
    ON CONFLICT (tenant_id, subscriber, scope, channel) DO UPDATE SET taken = l.taken
$$;

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

-- What planning may do with an event now.
--   plan: write its rows     published: nothing is left to do      ranges: its audience was cut, its ranges say more
--   publish: rows are there  stopped: cancelled, rejected, over     expired: too late     early: not before deliver_at
CREATE FUNCTION carillon.plan_verdict(
    status carillon.event_status, cancelled_at timestamptz, deliver_at timestamptz, expires_at timestamptz,
    ranges integer, planned_at timestamptz, published_at timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN cancelled_at IS NOT NULL OR status NOT IN ('scheduled', 'accepted', 'dispatching', 'dispatched', 'completed')
            THEN 'stopped'
        WHEN published_at IS NOT NULL THEN 'published'
        WHEN status = 'scheduled' AND deliver_at > clock_timestamp() THEN 'early'
        WHEN planned_at IS NOT NULL THEN 'publish'
        WHEN ranges IS NOT NULL THEN 'ranges'
        WHEN expires_at <= clock_timestamp() THEN 'expired'
        ELSE 'plan'
    END
$$;

-- The statements below are planned in two ways. For small events once in a session, so that a plan costs next to
-- nothing, and by key only: a plan made while a table was small must not scan it when it is large. For a range each
-- time, so that reading many rows may be done in the way that suits their number.

-- Plan events whose audience has at most `range_size` members; all in one transaction. Answers for each event with
-- `plan_verdict`, where `large` is one that must be cut into ranges, and `planned` one that has its rows now.
CREATE FUNCTION carillon.plan_events(event_ids uuid[], range_size integer)
RETURNS TABLE (event_id uuid, verdict text)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET max_parallel_workers_per_gather = 0 SET enable_hashagg = off
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    lowest uuid := (SELECT i FROM unnest(event_ids) AS i ORDER BY i LIMIT 1);
    highest uuid := (SELECT i FROM unnest(event_ids) AS i ORDER BY i DESC LIMIT 1);
    found uuid[];
    verdicts text[];
    small uuid[];
    late uuid[];
BEGIN
    -- In the order of ids, so that two planners of the same events take turns.
    WITH locked AS MATERIALIZED (
        SELECT e.* FROM carillon.events e
        WHERE e.id = ANY (event_ids) AND e.id BETWEEN lowest AND highest
        ORDER BY e.id FOR NO KEY UPDATE
    ), judged AS (
        SELECT l.id, l.tenant_id, l.audience, carillon.plan_verdict(
            l.status, l.cancelled_at, l.deliver_at, l.expires_at, l.ranges, l.planned_at, l.published_at) AS verdict
        FROM locked l
    ), bounded AS (
        SELECT j.id, j.verdict, CASE
            WHEN j.verdict <> 'plan' THEN 0
            WHEN carillon.audience_is_listed(j.audience)
                THEN jsonb_array_length(coalesce(nullif(j.audience->'users', 'null'), '[]'))
            ELSE carillon.audience_bound(j.tenant_id, j.audience, range_size + 1) END AS size
        FROM judged j
    ), sized AS (
        SELECT b.id, CASE
            WHEN b.verdict <> 'plan' THEN b.verdict
            -- Not too many of the medium ones in one transaction either: they are ranges then.
            WHEN b.size <= range_size AND sum(b.size) OVER (ORDER BY b.size, b.id) <= 2 * range_size THEN 'planned'
            ELSE 'large' END AS verdict
        FROM bounded b
    )
    SELECT array_agg(s.id), array_agg(s.verdict), array_agg(s.id) FILTER (WHERE s.verdict = 'planned'),
           array_agg(s.id) FILTER (WHERE s.verdict = 'expired')
    INTO found, verdicts, small, late
    FROM sized s;

    IF small IS NOT NULL THEN
        PERFORM carillon.ensure_subscribers(small);
        PERFORM carillon.insert_deliveries(small, 0, 4294967295);
        UPDATE carillon.events e
        SET status = 'dispatching', ranges = 1, planned_at = now(), owed_at = NULL, inline_users = NULL,
            plan_error = NULL
        WHERE e.id = ANY (small) AND e.id BETWEEN lowest AND highest;
    END IF;
    IF late IS NOT NULL THEN
        UPDATE carillon.events e SET status = 'expired', owed_at = NULL
        WHERE e.id = ANY (late) AND e.id BETWEEN lowest AND highest;
    END IF;
    RETURN QUERY SELECT f.event_id, f.verdict FROM unnest(found, verdicts) AS f(event_id, verdict);
END $$;

-- Cut a large audience into ranges of at most `range_size` members, in one pass over it. Returns how many there are,
-- null when the event is not to be planned any more.
CREATE FUNCTION carillon.cut_ranges(event uuid, range_size integer) RETURNS integer
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    e carillon.events;
    made integer;
BEGIN
    SELECT v.* INTO e FROM carillon.events v WHERE v.id = event FOR NO KEY UPDATE;
    IF e.ranges IS NOT NULL THEN
        RETURN e.ranges;
    END IF;
    IF carillon.plan_verdict(
        e.status, e.cancelled_at, e.deliver_at, e.expires_at, e.ranges, e.planned_at, e.published_at) <> 'plan'
    THEN
        RETURN NULL;
    END IF;
    PERFORM carillon.ensure_subscribers(ARRAY[event]);
    WITH numbered AS (
        SELECT a.number, (row_number() OVER (ORDER BY a.number) - 1) / range_size AS n
        FROM carillon.audience_numbers(e.tenant_id, e.audience, 0, 4294967295) AS a
    ), bounds AS (
        SELECT c.n, max(c.number) AS hi FROM numbered c GROUP BY c.n
    ), inserted AS (
        INSERT INTO carillon.fanout_ranges (event_id, n, lo, hi)
        SELECT event, b.n, coalesce(lag(b.hi) OVER (ORDER BY b.n), 0), b.hi FROM bounds b
        RETURNING 1
    )
    SELECT count(*) INTO made FROM inserted;
    UPDATE carillon.events v
    SET status = 'dispatching', ranges = made, owed_at = NULL, inline_users = NULL, plan_error = NULL
    WHERE v.id = event;
    RETURN made;
END $$;

-- Plan one range of an event. The event is only shared with the planners of its other ranges: a cancel waits for all
-- of them. Answers `planned`, `published` (nothing is left to do), `stopped`, `expired` or `missing`.
CREATE FUNCTION carillon.plan_range(event uuid, range_number integer) RETURNS text
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    e carillon.events;
    r carillon.fanout_ranges;
BEGIN
    SELECT v.* INTO e FROM carillon.events v WHERE v.id = event FOR SHARE;
    SELECT f.* INTO r FROM carillon.fanout_ranges f WHERE f.event_id = event AND f.n = range_number FOR UPDATE;
    IF e.id IS NULL OR r.event_id IS NULL THEN
        RETURN 'missing';
    ELSIF r.published_at IS NOT NULL THEN
        RETURN 'published';
    ELSIF e.cancelled_at IS NOT NULL OR e.status <> 'dispatching' THEN
        RETURN 'stopped';
    ELSIF r.planned_at IS NOT NULL THEN
        RETURN 'planned';
    ELSIF e.expires_at <= clock_timestamp() THEN
        RETURN 'expired';
    END IF;
    PERFORM carillon.insert_deliveries(ARRAY[event], r.lo, r.hi);
    UPDATE carillon.fanout_ranges f SET planned_at = now() WHERE f.event_id = event AND f.n = range_number;
    RETURN 'planned';
END $$;

-- Planned rows of these events by what became of them; ids only of those that wait for a message. `los` and `his`
-- bound the subscribers, one pair for each event.
CREATE FUNCTION carillon.planned_rows(event_ids uuid[], los bigint[], his bigint[], lowest uuid, highest uuid)
RETURNS TABLE (
    event_id uuid, tenant text, traceparent text, channel carillon.channel, lane carillon.lane,
    status carillon.delivery_status, total bigint, ids uuid[])
LANGUAGE sql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    WITH spans AS MATERIALIZED (
        SELECT w.event_id, t.slug, e.traceparent,
               carillon.delivery_id(carillon.delivery_prefix(w.event_id), w.lo + 1, 'inapp') AS first_id,
               carillon.delivery_id(carillon.delivery_prefix(w.event_id), w.hi, 'whatsapp') AS last_id
        FROM unnest(event_ids, los, his) AS w(event_id, lo, hi)
        CROSS JOIN LATERAL (
            SELECT v.tenant_id, v.traceparent FROM carillon.events v
            WHERE v.id = w.event_id AND v.id BETWEEN lowest AND highest OFFSET 0) AS e
        JOIN carillon.tenants t ON t.id = e.tenant_id
    )
    SELECT s.event_id, s.slug, s.traceparent, g.channel, g.lane, g.status, g.total, g.ids
    FROM spans s
    CROSS JOIN LATERAL (
        SELECT d.channel, d.lane, d.status, count(*) AS total,
               array_agg(d.id ORDER BY d.id) FILTER (WHERE d.status = 'queued') AS ids
        FROM carillon.deliveries d
        WHERE d.id BETWEEN s.first_id AND s.last_id AND d.event_id = s.event_id
          AND d.id BETWEEN carillon.delivery_id(carillon.delivery_prefix(lowest), 0, 'inapp')
                       AND carillon.delivery_id(carillon.delivery_prefix(highest), 4294967295, 'whatsapp')
        GROUP BY d.channel, d.lane, d.status) AS g
$$;
