-- Channels that are used only if the others did not do: "mail, unless it was seen in the feed within ten minutes", and
-- "one channel after the other until one takes it". What waits to know is a delivery that is held for its condition.

-- conditions: {channel: {"unless": "seen" | "read", "after_seconds": n}}
ALTER TABLE carillon.event_types
    ADD COLUMN conditions jsonb,
    ADD COLUMN stop_on_first_success boolean NOT NULL DEFAULT false;

-- Whether a person has seen an event's item in the feed; what was read or thrown away was seen.
CREATE FUNCTION carillon.is_seen_in_feed(tenant integer, person bigint, event uuid) RETURNS boolean
LANGUAGE sql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    SELECT coalesce((
        SELECT i.seen_at IS NOT NULL OR i.read_at IS NOT NULL OR i.deleted_at IS NOT NULL
               OR i.attention_seq <= greatest(f.seen_all_seq, f.read_all_seq)
        FROM carillon.events e
        JOIN carillon.feed_items i
          ON i.tenant_id = tenant AND i.subscriber = person AND i.event_id = e.id
         AND i.id = carillon.feed_item_id(e.id, e.feed_event, person)
        JOIN carillon.feeds f ON f.tenant_id = i.tenant_id AND f.subscriber = i.subscriber
        WHERE e.id = event), false)
$$;

-- The channels that a channel waits for, of a type that stops on the first success: those before it. The feed is none of
-- them for a channel that has a condition, which says itself what is to be asked of the feed.
CREATE FUNCTION carillon.channels_before(
    channels carillon.channel[], channel carillon.channel, has_condition boolean) RETURNS carillon.channel[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN has_condition THEN array_remove(b.channels, 'inapp') ELSE b.channels END
    FROM (SELECT channels[:array_position(channels, channel) - 1] AS channels) AS b
$$;

-- What the type's conditions say about a delivery that is held: `skip` it, look again at `wait_until`, or neither of
-- these: it is needed. Who waits for another channel asks after twice as long each time, from five seconds to ten minutes.
CREATE FUNCTION carillon.condition_now(
    condition jsonb, stops boolean, tenant integer, event uuid, channels carillon.channel[], person bigint,
    channel carillon.channel, created_at timestamptz, OUT skip carillon.reason, OUT wait_until timestamptz)
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    prefix text;
    took boolean;
    is_open boolean;
BEGIN
    IF (condition->>'unless' = 'seen' AND carillon.is_seen_in_feed(tenant, person, event))
        OR (condition->>'unless' = 'read' AND carillon.is_read_in_feed(tenant, person, event))
    THEN
        skip := 'condition_not_met';
    ELSIF stops THEN
        prefix := carillon.delivery_prefix(event);
        SELECT bool_or(d.status IN ('sent', 'delivered', 'read')),
               bool_or(d.status IN ('held', 'queued', 'sending', 'retrying', 'unknown'))
        INTO took, is_open
        FROM unnest(carillon.channels_before(channels, channel, condition IS NOT NULL)) AS b(channel)
        CROSS JOIN LATERAL (
            SELECT v.status FROM carillon.deliveries v
            WHERE v.id = carillon.delivery_id(prefix, person, b.channel) AND v.event_id = event OFFSET 0) AS d;
        IF took THEN
            skip := 'condition_not_met';
        ELSIF is_open THEN
            wait_until := now() + least(greatest(now() - created_at, interval '5 seconds'), interval '10 minutes');
        END IF;
    END IF;
END $$;

-- Rows of those that wait for a condition, for events whose type has one; the others are planned as always. Nobody waits
-- for a feed that does not show them the event, nor for a channel that is not used for them.
CREATE FUNCTION carillon.insert_conditional(
    event_ids uuid[], lowest uuid, highest uuid, lo bigint, hi bigint) RETURNS void
LANGUAGE sql AS $$
    WITH targets AS MATERIALIZED (
        SELECT * FROM carillon.plan_targets(event_ids, lowest, highest) AS p
        WHERE p.conditions IS NOT NULL OR p.stops
    ), decided AS (
        SELECT t.*, d.subscriber, d.channel, t.conditions->carillon.channel_name(d.channel) AS condition,
               array_agg(d.channel) FILTER (WHERE d.reason IS NULL) OVER (PARTITION BY t.event_id, d.subscriber) AS used,
               d.reason
        FROM targets t
        CROSS JOIN LATERAL carillon.decide(
            t.tenant_id, t.type, t.category, t.channels, t.audience, t.actor, t.excluded, t.mandatory, t.about, t.defaults,
            t.disabled, t.quiet_rule, t.zone, lo, hi) AS d
    ), judged AS (
        SELECT d.*, carillon.delivery_id(d.prefix, d.subscriber, d.channel) AS id,
               CASE WHEN d.condition IS NOT NULL AND 'inapp' = ANY (d.used)
                    THEN now() + make_interval(secs => (d.condition->>'after_seconds')::integer) END AS feed_at,
               d.stops AND carillon.channels_before(d.channels, d.channel, d.condition IS NOT NULL) && d.used AS has_others
        FROM decided d
        WHERE d.reason IS NULL OR d.reason = 'quiet_hours'  -- which may be over by then
    ), inserted AS (
        INSERT INTO carillon.deliveries (
            id, event_id, subscriber, tenant_id, channel, lane, status, hold_reason, next_attempt_at)
        SELECT j.id, j.event_id, j.subscriber, j.tenant_id, j.channel, j.lane, 'held', 'condition',
               least(j.feed_at, CASE WHEN j.feed_at IS NOT NULL THEN j.expires_at END)
        FROM judged j
        WHERE (j.feed_at IS NOT NULL OR j.has_others)
          AND NOT EXISTS (SELECT FROM carillon.deliveries o WHERE o.id = j.id AND o.event_id = j.event_id)
        ORDER BY j.id
        RETURNING id, next_attempt_at
    )
    INSERT INTO carillon.due (delivery_id, due_at, kind)
    SELECT i.id, coalesce(i.next_attempt_at, now() + interval '5 seconds'), 'hold' FROM inserted i
$$;
