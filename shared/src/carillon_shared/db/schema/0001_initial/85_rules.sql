-- The rules of who gets what, each in one place. Planning, leasing and the dry run share them. They are plain
-- SQL expressions, so that PostgreSQL inlines them into the statements that use them.

-- What the subscriber (or, failing that, the tenant) chose; the most specific wins; nothing chosen means yes.
CREATE FUNCTION carillon.wants(
    own jsonb, defaults jsonb, event_type text, category text, channel carillon.channel) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(
        (own->'types'->event_type->>channel::text)::boolean,
        (own->'categories'->category->>channel::text)::boolean,
        (own->'all'->>channel::text)::boolean,
        (defaults->'types'->event_type->>channel::text)::boolean,
        (defaults->'categories'->category->>channel::text)::boolean,
        (defaults->'all'->>channel::text)::boolean,
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
        WHEN is_actor THEN 'actor'
        WHEN is_excluded THEN 'excluded'
        WHEN NOT registered THEN 'unknown_subscriber'
        WHEN channel_disabled THEN 'channel_disabled'
        WHEN NOT has_address THEN 'no_address'
        WHEN mandatory THEN NULL
        WHEN NOT wants THEN 'opted_out'
    END::carillon.reason
$$;
