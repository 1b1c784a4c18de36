-- The rules of who gets what, each in one place. Planning, leasing and the dry run share them. They are plain
-- SQL expressions, so that PostgreSQL inlines them into the statements that use them.

-- A cast of an enum to text is only STABLE, and a function with one in it would not be inlined.
CREATE FUNCTION carillon.channel_name(channel carillon.channel) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE channel WHEN 'inapp' THEN 'inapp' WHEN 'email' THEN 'email' WHEN 'whatsapp' THEN 'whatsapp' END
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

CREATE FUNCTION carillon.has_address(channel carillon.channel, email text, phone text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE channel WHEN 'inapp' THEN true WHEN 'email' THEN email IS NOT NULL ELSE phone IS NOT NULL END
$$;

-- The first rule, in the fixed order that explain shows, that keeps this delivery from being sent; null: send it.
CREATE FUNCTION carillon.skip_reason(
    is_actor boolean, is_excluded boolean, registered boolean, channel_disabled boolean, has_address boolean,
    mandatory boolean, wants boolean) RETURNS carillon.reason
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN is_actor THEN 'actor'::carillon.reason
        WHEN is_excluded THEN 'excluded'::carillon.reason
        WHEN NOT registered THEN 'unknown_subscriber'::carillon.reason
        WHEN channel_disabled THEN 'channel_disabled'::carillon.reason
        WHEN NOT has_address THEN 'no_address'::carillon.reason
        WHEN mandatory THEN NULL
        WHEN NOT wants THEN 'opted_out'::carillon.reason
    END
$$;
