-- Limits: true sliding windows of the moments at which something was sent.

-- The slots taken since a moment, in order.
CREATE FUNCTION carillon.slots_within(taken timestamptz[], since timestamptz) RETURNS timestamptz[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ARRAY(SELECT t FROM unnest(taken) AS t WHERE t > since ORDER BY t)
$$;

-- One slot more, or the same when all are taken.
CREATE FUNCTION carillon.take_slot(taken timestamptz[], slot_limit integer, since timestamptz, moment timestamptz)
RETURNS timestamptz[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    slots timestamptz[] := carillon.slots_within(taken, since);
BEGIN
    RETURN CASE WHEN cardinality(slots) < slot_limit THEN slots || moment ELSE slots END;
END $$;

-- The moment at which the `rank`-th of those who want a slot now may have one; null: at once. `taken` holds the
-- moments within the window in ascending order. Everyone before has been given the slot that frees next.
CREATE FUNCTION carillon.slot_wait(
    taken timestamptz[], rank bigint, slot_limit integer, per_seconds integer, moment timestamptz)
RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    used integer := cardinality(taken);
    free integer := greatest(slot_limit - used, 0);
    place integer := rank - free - 1;                     -- from zero, among those who wait
    index integer;
BEGIN
    IF rank <= free THEN
        RETURN NULL;
    END IF;
    index := greatest(used - slot_limit, 0) + place % slot_limit + 1;
    RETURN coalesce(taken[index], moment) + make_interval(secs => per_seconds) * (1 + place / slot_limit);
END $$;

-- Have a row for each of these limits and lock them all, in one order so that nobody waits in a circle: those of types
-- before those of caps, as a single event asks them. An update that changes nothing locks, and sees what is newest.
CREATE FUNCTION carillon.lock_slots(
    tenants integer[], subscribers bigint[], scopes text[], channels carillon.channel[]) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO carillon.limit_slots AS l (tenant_id, subscriber, scope, channel, taken)
    SELECT w.tenant_id, w.subscriber, w.scope, w.channel, '{}'::timestamptz[]
    FROM (SELECT DISTINCT u.scope LIKE 'cap:%' AS is_cap, u.tenant_id, u.subscriber, u.scope, u.channel
          FROM unnest(tenants, subscribers, scopes, channels) AS u(tenant_id, subscriber, scope, channel)) AS w
    ORDER BY w.is_cap, w.tenant_id, w.subscriber, w.scope, w.channel
    ON CONFLICT (tenant_id, subscriber, scope, channel) DO UPDATE SET taken = l.taken
$$;
