-- What workers do to deliveries. Every write to a leased delivery names its token. Ids come with their lowest and
-- highest, so that partitions are pruned when a statement starts.
--
-- `lease`, `settle` and `write_feed` run for every wave, so they are planned once a session (planning takes longer than
-- leasing ten rows), and the plan must be right for any number of rows, in new tables and full ones, whatever the
-- statistics say. So the planner has no choice that could turn out quadratic: deliveries are found by `= ANY`, two sets
-- meet by hash, and everything else is looked up by key, one row at a time (OFFSET 0 keeps a lookup apart, and for it a
-- nested loop is the only way, even where it is off). Sequential scans are off: a plan made while a table was empty must
-- not scan it once it is full.

-- What a worker may do with a delivery that a message asks it to send. `for_attempt` is the attempt the message is for.
--   leased: send it now     early: its time has not come     stale: somebody else did this already
--   again: the attempt was made and its retry may not have been published    buried: the same for its dead letter
--   cancelled | expired | skipped: it ends here         quiet: it waits for the end of the person's quiet hours
CREATE FUNCTION carillon.work_verdict(
    status carillon.delivery_status, attempt smallint, for_attempt smallint, cancelled_at timestamptz,
    expires_at timestamptz, next_attempt_at timestamptz, skip carillon.reason, quiet_until timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN attempt >= for_attempt AND status = 'retrying' THEN 'again'
        WHEN attempt >= for_attempt AND status = 'dead' THEN 'buried'
        WHEN attempt >= for_attempt OR status NOT IN ('queued', 'retrying') THEN 'stale'
        WHEN cancelled_at IS NOT NULL THEN 'cancelled'
        WHEN expires_at <= now() THEN 'expired'
        WHEN skip IS NOT NULL THEN 'skipped'
        WHEN next_attempt_at > now() + interval '1 second' THEN 'early'
        WHEN quiet_until IS NOT NULL THEN 'quiet'
        ELSE 'leased'
    END
$$;

-- First and last id that an event of these deliveries can have: both begin with the moment of its acceptance.
CREATE FUNCTION carillon.event_bound(delivery uuid, digit text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (substr(replace(delivery::text, '-', ''), 1, 12) || repeat(digit, 20))::uuid
$$;

-- A column of one value that stands for all rows: a wave's columns mostly hold the same value over and over.
CREATE FUNCTION carillon.for_all(given anyarray, many integer) RETURNS anyarray
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN cardinality(given) = 1 THEN array_fill(given[1], ARRAY[many]) ELSE given END
$$;

-- Lease deliveries for sending. A row that another session holds, or that does not exist, is left out of the answer.
-- Asking twice with one token gives the same answer. One value in `for_attempts` stands for all.
CREATE FUNCTION carillon.lease(
    wanted uuid[], for_attempts smallint[], lowest uuid, highest uuid, new_token bigint, holder_name text,
    seconds double precision)
RETURNS TABLE (
    id uuid, verdict text, attempt smallint, budget_start smallint, unknowns smallint, remaining double precision,
    first_attempt_at timestamptz, subscriber_id text, subscriber_number bigint, email text, phone text, locale text,
    time_zone text, attributes jsonb, own_data jsonb, wrote_at timestamptz)
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_nestloop = off SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    first_event uuid := carillon.event_bound(lowest, '0');
    last_event uuid := carillon.event_bound(highest, 'f');
    same boolean := cardinality(for_attempts) = 1;
BEGIN
    RETURN QUERY
    WITH held AS MATERIALIZED (
        SELECT d.id, d.event_id, d.tenant_id, d.subscriber, d.channel, d.lane, d.status, d.attempt, d.budget_start,
               d.unknowns, d.carrier, d.lease_token, d.first_attempt_at, d.next_attempt_at,
               CASE WHEN same THEN for_attempts[1] ELSE for_attempts[array_position(wanted, d.id)] END AS for_attempt
        FROM carillon.deliveries d
        WHERE d.id = ANY (wanted) AND d.id BETWEEN lowest AND highest
        ORDER BY d.id
        FOR UPDATE OF d SKIP LOCKED
    ), ruled AS (
        SELECT h.*, s.id AS subscriber_id, coalesce(k.email, s.email) AS email, coalesce(k.phone, s.phone) AS phone,
               s.locale, s.time_zone, s.attributes, k.data AS own_data, w.wrote_at, rule.skip, q.until AS quiet_until,
               CASE WHEN h.lease_token = new_token AND h.status = 'sending' THEN 'leased'
                    ELSE carillon.work_verdict(h.status, h.attempt, h.for_attempt, e.cancelled_at, e.expires_at,
                                               h.next_attempt_at, rule.skip, q.until) END AS verdict
        FROM held h
        CROSS JOIN LATERAL (
            SELECT v.* FROM carillon.events v
            WHERE v.id = h.event_id AND v.id BETWEEN first_event AND last_event OFFSET 0) AS e
        CROSS JOIN LATERAL (
            SELECT v.* FROM carillon.tenants v WHERE v.id = h.tenant_id OFFSET 0) AS t
        CROSS JOIN LATERAL (
            SELECT v.* FROM carillon.subscribers v
            WHERE v.tenant_id = h.tenant_id AND v.number = h.subscriber OFFSET 0) AS s
        LEFT JOIN LATERAL (
            SELECT v.mandatory, v.quiet_hours FROM carillon.event_types v
            WHERE v.tenant_id = h.tenant_id AND v.name = carillon.ruling_type(e.type, e.data, h.carrier) OFFSET 0) AS y ON true
        LEFT JOIN LATERAL (
            SELECT v.document, v.quiet, v.quiet_zone FROM carillon.preferences v
            WHERE v.tenant_id = h.tenant_id AND v.subscriber = h.subscriber OFFSET 0) AS p ON true
        LEFT JOIN LATERAL (
            SELECT v.email, v.phone, v.data FROM carillon.corrections v
            WHERE h.budget_start > 0 AND v.delivery_id = h.id OFFSET 0) AS k ON true
        CROSS JOIN LATERAL carillon.suppressions_of(
            h.tenant_id, h.subscriber, coalesce(k.email, s.email), coalesce(k.phone, s.phone)) AS x
        LEFT JOIN LATERAL (
            SELECT v.wrote_at FROM carillon.conversations v
            WHERE h.channel = 'whatsapp' AND v.tenant_id = h.tenant_id
              AND v.target = carillon.address_digest(coalesce(k.phone, s.phone)) OFFSET 0) AS w ON true
        CROSS JOIN LATERAL (
            SELECT CASE WHEN p.quiet IS NOT NULL AND h.channel <> 'inapp'
                             AND carillon.quiet_rule(y.quiet_hours, h.lane) <> 'pass'
                        THEN carillon.quiet_until(
                            p.quiet, coalesce(p.quiet_zone, s.time_zone, t.default_time_zone), now()) END AS until) AS q
        CROSS JOIN LATERAL (SELECT coalesce(
            carillon.skip_reason(
                false, false, s.registered, h.channel = ANY (t.disabled_channels || carillon.switched_off()),
                carillon.has_address(h.channel, coalesce(k.email, s.email), coalesce(k.phone, s.phone)),
                coalesce(h.channel = ANY (x.suppressed), false), coalesce(y.mandatory OR h.carrier, h.carrier, false),
                carillon.mutes_event(p.document, h.tenant_id, e.audience),
                carillon.wants(p.document, t.preferences, e.type, e.category, h.channel)),
            CASE WHEN q.until IS NOT NULL AND y.quiet_hours = 'skip' THEN 'quiet_hours'::carillon.reason END) AS skip) AS rule
    ), equipped AS (
        -- A digest says what it has to say at this moment; one that has nothing to say any more is not sent.
        SELECT r.*, CASE WHEN r.carrier AND r.verdict = 'leased' THEN carillon.digest_content(r.event_id) END AS content
        FROM ruled r
    ), judged AS MATERIALIZED (
        SELECT r.id, r.subscriber, r.attempt, r.for_attempt, r.budget_start, r.unknowns, r.first_attempt_at,
               r.next_attempt_at, r.subscriber_id, r.email, r.phone, r.locale, r.time_zone, r.attributes, r.wrote_at,
               r.quiet_until,
               CASE WHEN r.content IS NULL THEN r.own_data ELSE coalesce(r.own_data, '{}') || r.content END AS own_data,
               CASE WHEN r.carrier AND r.verdict = 'leased' AND r.content IS NULL THEN 'empty_digest'::carillon.reason
                    ELSE r.skip END AS skip,
               CASE WHEN r.carrier AND r.verdict = 'leased' AND r.content IS NULL THEN 'skipped'
                    ELSE r.verdict END AS verdict
        FROM equipped r
    ), leased AS (
        UPDATE carillon.deliveries d
        SET status = 'sending', reason = NULL,
            attempt = CASE WHEN same THEN for_attempts[1] ELSE for_attempts[array_position(wanted, d.id)] END,
            lease_token = new_token, first_attempt_at = coalesce(d.first_attempt_at, now()), updated_at = now()
        WHERE d.id = ANY (ARRAY(SELECT j.id FROM judged j WHERE j.verdict = 'leased'))
          AND d.id BETWEEN lowest AND highest
    ), over AS (
        SELECT j.id, j.verdict, j.skip FROM judged j WHERE j.verdict IN ('cancelled', 'expired', 'skipped')
    ), ended AS (
        UPDATE carillon.deliveries d
        SET status = o.verdict::carillon.delivery_status,
            reason = CASE o.verdict WHEN 'skipped' THEN o.skip ELSE o.verdict::carillon.reason END,
            updated_at = now()
        FROM over o
        WHERE d.id = o.id AND d.id = ANY (ARRAY(SELECT o.id FROM over o)) AND d.id BETWEEN lowest AND highest
    ), waiting AS (
        -- No attempt. The token says that it was queued before, and has the slots of its limits.
        UPDATE carillon.deliveries d
        SET status = 'held', hold_reason = 'quiet_hours', reason = NULL, next_attempt_at = o.quiet_until,
            lease_token = new_token, updated_at = now()
        FROM (SELECT j.id, j.quiet_until FROM judged j WHERE j.verdict = 'quiet') AS o
        WHERE d.id = o.id AND d.id = ANY (ARRAY(SELECT j.id FROM judged j WHERE j.verdict = 'quiet'))
          AND d.id BETWEEN lowest AND highest
        RETURNING d.id, d.next_attempt_at
    ), due_made AS (
        INSERT INTO carillon.due (delivery_id, due_at, kind)
        SELECT w.id, now(), 'hold' FROM waiting w                 -- the release gathers it with what else waits
        ON CONFLICT (delivery_id) DO UPDATE SET due_at = excluded.due_at, kind = excluded.kind
    ), lease_made AS (
        INSERT INTO carillon.leases (token, until, holder, delivery_ids)
        SELECT new_token, now() + make_interval(secs => seconds), holder_name, array_agg(j.id)
        FROM judged j WHERE j.verdict = 'leased' HAVING count(*) > 0
        ON CONFLICT (token) DO NOTHING
    ), no_longer_due AS (
        DELETE FROM carillon.due
        WHERE due.delivery_id = ANY (ARRAY(
            SELECT j.id FROM judged j
            WHERE j.for_attempt > 1 AND j.verdict IN ('leased', 'cancelled', 'expired', 'skipped')))
    )
    SELECT j.id, j.verdict, CASE j.verdict WHEN 'leased' THEN j.for_attempt ELSE j.attempt END, j.budget_start,
           j.unknowns, extract(epoch FROM j.next_attempt_at - now())::double precision,
           coalesce(j.first_attempt_at, now()), j.subscriber_id, j.subscriber, j.email, j.phone, j.locale,
           j.time_zone, j.attributes, j.own_data, j.wrote_at
    FROM judged j;
END $$;

-- Write down how attempts ended. Returns those of the given deliveries for which a message must be published, a retry or
-- a dead letter: settled now, or by an earlier call with the same token whose commit the worker did not learn of.
-- Nothing is left to do for the others, and for those that somebody else has leased meanwhile.
-- An array of one value stands for that value for all; `event_types` matter for dead letters only.
-- `spared` is 1 for an attempt that does not count towards the limit of attempts: the provider was down for all.
CREATE FUNCTION carillon.settle(
    ids uuid[], tokens bigint[], new_statuses text[], reasons text[], hold_reasons text[],
    delays double precision[], provider_ids text[], outcomes text[], codes text[], errors text[], stacks text[],
    started_ago double precision[], took double precision[], event_types text[], provider_names text[],
    spared smallint[], lowest uuid, highest uuid, finished_tokens bigint[])
RETURNS TABLE (id uuid, status carillon.delivery_status)
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_nestloop = off SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    first_event uuid := carillon.event_bound(lowest, '0');
    last_event uuid := carillon.event_bound(highest, 'f');
    many integer := cardinality(ids);
    stopped uuid[];
BEGIN
    IF new_statuses && ARRAY['retrying', 'held'] THEN
        stopped := ARRAY(
            SELECT d.id FROM carillon.deliveries d
            WHERE d.id = ANY (ids) AND d.id BETWEEN lowest AND highest
              AND (SELECT e.cancelled_at FROM carillon.events e
                   WHERE e.id = d.event_id AND e.id BETWEEN first_event AND last_event) IS NOT NULL);
    END IF;

    WITH ended AS (
        SELECT *, CASE WHEN s.new_status IN ('retrying', 'held') AND s.id = ANY (stopped) THEN 'cancelled'
                       ELSE s.new_status END AS final
        FROM unnest(
                ids, carillon.for_all(tokens, many), carillon.for_all(new_statuses, many),
                carillon.for_all(reasons, many), carillon.for_all(hold_reasons, many), carillon.for_all(delays, many),
                carillon.for_all(provider_ids, many), carillon.for_all(outcomes, many), carillon.for_all(codes, many),
                carillon.for_all(errors, many), carillon.for_all(stacks, many), carillon.for_all(started_ago, many),
                carillon.for_all(took, many), carillon.for_all(event_types, many),
                carillon.for_all(provider_names, many), carillon.for_all(spared, many))
            AS s(id, token, new_status, reason, hold_reason, delay, provider_id, outcome, code, error, stack,
                 started_ago, took, event_type, provider, spared)
    ), changed AS (
        UPDATE carillon.deliveries d
        SET status = s.final::carillon.delivery_status,
            reason = CASE s.final WHEN 'cancelled' THEN 'cancelled' ELSE s.reason END::carillon.reason,
            hold_reason = CASE s.final WHEN 'held' THEN s.hold_reason END::carillon.hold_reason,
            attempt = d.attempt - CASE s.final WHEN 'held' THEN 1 ELSE 0 END,
            budget_start = d.budget_start + s.spared,
            unknowns = d.unknowns + CASE s.final WHEN 'unknown' THEN 1 ELSE 0 END,
            next_attempt_at = CASE WHEN s.final IN ('retrying', 'held')
                                   THEN now() + make_interval(secs => s.delay) END,
            provider = s.provider,
            provider_id = coalesce(s.provider_id, d.provider_id),
            updated_at = now()
        FROM ended s
        WHERE d.id = s.id AND d.id = ANY (ids) AND d.id BETWEEN lowest AND highest
          AND d.lease_token = s.token AND d.status IN ('sending', 'unknown')
        RETURNING d.id, d.tenant_id, d.channel, d.status, d.attempt, d.next_attempt_at, d.reason, s.outcome, s.code,
                  s.error, s.stack, s.started_ago, s.took, s.event_type, d.provider
    ), attempts_made AS (
        INSERT INTO carillon.attempts AS a (
            delivery_id, number, tenant_id, started_at, ended_at, outcome, provider, code, error, stack)
        SELECT c.id, c.attempt, c.tenant_id, now() - make_interval(secs => c.started_ago),
               now() - make_interval(secs => c.started_ago) + make_interval(secs => c.took),
               c.outcome, c.provider, c.code, c.error, c.stack
        FROM changed c WHERE c.outcome IS NOT NULL
        ON CONFLICT (delivery_id, number) DO UPDATE
        SET ended_at = excluded.ended_at, started_at = excluded.started_at, outcome = excluded.outcome,
            provider = excluded.provider, code = excluded.code, error = excluded.error, stack = excluded.stack
    ), buried AS (
        INSERT INTO carillon.dead_letters (
            delivery_id, tenant_id, channel, event_type, attempt, reason, provider, code, error)
        SELECT c.id, c.tenant_id, c.channel, c.event_type, c.attempt, c.reason, c.provider, c.code, c.error
        FROM changed c WHERE c.status = 'dead'
        ON CONFLICT (delivery_id) DO UPDATE
        SET attempt = excluded.attempt, reason = excluded.reason, code = excluded.code, error = excluded.error,
            dead_at = now()
    ), due_made AS (
        -- A retry is overdue, its message lost, a minute and two tiers after its time. A doubt begins now; who brings it
        -- on gives late answers their time.
        INSERT INTO carillon.due (delivery_id, due_at, kind)
        SELECT c.id,
               CASE c.status WHEN 'unknown' THEN now()
                             WHEN 'held' THEN c.next_attempt_at
                             ELSE c.next_attempt_at + interval '1 minute'
                                  + 2 * greatest(c.next_attempt_at - now(), interval '1 second') END,
               CASE c.status WHEN 'unknown' THEN 'unknown' WHEN 'held' THEN 'hold' ELSE 'retry' END::carillon.due_kind
        FROM changed c WHERE c.status IN ('retrying', 'held', 'unknown')
        ON CONFLICT (delivery_id) DO UPDATE SET due_at = excluded.due_at, kind = excluded.kind
    )
    DELETE FROM carillon.leases WHERE token = ANY (finished_tokens);

    IF new_statuses && ARRAY['retrying', 'dead'] THEN
        RETURN QUERY
        SELECT d.id, d.status
        FROM unnest(ids, carillon.for_all(tokens, many)) AS s(id, token)
        JOIN carillon.deliveries d ON d.id = s.id AND d.lease_token = s.token
        WHERE d.id = ANY (ids) AND d.id BETWEEN lowest AND highest AND d.status IN ('retrying', 'dead');
    END IF;
END $$;

-- Whom these deliveries are for, without leasing them: what in-app items are rendered with.
CREATE FUNCTION carillon.recipients(wanted uuid[], lowest uuid, highest uuid)
RETURNS TABLE (
    id uuid, subscriber_id text, subscriber_number bigint, locale text, time_zone text, attributes jsonb, own_data jsonb)
LANGUAGE sql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    SELECT d.id, s.id, s.number, s.locale, s.time_zone, s.attributes, k.data
    FROM unnest(wanted) AS a(id)
    JOIN carillon.deliveries d ON d.id = a.id AND d.id BETWEEN lowest AND highest
    JOIN carillon.subscribers s ON s.tenant_id = d.tenant_id AND s.number = d.subscriber
    LEFT JOIN LATERAL (
        SELECT v.data FROM carillon.corrections v WHERE d.budget_start > 0 AND v.delivery_id = d.id OFFSET 0) AS k ON true
$$;

-- The in-app channel has no provider: fence, counters and items are one statement. Items that the fence lets through
-- get consecutive sequence numbers of their subscriber's feed; a conflict on an item would be a bug and is an error.
-- An event that has replaced another brings that one's items up to date: same id, new content, unread again. `renewing`:
-- there may be such among these.
CREATE FUNCTION carillon.write_feed(
    wanted uuid[], for_attempts smallint[], titles text[], bodies text[], action_urls text[], lowest uuid, highest uuid,
    renewing boolean)
RETURNS TABLE (
    id uuid, verdict text, subscriber_id text, priority carillon.lane, seq bigint, unread integer, unseen integer,
    item_id uuid, created_at timestamptz)
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_nestloop = off SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    first_event uuid := carillon.event_bound(lowest, '0');
    last_event uuid := carillon.event_bound(highest, 'f');
BEGIN
    IF renewing THEN
        -- The next statement reads items, and its snapshot must be newer than these locks.
        PERFORM FROM carillon.deliveries d
        WHERE d.id = ANY (wanted) AND d.id BETWEEN lowest AND highest ORDER BY d.id FOR UPDATE;
        PERFORM FROM (
            SELECT DISTINCT d.tenant_id, d.subscriber FROM carillon.deliveries d
            WHERE d.id = ANY (wanted) AND d.id BETWEEN lowest AND highest ORDER BY 1, 2) AS p
        CROSS JOIN LATERAL (
            SELECT FROM carillon.feeds v
            WHERE v.tenant_id = p.tenant_id AND v.subscriber = p.subscriber OFFSET 0 FOR UPDATE) AS locked;
    END IF;
    RETURN QUERY
    WITH held AS MATERIALIZED (
        SELECT d.id, d.event_id, d.tenant_id, d.subscriber, d.channel, d.status, d.attempt, d.budget_start,
               d.next_attempt_at, array_position(wanted, d.id) AS place
        FROM carillon.deliveries d
        WHERE d.id = ANY (wanted) AND d.id BETWEEN lowest AND highest
        ORDER BY d.id
        FOR UPDATE OF d
    ), judged AS MATERIALIZED (
        SELECT h.*, for_attempts[h.place] AS for_attempt, s.id AS subscriber_id, e.type, e.category, e.lane,
               e.feed_event, carillon.feed_item_id(h.event_id, e.feed_event, h.subscriber) AS item_id,
               CASE WHEN k.data IS NULL THEN e.data ELSE e.data || k.data END AS data, rule.skip,
               carillon.work_verdict(h.status, h.attempt, for_attempts[h.place], e.cancelled_at, e.expires_at,
                                     h.next_attempt_at, rule.skip, NULL) AS verdict
        FROM held h
        CROSS JOIN LATERAL (
            SELECT v.* FROM carillon.events v
            WHERE v.id = h.event_id AND v.id BETWEEN first_event AND last_event OFFSET 0) AS e
        CROSS JOIN LATERAL (
            SELECT v.* FROM carillon.tenants v WHERE v.id = h.tenant_id OFFSET 0) AS t
        CROSS JOIN LATERAL (
            SELECT v.* FROM carillon.subscribers v
            WHERE v.tenant_id = h.tenant_id AND v.number = h.subscriber OFFSET 0) AS s
        LEFT JOIN LATERAL (
            SELECT v.mandatory FROM carillon.event_types v
            WHERE v.tenant_id = h.tenant_id AND v.name = e.type OFFSET 0) AS y ON true
        LEFT JOIN LATERAL (
            SELECT v.document FROM carillon.preferences v
            WHERE v.tenant_id = h.tenant_id AND v.subscriber = h.subscriber OFFSET 0) AS p ON true
        LEFT JOIN LATERAL (
            SELECT v.data FROM carillon.corrections v
            WHERE h.budget_start > 0 AND v.delivery_id = h.id OFFSET 0) AS k ON true
        CROSS JOIN LATERAL (SELECT carillon.skip_reason(
            false, false, s.registered, h.channel = ANY (t.disabled_channels || carillon.switched_off()), true, false,
            coalesce(y.mandatory, false), carillon.mutes_event(p.document, h.tenant_id, e.audience),
            carillon.wants(p.document, t.preferences, e.type, e.category, h.channel)) AS skip) AS rule
    ), written AS (
        SELECT j.*, titles[j.place] AS title, bodies[j.place] AS body, action_urls[j.place] AS action_url,
               old.id IS NOT NULL AS is_old, coalesce(old.is_unread, false) AS was_unread,
               coalesce(old.is_unseen, false) AS was_unseen
        FROM judged j
        LEFT JOIN LATERAL (
            SELECT i.id, shown.is AND i.read_at IS NULL AND i.attention_seq > f.read_all_seq AS is_unread,
                   shown.is AND i.seen_at IS NULL AND i.attention_seq > f.seen_all_seq AS is_unseen
            FROM carillon.feed_items i
            CROSS JOIN LATERAL (
                SELECT i.deleted_at IS NULL AND i.archived_at IS NULL AND i.snoozed_until IS NULL AS is) AS shown
            CROSS JOIN LATERAL (
                SELECT v.* FROM carillon.feeds v
                WHERE v.tenant_id = j.tenant_id AND v.subscriber = j.subscriber OFFSET 0) AS f
            WHERE j.feed_event IS NOT NULL AND i.tenant_id = j.tenant_id AND i.subscriber = j.subscriber
              AND i.id = j.item_id OFFSET 0) AS old ON true
        WHERE j.verdict = 'leased'
    ), delivered AS (
        UPDATE carillon.deliveries d
        SET status = 'delivered', reason = NULL, attempt = for_attempts[array_position(wanted, d.id)],
            first_attempt_at = coalesce(d.first_attempt_at, now()), provider = 'feed', updated_at = now()
        WHERE d.id = ANY (ARRAY(SELECT w.id FROM written w)) AND d.id BETWEEN lowest AND highest
    ), over AS (
        SELECT j.id, j.verdict, j.skip FROM judged j WHERE j.verdict IN ('cancelled', 'expired', 'skipped')
    ), ended AS (
        UPDATE carillon.deliveries d
        SET status = o.verdict::carillon.delivery_status,
            reason = CASE o.verdict WHEN 'skipped' THEN o.skip ELSE o.verdict::carillon.reason END,
            first_attempt_at = coalesce(d.first_attempt_at, now()), provider = 'feed', updated_at = now()
        FROM over o
        WHERE d.id = o.id AND d.id = ANY (ARRAY(SELECT o.id FROM over o)) AND d.id BETWEEN lowest AND highest
    ), counted AS (
        INSERT INTO carillon.feeds AS f (tenant_id, subscriber, seq, unread, unseen)
        SELECT w.tenant_id, w.subscriber, count(*), count(*) FILTER (WHERE NOT w.was_unread),
               count(*) FILTER (WHERE NOT w.was_unseen)
        FROM written w GROUP BY w.tenant_id, w.subscriber ORDER BY w.tenant_id, w.subscriber
        ON CONFLICT (tenant_id, subscriber) DO UPDATE
        SET seq = f.seq + excluded.seq, unread = f.unread + excluded.unread, unseen = f.unseen + excluded.unseen
        RETURNING f.tenant_id, f.subscriber, f.seq, f.unread, f.unseen
    ), numbered AS (
        SELECT w.*, f.seq - count(*) OVER person + row_number() OVER (person ORDER BY w.id) AS seq,
               (f.unread - count(*) FILTER (WHERE NOT w.was_unread) OVER person
                + count(*) FILTER (WHERE NOT w.was_unread) OVER (person ORDER BY w.id))::integer AS unread,
               (f.unseen - count(*) FILTER (WHERE NOT w.was_unseen) OVER person
                + count(*) FILTER (WHERE NOT w.was_unseen) OVER (person ORDER BY w.id))::integer AS unseen
        FROM written w JOIN counted f ON f.tenant_id = w.tenant_id AND f.subscriber = w.subscriber
        WINDOW person AS (PARTITION BY w.tenant_id, w.subscriber)
    ), items AS (
        INSERT INTO carillon.feed_items (
            id, tenant_id, subscriber, event_id, seq, attention_seq, type, category, priority, title, body,
            action_url, data)
        SELECT n.item_id, n.tenant_id, n.subscriber, n.event_id, n.seq, n.seq, n.type, n.category, n.lane, n.title,
               n.body, n.action_url, n.data
        FROM numbered n WHERE NOT n.is_old
    ), renewed AS (
        UPDATE carillon.feed_items i
        SET event_id = n.event_id, seq = n.seq, attention_seq = n.seq, priority = n.lane, title = n.title, body = n.body,
            action_url = n.action_url, data = n.data, created_at = now(), seen_at = NULL, read_at = NULL,
            archived_at = NULL, snoozed_until = NULL, deleted_at = NULL
        FROM numbered n
        WHERE n.is_old AND i.tenant_id = n.tenant_id AND i.subscriber = n.subscriber AND i.id = n.item_id
    ), attempts_made AS (
        INSERT INTO carillon.attempts (delivery_id, number, tenant_id, started_at, ended_at, outcome, provider)
        SELECT w.id, w.for_attempt, w.tenant_id, now(), now(), 'sent', 'feed' FROM written w
    )
    SELECT j.id, j.verdict, j.subscriber_id, j.lane, n.seq, n.unread, n.unseen, n.item_id, now()
    FROM judged j LEFT JOIN numbered n ON n.id = j.id
    ORDER BY n.seq, j.id;
END $$;

-- Deliveries that cannot even be tried (no template, a broken one): dead, in one statement, without a lease.
CREATE FUNCTION carillon.bury(
    wanted uuid[], for_attempts smallint[], reasons text[], codes text[], errors text[], event_types text[],
    provider_name text, lowest uuid, highest uuid)
RETURNS TABLE (id uuid)
LANGUAGE sql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    WITH asked AS (
        SELECT * FROM unnest(wanted, for_attempts, reasons, codes, errors, event_types)
            AS a(id, for_attempt, reason, code, error, event_type)
    ), held AS (
        SELECT d.id FROM asked a JOIN carillon.deliveries d ON d.id = a.id
        WHERE d.id BETWEEN lowest AND highest AND d.status IN ('queued', 'retrying') AND d.attempt < a.for_attempt
        ORDER BY d.id FOR UPDATE OF d
    ), changed AS (
        UPDATE carillon.deliveries d
        SET status = 'dead', reason = a.reason::carillon.reason, attempt = a.for_attempt, provider = provider_name,
            first_attempt_at = coalesce(d.first_attempt_at, now()), updated_at = now()
        FROM held h JOIN asked a ON a.id = h.id
        WHERE d.id = h.id AND d.id BETWEEN lowest AND highest
        RETURNING d.id, d.tenant_id, d.channel, d.attempt, d.reason, a.code, a.error, a.event_type
    ), attempts_made AS (
        INSERT INTO carillon.attempts (
            delivery_id, number, tenant_id, started_at, ended_at, outcome, provider, code, error)
        SELECT c.id, c.attempt, c.tenant_id, now(), now(), 'rejected', provider_name, c.code, c.error FROM changed c
    )
    INSERT INTO carillon.dead_letters (
        delivery_id, tenant_id, channel, event_type, attempt, reason, provider, code, error)
    SELECT c.id, c.tenant_id, c.channel, c.event_type, c.attempt, c.reason, provider_name, c.code, c.error
    FROM changed c
    ON CONFLICT (delivery_id) DO UPDATE
    SET attempt = excluded.attempt, reason = excluded.reason, code = excluded.code, error = excluded.error,
        dead_at = now()
    RETURNING delivery_id
$$;
