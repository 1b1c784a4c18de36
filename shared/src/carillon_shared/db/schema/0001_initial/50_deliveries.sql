-- One event to one subscriber over one channel. The id is computed from these three, so planning twice
-- inserts nothing new. No index mentions status, lease or due time: that would end HOT updates.
CREATE TABLE carillon.deliveries (
    id               uuid NOT NULL,
    event_id         uuid NOT NULL,
    subscriber       bigint NOT NULL,
    tenant_id        integer NOT NULL,
    attempt          smallint NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    budget_start     smallint NOT NULL DEFAULT 0,         -- attempts made before the last replay
    unknowns         smallint NOT NULL DEFAULT 0,
    channel          carillon.channel NOT NULL,
    lane             carillon.lane NOT NULL,
    status           carillon.delivery_status NOT NULL,
    hold_reason      carillon.hold_reason,
    reason           carillon.reason,
    lease_token      bigint,
    first_attempt_at timestamptz,
    next_attempt_at  timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    provider         text,
    provider_id      text,
    PRIMARY KEY (id),
    CHECK ((status = 'held') = (hold_reason IS NOT NULL)),
    CHECK (status NOT IN ('skipped', 'failed', 'dead', 'discarded', 'expired', 'cancelled') OR reason IS NOT NULL),
    CHECK (status <> 'retrying' OR next_attempt_at IS NOT NULL),
    CHECK (status <> 'sending' OR lease_token IS NOT NULL)
) PARTITION BY RANGE (id);
CREATE INDEX deliveries_of_subscriber ON carillon.deliveries (tenant_id, subscriber, id);

CREATE TABLE carillon.attempts (
    delivery_id  uuid NOT NULL,
    number       smallint NOT NULL CHECK (number > 0),
    tenant_id    integer NOT NULL,
    started_at   timestamptz NOT NULL,
    ended_at     timestamptz,
    outcome      text NOT NULL CHECK (
        outcome IN ('sent', 'retry', 'undeliverable', 'rejected', 'unknown')),
    provider     text NOT NULL,
    code         text,
    error        text,
    stack        text,
    PRIMARY KEY (delivery_id, number),
    CHECK (ended_at IS NULL OR ended_at >= started_at)
) PARTITION BY RANGE (delivery_id);

-- Small side tables, written in the same statement as the state they mirror.
CREATE TABLE carillon.due (
    delivery_id  uuid PRIMARY KEY,
    due_at       timestamptz NOT NULL,
    kind         carillon.due_kind NOT NULL
);
CREATE INDEX due_by_time ON carillon.due (due_at);

-- The worker draws its own token at random, so that it can ask again after a commit whose outcome it did not learn.
CREATE TABLE carillon.leases (
    token         bigint PRIMARY KEY,
    until         timestamptz NOT NULL,
    holder        text NOT NULL,
    delivery_ids  uuid[] NOT NULL
);
CREATE INDEX leases_by_time ON carillon.leases (until);

CREATE TABLE carillon.dead_letters (
    delivery_id  uuid PRIMARY KEY,
    tenant_id    integer NOT NULL,
    channel      carillon.channel NOT NULL,
    event_type   text NOT NULL,
    attempt      smallint NOT NULL,
    reason       carillon.reason NOT NULL,
    provider     text,
    code         text,
    error        text,
    dead_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX dead_letters_of_tenant ON carillon.dead_letters (tenant_id, dead_at);

-- What an operator put right when sending one again: an address, or parts of the event's data, for this delivery only.
-- Only a replayed delivery can have a row here, and only those (`budget_start > 0`) are looked for.
CREATE TABLE carillon.corrections (
    delivery_id  uuid PRIMARY KEY,
    tenant_id    integer NOT NULL,
    email        text,
    phone        text,
    data         jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(data) = 'object'),
    updated_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE carillon.poison_messages (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue         text NOT NULL,
    message_id    text,
    message_type  text,
    body          bytea NOT NULL,
    error         text NOT NULL,
    received_at   timestamptz NOT NULL DEFAULT now()
);

-- Per queue and consumer, the publish time of the newest message received: tells a lost message from a backlog.
CREATE TABLE carillon.queue_watermarks (
    queue                text NOT NULL,
    consumer             text NOT NULL,
    newest_published_at  timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (queue, consumer)
);
