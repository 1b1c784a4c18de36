-- Recurring events. A tick is an event whose id names the schedule and the tick's time, so however often it is fired,
-- by however many replicas, `event_keys` lets it through once.
CREATE TABLE carillon.schedules (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id      integer NOT NULL REFERENCES carillon.tenants (id),
    name           text NOT NULL DEFAULT '' CHECK (length(name) <= 200),
    cron           text NOT NULL CHECK (length(cron) <= 200),
    time_zone      text NOT NULL CHECK (length(time_zone) <= 64),
    event          jsonb NOT NULL CHECK (jsonb_typeof(event) = 'object'),
    on_missed      text NOT NULL CHECK (on_missed IN ('skip', 'once')),
    ends_at        timestamptz,
    paused_at      timestamptz,
    next_at        timestamptz,                           -- the tick that comes next; null: none does
    claimed_until  timestamptz,
    last_at        timestamptz,                           -- the tick that was fired last
    last_event_id  uuid,
    last_error     text,                                  -- why the last tick came to no event
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    CHECK (paused_at IS NULL OR next_at IS NULL)
);
CREATE INDEX schedules_due ON carillon.schedules (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX schedules_of_tenant ON carillon.schedules (tenant_id, id);

-- Claim schedules of any tenant whose tick has come, for so many seconds. `now` is the database's clock.
CREATE FUNCTION carillon.claim_schedules(most integer, seconds double precision)
RETURNS TABLE (
    id uuid, tenant_id integer, tenant text, cron text, time_zone text, event jsonb, on_missed text,
    ends_at timestamptz, next_at timestamptz, moment timestamptz)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH due AS MATERIALIZED (
        SELECT s.id FROM carillon.schedules s
        WHERE s.next_at <= now() AND (s.claimed_until IS NULL OR s.claimed_until <= now())
        ORDER BY s.next_at LIMIT most FOR UPDATE SKIP LOCKED
    )
    UPDATE carillon.schedules s SET claimed_until = now() + make_interval(secs => seconds)
    FROM due d, carillon.tenants t
    WHERE s.id = d.id AND t.id = s.tenant_id
    RETURNING s.id, s.tenant_id, t.slug, s.cron, s.time_zone, s.event, s.on_missed, s.ends_at, s.next_at, now()
$$;

-- A schedule has dealt with the tick it was claimed for. `fired`: the tick that became an event, null when none did.
-- Whoever paused or changed it meanwhile has said when it goes on.
CREATE FUNCTION carillon.advance_schedule(
    schedule uuid, claimed_for timestamptz, following timestamptz, fired timestamptz, fired_event uuid, failure text)
RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH advanced AS (
        UPDATE carillon.schedules s
        SET claimed_until = NULL,
            next_at = CASE WHEN s.next_at = claimed_for THEN following ELSE s.next_at END,
            last_at = coalesce(fired, s.last_at), last_event_id = coalesce(fired_event, s.last_event_id),
            last_error = CASE WHEN fired IS NOT NULL OR failure IS NOT NULL THEN failure ELSE s.last_error END
        WHERE s.id = schedule
        RETURNING 1
    )
    SELECT EXISTS (SELECT FROM advanced)
$$;
