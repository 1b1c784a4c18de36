-- Ids. carillon_shared.ids computes the same; a test holds the two together.

-- First id a UUID made at this moment or later can have.
CREATE FUNCTION carillon.uuid_floor(moment timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (lpad(to_hex(floor(extract(epoch FROM moment) * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid
$$;

-- UUIDv7 (RFC 9562) of the given moment. The twelve bits after the version are the fraction of the millisecond
-- (section 6.2, method 3), so that what was accepted later sorts later.
CREATE FUNCTION carillon.new_event_id(moment timestamptz) RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT (lpad(to_hex(m.us / 1000), 12, '0') || '7' || lpad(to_hex(m.us % 1000 * 4096 / 1000), 3, '0')
            || substr(replace(gen_random_uuid()::text, '-', ''), 17))::uuid
    FROM (SELECT floor(extract(epoch FROM moment) * 1000000)::bigint AS us) AS m
$$;

CREATE FUNCTION carillon.channel_digit(channel carillon.channel) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE channel WHEN 'inapp' THEN '1' WHEN 'email' THEN '2' WHEN 'whatsapp' THEN '3' END
$$;

-- The 23 digits that an event's deliveries share.
CREATE FUNCTION carillon.delivery_prefix(event_id uuid) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT substr(replace(event_id::text, '-', ''), 1, 12) || '8' || substr(replace(event_id::text, '-', ''), 14, 10)
$$;

CREATE FUNCTION carillon.delivery_id(prefix text, subscriber bigint, channel carillon.channel) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (prefix || lpad(to_hex(subscriber), 8, '0') || carillon.channel_digit(channel))::uuid
$$;

-- The feed item of an event: its own delivery's, or that of the event whose items it brings up to date.
CREATE FUNCTION carillon.feed_item_id(event_id uuid, feed_event uuid, subscriber bigint) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT carillon.delivery_id(carillon.delivery_prefix(coalesce(feed_event, event_id)), subscriber, 'inapp')
$$;

-- Partitions: by day where rows are many and looked up by id, by month where people page through them.
CREATE FUNCTION carillon.ensure_partitions(from_day date, days integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    made integer := 0;
    parent text;
    step interval;
    lower_bound date;
    name text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('carillon.ensure_partitions'));
    FOREACH parent IN ARRAY ARRAY['events', 'deliveries', 'attempts', 'receipts', 'feed_items'] LOOP
        CONTINUE WHEN to_regclass('carillon.' || parent) IS NULL;  -- receipts come with a later migration
        step := CASE parent WHEN 'feed_items' THEN interval '1 month' ELSE interval '1 day' END;
        lower_bound := CASE parent WHEN 'feed_items' THEN date_trunc('month', from_day) ELSE from_day END;
        WHILE lower_bound < from_day + days LOOP
            name := parent || to_char(lower_bound, '_YYYYMMDD');
            IF to_regclass('carillon.' || name) IS NULL THEN
                EXECUTE format(
                    'CREATE TABLE carillon.%I PARTITION OF carillon.%I FOR VALUES FROM (%L) TO (%L)%s',
                    name, parent,
                    carillon.uuid_floor(lower_bound::timestamp AT TIME ZONE 'UTC'),
                    carillon.uuid_floor((lower_bound + step)::timestamp AT TIME ZONE 'UTC'),
                    -- A delivery is written three times within moments (planned, leased, settled), a whole page of
                    -- them at once: there is room for the second, and the third finds the first pruned.
                    CASE parent WHEN 'deliveries' THEN ' WITH (fillfactor = 45)'
                                WHEN 'feed_items' THEN ' WITH (fillfactor = 80)' ELSE '' END);
                made := made + 1;
            END IF;
            lower_bound := lower_bound + step;
        END LOOP;
    END LOOP;
    RETURN made;
END $$;
SELECT carillon.ensure_partitions((now() AT TIME ZONE 'UTC')::date - 1, 10);
