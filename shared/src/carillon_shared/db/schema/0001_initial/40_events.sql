-- Uniqueness of (tenant, source, id). Not partitioned: PostgreSQL refuses that key on a partitioned `events`.
CREATE TABLE carillon.event_keys (
    tenant_id    integer NOT NULL,
    source       text NOT NULL,
    id           text NOT NULL,
    event_id     uuid NOT NULL,
    body_hash    bytea NOT NULL CHECK (length(body_hash) = 32),
    accepted_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, source, id)
);
CREATE INDEX event_keys_by_age ON carillon.event_keys (accepted_at);

-- The events table is the outbox: `owed_at` says when the relay owes the event to the broker.
CREATE TABLE carillon.events (
    id             uuid NOT NULL,                         -- UUIDv7 of the accept time
    tenant_id      integer NOT NULL,
    type           text NOT NULL,
    source         text NOT NULL,
    external_id    text NOT NULL,                         -- the producer's own id
    subject        text,
    time           timestamptz NOT NULL,
    category       text NOT NULL,
    lane           carillon.lane NOT NULL,
    channels       carillon.channel[] NOT NULL,
    data           jsonb NOT NULL,
    -- {"users": [id], "roles": [name], "topics": [name], "everyone": bool, "exclude": [id]}
    audience       jsonb NOT NULL,
    inline_users   jsonb,                                 -- addresses given with the event; emptied by planning
    actor          text,
    status         carillon.event_status NOT NULL,
    accepted_at    timestamptz NOT NULL,
    deliver_at     timestamptz,
    expires_at     timestamptz,
    owed_at        timestamptz,
    cancelled_at   timestamptz,
    slots_taken    boolean NOT NULL DEFAULT false,        -- throttle slots were taken at intake
    collapse_key   text,
    replaced_by    uuid,                                  -- the event that cancelled it, by their collapse key
    feed_event     uuid,                                  -- whose feed items it brings up to date; null: it has its own
    ranges         integer,                               -- how many ranges its audience was cut into
    planned_at     timestamptz,
    published_at   timestamptz,
    plan_attempts  smallint NOT NULL DEFAULT 0,
    plan_error     text,
    plan_deaths    smallint NOT NULL DEFAULT 0,           -- how often the broker gave up planning it
    unplanned      bigint,                                -- deliveries that cancelling kept from being planned
    traceparent    text,
    PRIMARY KEY (id),
    CHECK (status <> 'cancelled' OR cancelled_at IS NOT NULL)
) PARTITION BY RANGE (id);
-- By tenant, so that one that is owed thousands does not stand before the others.
CREATE INDEX events_owed ON carillon.events (lane, tenant_id, owed_at) WHERE owed_at IS NOT NULL;
CREATE INDEX events_open ON carillon.events (id) WHERE status IN ('dispatching', 'dispatched');
CREATE INDEX events_of_tenant ON carillon.events (tenant_id, id);

-- Cancelled events whose deliveries are still being stopped, and how far that is.
CREATE TABLE carillon.cancellations (
    event_id   uuid PRIMARY KEY,
    tenant_id  integer NOT NULL,
    last_seen  uuid,
    next_at    timestamptz NOT NULL DEFAULT now() + interval '5 seconds'  -- whoever is at it, has that long for each step
);
CREATE INDEX cancellations_due ON carillon.cancellations (next_at);

CREATE TABLE carillon.fanout_ranges (
    event_id      uuid NOT NULL,
    n             integer NOT NULL CHECK (n >= 0),
    lo            bigint NOT NULL,                        -- subscriber numbers > lo ...
    hi            bigint NOT NULL,                        -- ... and <= hi
    planned_at    timestamptz,
    published_at  timestamptz,
    sent_at       timestamptz,                            -- when its fan-out message was last published
    PRIMARY KEY (event_id, n),
    CHECK (lo < hi),
    CHECK (published_at IS NULL OR planned_at IS NOT NULL)
);
CREATE INDEX fanout_ranges_open ON carillon.fanout_ranges (event_id) WHERE published_at IS NULL;
