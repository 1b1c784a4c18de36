-- Dead letters and the copies of them in the dead queues. The rows decide.

-- When a copy was last seen in its dead queue: what a reconciliation has not seen, it publishes.
ALTER TABLE carillon.dead_letters ADD COLUMN copy_seen_at timestamptz;

-- A reconciliation is an operation as well. `report` has its numbers by channel.
ALTER TABLE carillon.operations
    DROP CONSTRAINT operations_kind_check,
    ADD CONSTRAINT operations_kind_check CHECK (kind IN ('replay', 'discard', 'reconcile')),
    ADD COLUMN dry_run boolean NOT NULL DEFAULT false,
    ADD COLUMN report jsonb;

-- Dead letters that somebody moved to a work queue with the broker's own tools: each is a wish to replay it. Written by
-- the worker that was given the message, carried out by a dispatcher.
CREATE TABLE carillon.moved_dead_letters (
    delivery_id  uuid PRIMARY KEY,
    attempt      smallint NOT NULL,
    queue        text NOT NULL,
    moved_at     timestamptz NOT NULL DEFAULT now()
);

-- Note what was moved. Twice is once.
CREATE FUNCTION carillon.note_moved(ids uuid[], attempts smallint[], queue_name text) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO carillon.moved_dead_letters (delivery_id, attempt, queue)
    SELECT DISTINCT ON (m.id) m.id, m.attempt, queue_name FROM unnest(ids, attempts) AS m(id, attempt)
    ORDER BY m.id, m.attempt DESC
    ON CONFLICT (delivery_id) DO NOTHING
$$;

-- Take the next of them, with what a new copy of each would say. The rows are locked in their order.
CREATE FUNCTION carillon.take_moved(most integer)
RETURNS TABLE (
    delivery_id uuid, attempt smallint, queue text, tenant_id integer, is_dead boolean, reason carillon.reason,
    event_id uuid, tenant text, channel carillon.channel, lane carillon.lane)
LANGUAGE sql AS $$
    WITH taken AS (
        DELETE FROM carillon.moved_dead_letters m
        WHERE m.delivery_id = ANY (ARRAY(
            SELECT o.delivery_id FROM carillon.moved_dead_letters o
            ORDER BY o.delivery_id LIMIT most FOR UPDATE SKIP LOCKED))
        RETURNING m.delivery_id, m.attempt, m.queue
    )
    SELECT t.delivery_id, t.attempt, t.queue, d.tenant_id,
           coalesce(d.status = 'dead' AND d.attempt = t.attempt, false), d.reason, d.event_id, n.slug, d.channel, d.lane
    FROM taken t
    LEFT JOIN LATERAL (SELECT v.* FROM carillon.deliveries v WHERE v.id = t.delivery_id OFFSET 0) AS d ON true
    LEFT JOIN LATERAL (SELECT v.slug FROM carillon.tenants v WHERE v.id = d.tenant_id OFFSET 0) AS n ON true
$$;

-- The broker gave these events up: planning them, or what was planned beside them, ended the process again and again.
-- Owed again a few times, each at another moment, so that they meet other neighbours; then given up, which is shown.
-- Answers with those that are given up.
CREATE FUNCTION carillon.owe_again(ids uuid[], lowest uuid, highest uuid, most smallint, why text)
RETURNS TABLE (event_id uuid)
LANGUAGE sql AS $$
    WITH locked AS MATERIALIZED (
        SELECT e.id, e.plan_deaths >= most AS is_over FROM carillon.events e
        WHERE e.id = ANY (ids) AND e.id BETWEEN lowest AND highest AND e.published_at IS NULL
          AND e.status IN ('scheduled', 'accepted', 'dispatching')
        ORDER BY e.id FOR NO KEY UPDATE
    ), changed AS (
        UPDATE carillon.events e
        SET plan_deaths = least(e.plan_deaths + 1, 32000),
            -- What was cut into ranges is brought on by these.
            owed_at = CASE WHEN l.is_over OR e.ranges > 1 THEN NULL
                           ELSE now() + make_interval(secs => 1 + random() * 10 * (e.plan_deaths + 1)) END,
            plan_error = CASE WHEN l.is_over THEN why ELSE e.plan_error END
        FROM locked l
        WHERE e.id = l.id AND e.id BETWEEN lowest AND highest
        RETURNING e.id, l.is_over
    )
    SELECT c.id FROM changed c WHERE c.is_over
$$;
