-- The rules of who gets what, each in one place. Planning, leasing and the dry run share them. They are plain
-- SQL expressions, so that PostgreSQL inlines them into the statements that use them.

-- A cast of an enum to text is only STABLE, and a function with one in it would not be inlined.
CREATE FUNCTION carillon.channel_name(channel carillon.channel) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE channel WHEN 'inapp' THEN 'inapp' WHEN 'email' THEN 'email' WHEN 'whatsapp' THEN 'whatsapp' END
$$;

-- Channels that are switched off for everybody, by the settings of the process whose session this is.
CREATE FUNCTION carillon.switched_off() RETURNS carillon.channel[]
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT string_to_array(nullif(current_setting('carillon.switched_off', true), ''), ',')::carillon.channel[]
$$;

-- What the subscriber (or, failing that, the tenant) chose; the most specific wins; nothing chosen means yes.
CREATE FUNCTION carillon.wants(
    own jsonb, defaults jsonb, event_type text, category text, channel carillon.channel) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(
        (own->'types'->event_type->>carillon.channel_name(channel))::boolean,
        (own->'categories'->category->>carillon.channel_name(channel))::boolean,
        (own->'all'->>carillon.channel_name(channel))::boolean,
        (defaults->'types'->event_type->>carillon.channel_name(channel))::boolean,
        (defaults->'categories'->category->>carillon.channel_name(channel))::boolean,
        (defaults->'all'->>carillon.channel_name(channel))::boolean,
        true)
$$;

-- Whether a person has muted any of these topics: then nothing about them is sent, however it would reach them.
CREATE FUNCTION carillon.mutes(own jsonb, topics text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT topics <> '{}' AND coalesce(own->'muted' ?| topics, false)
$$;

-- The same of an event, for those who have muted anything.
CREATE FUNCTION carillon.mutes_event(own jsonb, tenant integer, audience jsonb) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN own ? 'muted' THEN carillon.mutes(own, ARRAY(SELECT carillon.topics_about(tenant, audience)))
                ELSE false END
$$;

CREATE FUNCTION carillon.has_address(channel carillon.channel, email text, phone text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE channel WHEN 'inapp' THEN true WHEN 'email' THEN email IS NOT NULL ELSE phone IS NOT NULL END
$$;

-- What a type does with a person's quiet hours. Urgent work passes; in-app never disturbs and is never asked.
CREATE FUNCTION carillon.quiet_rule(rule text, lane carillon.lane) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN lane = 'critical' THEN 'pass' ELSE coalesce(rule, 'hold') END
$$;

-- The minutes of a week (0 is Monday 00:00 on the person's wall clock) that these quiet hours cover; null: none.
-- {"windows": [{"from": "22:00", "to": "07:00", "days": ["mon"]}]}: a window that ends before it begins ends the day after.
CREATE FUNCTION carillon.quiet_minutes(quiet jsonb) RETURNS int4multirange
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT range_agg(part.minutes)
    FROM jsonb_to_recordset(quiet->'windows') AS w("from" text, "to" text, days jsonb)
    CROSS JOIN jsonb_array_elements_text(w.days) AS d(name)
    CROSS JOIN LATERAL (
        SELECT array_position(ARRAY['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'], d.name) * 1440 - 1440
               + left(w."from", 2)::integer * 60 + right(w."from", 2)::integer AS first,
               left(w."to", 2)::integer * 60 + right(w."to", 2)::integer
               - left(w."from", 2)::integer * 60 - right(w."from", 2)::integer AS length) AS b
    CROSS JOIN LATERAL (
        SELECT b.first + CASE WHEN b.length > 0 THEN b.length ELSE b.length + 1440 END AS last) AS e
    CROSS JOIN LATERAL (VALUES (int4range(b.first, least(e.last, 10080))),
                               (int4range(0, greatest(e.last - 10080, 0)))) AS part(minutes)
$$;

-- The minute of the week that the wall clock of a zone shows; a zone that this server does not know is UTC.
CREATE FUNCTION carillon.week_minute(zone text, moment timestamptz) RETURNS integer
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    wall timestamp := moment AT TIME ZONE zone;
BEGIN
    RETURN floor(extract(epoch FROM wall - date_trunc('week', wall)) / 60);
EXCEPTION WHEN invalid_parameter_value THEN
    IF zone = 'UTC' THEN
        RAISE;
    END IF;
    RETURN carillon.week_minute('UTC', moment);
END $$;

-- The first moment after this one at which the wall clock of the zone shows a minute that is not quiet; null: it is not
-- quiet now. A minute that the clock skips ends with the skip; one that it shows twice, ends the first time it is shown.
CREATE FUNCTION carillon.quiet_until(quiet int4multirange, zone text, moment timestamptz) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE COST 2000 AS $$              -- so dear that the planner keeps answers: most people share a few
DECLARE
    wall timestamp;
    week timestamp;
    minute integer;
    ending integer;
    wall_end timestamp;
    answer timestamptz;
    earlier timestamptz;
BEGIN
    wall := moment AT TIME ZONE zone;
    week := date_trunc('week', wall);
    minute := floor(extract(epoch FROM wall - week) / 60);
    IF NOT quiet @> minute THEN
        RETURN NULL;
    END IF;
    -- The first minute from this one on that is not quiet, over the end of the week if need be.
    ending := lower(int4multirange(int4range(minute, NULL)) - quiet);
    IF ending = 10080 AND lower(quiet) = 0 THEN
        ending := ending + lower(int4multirange(int4range(0, NULL)) - quiet);
    END IF;
    wall_end := week + make_interval(mins => ending);
    answer := wall_end AT TIME ZONE zone;
    FOREACH earlier IN ARRAY ARRAY[answer - interval '30 minutes', answer - interval '1 hour'] LOOP
        IF earlier > moment AND earlier AT TIME ZONE zone = wall_end THEN
            answer := earlier;
            EXIT;
        END IF;
    END LOOP;
    WHILE answer - interval '1 minute' > moment AND (answer - interval '1 minute') AT TIME ZONE zone >= wall_end LOOP
        answer := answer - interval '1 minute';
    END LOOP;
    RETURN answer;
EXCEPTION WHEN invalid_parameter_value THEN               -- no zone that this server knows
    IF zone = 'UTC' THEN
        RAISE;
    END IF;
    RETURN carillon.quiet_until(quiet, 'UTC', moment);
END $$;

-- What suppressions name an address by. They outlive the person's row, and are no list of addresses.
CREATE FUNCTION carillon.address_digest(address text) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT sha256(convert_to(lower(address), 'UTF8'))
$$;

-- Over which channels nothing is sent to a person now, by their addresses or by their number. Always one row.
CREATE FUNCTION carillon.suppressions_of(tenant integer, person bigint, email text, phone text)
RETURNS TABLE (suppressed carillon.channel[])
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT array_agg(x.channel) FROM carillon.suppressions x
    WHERE x.tenant_id = tenant
      AND x.target = ANY (ARRAY[
          int8send(person), carillon.address_digest(email), carillon.address_digest(phone)])
      AND (x.expires_at IS NULL OR x.expires_at > now())
$$;

-- The first rule, in the fixed order that explain shows, that keeps this delivery from being sent; null: send it.
CREATE FUNCTION carillon.skip_reason(
    is_actor boolean, is_excluded boolean, registered boolean, channel_disabled boolean, has_address boolean,
    suppressed boolean, mandatory boolean, muted boolean, wants boolean) RETURNS carillon.reason
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN is_actor THEN 'actor'::carillon.reason
        WHEN is_excluded THEN 'excluded'::carillon.reason
        WHEN NOT registered THEN 'unknown_subscriber'::carillon.reason
        WHEN channel_disabled THEN 'channel_disabled'::carillon.reason
        WHEN NOT has_address THEN 'no_address'::carillon.reason
        WHEN suppressed THEN 'suppressed'::carillon.reason
        WHEN mandatory THEN NULL
        WHEN muted THEN 'muted'
        WHEN NOT wants THEN 'opted_out'::carillon.reason
    END
$$;

-- The type whose rules hold for a delivery. A digest of one type follows the rules of that type.
CREATE FUNCTION carillon.ruling_type(type text, data jsonb, carrier boolean) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN carrier THEN coalesce(data->>'type', type) ELSE type END
$$;
