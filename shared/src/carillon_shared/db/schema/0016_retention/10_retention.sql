-- Retention: what is older than its time goes, a partition at once. Whoever has a step of it repeated, at whatever point it
-- was cut short, comes to the same end. The owner's rights are needed, so the functions have them, and look for themselves
-- at how old a partition is.

-- When an id was made, to the millisecond.
CREATE FUNCTION carillon.uuid_moment(id uuid) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT to_timestamp(('x' || lpad(substr(replace(id::text, '-', ''), 1, 12), 16, '0'))::bit(64)::bigint / 1000.0)
$$;

-- Every partition, what its ids begin and end with, and how large it is; rows as the last look of ANALYZE has them.
CREATE FUNCTION carillon.partitions()
RETURNS TABLE (parent text, name text, low uuid, below uuid, ends_at timestamptz, bytes bigint, rows bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.relname, c.relname, b.ids[1]::uuid, b.ids[2]::uuid, carillon.uuid_moment(b.ids[2]::uuid),
           pg_total_relation_size(c.oid), greatest(c.reltuples, 0)::bigint
    FROM pg_class p
    JOIN pg_inherits i ON i.inhparent = p.oid
    JOIN pg_class c ON c.oid = i.inhrelid
    CROSS JOIN LATERAL regexp_match(
        pg_get_expr(c.relpartbound, c.oid), 'FROM \(''([^'']+)''\) TO \(''([^'']+)''\)') AS b(ids)
    WHERE p.relnamespace = 'carillon'::regnamespace AND p.relkind = 'p'
$$;

-- How many days each table's rows are kept.
CREATE FUNCTION carillon.kept_days(parent text, days jsonb) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (days->>CASE parent WHEN 'receipts' THEN 'attempts' ELSE parent END)::integer
$$;

-- Partitions whose last row is older than its table's days, in the order in which they go: what tells of a delivery before
-- the delivery, and the delivery before its event.
CREATE FUNCTION carillon.outdated_partitions(days jsonb)
RETURNS TABLE (parent text, name text, low uuid, below uuid, ends_at timestamptz, bytes bigint, rows bigint)
LANGUAGE sql STABLE AS $$
    SELECT p.* FROM carillon.partitions() p
    WHERE p.ends_at <= now() - make_interval(days => carillon.kept_days(p.parent, days))
    ORDER BY array_position(ARRAY['attempts', 'receipts', 'feed_items', 'deliveries', 'events'], p.parent), p.ends_at
$$;

-- End events that are still open, of the ids from `low` and below `below`; returns how many. Planning holds an event's row,
-- so whatever it plans is committed before this ends the event, and nothing is planned afterwards.
CREATE FUNCTION carillon.end_outdated_events(low uuid, below uuid, most integer) RETURNS bigint
LANGUAGE sql AS $$
    WITH ended AS (
        UPDATE carillon.events e SET status = 'expired', owed_at = NULL
        WHERE e.id = ANY (ARRAY(
            SELECT o.id FROM carillon.events o
            WHERE o.id >= low AND o.id < below
              AND o.status IN ('pending_approval', 'scheduled', 'accepted', 'dispatching', 'dispatched')
            ORDER BY o.id LIMIT most FOR UPDATE)) AND e.id >= low AND e.id < below
        RETURNING e.id, e.tenant_id
    ), audited AS (
        INSERT INTO carillon.audit_log (tenant_id, actor, action, target, reason)
        SELECT n.tenant_id, 'retention', 'event.expired', n.id::text, 'retention' FROM ended n
    )
    SELECT count(*) FROM ended
$$;

-- End these deliveries, if they are open and not being sent: dead letters are discarded, the others expire. Returns how
-- many that were.
CREATE FUNCTION carillon.end_outdated(ids uuid[], lowest uuid, highest uuid) RETURNS bigint
LANGUAGE sql AS $$
    WITH open AS MATERIALIZED (
        SELECT d.id, d.status FROM carillon.deliveries d
        WHERE d.id = ANY (ids) AND d.id BETWEEN lowest AND highest
          AND d.status IN ('held', 'queued', 'retrying', 'unknown', 'dead')
        ORDER BY d.id FOR UPDATE
    ), changed AS (
        UPDATE carillon.deliveries d
        SET status = (CASE WHEN o.status IN ('dead', 'unknown') THEN 'discarded' ELSE 'expired' END)::carillon.delivery_status,
            reason = 'retention', hold_reason = NULL, next_attempt_at = NULL, updated_at = now()
        FROM open o WHERE d.id = o.id AND d.id BETWEEN lowest AND highest
        RETURNING d.id, d.tenant_id, d.attempt, d.status
    ), no_longer_due AS (
        DELETE FROM carillon.due u WHERE u.delivery_id = ANY (ARRAY(SELECT c.id FROM changed c))
    ), removed AS (
        DELETE FROM carillon.dead_letters l WHERE l.delivery_id = ANY (ARRAY(SELECT c.id FROM changed c))
        RETURNING l.delivery_id, l.reason, l.error
    ), audited AS (
        INSERT INTO carillon.audit_log (tenant_id, actor, action, target, reason, details)
        SELECT c.tenant_id, 'retention', 'delivery.' || c.status, c.id::text, 'retention',
               jsonb_strip_nulls(jsonb_build_object('dead', r.reason, 'attempt', c.attempt, 'error', r.error))
        FROM changed c LEFT JOIN removed r ON r.delivery_id = c.id
    )
    SELECT count(*) FROM changed
$$;

-- The same for the next deliveries after one, over one channel or (null) all. Returns the last that was looked at (null: there
-- was none), how many were ended, and how many are being sent and have to end first.
CREATE FUNCTION carillon.end_outdated_page(after uuid, below uuid, over carillon.channel, most integer)
RETURNS TABLE (last uuid, ended bigint, busy bigint)
LANGUAGE plpgsql AS $$
DECLARE
    ids uuid[];
BEGIN
    SELECT (array_agg(p.id ORDER BY p.id DESC))[1], count(*) FILTER (WHERE p.meant AND p.status = 'sending'),
           array_agg(p.id ORDER BY p.id) FILTER (
               WHERE p.meant AND p.status IN ('held', 'queued', 'retrying', 'unknown', 'dead'))
    INTO last, busy, ids
    FROM (SELECT d.id, d.status, over IS NULL OR d.channel = over AS meant FROM carillon.deliveries d
          WHERE d.id > after AND d.id < below ORDER BY d.id LIMIT most) AS p;
    ended := CASE WHEN ids IS NULL THEN 0 ELSE carillon.end_outdated(ids, ids[1], ids[array_length(ids, 1)]) END;
    RETURN NEXT;
END $$;

-- Discard dead letters that have waited for a person for so many days; returns how many.
CREATE FUNCTION carillon.discard_outdated(days integer, most integer) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    ids uuid[];
BEGIN
    SELECT array_agg(o.delivery_id ORDER BY o.delivery_id) INTO ids
    FROM (SELECT l.delivery_id FROM carillon.dead_letters l
          WHERE l.dead_at < now() - make_interval(days => days) ORDER BY l.dead_at LIMIT most) AS o;
    RETURN CASE WHEN ids IS NULL THEN 0 ELSE carillon.end_outdated(ids, ids[1], ids[array_length(ids, 1)]) END;
END $$;

-- Take the items of the next people out of a feed partition that is to go, and out of their counts: one change for each feed,
-- below which no cursor can be resumed. Where only tombstones go, nothing changes but the cursors that need them. The
-- answer ends with whom it came to; `changed` says who is to be told. Nobody: nothing is left, or another does it.
CREATE FUNCTION carillon.empty_feeds(
    partition text, days integer, after_tenant integer, after_subscriber bigint, people integer)
RETURNS TABLE (
    tenant_id integer, number bigint, tenant text, subscriber text, seq bigint, unread integer, unseen integer,
    changed boolean, items bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    tenants integer[];
    numbers bigint[];
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('carillon.retention')) THEN
        RETURN;
    END IF;
    PERFORM FROM carillon.partitions() p  -- as whoever had the lock before has left it
    WHERE p.name = partition AND p.parent = 'feed_items'
      AND p.ends_at <= now() - make_interval(days => greatest(days, 1));
    IF NOT FOUND THEN
        RETURN;
    END IF;
    EXECUTE format(
        'SELECT array_agg(k.tenant_id), array_agg(k.subscriber)
         FROM (SELECT DISTINCT i.tenant_id, i.subscriber FROM carillon.%I i
               WHERE (i.tenant_id, i.subscriber) > ($1, $2) ORDER BY 1, 2 LIMIT $3) AS k', partition)
    INTO tenants, numbers USING after_tenant, after_subscriber, people;
    -- Feeds are locked in the order of all who write several. What follows then sees what others have committed.
    PERFORM FROM carillon.feeds f JOIN unnest(tenants, numbers) AS k(tenant_id, subscriber) USING (tenant_id, subscriber)
    ORDER BY f.tenant_id, f.subscriber FOR UPDATE OF f;
    RETURN QUERY EXECUTE format($query$
        WITH gone AS (
            DELETE FROM carillon.%I i USING unnest($1, $2) AS k(tenant_id, subscriber), carillon.feeds f
            WHERE i.tenant_id = k.tenant_id AND i.subscriber = k.subscriber
              AND f.tenant_id = k.tenant_id AND f.subscriber = k.subscriber
            RETURNING i.tenant_id, i.subscriber, i.seq, i.deleted_at IS NULL AS kept,
                      i.deleted_at IS NULL AND i.archived_at IS NULL AND i.snoozed_until IS NULL AS shown,
                      i.read_at IS NOT NULL OR i.attention_seq <= f.read_all_seq AS is_read,
                      i.seen_at IS NOT NULL OR i.attention_seq <= f.seen_all_seq AS is_seen
        ), lost AS (
            SELECT g.tenant_id, g.subscriber, count(*) AS items, bool_or(g.kept) AS changed, max(g.seq) AS newest,
                   count(*) FILTER (WHERE g.shown AND NOT g.is_read)::integer AS unread,
                   count(*) FILTER (WHERE g.shown AND NOT g.is_seen)::integer AS unseen
            FROM gone g GROUP BY g.tenant_id, g.subscriber
        ), counted AS (
            UPDATE carillon.feeds f
            SET seq = f.seq + l.changed::integer, unread = f.unread - l.unread, unseen = f.unseen - l.unseen,
                floor_seq = CASE WHEN l.changed THEN f.seq + 1 ELSE greatest(f.floor_seq, l.newest) END
            FROM lost l WHERE f.tenant_id = l.tenant_id AND f.subscriber = l.subscriber
            RETURNING f.tenant_id, f.subscriber, f.seq, f.unread, f.unseen, l.changed, l.items
        )
        SELECT c.tenant_id, c.subscriber, t.slug, s.id, c.seq, c.unread, c.unseen, c.changed, c.items
        FROM counted c
        JOIN carillon.tenants t ON t.id = c.tenant_id
        JOIN carillon.subscribers s ON s.tenant_id = c.tenant_id AND s.number = c.subscriber
        ORDER BY c.tenant_id, c.subscriber
    $query$, partition) USING tenants, numbers;
END $$;

-- Drop a partition. False: not now, because somebody is at it, it is not old enough, not empty (a feed), or the tables were
-- in use for longer than others should wait behind us. Nothing of this is done in part.
CREATE FUNCTION carillon.drop_partition(partition text, days integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' AS $$
DECLARE
    part record;
    filled boolean := false;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('carillon.retention')) THEN
        RETURN false;
    END IF;
    SELECT p.* INTO part FROM carillon.partitions() p  -- as whoever had the lock before has left it
    WHERE p.name = partition AND p.ends_at <= now() - make_interval(days => greatest(days, 1));
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF part.parent = 'feed_items' THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM carillon.%I)', partition) INTO filled;
    END IF;
    IF filled THEN
        RETURN false;
    END IF;
    EXECUTE format('LOCK TABLE ONLY carillon.%I IN ACCESS EXCLUSIVE MODE', part.parent);  -- first, as everybody does
    EXECUTE format('ALTER TABLE carillon.%I DETACH PARTITION carillon.%I', part.parent, partition);
    EXECUTE format('DROP TABLE carillon.%I', partition);
    IF part.parent = 'events' THEN
        DELETE FROM carillon.fanout_ranges r WHERE r.event_id >= part.low AND r.event_id < part.below;
        DELETE FROM carillon.cancellations c WHERE c.event_id >= part.low AND c.event_id < part.below;
    END IF;
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END $$;
