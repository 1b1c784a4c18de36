CREATE TABLE carillon.tenants (
    id                 integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slug               text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name               text NOT NULL,
    default_locale     text NOT NULL DEFAULT 'en',
    default_time_zone  text NOT NULL DEFAULT 'UTC',
    sender_name        text,
    sender_address     text,
    reply_to           text,
    disabled_channels  carillon.channel[] NOT NULL DEFAULT '{}',
    preferences        jsonb NOT NULL DEFAULT '{}',       -- defaults below every subscriber's own
    origins            text[] NOT NULL DEFAULT '{}',      -- exact origins that recipient routes allow
    created_at         timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE carillon.api_keys (
    id            text PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9]{8,32}$'),
    tenant_id     integer NOT NULL REFERENCES carillon.tenants (id),
    name          text NOT NULL DEFAULT '',
    secret_hash   bytea NOT NULL CHECK (length(secret_hash) = 32),
    scopes        text[] NOT NULL CHECK (cardinality(scopes) > 0),
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz,
    revoked_at    timestamptz
);
CREATE INDEX api_keys_of_tenant ON carillon.api_keys (tenant_id);

CREATE TABLE carillon.event_types (
    tenant_id      integer NOT NULL REFERENCES carillon.tenants (id),
    name           text NOT NULL CHECK (name ~ '^[a-z0-9_]+([.-][a-z0-9_]+)*$' AND length(name) <= 128),
    category       text NOT NULL DEFAULT 'general',
    channels       carillon.channel[] NOT NULL CHECK (cardinality(channels) > 0),
    lane           carillon.lane NOT NULL DEFAULT 'normal',
    mandatory      boolean NOT NULL DEFAULT false,
    audience       jsonb,                                 -- rule, filled from the event's data at intake
    retry          jsonb NOT NULL DEFAULT '{}',           -- policy by channel
    throttle       jsonb,                                 -- {limit, per_seconds, channels, on_exceed}
    on_unknown     carillon.unknown_rule NOT NULL DEFAULT 'at_least_once',
    expires_after  interval,
    payload_schema jsonb,
    sender_name    text,
    sender_address text,
    reply_to       text,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, name)
);

CREATE TABLE carillon.templates (
    tenant_id   integer NOT NULL,
    event_type  text NOT NULL,
    channel     carillon.channel NOT NULL,
    locale      text NOT NULL,
    version     integer NOT NULL CHECK (version > 0),
    content     jsonb NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, event_type, channel, locale, version),
    FOREIGN KEY (tenant_id, event_type) REFERENCES carillon.event_types (tenant_id, name) ON DELETE CASCADE
);
