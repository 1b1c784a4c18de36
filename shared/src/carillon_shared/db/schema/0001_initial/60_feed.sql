-- One changelog a subscriber: `seq` has no holes and follows commit order, because it is taken under this row's lock.
CREATE TABLE carillon.feeds (
    tenant_id      integer NOT NULL,
    subscriber     bigint NOT NULL,
    seq            bigint NOT NULL DEFAULT 0,
    unread         integer NOT NULL DEFAULT 0 CHECK (unread >= 0),
    unseen         integer NOT NULL DEFAULT 0 CHECK (unseen >= 0),
    floor_seq      bigint NOT NULL DEFAULT 0,             -- cursors below it get a reset
    read_all_seq   bigint NOT NULL DEFAULT 0,             -- everything up to here was read at read_all_at
    read_all_at    timestamptz,
    seen_all_seq   bigint NOT NULL DEFAULT 0,
    seen_all_at    timestamptz,
    PRIMARY KEY (tenant_id, subscriber)
) WITH (fillfactor = 70);

CREATE TABLE carillon.feed_items (
    id             uuid NOT NULL,                         -- of the delivery that made it
    tenant_id      integer NOT NULL,
    subscriber     bigint NOT NULL,
    event_id       uuid NOT NULL,
    seq            bigint NOT NULL,                       -- last change
    attention_seq  bigint NOT NULL,                       -- created, or last marked unread
    type           text NOT NULL,
    category       text NOT NULL,
    priority       carillon.lane NOT NULL,
    title          text NOT NULL,
    body           text NOT NULL,
    action_url     text,
    data           jsonb NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    seen_at        timestamptz,
    read_at        timestamptz,
    archived_at    timestamptz,
    snoozed_until  timestamptz,
    deleted_at     timestamptz,                           -- a tombstone, kept until floor_seq passes it
    PRIMARY KEY (tenant_id, subscriber, id)
) PARTITION BY RANGE (id);
CREATE INDEX feed_items_by_change ON carillon.feed_items (tenant_id, subscriber, seq);

CREATE TABLE carillon.stream_tickets (
    hash              bytea PRIMARY KEY CHECK (length(hash) = 32),
    tenant_id         integer NOT NULL,
    subscriber        text NOT NULL,
    topics            text[] NOT NULL DEFAULT '{}',
    open_until        timestamptz NOT NULL,               -- must be opened first before this
    opened_at         timestamptz,
    token_expires_at  timestamptz NOT NULL                -- may be reopened until this
);
CREATE INDEX stream_tickets_by_age ON carillon.stream_tickets (token_expires_at);

CREATE TABLE carillon.audit_log (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id  integer NOT NULL,
    actor      text NOT NULL,
    action     text NOT NULL,
    target     text NOT NULL,
    reason     text,
    details    jsonb NOT NULL DEFAULT '{}',
    at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX audit_log_of_tenant ON carillon.audit_log (tenant_id, at);
