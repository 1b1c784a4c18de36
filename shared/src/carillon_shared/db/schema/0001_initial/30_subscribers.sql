-- `number` goes into delivery ids, so it has 32 bits; audience ranges are ranges of it.
CREATE TABLE carillon.subscribers (
    tenant_id   integer NOT NULL REFERENCES carillon.tenants (id),
    number      bigint GENERATED ALWAYS AS IDENTITY CHECK (number BETWEEN 1 AND 4294967295),
    id          text NOT NULL CHECK (id <> '' AND length(id) <= 200),
    -- False for an id that an event named and nobody has registered: its deliveries are skipped with
    -- `unknown_subscriber`, so that every decision has its row.
    registered  boolean NOT NULL DEFAULT true,
    email       text,
    phone       text,
    locale      text,
    time_zone   text,
    attributes  jsonb NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, number),
    UNIQUE (tenant_id, id)
);

CREATE TABLE carillon.memberships (
    tenant_id   integer NOT NULL,
    kind        carillon.membership_kind NOT NULL,
    name        text NOT NULL CHECK (name <> '' AND length(name) <= 200),
    subscriber  bigint NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, kind, name, subscriber),
    FOREIGN KEY (tenant_id, subscriber) REFERENCES carillon.subscribers (tenant_id, number) ON DELETE CASCADE
);
CREATE INDEX memberships_of_subscriber ON carillon.memberships (tenant_id, subscriber);

-- One document a subscriber, only for those who chose anything:
-- {"all": {channel: bool}, "categories": {category: {channel: bool}}, "types": {type: {channel: bool}}}
CREATE TABLE carillon.preferences (
    tenant_id   integer NOT NULL,
    subscriber  bigint NOT NULL,
    document    jsonb NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, subscriber),
    FOREIGN KEY (tenant_id, subscriber) REFERENCES carillon.subscribers (tenant_id, number) ON DELETE CASCADE
);

-- Whom nothing is sent to over one channel, whatever they chose and however mandatory it is: mail to them came back, or
-- they told the provider to stop. `target` is the digest of an address, or a person's number: see
-- carillon.suppressions_of. The feed has no address that could be wrong.
CREATE TABLE carillon.suppressions (
    tenant_id   integer NOT NULL REFERENCES carillon.tenants (id),
    target      bytea NOT NULL,
    channel     carillon.channel NOT NULL CHECK (channel <> 'inapp'),
    id          uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    subscriber  bigint,                                   -- a person, whatever the address; null: an address
    shown       text,                                     -- the address, masked, for operators
    reason      text NOT NULL CHECK (reason IN ('bounced', 'stopped', 'manual')),
    detail      text,                                     -- in the words of the provider or the operator
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz,                              -- null: until somebody removes it
    PRIMARY KEY (tenant_id, target, channel)
);
CREATE INDEX suppressions_of_tenant ON carillon.suppressions (tenant_id, created_at, id);

-- A true sliding window: the moments at which slots were taken, never more than the limit.
CREATE TABLE carillon.limit_slots (
    tenant_id   integer NOT NULL,
    subscriber  bigint NOT NULL,
    scope       text NOT NULL,                            -- 'type:<event type>'
    channel     carillon.channel NOT NULL,
    taken       timestamptz[] NOT NULL,
    PRIMARY KEY (tenant_id, subscriber, scope, channel)
) WITH (fillfactor = 80);
