-- What receipts do to deliveries. Deliveries are locked in the order of their ids before anything is decided, so that
-- the statements that follow see every receipt that others have written for them.

-- May a receipt change a delivery of this status? Whatever we decided ourselves, the provider has the message.
CREATE FUNCTION carillon.receipt_raises(status carillon.delivery_status, state carillon.receipt_state) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN status IN ('sent', 'failed', 'delivered', 'read')
                THEN state > status::text::carillon.receipt_state ELSE true END
$$;

-- The delivery that a provider's reference belongs to, among those to one phone in the last thirty days.
CREATE FUNCTION carillon.delivery_of_message(
    tenant integer, phone_number text, message text, wanted carillon.channel) RETURNS uuid
LANGUAGE sql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    SELECT d.id FROM carillon.subscribers s
    JOIN carillon.deliveries d ON d.tenant_id = s.tenant_id AND d.subscriber = s.number
    WHERE s.phone = phone_number AND s.tenant_id = coalesce(tenant, s.tenant_id)
      AND d.id >= carillon.uuid_floor(now() - interval '30 days')
      AND d.provider_id = message AND d.channel = wanted
    LIMIT 1
$$;

-- The provider says that these failed after all. One that we took for sent has failed; one whose outcome we did not
-- know is tried again when the failure passes by itself (a null reason), as after any attempt that failed so. Of
-- several messages for one delivery, only the one that we know to be its last counts. Returns how many changed.
CREATE FUNCTION carillon.apply_failures(ids uuid[], message_ids text[], reasons carillon.reason[], provider_name text)
RETURNS integer
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_mergejoin = off AS $$
DECLARE
    lowest uuid := (SELECT i FROM unnest(ids) AS i ORDER BY i LIMIT 1);
    highest uuid := (SELECT i FROM unnest(ids) AS i ORDER BY i DESC LIMIT 1);
    failed uuid[];
    again uuid[];
BEGIN
    WITH changed AS (
        UPDATE carillon.deliveries d
        SET status = CASE WHEN d.status = 'unknown' AND t.reason IS NULL THEN 'retrying'
                          ELSE 'failed' END::carillon.delivery_status,
            reason = CASE WHEN d.status = 'unknown' AND t.reason IS NULL THEN NULL
                          ELSE coalesce(t.reason, 'provider_rejected') END,
            next_attempt_at = CASE WHEN d.status = 'unknown' AND t.reason IS NULL
                                   THEN now() + interval '30 seconds' END,
            provider = coalesce(d.provider, provider_name),
            provider_id = coalesce(d.provider_id, t.message_id),
            updated_at = now()
        FROM unnest(ids, message_ids, reasons) AS t(id, message_id, reason)
        WHERE d.id = t.id AND d.id = ANY (ids) AND d.id BETWEEN lowest AND highest
          -- A mail has one reference, whichever attempt it was.
          AND (d.status = 'unknown' OR d.status = 'sent'
               AND (d.channel = 'email' OR coalesce(d.provider_id, t.message_id) = t.message_id))
        RETURNING d.id, d.status, d.next_attempt_at
    ), owed AS (
        -- The sweep of overdue retries publishes it then; there is no message yet.
        INSERT INTO carillon.due (delivery_id, due_at, kind)
        SELECT c.id, c.next_attempt_at, 'retry' FROM changed c WHERE c.status = 'retrying'
        ON CONFLICT (delivery_id) DO UPDATE SET due_at = excluded.due_at, kind = excluded.kind
    )
    SELECT array_agg(c.id) FILTER (WHERE c.status = 'failed'), array_agg(c.id) FILTER (WHERE c.status = 'retrying')
    INTO failed, again FROM changed c;
    PERFORM carillon.forget_due(failed);
    RETURN coalesce(cardinality(failed), 0) + coalesce(cardinality(again), 0);
END $$;

-- These are not due any more. A row that a sweeper holds is left to it: it finds the new state, and removes the row.
CREATE FUNCTION carillon.forget_due(ids uuid[]) RETURNS void
LANGUAGE sql
SET enable_seqscan = off AS $$
    DELETE FROM carillon.due u WHERE u.delivery_id = ANY (ARRAY(
        SELECT o.delivery_id FROM carillon.due o WHERE o.delivery_id = ANY (ids) FOR UPDATE SKIP LOCKED))
$$;

-- Write receipts down, each once, and let deliveries rise to what they say: `sent` < `failed` < `delivered` < `read`,
-- whatever order they come in. A delivery that is being sent rises as well; the settle that follows finds it done, and
-- should none follow, no lease makes it unknown. What was unknown, retrying or dead ends so, and is sent no more.
-- A null tenant: whosever delivery it is; a null target: found by the provider's reference and the phone.
-- Answers with how many were of deliveries that are known, how many of these are new, and how many deliveries changed.
CREATE FUNCTION carillon.record_receipts(
    tenants integer[], targets uuid[], message_ids text[], states text[], times timestamptz[], reasons text[],
    codes text[], errors text[], phones text[], wanted_channel text, provider_name text)
RETURNS TABLE (known bigint, fresh bigint, changed bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    of_channel carillon.channel := wanted_channel;
    locked uuid[];
    lowest uuid;
    highest uuid;
    raised uuid[];
    failed uuid[];
    failed_messages text[];
    failed_reasons carillon.reason[];
BEGIN
    targets := ARRAY(
        SELECT coalesce(r.target, carillon.delivery_of_message(r.tenant, r.phone, r.message_id, of_channel))
        FROM unnest(tenants, targets, message_ids, phones) WITH ORDINALITY AS r(tenant, target, message_id, phone, place)
        ORDER BY r.place);
    lowest := (SELECT i FROM unnest(targets) AS i ORDER BY i LIMIT 1);
    highest := (SELECT i FROM unnest(targets) AS i ORDER BY i DESC NULLS LAST LIMIT 1);
    locked := ARRAY(
        SELECT d.id FROM carillon.deliveries d
        WHERE d.id = ANY (targets) AND d.id BETWEEN lowest AND highest AND d.channel = of_channel
          AND d.tenant_id = ANY (ARRAY(SELECT coalesce(t, d.tenant_id) FROM unnest(tenants) AS t))
        ORDER BY d.id FOR UPDATE);

    -- A new statement, which sees what others have written for these deliveries.
    WITH told AS MATERIALIZED (
        SELECT d.id, d.tenant_id, d.status, d.attempt, d.updated_at, r.message_id, r.state::carillon.receipt_state AS state,
               r.at, r.reason::carillon.reason AS reason, r.code, r.error
        FROM unnest(tenants, targets, message_ids, states, times, reasons, codes, errors)
            AS r(tenant, target, message_id, state, at, reason, code, error)
        CROSS JOIN LATERAL (
            SELECT v.* FROM carillon.deliveries v
            WHERE v.id = r.target AND v.id BETWEEN lowest AND highest OFFSET 0) AS d
        WHERE r.target = ANY (locked) AND d.tenant_id = coalesce(r.tenant, d.tenant_id)
    ), written AS (
        INSERT INTO carillon.receipts AS n (
            delivery_id, message_id, state, tenant_id, channel, provider, at, reason, code, error, pending)
        SELECT DISTINCT ON (t.id, t.message_id, t.state)
               t.id, t.message_id, t.state, t.tenant_id, of_channel, provider_name, t.at, t.reason, t.code, t.error,
               t.state = 'failed' AND t.status = 'sending'
        FROM told t ORDER BY t.id, t.message_id, t.state
        ON CONFLICT (delivery_id, message_id, state) DO NOTHING
        RETURNING n.delivery_id, n.message_id, n.state, n.reason, n.pending
    ), highest_of_message AS MATERIALIZED (
        SELECT DISTINCT ON (w.delivery_id, w.message_id) w.delivery_id, w.message_id, w.state, w.reason, w.pending
        FROM written w
        LEFT JOIN LATERAL (
            SELECT max(v.state) AS state FROM carillon.receipts v
            WHERE v.delivery_id = w.delivery_id AND v.delivery_id BETWEEN lowest AND highest
              AND v.message_id = w.message_id OFFSET 0) AS before ON true
        WHERE before.state IS NULL OR w.state > before.state
        ORDER BY w.delivery_id, w.message_id, w.state DESC
    ), best AS (
        SELECT DISTINCT ON (h.delivery_id) h.delivery_id, h.message_id, h.state
        FROM highest_of_message h WHERE h.state <> 'failed'
        ORDER BY h.delivery_id, h.state DESC
    ), risen AS (
        UPDATE carillon.deliveries d
        SET status = b.state::text::carillon.delivery_status, reason = NULL, hold_reason = NULL, next_attempt_at = NULL,
            provider = coalesce(d.provider, provider_name), provider_id = coalesce(d.provider_id, b.message_id),
            updated_at = now()
        FROM best b
        WHERE d.id = b.delivery_id AND d.id = ANY (locked) AND d.id BETWEEN lowest AND highest
          AND d.attempt > 0 AND carillon.receipt_raises(d.status, b.state)
        RETURNING d.id
    ), attempts_made AS (
        -- The settle that would have written it down will find nothing to do.
        INSERT INTO carillon.attempts (delivery_id, number, tenant_id, started_at, ended_at, outcome, provider)
        SELECT DISTINCT t.id, t.attempt, t.tenant_id, t.updated_at, now(), 'sent', provider_name
        FROM told t WHERE t.status = 'sending' AND t.id IN (SELECT r.id FROM risen r)
        ON CONFLICT (delivery_id, number) DO NOTHING
    ), failing AS (
        SELECT h.* FROM highest_of_message h
        WHERE h.state = 'failed' AND NOT h.pending AND h.delivery_id NOT IN (SELECT r.id FROM risen r)
    )
    SELECT (SELECT count(*) FROM told), (SELECT count(*) FROM written), ARRAY(SELECT r.id FROM risen r),
           (SELECT array_agg(f.delivery_id ORDER BY f.delivery_id, f.message_id) FROM failing f),
           (SELECT array_agg(f.message_id ORDER BY f.delivery_id, f.message_id) FROM failing f),
           (SELECT array_agg(f.reason ORDER BY f.delivery_id, f.message_id) FROM failing f)
    INTO known, fresh, raised, failed, failed_messages, failed_reasons;

    PERFORM carillon.forget_due(raised);
    DELETE FROM carillon.dead_letters l WHERE l.delivery_id = ANY (raised);
    changed := coalesce(cardinality(raised), 0) + coalesce(
        carillon.apply_failures(failed, failed_messages, failed_reasons, provider_name), 0);
    RETURN NEXT;
END $$;

-- Act on failures whose deliveries were being sent when they came, and are not any more. Returns how many that were.
CREATE FUNCTION carillon.apply_pending_receipts(most integer) RETURNS integer
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_mergejoin = off AS $$
DECLARE
    waiting uuid[];
    sending uuid[];
    failed uuid[];
    messages text[];
    reasons carillon.reason[];
    provider_names text[];
    ended integer;
BEGIN
    waiting := ARRAY(
        SELECT r.delivery_id FROM carillon.receipts r WHERE r.pending ORDER BY r.delivery_id LIMIT most);
    IF waiting = '{}' THEN
        RETURN 0;
    END IF;
    sending := ARRAY(
        SELECT d.id FROM (
            SELECT v.id, v.status FROM carillon.deliveries v
            WHERE v.id = ANY (waiting) AND v.id BETWEEN waiting[1] AND waiting[cardinality(waiting)]
            ORDER BY v.id FOR UPDATE) AS d
        WHERE d.status = 'sending');
    WITH over AS (
        UPDATE carillon.receipts r SET pending = false
        WHERE r.pending AND r.delivery_id = ANY (waiting) AND r.delivery_id <> ALL (sending)
          AND r.delivery_id BETWEEN waiting[1] AND waiting[cardinality(waiting)]
        RETURNING r.delivery_id, r.message_id, r.reason, r.provider
    ), standing AS (
        SELECT o.* FROM over o
        WHERE NOT EXISTS (
            SELECT FROM carillon.receipts h
            WHERE h.delivery_id = o.delivery_id AND h.message_id = o.message_id AND h.state > 'failed')
    )
    SELECT (SELECT count(*) FROM over), array_agg(s.delivery_id), array_agg(s.message_id), array_agg(s.reason),
           array_agg(s.provider)
    INTO ended, failed, messages, reasons, provider_names FROM standing s;
    PERFORM carillon.apply_failures(failed, messages, reasons, provider_names[1]);
    RETURN ended;
END $$;
