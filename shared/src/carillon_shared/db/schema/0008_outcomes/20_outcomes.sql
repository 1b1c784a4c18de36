-- Outcomes: what product services are told. A row is written with the change itself, whoever makes it (a worker, a
-- sweeper, a receipt, an operator, a cancel), and stays until the broker has confirmed its message: so none can be
-- lost, and a message that comes twice is the worst that can happen.
CREATE TABLE carillon.outcomes (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id     integer NOT NULL,
    channel       carillon.channel NOT NULL,
    state         carillon.delivery_status NOT NULL,
    delivery_ids  uuid[] NOT NULL,
    at            timestamptz NOT NULL DEFAULT now(),
    owed_at       timestamptz NOT NULL DEFAULT now()      -- whoever publishes it, moves this ahead while it does
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- The states that are told: those in which nothing more happens by itself, and `unknown`. Decisions not to send that
-- planning makes are none of them: they are rows from the beginning, and `explain` shows them.
CREATE FUNCTION carillon.is_outcome(status carillon.delivery_status) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT status IN ('unknown', 'sent', 'delivered', 'read', 'skipped', 'failed', 'dead', 'discarded', 'cancelled',
                      'expired')
$$;

-- One row for each (tenant, channel, state) of a statement that changed deliveries. What they were before is not asked:
-- no statement of ours changes one that has come to such a state without giving it another, and the join would cost more
-- than a message that is told twice.
CREATE FUNCTION carillon.note_outcomes() RETURNS trigger
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    INSERT INTO carillon.outcomes (tenant_id, channel, state, delivery_ids)
    SELECT c.tenant_id, c.channel, c.status, array_agg(c.id)
    FROM changed_rows c WHERE carillon.is_outcome(c.status)
    GROUP BY c.tenant_id, c.channel, c.status;
    RETURN NULL;
END $$;

CREATE TRIGGER note_outcomes AFTER UPDATE ON carillon.deliveries
    REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION carillon.note_outcomes();

-- Claim what is owed, for so many seconds, oldest first.
CREATE FUNCTION carillon.claim_outcomes(most integer, seconds double precision)
RETURNS TABLE (
    id bigint, tenant text, channel carillon.channel, state carillon.delivery_status, delivery_ids uuid[],
    at timestamptz)
LANGUAGE sql AS $$
    WITH owed AS MATERIALIZED (
        SELECT o.id FROM carillon.outcomes o WHERE o.owed_at <= now() ORDER BY o.id LIMIT most FOR UPDATE SKIP LOCKED
    )
    UPDATE carillon.outcomes o SET owed_at = now() + make_interval(secs => seconds)
    FROM carillon.tenants t
    WHERE o.id = ANY (ARRAY(SELECT w.id FROM owed w)) AND t.id = o.tenant_id
    RETURNING o.id, t.slug, o.channel, o.state, o.delivery_ids, o.at
$$;
