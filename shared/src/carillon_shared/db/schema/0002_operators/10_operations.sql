-- A replay or a discard of many dead letters, done in batches by whichever dispatcher comes first. All that is needed
-- to go on after a crash stands here: the last dead letter looked at, the counts, and when the next batch is due.
CREATE TABLE carillon.operations (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id        integer NOT NULL REFERENCES carillon.tenants (id),
    kind             text NOT NULL CHECK (kind IN ('replay', 'discard')),
    -- {"id", "ids", "channel", "event_type", "reason", "provider", "since", "until"}, each optional
    filter           jsonb NOT NULL,
    overrides        jsonb,                               -- {"address": {"email" | "phone"}, "data": {}}
    reason           text NOT NULL,                       -- in the words of who asked for it
    actor            text NOT NULL,
    rate_per_second  integer NOT NULL CHECK (rate_per_second > 0),
    status           text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'done', 'stopped', 'failed')),
    matched          integer NOT NULL CHECK (matched >= 0), -- dead letters in the filter when it began
    acted            integer NOT NULL DEFAULT 0,          -- replayed, or discarded
    skipped          jsonb NOT NULL DEFAULT '{}',         -- counts by reason
    last_dead_at     timestamptz,                         -- the place of the last dead letter looked at
    last_id          uuid,
    error            text,
    next_at          timestamptz NOT NULL DEFAULT now(),  -- the rate's next batch
    created_at       timestamptz NOT NULL DEFAULT now(),  -- what died later is not touched, so that it ends
    updated_at       timestamptz NOT NULL DEFAULT now(),
    ended_at         timestamptz,
    CHECK ((status = 'running') = (ended_at IS NULL)),
    CHECK (status <> 'failed' OR error IS NOT NULL)
);
CREATE INDEX operations_running ON carillon.operations (next_at) WHERE status = 'running';
CREATE INDEX operations_of_tenant ON carillon.operations (tenant_id, created_at);
