-- Digests: what is not sent one by one is gathered for a person and channel, and sent as one.
--
-- Whoever adds a member locks the digest's row in the transaction that adds it. The release closes the row first and reads
-- the members in a new statement, so that nobody joins behind it. Locks are always taken in this order: slots of limits,
-- digests of types and quiet hours (sorted), digests of frequency caps (sorted).

-- Why something is gathered: its quiet hours, a frequency cap, or the wish of its type.
CREATE TYPE carillon.digest_kind AS ENUM ('quiet_hours', 'frequency_cap', 'type');

CREATE TABLE carillon.digests (
    id          uuid PRIMARY KEY,                         -- that of the event which carries it
    tenant_id   integer NOT NULL,
    subscriber  bigint NOT NULL,
    channel     carillon.channel NOT NULL CHECK (channel <> 'inapp'),
    kind        carillon.digest_kind NOT NULL,
    key         text NOT NULL,                            -- what is gathered: 'quiet', 'cap:<category>', 'type:<type>:<value>'
    event_type  text CHECK ((kind = 'type') = (event_type IS NOT NULL)),
    category    text NOT NULL,                            -- of the first member: whose frequency cap counts it
    lane        carillon.lane NOT NULL,
    opened_at   timestamptz NOT NULL DEFAULT now(),
    closes_at   timestamptz NOT NULL,
    last_at     timestamptz,                              -- a sliding window ends here at the latest; null: it does not slide
    closed_at   timestamptz
);
CREATE UNIQUE INDEX digests_open ON carillon.digests (tenant_id, subscriber, channel, key) WHERE closed_at IS NULL;
CREATE INDEX digests_due ON carillon.digests (closes_at) WHERE closed_at IS NULL;
CREATE INDEX digests_closed ON carillon.digests (closed_at) WHERE closed_at IS NOT NULL;

CREATE TABLE carillon.digest_members (
    digest_id    uuid NOT NULL,
    event_id     uuid NOT NULL,
    delivery_id  uuid NOT NULL,
    PRIMARY KEY (digest_id, event_id)
);

-- Null: an ordinary delivery. True: the one of a digest's event. Its members stay held until it is settled.
ALTER TABLE carillon.deliveries ADD COLUMN carrier boolean;

-- {"key": [path in data], "window": "fixed" | "sliding", "seconds", "max_seconds", "first_at_once", "channels"}
ALTER TABLE carillon.event_types
    ADD COLUMN digest jsonb,
    ADD COLUMN frequency_cap boolean NOT NULL DEFAULT true;  -- false: the tenant's caps neither hold nor count it

-- How much a person gets of all types together: {"default": rule, "categories": {category: rule or null}} with rules
-- {"limit", "per_seconds", "channels"}. A category's own rule takes the place of the default, null exempts it.
ALTER TABLE carillon.tenants ADD COLUMN frequency_caps jsonb NOT NULL DEFAULT '{}';

-- One delivery that joins a digest.
CREATE TYPE carillon.joining AS (
    delivery_id uuid, event_id uuid, tenant_id integer, subscriber bigint, channel carillon.channel,
    kind carillon.digest_kind, key text, event_type text, category text, lane carillon.lane, closes_at timestamptz,
    last_at timestamptz);

-- The cap that counts a category's messages, and the scope of its slots; no row when none does.
CREATE FUNCTION carillon.cap_of(caps jsonb, category text) RETURNS TABLE (rule jsonb, scope text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT nullif(coalesce(caps->'categories'->category, caps->'default'), 'null'),
           CASE WHEN caps->'categories' ? category THEN 'cap:' || category ELSE 'cap:' END
$$;

CREATE FUNCTION carillon.has_channel(rule jsonb, channel carillon.channel) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(rule->'channels' ? carillon.channel_name(channel), false)
$$;

-- Open the digests that these keys lack, and lock them all. Tells which were opened now.
CREATE FUNCTION carillon.open_digests(wanted carillon.joining[])
RETURNS TABLE (
    digest_id uuid, tenant_id integer, subscriber bigint, channel carillon.channel, key text, opened boolean)
LANGUAGE sql AS $$
    WITH start AS MATERIALIZED (                          -- of the ids: the moment, and what makes them random
        SELECT left(replace(carillon.new_event_id(clock_timestamp())::text, '-', ''), 16) || '8' AS digits,
               gen_random_uuid()::text AS seed
    )
    INSERT INTO carillon.digests AS g (
        id, tenant_id, subscriber, channel, kind, key, event_type, category, lane, closes_at, last_at)
    SELECT (min(s.digits) || left(md5(min(s.seed) || w.tenant_id || '.' || w.subscriber || carillon.channel_name(w.channel)
                                      || w.key), 15))::uuid,
           w.tenant_id, w.subscriber, w.channel, min(w.kind), w.key,
           min(w.event_type), min(w.category), min(w.lane), min(w.closes_at), min(w.last_at)
    FROM unnest(wanted) AS w CROSS JOIN start s
    GROUP BY w.tenant_id, w.subscriber, w.channel, w.key
    ORDER BY w.tenant_id, w.subscriber, w.channel, w.key
    ON CONFLICT (tenant_id, subscriber, channel, key) WHERE closed_at IS NULL DO UPDATE
    SET lane = least(g.lane, excluded.lane),
        closes_at = CASE WHEN g.kind = 'quiet_hours' THEN excluded.closes_at
                         ELSE least(g.last_at, greatest(g.closes_at, CASE WHEN g.last_at IS NOT NULL
                                                                          THEN excluded.closes_at END)) END
    RETURNING g.id, g.tenant_id, g.subscriber, g.channel, g.key, g.xmax = 0
$$;

-- These deliveries, held already, join the digests of their keys.
CREATE FUNCTION carillon.join_digests(wanted carillon.joining[]) RETURNS void
LANGUAGE sql SET enable_hashjoin = on AS $$            -- thousands may meet thousands here, whatever the caller says
    WITH digests AS MATERIALIZED (SELECT * FROM carillon.open_digests(wanted))
    INSERT INTO carillon.digest_members (digest_id, event_id, delivery_id)
    SELECT g.digest_id, w.event_id, w.delivery_id
    FROM unnest(wanted) AS w
    JOIN digests g ON g.tenant_id = w.tenant_id AND g.subscriber = w.subscriber AND g.channel = w.channel
                  AND g.key = w.key
    ON CONFLICT DO NOTHING
$$;

-- Digests with what the rules say about them now: until when their person is left in peace, and the cap that counts them.
-- What piled up in quiet hours is one message in the morning, whatever the caps.
CREATE FUNCTION carillon.digest_targets(ids uuid[])
RETURNS TABLE (
    id uuid, tenant_id integer, subscriber bigint, channel carillon.channel, kind carillon.digest_kind,
    closes_at timestamptz, quiet_until timestamptz, cap_scope text, cap_limit integer, cap_seconds integer)
LANGUAGE sql STABLE AS $$
    SELECT g.id, g.tenant_id, g.subscriber, g.channel, g.kind, g.closes_at,
           CASE WHEN p.quiet IS NOT NULL AND coalesce(y.quiet_hours, 'hold') <> 'pass'
                THEN carillon.quiet_until(
                    p.quiet, coalesce(p.quiet_zone, s.time_zone, t.default_time_zone), now()) END,
           cap.scope, (cap.rule->>'limit')::integer, (cap.rule->>'per_seconds')::integer
    FROM unnest(ids) AS w(id)
    CROSS JOIN LATERAL (SELECT v.* FROM carillon.digests v WHERE v.id = w.id OFFSET 0) AS g
    CROSS JOIN LATERAL (SELECT v.* FROM carillon.tenants v WHERE v.id = g.tenant_id OFFSET 0) AS t
    CROSS JOIN LATERAL (
        SELECT v.time_zone FROM carillon.subscribers v
        WHERE v.tenant_id = g.tenant_id AND v.number = g.subscriber OFFSET 0) AS s
    LEFT JOIN LATERAL (
        SELECT v.mandatory, v.quiet_hours, v.frequency_cap FROM carillon.event_types v
        WHERE v.tenant_id = g.tenant_id AND v.name = g.event_type OFFSET 0) AS y ON true
    LEFT JOIN LATERAL (
        SELECT v.quiet, v.quiet_zone FROM carillon.preferences v
        WHERE v.tenant_id = g.tenant_id AND v.subscriber = g.subscriber OFFSET 0) AS p ON true
    LEFT JOIN LATERAL carillon.cap_of(t.frequency_caps, g.category) AS cap
      ON g.kind <> 'quiet_hours' AND carillon.has_channel(cap.rule, g.channel)
     AND NOT coalesce(y.mandatory, false) AND coalesce(y.frequency_cap, true)
$$;

-- Lock the members of these digests that still wait, and end those that need not be sent any more. The others, which the
-- caller reads in its next statement, are as they were.
CREATE FUNCTION carillon.sift_members(digest_ids uuid[]) RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_mergejoin = off SET enable_hashjoin = off AS $$
DECLARE
    ids uuid[] := ARRAY(
        SELECT m.delivery_id FROM carillon.digest_members m WHERE m.digest_id = ANY (digest_ids) ORDER BY m.delivery_id);
    lowest uuid := ids[1];
    highest uuid := ids[cardinality(ids)];
BEGIN
    PERFORM FROM carillon.deliveries d
    WHERE d.id = ANY (ids) AND d.id BETWEEN lowest AND highest ORDER BY d.id FOR UPDATE;
    UPDATE carillon.deliveries d
    SET status = CASE WHEN o.ending IS NULL THEN 'skipped' ELSE o.ending END::carillon.delivery_status,
        reason = coalesce(o.ending::carillon.reason, o.skip), hold_reason = NULL, next_attempt_at = NULL,
        updated_at = now()
    FROM (SELECT h.id, h.ending, h.skip FROM carillon.hold_targets(ids, lowest, highest) AS h
          WHERE h.ending IS NOT NULL OR h.skip IS NOT NULL) AS o
    WHERE d.id = o.id AND d.id = ANY (ids) AND d.id BETWEEN lowest AND highest;
END $$;

-- The members of these digests that wait.
CREATE FUNCTION carillon.waiting_members(digest_ids uuid[])
RETURNS TABLE (digest_id uuid, event_id uuid, delivery_id uuid)
LANGUAGE sql STABLE
SET enable_seqscan = off SET enable_mergejoin = off SET enable_hashjoin = off AS $$
    SELECT m.digest_id, m.event_id, m.delivery_id
    FROM carillon.digest_members m
    CROSS JOIN LATERAL (
        SELECT FROM carillon.deliveries d WHERE d.id = m.delivery_id AND d.status = 'held' OFFSET 0) AS d
    WHERE m.digest_id = ANY (digest_ids)
$$;

-- Release the digests whose time has come. Those whose person is left in peace now, or whose cap has no free slot, wait
-- on. One that quiet hours or a cap have gathered with one member only is no digest: that member is sent as it is. The
-- others become events with one delivery each. Answers with all that is to be published, as release_holds does.
CREATE FUNCTION carillon.release_digests(most integer, again_seconds double precision)
RETURNS TABLE (
    delivery_id uuid, event_id uuid, tenant text, traceparent text, channel carillon.channel, lane carillon.lane,
    attempt smallint, due_at timestamptz)
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    ids uuid[] := ARRAY(
        SELECT g.id FROM carillon.digests g WHERE g.closed_at IS NULL AND g.closes_at <= now()
        ORDER BY g.closes_at LIMIT most);
    sending uuid[];
    moving uuid[];
    moved carillon.joining[];
    published uuid[];
    moment timestamptz;
BEGIN
    IF ids = '{}' THEN
        RETURN;
    END IF;
    PERFORM carillon.lock_slots(
        array_agg(g.tenant_id), array_agg(g.subscriber), array_agg(g.cap_scope), array_agg(g.channel))
    FROM carillon.digest_targets(ids) AS g WHERE g.cap_limit IS NOT NULL HAVING count(*) > 0;
    ids := ARRAY(
        SELECT g.id FROM carillon.digests g
        WHERE g.id = ANY (ids) AND g.closed_at IS NULL AND g.closes_at <= now() ORDER BY g.id FOR UPDATE SKIP LOCKED);
    moment := clock_timestamp();

    WITH ranked AS (
        SELECT g.*, k.takes, row_number() OVER (
            PARTITION BY g.tenant_id, g.subscriber, g.cap_scope, g.channel, k.takes ORDER BY g.closes_at, g.id) AS rank
        FROM carillon.digest_targets(ids) AS g
        CROSS JOIN LATERAL (
            SELECT g.cap_limit IS NOT NULL AND g.quiet_until IS NULL
                   AND EXISTS (SELECT FROM carillon.waiting_members(ARRAY[g.id])) AS takes) AS k
    ), judged AS MATERIALIZED (
        SELECT r.id, r.quiet_until IS NOT NULL AND r.kind <> 'quiet_hours' AS moves,
               CASE WHEN r.quiet_until IS NOT NULL THEN CASE r.kind WHEN 'quiet_hours' THEN r.quiet_until END
                    WHEN r.takes AND l.taken IS NULL THEN moment
                    WHEN r.takes THEN carillon.slot_wait(
                   ARRAY(SELECT t FROM unnest(l.taken) AS t
                         WHERE t > moment - make_interval(secs => r.cap_seconds) ORDER BY t),
                   r.rank, r.cap_limit, r.cap_seconds, moment) END AS later
        FROM ranked r
        LEFT JOIN LATERAL (
            SELECT v.taken FROM carillon.limit_slots v
            WHERE r.takes AND v.tenant_id = r.tenant_id AND v.subscriber = r.subscriber AND v.scope = r.cap_scope
              AND v.channel = r.channel OFFSET 0) AS l ON true
    ), written AS (
        UPDATE carillon.digests g
        SET closes_at = coalesce(j.later, g.closes_at), closed_at = CASE WHEN j.later IS NULL THEN moment END
        FROM judged j WHERE g.id = j.id
    )
    SELECT array_agg(j.id) FILTER (WHERE j.later IS NULL AND NOT j.moves), array_agg(j.id) FILTER (WHERE j.moves)
    INTO sending, moving FROM judged j;

    -- Closed: nobody joins any more. New statements see everybody who has.
    PERFORM carillon.sift_members(sending || moving);
    IF moving IS NOT NULL THEN
        moved := ARRAY(
            SELECT ROW(m.delivery_id, m.event_id, g.tenant_id, g.subscriber, g.channel, 'quiet_hours', 'quiet', NULL,
                       g.category, g.lane, t.quiet_until, NULL)::carillon.joining
            FROM carillon.waiting_members(moving) AS m
            JOIN carillon.digests g ON g.id = m.digest_id
            JOIN carillon.digest_targets(moving) AS t ON t.id = g.id);
        UPDATE carillon.deliveries d SET hold_reason = 'quiet_hours', reason = NULL, next_attempt_at = w.closes_at, updated_at = now()
        FROM unnest(moved) AS w WHERE d.id = w.delivery_id AND d.id = ANY (ARRAY(SELECT m.delivery_id FROM unnest(moved) AS m));
        PERFORM carillon.join_digests(moved);
    END IF;

    WITH members AS MATERIALIZED (
        SELECT m.digest_id, count(*) AS total, (array_agg(m.delivery_id))[1] AS one, array_agg(m.event_id) AS event_ids
        FROM carillon.waiting_members(sending) AS m GROUP BY m.digest_id
    ), left_over AS MATERIALIZED (
        SELECT g.*, m.total, m.one, m.event_ids, m.total > 1 OR g.kind = 'type' AS is_carried
        FROM members m CROSS JOIN LATERAL (SELECT v.* FROM carillon.digests v WHERE v.id = m.digest_id OFFSET 0) AS g
    ), ordinary AS (
        -- The morning after: its type's limits are still to be asked.
        INSERT INTO carillon.due (delivery_id, due_at, kind)
        SELECT o.one, moment, 'hold' FROM left_over o WHERE NOT o.is_carried AND o.kind = 'quiet_hours'
        ON CONFLICT (delivery_id) DO UPDATE SET due_at = excluded.due_at, kind = excluded.kind
    ), queued AS (
        UPDATE carillon.deliveries d
        SET status = 'queued', hold_reason = NULL, reason = NULL, next_attempt_at = NULL, updated_at = now()
        WHERE d.id = ANY (ARRAY(SELECT o.one FROM left_over o WHERE NOT o.is_carried AND o.kind = 'frequency_cap'))
    ), events AS (
        INSERT INTO carillon.events (
            id, tenant_id, type, source, external_id, time, category, lane, channels, data, audience, status,
            accepted_at, ranges, planned_at, published_at)
        SELECT o.id, o.tenant_id, 'carillon.digest', '/carillon/digests', o.id::text, moment,
               CASE o.kind WHEN 'type' THEN o.category ELSE 'digest' END, o.lane, ARRAY[o.channel],
               jsonb_strip_nulls(jsonb_build_object(
                   'kind', o.kind, 'type', o.event_type, 'types', carillon.types_of(o.event_ids))),
               jsonb_build_object('users', jsonb_build_array(s.id)), 'dispatched', moment, 1, moment, moment
        FROM left_over o
        CROSS JOIN LATERAL (
            SELECT v.id FROM carillon.subscribers v
            WHERE v.tenant_id = o.tenant_id AND v.number = o.subscriber OFFSET 0) AS s
        WHERE o.is_carried
    ), carriers AS (
        INSERT INTO carillon.deliveries (id, event_id, subscriber, tenant_id, channel, lane, status, carrier)
        SELECT carillon.delivery_id(carillon.delivery_prefix(o.id), o.subscriber, o.channel), o.id, o.subscriber,
               o.tenant_id, o.channel, o.lane, 'queued', true
        FROM left_over o WHERE o.is_carried
    ), slots AS (
        SELECT t.tenant_id, t.subscriber, t.cap_scope, t.channel, t.cap_seconds, count(*)::integer AS n
        FROM carillon.digest_targets(ARRAY(SELECT o.id FROM left_over o WHERE o.kind <> 'quiet_hours')) AS t
        WHERE t.cap_limit IS NOT NULL
        GROUP BY t.tenant_id, t.subscriber, t.cap_scope, t.channel, t.cap_seconds
    ), taken AS (
        UPDATE carillon.limit_slots l
        SET taken = ARRAY(SELECT t FROM unnest(l.taken) AS t
                          WHERE t > moment - make_interval(secs => s.cap_seconds) ORDER BY t)
                    || array_fill(moment, ARRAY[s.n])
        FROM slots s
        WHERE l.tenant_id = s.tenant_id AND l.subscriber = s.subscriber AND l.scope = s.cap_scope
          AND l.channel = s.channel
    )
    SELECT array_agg(CASE WHEN o.is_carried
                          THEN carillon.delivery_id(carillon.delivery_prefix(o.id), o.subscriber, o.channel)
                          ELSE o.one END)
    INTO published
    FROM left_over o WHERE o.is_carried OR o.kind = 'frequency_cap';

    -- Due again, in case this process ends before they are published.
    INSERT INTO carillon.due (delivery_id, due_at, kind)
    SELECT i, now() + make_interval(secs => again_seconds), 'hold' FROM unnest(published) AS i
    ON CONFLICT (delivery_id) DO UPDATE SET due_at = excluded.due_at, kind = excluded.kind;
    RETURN QUERY
    SELECT d.id, d.event_id, t.slug, e.traceparent, d.channel, d.lane, d.attempt,
           now() + make_interval(secs => again_seconds)
    FROM unnest(published) AS w(id)
    CROSS JOIN LATERAL (SELECT v.* FROM carillon.deliveries v WHERE v.id = w.id OFFSET 0) AS d
    CROSS JOIN LATERAL (SELECT v.traceparent FROM carillon.events v WHERE v.id = d.event_id OFFSET 0) AS e
    CROSS JOIN LATERAL (SELECT v.slug FROM carillon.tenants v WHERE v.id = d.tenant_id OFFSET 0) AS t;
END $$;

-- The types of these events, each once.
CREATE FUNCTION carillon.types_of(event_ids uuid[]) RETURNS jsonb
LANGUAGE sql STABLE
SET enable_seqscan = off SET enable_mergejoin = off SET enable_hashjoin = off AS $$
    SELECT jsonb_agg(DISTINCT e.type)
    FROM unnest(event_ids) AS w(id)
    CROSS JOIN LATERAL (SELECT v.type FROM carillon.events v WHERE v.id = w.id OFFSET 0) AS e
$$;

-- What a digest says, at the moment it is sent: {"items": [...], "total"}, in the order of acceptance; null when none of
-- its members is to be sent any more. Members of one that was dead and is sent again are held again.
CREATE FUNCTION carillon.digest_content(digest uuid) RETURNS jsonb
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_mergejoin = off SET enable_hashjoin = off SET enable_nestloop = on AS $$
DECLARE
    content jsonb;
BEGIN
    UPDATE carillon.deliveries d SET status = 'held', hold_reason = 'digest', reason = NULL, updated_at = now()
    WHERE d.status = 'dead'
      AND d.id = ANY (ARRAY(SELECT m.delivery_id FROM carillon.digest_members m WHERE m.digest_id = digest));
    PERFORM carillon.sift_members(ARRAY[digest]);
    SELECT jsonb_build_object('items', jsonb_agg(i.item ORDER BY i.id), 'total', count(*)) INTO content
    FROM (
        SELECT e.id, jsonb_build_object(
                   'event_id', e.id, 'type', e.type, 'category', e.category, 'subject', e.subject, 'time', e.time,
                   'data', e.data) AS item
        FROM carillon.waiting_members(ARRAY[digest]) AS m
        CROSS JOIN LATERAL (SELECT v.* FROM carillon.events v WHERE v.id = m.event_id OFFSET 0) AS e) AS i
    HAVING count(*) > 0;
    RETURN content;
END $$;

-- Whatever becomes of a digest's delivery becomes of its members, in the same statement; those that dropped out of it
-- before have an end of their own.
CREATE FUNCTION carillon.settle_members() RETURNS trigger
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_mergejoin = off SET enable_hashjoin = off SET enable_nestloop = on AS $$
BEGIN
    UPDATE carillon.deliveries d
    SET status = NEW.status, reason = NEW.reason, hold_reason = NULL, next_attempt_at = NULL, provider = NEW.provider,
        provider_id = NEW.provider_id, updated_at = now()
    WHERE d.status NOT IN ('skipped', 'cancelled', 'expired')
      AND d.id = ANY (ARRAY(
          SELECT m.delivery_id FROM carillon.digest_members m WHERE m.digest_id = NEW.event_id ORDER BY m.delivery_id));
    RETURN NULL;
END $$;
CREATE TRIGGER settle_members AFTER UPDATE OF status ON carillon.deliveries
    FOR EACH ROW
    WHEN (NEW.carrier AND NEW.status <> OLD.status
          AND NEW.status IN ('sent', 'delivered', 'read', 'skipped', 'failed', 'dead', 'discarded', 'cancelled', 'expired'))
    EXECUTE FUNCTION carillon.settle_members();
