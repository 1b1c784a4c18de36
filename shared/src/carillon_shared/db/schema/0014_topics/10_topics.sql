-- Topics lie within others: what an event says to the followers of `ticket:42` is for those of `project:7` as well. The
-- API refuses circles; whoever follows parents stops at a topic already seen, so one could do no harm.
CREATE TABLE carillon.topic_parents (
    tenant_id   integer NOT NULL REFERENCES carillon.tenants (id),
    topic       text NOT NULL CHECK (topic <> '' AND length(topic) <= 200),
    parent      text NOT NULL CHECK (parent <> '' AND length(parent) <= 200),
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, topic, parent),
    CHECK (topic <> parent)
);

-- Which choice decides whether a person wants something, in the order of carillon.wants; 'nothing': none was made.
CREATE FUNCTION carillon.choice_origin(
    own jsonb, defaults jsonb, event_type text, category text, channel carillon.channel) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN own->'types'->event_type ? carillon.channel_name(channel) THEN 'type'
        WHEN own->'categories'->category ? carillon.channel_name(channel) THEN 'category'
        WHEN own->'all' ? carillon.channel_name(channel) THEN 'all'
        WHEN defaults->'types'->event_type ? carillon.channel_name(channel) THEN 'tenant_type'
        WHEN defaults->'categories'->category ? carillon.channel_name(channel) THEN 'tenant_category'
        WHEN defaults->'all' ? carillon.channel_name(channel) THEN 'tenant_all'
        ELSE 'nothing' END
$$;
