-- Items that sleep, and their waking. Whoever snoozes an item wants to be told again: it wakes unread and unseen.

CREATE INDEX feed_items_by_waking ON carillon.feed_items (snoozed_until) WHERE snoozed_until IS NOT NULL;
-- The lists of what was put away, which is found among everything else otherwise. Nothing new is in them.
CREATE INDEX feed_items_snoozed ON carillon.feed_items (tenant_id, subscriber, id) WHERE snoozed_until IS NOT NULL;
CREATE INDEX feed_items_archived ON carillon.feed_items (tenant_id, subscriber, id) WHERE archived_at IS NOT NULL;

-- Wakes what is due, one change for each feed; returns the feeds as they are then.
CREATE FUNCTION carillon.wake_snoozed(how_many integer)
RETURNS TABLE (tenant text, subscriber text, seq bigint, unread integer, unseen integer)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    tenants integer[];
    people bigint[];
BEGIN
    SELECT array_agg(d.tenant_id), array_agg(d.subscriber) INTO tenants, people
    FROM (
        SELECT DISTINCT i.tenant_id, i.subscriber
        FROM (
            SELECT v.tenant_id, v.subscriber FROM carillon.feed_items v
            WHERE v.snoozed_until <= now() ORDER BY v.snoozed_until LIMIT how_many) AS i) AS d;
    IF tenants IS NULL THEN
        RETURN;
    END IF;
    -- Feeds are locked in the order of all who write several. What follows then sees what others have committed.
    PERFORM 1
    FROM carillon.feeds f JOIN unnest(tenants, people) AS k(tenant_id, subscriber) USING (tenant_id, subscriber)
    ORDER BY f.tenant_id, f.subscriber
    FOR UPDATE OF f;
    RETURN QUERY
    WITH woken AS (
        UPDATE carillon.feed_items i
        SET seq = f.seq + 1, attention_seq = f.seq + 1, snoozed_until = NULL, archived_at = NULL, read_at = NULL,
            seen_at = NULL
        FROM carillon.feeds f JOIN unnest(tenants, people) AS k(tenant_id, subscriber) USING (tenant_id, subscriber)
        WHERE i.tenant_id = f.tenant_id AND i.subscriber = f.subscriber AND i.snoozed_until <= now()
        RETURNING i.tenant_id, i.subscriber
    ), counted AS (
        UPDATE carillon.feeds f
        SET seq = f.seq + 1, unread = f.unread + w.items, unseen = f.unseen + w.items
        FROM (SELECT tenant_id, subscriber, count(*)::integer AS items FROM woken GROUP BY tenant_id, subscriber) AS w
        WHERE f.tenant_id = w.tenant_id AND f.subscriber = w.subscriber
        RETURNING f.tenant_id, f.subscriber, f.seq, f.unread, f.unseen
    )
    SELECT t.slug, s.id, c.seq, c.unread, c.unseen
    FROM counted c
    JOIN carillon.tenants t ON t.id = c.tenant_id
    JOIN carillon.subscribers s ON s.tenant_id = c.tenant_id AND s.number = c.subscriber;
END $$;
