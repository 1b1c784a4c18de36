-- Events of one tenant and type that say they are about the same: a later one is refused, or replaces the earlier ones,
-- while those are not completed. Whoever decides about a key holds its row, so that decisions come one after the other.
CREATE TABLE carillon.collapse_keys (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   integer NOT NULL,
    event_type  text NOT NULL,
    key         text NOT NULL,
    used_at     timestamptz NOT NULL,
    UNIQUE (tenant_id, event_type, key)
);

-- The events that came with a key. Those that are over are cleared away now and then.
CREATE TABLE carillon.collapse_events (
    key_id    bigint NOT NULL REFERENCES carillon.collapse_keys (id) ON DELETE CASCADE,
    event_id  uuid NOT NULL,
    PRIMARY KEY (key_id, event_id)
);

-- Have a row for each of these keys and lock them all, in one order so that nobody waits in a circle.
CREATE FUNCTION carillon.lock_collapse_keys(tenants integer[], event_types text[], keys text[]) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO carillon.collapse_keys AS c (tenant_id, event_type, key, used_at)
    SELECT DISTINCT w.tenant_id, w.event_type, w.key, now()
    FROM unnest(tenants, event_types, keys) AS w(tenant_id, event_type, key)
    ORDER BY 1, 2, 3
    ON CONFLICT (tenant_id, event_type, key) DO UPDATE SET used_at = excluded.used_at
$$;

-- The events with a key that are not over, newest first.
CREATE FUNCTION carillon.open_collapsed(of_key bigint) RETURNS SETOF uuid
LANGUAGE sql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    SELECT m.event_id FROM carillon.collapse_events m
    CROSS JOIN LATERAL (
        SELECT FROM carillon.events v
        WHERE v.id = m.event_id AND v.status NOT IN ('completed', 'cancelled', 'rejected', 'expired') OFFSET 0) AS e
    WHERE m.key_id = of_key ORDER BY m.event_id DESC
$$;

-- Why an event with a key that is locked must not come in, and what is in its way; null: it may. Nobody waits here for an
-- event that is being planned: all tenants would wait.
CREATE FUNCTION carillon.collapse_verdict(of_key bigint, on_conflict text, OUT verdict text, OUT earlier uuid)
LANGUAGE plpgsql AS $$
DECLARE
    open_ones uuid[];
    locked integer;
BEGIN
    IF on_conflict = 'reject' THEN
        earlier := (SELECT o FROM carillon.open_collapsed(of_key) AS o LIMIT 1);
        verdict := CASE WHEN earlier IS NOT NULL THEN 'collapsed' END;
    ELSIF on_conflict = 'replace' THEN
        open_ones := ARRAY(SELECT carillon.open_collapsed(of_key));
        PERFORM FROM carillon.events e WHERE e.id = ANY (open_ones) ORDER BY e.id FOR UPDATE SKIP LOCKED;
        GET DIAGNOSTICS locked = ROW_COUNT;
        IF locked < cardinality(open_ones) THEN
            verdict := 'busy';
            earlier := open_ones[1];
        END IF;
    END IF;
END $$;

-- Let an event in that may: what it replaces is cancelled, and it goes on with the feed items of the newest of those.
CREATE FUNCTION carillon.enter_collapsed(tenant integer, of_key bigint, event uuid, on_conflict text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    replaced uuid[];
    one uuid;
BEGIN
    IF on_conflict = 'replace' THEN
        replaced := ARRAY(SELECT carillon.open_collapsed(of_key));
        FOREACH one IN ARRAY replaced LOOP
            PERFORM carillon.cancel_event(tenant, one);
        END LOOP;
        UPDATE carillon.events e SET replaced_by = event WHERE e.id = ANY (replaced) AND e.status = 'cancelled';
        UPDATE carillon.events e SET feed_event = o.feed_event
        FROM (SELECT coalesce(v.feed_event, v.id) AS feed_event FROM carillon.events v WHERE v.id = replaced[1]) AS o
        WHERE e.id = event;
        -- No request goes on with stopping their deliveries, so nobody needs to wait for it.
        UPDATE carillon.cancellations c SET next_at = now() WHERE c.event_id = ANY (replaced);
        DELETE FROM carillon.collapse_events m WHERE m.key_id = of_key AND m.event_id = ANY (replaced);
    END IF;
    INSERT INTO carillon.collapse_events (key_id, event_id) VALUES (of_key, event);
END $$;

-- Forget events that are over, and keys that nobody has used for an hour and nothing has. Returns how many events went.
CREATE FUNCTION carillon.clear_collapsed(most integer) RETURNS integer
LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    gone integer;
BEGIN
    DELETE FROM carillon.collapse_events m
    WHERE m.ctid = ANY (ARRAY(
        SELECT o.ctid FROM carillon.collapse_events o
        LEFT JOIN LATERAL (SELECT v.id, v.status FROM carillon.events v WHERE v.id = o.event_id OFFSET 0) AS e ON true
        WHERE e.id IS NULL OR e.status IN ('completed', 'cancelled', 'rejected', 'expired') LIMIT most));
    GET DIAGNOSTICS gone = ROW_COUNT;
    DELETE FROM carillon.collapse_keys c
    WHERE c.id = ANY (ARRAY(
        SELECT k.id FROM carillon.collapse_keys k
        WHERE k.used_at < now() - interval '1 hour'
          AND NOT EXISTS (SELECT FROM carillon.collapse_events m WHERE m.key_id = k.id) LIMIT most))
      AND c.used_at < now() - interval '1 hour';
    RETURN gone;
END $$;
