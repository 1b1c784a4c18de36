-- What operators do to dead letters. A delivery's row is locked and must still be dead, so of two operations on the
-- same dead letter one wins and the other does not find it any more.

-- The next dead letters in a filter, oldest first, after a place in that order.
CREATE FUNCTION carillon.matching_dead_letters(
    tenant integer, wanted jsonb, dead_by timestamptz, after_at timestamptz, after_id uuid, most integer)
RETURNS TABLE (delivery_id uuid, dead_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT l.delivery_id, l.dead_at FROM carillon.dead_letters l
    WHERE l.tenant_id = tenant AND l.dead_at <= dead_by
      AND (l.dead_at, l.delivery_id) > (coalesce(after_at, '-infinity'),
                                        coalesce(after_id, '00000000-0000-0000-0000-000000000000'))
      AND (wanted->>'id' IS NULL OR l.delivery_id = (wanted->>'id')::uuid)
      AND (wanted->'ids' IS NULL OR l.delivery_id = ANY (ARRAY(SELECT jsonb_array_elements_text(wanted->'ids')::uuid)))
      AND (wanted->>'channel' IS NULL OR l.channel = (wanted->>'channel')::carillon.channel)
      AND (wanted->>'event_type' IS NULL OR l.event_type = wanted->>'event_type')
      AND (wanted->>'reason' IS NULL OR l.reason = (wanted->>'reason')::carillon.reason)
      AND (wanted->>'provider' IS NULL OR l.provider = wanted->>'provider')
      AND (wanted->>'since' IS NULL OR l.dead_at >= (wanted->>'since')::timestamptz)
      AND (wanted->>'until' IS NULL OR l.dead_at < (wanted->>'until')::timestamptz)
    ORDER BY l.dead_at, l.delivery_id LIMIT most
$$;

-- Why a dead delivery must not go out again, whatever an operator wishes; null: it may. Read in the feed means there
-- what the inbox shows as read. The type `message` and digests need no template of the tenant's own: they have built-in ones.
-- `overrides`, {"address": {"email" | "phone"}, "data": {}}, is what the operator would put right; an address counts.
CREATE FUNCTION carillon.replay_skips(ids uuid[], lowest uuid, highest uuid, overrides jsonb)
RETURNS TABLE (delivery_id uuid, skip carillon.reason)
LANGUAGE sql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    SELECT d.id, coalesce(
        CASE WHEN e.id IS NULL THEN 'retention'::carillon.reason
             WHEN e.cancelled_at IS NOT NULL THEN 'cancelled'
             WHEN e.expires_at <= now() THEN 'expired' END,
        carillon.skip_reason(
            false, false, coalesce(s.registered, false), d.channel = ANY (t.disabled_channels || carillon.switched_off()),
            carillon.has_address(d.channel, coalesce(overrides #>> '{address,email}', k.email, s.email),
                                 coalesce(overrides #>> '{address,phone}', k.phone, s.phone)),
            coalesce(d.channel = ANY (x.suppressed), false), coalesce(y.mandatory OR d.carrier, d.carrier, false),
            carillon.mutes_event(p.document, d.tenant_id, e.audience),
            carillon.wants(p.document, t.preferences, e.type, e.category, d.channel)),
        CASE WHEN i.read_at IS NOT NULL OR i.attention_seq <= f.read_all_seq THEN 'already_read'::carillon.reason
             WHEN y.stop_on_first_success AND d.carrier IS NULL AND EXISTS (
                 SELECT FROM unnest(e.channels) AS o(channel)
                 JOIN carillon.deliveries v
                   ON v.id = carillon.delivery_id(carillon.delivery_prefix(e.id), d.subscriber, o.channel)
                  AND v.event_id = e.id
                 WHERE v.status IN ('sent', 'delivered', 'read'))
             THEN 'condition_not_met'
             WHEN r.type NOT IN ('message', 'carillon.digest') AND NOT EXISTS (
                 SELECT FROM carillon.templates m
                 WHERE m.tenant_id = d.tenant_id AND m.event_type = r.type AND m.channel = d.channel)
             THEN 'template_missing' END)
    FROM carillon.deliveries d
    JOIN carillon.tenants t ON t.id = d.tenant_id
    LEFT JOIN carillon.events e ON e.id = d.event_id
    LEFT JOIN carillon.subscribers s ON s.tenant_id = d.tenant_id AND s.number = d.subscriber
    CROSS JOIN LATERAL (SELECT carillon.ruling_type(e.type, e.data, d.carrier) AS type) AS r
    LEFT JOIN carillon.event_types y ON y.tenant_id = d.tenant_id AND y.name = r.type
    LEFT JOIN carillon.preferences p ON p.tenant_id = d.tenant_id AND p.subscriber = d.subscriber
    LEFT JOIN carillon.corrections k ON k.delivery_id = d.id
    LEFT JOIN carillon.feeds f ON f.tenant_id = d.tenant_id AND f.subscriber = d.subscriber
    LEFT JOIN carillon.feed_items i
      ON i.tenant_id = d.tenant_id AND i.subscriber = d.subscriber
     AND i.id = carillon.feed_item_id(e.id, e.feed_event, d.subscriber) AND i.event_id = e.id
    CROSS JOIN LATERAL carillon.suppressions_of(
        d.tenant_id, d.subscriber, coalesce(overrides #>> '{address,email}', k.email, s.email),
        coalesce(overrides #>> '{address,phone}', k.phone, s.phone)) AS x
    WHERE d.id = ANY (ids) AND d.id BETWEEN lowest AND highest AND d.status = 'dead'
$$;

-- What a delivery is sent with now in the places that overrides name.
CREATE FUNCTION carillon.overridden(delivery uuid, event uuid, person bigint, overrides jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'address', (SELECT jsonb_object_agg(a.key, CASE a.key WHEN 'email' THEN coalesce(k.email, s.email)
                                                              ELSE coalesce(k.phone, s.phone) END)
                    FROM jsonb_object_keys(overrides->'address') AS a(key)),
        'data', (SELECT jsonb_object_agg(o.key, coalesce(k.data->o.key, e.data->o.key))
                 FROM jsonb_object_keys(overrides->'data') AS o(key)))
    FROM carillon.events e
    JOIN carillon.subscribers s ON s.tenant_id = e.tenant_id AND s.number = person
    LEFT JOIN carillon.corrections k ON k.delivery_id = delivery
    WHERE e.id = event
$$;

-- Send these again: queued, with a new budget of attempts, their events open. Answers with each that was dead, and
-- why it stays so. A replayed one is owed to its lane until `due_at`: whoever has published it removes that row, and
-- if nobody does, the release of holds publishes it. With `by_lane` all of them go that way, for good: so many at once
-- would stand before what is new and urgent. Null: each by its own lane. `overrides` go with each of them from now on;
-- the audit keeps what they take the place of.
CREATE FUNCTION carillon.replay_dead(
    ids uuid[], lowest uuid, highest uuid, who text, why text, operation uuid, owed_seconds double precision,
    by_lane carillon.lane, overrides jsonb)
RETURNS TABLE (
    delivery_id uuid, skip carillon.reason, event_id uuid, tenant text, traceparent text, channel carillon.channel,
    lane carillon.lane, attempt smallint, unknowns smallint, due_at timestamptz)
LANGUAGE plpgsql
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    first_event uuid := carillon.event_bound(lowest, '0');
    last_event uuid := carillon.event_bound(highest, 'f');
    locked uuid[];
BEGIN
    SELECT array_agg(o.id) INTO locked
    FROM (SELECT d.id FROM carillon.deliveries d
          WHERE d.id = ANY (ids) AND d.id BETWEEN lowest AND highest AND d.status = 'dead'
          ORDER BY d.id FOR UPDATE) AS o;
    -- Whoever closes an event locks it too, and looks at its deliveries then: an event with an open one stays open.
    PERFORM FROM carillon.events e
    WHERE e.id = ANY (ARRAY(SELECT DISTINCT d.event_id FROM carillon.deliveries d
                            WHERE d.id = ANY (locked) AND d.id BETWEEN lowest AND highest))
      AND e.id BETWEEN first_event AND last_event
    ORDER BY e.id FOR NO KEY UPDATE;
    -- A new statement: it sees what those have committed who held the locks before.
    RETURN QUERY
    WITH judged AS MATERIALIZED (
        SELECT j.delivery_id AS id, j.skip FROM carillon.replay_skips(locked, lowest, highest, overrides) AS j
    ), changed AS (
        UPDATE carillon.deliveries d
        SET status = 'queued', reason = NULL, budget_start = d.attempt, first_attempt_at = NULL,
            next_attempt_at = NULL, lane = coalesce(by_lane, d.lane), updated_at = now()
        WHERE d.id = ANY (ARRAY(SELECT j.id FROM judged j WHERE j.skip IS NULL)) AND d.id BETWEEN lowest AND highest
        RETURNING d.id, d.event_id, d.tenant_id, d.subscriber, d.channel, d.lane, d.attempt, d.unknowns
    ), raised AS (
        DELETE FROM carillon.dead_letters l
        WHERE l.delivery_id = ANY (ARRAY(SELECT c.id FROM changed c))
        RETURNING l.delivery_id, l.reason, l.attempt, l.error
    ), owed AS (
        INSERT INTO carillon.due AS u (delivery_id, due_at, kind)
        SELECT c.id, now() + make_interval(secs => owed_seconds), 'hold' FROM changed c
        ON CONFLICT (delivery_id) DO UPDATE SET due_at = excluded.due_at, kind = excluded.kind
    ), reopened AS (
        UPDATE carillon.events e SET status = 'dispatched'
        WHERE e.id = ANY (ARRAY(SELECT DISTINCT c.event_id FROM changed c)) AND e.id BETWEEN first_event AND last_event
          AND e.status = 'completed'
    ), corrected AS (
        INSERT INTO carillon.corrections AS k (delivery_id, tenant_id, email, phone, data)
        SELECT c.id, c.tenant_id, overrides #>> '{address,email}', overrides #>> '{address,phone}',
               coalesce(overrides->'data', '{}')
        FROM changed c WHERE overrides IS NOT NULL
        ON CONFLICT (delivery_id) DO UPDATE
        SET email = coalesce(excluded.email, k.email), phone = coalesce(excluded.phone, k.phone),
            data = k.data || excluded.data, updated_at = now()
    ), audited AS (
        INSERT INTO carillon.audit_log (tenant_id, actor, action, target, reason, details)
        SELECT c.tenant_id, who, 'delivery.replayed', c.id::text, why,
               jsonb_build_object('operation', operation, 'dead', r.reason, 'attempt', c.attempt, 'error', r.error)
               || CASE WHEN overrides IS NULL THEN '{}' ELSE jsonb_build_object(
                      'overrides', overrides, 'old', carillon.overridden(c.id, c.event_id, c.subscriber, overrides)) END
        FROM changed c LEFT JOIN raised r ON r.delivery_id = c.id
    )
    SELECT j.id, j.skip, c.event_id, t.slug, e.traceparent, c.channel, c.lane, c.attempt,
           -- What killed its worker once goes alone, like everything that is in doubt.
           CASE WHEN r.reason = 'poison' THEN greatest(c.unknowns, 2)::smallint ELSE c.unknowns END,
           now() + make_interval(secs => owed_seconds)
    FROM judged j
    LEFT JOIN changed c ON c.id = j.id
    LEFT JOIN raised r ON r.delivery_id = j.id
    LEFT JOIN carillon.tenants t ON t.id = c.tenant_id
    LEFT JOIN carillon.events e ON e.id = c.event_id AND e.id BETWEEN first_event AND last_event;
END $$;

-- Give these up. Answers with each that was dead.
CREATE FUNCTION carillon.discard_dead(
    ids uuid[], lowest uuid, highest uuid, who text, why text, operation uuid)
RETURNS TABLE (delivery_id uuid)
LANGUAGE sql
SET enable_seqscan = off AS $$
    WITH held AS MATERIALIZED (
        SELECT d.id FROM carillon.deliveries d
        WHERE d.id = ANY (ids) AND d.id BETWEEN lowest AND highest AND d.status = 'dead'
        ORDER BY d.id FOR UPDATE
    ), changed AS (
        UPDATE carillon.deliveries d SET status = 'discarded', reason = 'discarded', updated_at = now()
        WHERE d.id = ANY (ARRAY(SELECT h.id FROM held h)) AND d.id BETWEEN lowest AND highest
        RETURNING d.id, d.tenant_id, d.attempt
    ), removed AS (
        DELETE FROM carillon.dead_letters l
        WHERE l.delivery_id = ANY (ARRAY(SELECT c.id FROM changed c))
        RETURNING l.delivery_id, l.reason, l.error
    ), audited AS (
        INSERT INTO carillon.audit_log (tenant_id, actor, action, target, reason, details)
        SELECT c.tenant_id, who, 'delivery.discarded', c.id::text, why,
               jsonb_build_object('operation', operation, 'dead', r.reason, 'attempt', c.attempt, 'error', r.error)
        FROM changed c LEFT JOIN removed r ON r.delivery_id = c.id
    )
    SELECT c.id FROM changed c
$$;

-- Stop one delivery that has not begun. Answers with the state it has then; null: the tenant has none of that id.
CREATE FUNCTION carillon.cancel_delivery(tenant integer, delivery uuid) RETURNS carillon.delivery_status
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found carillon.delivery_status;
BEGIN
    SELECT d.status INTO found FROM carillon.deliveries d
    WHERE d.id = delivery AND d.tenant_id = tenant FOR UPDATE;
    IF found IN ('held', 'queued', 'retrying') THEN
        UPDATE carillon.deliveries d
        SET status = 'cancelled', reason = 'cancelled', hold_reason = NULL, next_attempt_at = NULL, updated_at = now()
        WHERE d.id = delivery;
        DELETE FROM carillon.due u WHERE u.delivery_id = delivery;
        found := 'cancelled';
    END IF;
    RETURN found;
END $$;
