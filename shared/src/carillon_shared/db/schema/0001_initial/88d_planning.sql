-- Planning: one set-based statement turns events into delivery rows, whether they have one recipient or a range of
-- a large audience. A lock on the event keeps a cancel waiting until the rows are there, so that it stops them too.

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
