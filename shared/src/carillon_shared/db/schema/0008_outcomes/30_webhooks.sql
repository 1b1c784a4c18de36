-- Outgoing webhooks: outcomes, posted to addresses that tenants give (https://www.standardwebhooks.com). A message is
-- written in the transaction that removes its outcome, so each outcome becomes each endpoint's message exactly once.
CREATE TABLE carillon.webhook_endpoints (
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id         integer NOT NULL REFERENCES carillon.tenants (id),
    url               text NOT NULL CHECK (url ~ '^https?://' AND length(url) <= 2000),
    description       text NOT NULL DEFAULT '' CHECK (length(description) <= 500),
    states            carillon.delivery_status[] NOT NULL CHECK (cardinality(states) > 0),
    channels          carillon.channel[] NOT NULL CHECK (cardinality(channels) > 0),
    secret            text NOT NULL CHECK (secret LIKE 'whsec\_%'),
    old_secret        text,                               -- still signed with, until then
    old_secret_until  timestamptz,
    failing_since     timestamptz,                        -- the first failure since the last success
    disabled_at       timestamptz,
    disabled_reason   text CHECK (disabled_reason IN ('operator', 'failing', 'gone')),
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    CHECK ((old_secret IS NULL) = (old_secret_until IS NULL)),
    CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL))
);
CREATE INDEX webhook_endpoints_of_tenant ON carillon.webhook_endpoints (tenant_id, created_at);

CREATE TABLE carillon.webhook_messages (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),  -- the same in every attempt: receivers know it again
    tenant_id    integer NOT NULL,
    endpoint_id  uuid NOT NULL REFERENCES carillon.webhook_endpoints (id) ON DELETE CASCADE,
    type         text NOT NULL,
    payload      text NOT NULL,                           -- JSON, signed as it is
    status       text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'delivered', 'failed')),
    attempt      smallint NOT NULL DEFAULT 0,
    due_at       timestamptz DEFAULT now(),
    code         integer,                                 -- what the endpoint answered last
    error        text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    CHECK ((status = 'waiting') = (due_at IS NOT NULL))
);
CREATE INDEX webhook_messages_due ON carillon.webhook_messages (endpoint_id, due_at) WHERE status = 'waiting';
CREATE INDEX webhook_messages_of_endpoint ON carillon.webhook_messages (endpoint_id, created_at);
CREATE INDEX webhook_messages_by_age ON carillon.webhook_messages (created_at) WHERE status <> 'waiting';

-- These outcomes are told: remove them, and write down what endpoints are to be posted about them, a hundred deliveries
-- in each message. A disabled endpoint's messages are written as failed, so that it can recover them.
CREATE FUNCTION carillon.finish_outcomes(told bigint[]) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    made integer := 0;
BEGIN
    IF EXISTS (SELECT FROM carillon.webhook_endpoints w JOIN carillon.outcomes o ON o.tenant_id = w.tenant_id
               WHERE o.id = ANY (told)) THEN
        -- Those that another dispatcher has finished meanwhile are gone, and those it is at are waited for.
        PERFORM FROM carillon.outcomes o WHERE o.id = ANY (told) ORDER BY o.id FOR UPDATE;
        made := carillon.write_webhook_messages(told);
    END IF;
    DELETE FROM carillon.outcomes o WHERE o.id = ANY (told);
    RETURN made;
END $$;

CREATE FUNCTION carillon.write_webhook_messages(told bigint[]) RETURNS integer
LANGUAGE plpgsql SET enable_seqscan = off SET enable_mergejoin = off AS $$
DECLARE
    made integer;
BEGIN
    WITH wanted AS (
        SELECT w.id AS endpoint_id, w.disabled_at, o.id AS outcome_id
        FROM carillon.outcomes o
        JOIN carillon.webhook_endpoints w
          ON w.tenant_id = o.tenant_id AND o.state = ANY (w.states) AND o.channel = ANY (w.channels)
        WHERE o.id = ANY (told)
    ), listed AS (
        SELECT o.id AS outcome_id, o.tenant_id, o.channel, o.state, o.at, (i.place - 1) / 100 AS part, i.delivery_id
        FROM carillon.outcomes o
        CROSS JOIN LATERAL unnest(o.delivery_ids) WITH ORDINALITY AS i(delivery_id, place)
        WHERE o.id = ANY (ARRAY(SELECT DISTINCT w.outcome_id FROM wanted w))
    ), bodies AS (
        SELECT l.outcome_id, l.tenant_id, l.part, 'delivery.' || l.state AS type,
               json_build_object(
                   'type', 'delivery.' || l.state,
                   'timestamp', to_char(l.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                   'data', json_build_object(
                       'tenant', t.slug, 'channel', l.channel, 'state', l.state,
                       'deliveries', json_agg(json_build_object(
                           'id', d.id, 'event_id', e.id, 'event_type', e.type, 'source', e.source,
                           'external_id', e.external_id, 'subscriber', s.id,
                           'reason', CASE d.status WHEN l.state THEN d.reason END) ORDER BY d.id))) AS payload
        FROM listed l
        JOIN carillon.tenants t ON t.id = l.tenant_id
        CROSS JOIN LATERAL (
            SELECT v.* FROM carillon.deliveries v WHERE v.id = l.delivery_id OFFSET 0) AS d
        CROSS JOIN LATERAL (
            SELECT v.id, v.type, v.source, v.external_id FROM carillon.events v
            WHERE v.id = d.event_id OFFSET 0) AS e
        CROSS JOIN LATERAL (
            SELECT v.id FROM carillon.subscribers v
            WHERE v.tenant_id = d.tenant_id AND v.number = d.subscriber OFFSET 0) AS s
        GROUP BY l.outcome_id, l.tenant_id, l.part, l.channel, l.state, l.at, t.slug
    ), written AS (
        INSERT INTO carillon.webhook_messages (tenant_id, endpoint_id, type, payload, status, due_at, error)
        SELECT b.tenant_id, w.endpoint_id, b.type, b.payload::text,
               CASE WHEN w.disabled_at IS NULL THEN 'waiting' ELSE 'failed' END,
               CASE WHEN w.disabled_at IS NULL THEN now() END,
               CASE WHEN w.disabled_at IS NOT NULL THEN 'the endpoint was disabled' END
        FROM bodies b JOIN wanted w ON w.outcome_id = b.outcome_id
        RETURNING 1
    )
    SELECT count(*) INTO made FROM written;
    RETURN made;
END $$;

-- Claim what is to be posted now, for so many seconds: a few messages of each endpoint that is not busy here.
CREATE FUNCTION carillon.claim_webhooks(busy uuid[], most_endpoints integer, most_each integer, seconds double precision)
RETURNS TABLE (
    id uuid, endpoint_id uuid, url text, secrets text[], payload text, attempt smallint, created_at timestamptz)
LANGUAGE sql AS $$
    WITH chosen AS MATERIALIZED (
        SELECT m.id, m.endpoint_id FROM (
            SELECT w.id FROM carillon.webhook_endpoints w
            WHERE w.disabled_at IS NULL AND w.id <> ALL (busy) AND EXISTS (
                SELECT FROM carillon.webhook_messages x
                WHERE x.endpoint_id = w.id AND x.status = 'waiting' AND x.due_at <= now())
            LIMIT most_endpoints) AS w
        CROSS JOIN LATERAL (
            SELECT x.id, x.endpoint_id FROM carillon.webhook_messages x
            WHERE x.endpoint_id = w.id AND x.status = 'waiting' AND x.due_at <= now()
            ORDER BY x.due_at LIMIT most_each FOR UPDATE SKIP LOCKED) AS m
    )
    UPDATE carillon.webhook_messages m
    SET attempt = m.attempt + 1, due_at = now() + make_interval(secs => seconds), updated_at = now()
    FROM chosen c JOIN carillon.webhook_endpoints w ON w.id = c.endpoint_id
    WHERE m.id = c.id
    RETURNING m.id, w.id, w.url,
              ARRAY[w.secret] || CASE WHEN w.old_secret_until > now() THEN ARRAY[w.old_secret] ELSE '{}' END,
              m.payload, m.attempt, m.created_at
$$;

-- Write down what an endpoint answered. `delay` is the time to the next attempt; null: there is none. `gone`: the
-- endpoint says that it wants nothing any more. Answers with true when this has disabled the endpoint.
CREATE FUNCTION carillon.settle_webhook(
    message uuid, for_attempt smallint, delivered boolean, answered integer, told text, delay double precision,
    gone boolean, disable_days double precision)
RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    endpoint uuid;
    disabled boolean := false;
BEGIN
    UPDATE carillon.webhook_messages m
    SET status = CASE WHEN delivered THEN 'delivered' WHEN delay IS NULL OR gone THEN 'failed' ELSE 'waiting' END,
        due_at = CASE WHEN NOT delivered AND NOT gone THEN now() + make_interval(secs => delay) END,
        code = answered, error = told, updated_at = now()
    WHERE m.id = message AND m.attempt = for_attempt AND m.status = 'waiting'
    RETURNING m.endpoint_id INTO endpoint;
    IF endpoint IS NULL THEN
        RETURN false;                                     -- somebody has claimed it anew, or removed it
    END IF;
    IF delivered THEN
        UPDATE carillon.webhook_endpoints w SET failing_since = NULL
        WHERE w.id = endpoint AND w.failing_since IS NOT NULL;
        RETURN false;
    END IF;
    UPDATE carillon.webhook_endpoints w
    SET failing_since = coalesce(w.failing_since, now()),
        disabled_at = CASE WHEN gone OR w.failing_since < now() - make_interval(secs => disable_days * 86400)
                           THEN now() END,
        disabled_reason = CASE WHEN gone THEN 'gone'
                               WHEN w.failing_since < now() - make_interval(secs => disable_days * 86400)
                               THEN 'failing' END,
        updated_at = now()
    WHERE w.id = endpoint AND w.disabled_at IS NULL
    RETURNING w.disabled_at IS NOT NULL INTO disabled;
    IF disabled THEN
        PERFORM carillon.give_up_webhooks(endpoint);
    END IF;
    RETURN coalesce(disabled, false);
END $$;

-- What waits for a disabled endpoint has failed; it can be recovered.
CREATE FUNCTION carillon.give_up_webhooks(endpoint uuid) RETURNS void
LANGUAGE sql AS $$
    UPDATE carillon.webhook_messages m
    SET status = 'failed', due_at = NULL, error = coalesce(m.error, 'the endpoint was disabled'), updated_at = now()
    WHERE m.endpoint_id = endpoint AND m.status = 'waiting'
$$;

-- Give an endpoint a new secret; the old one is good for a day more. The API may do this and read neither.
CREATE FUNCTION carillon.rotate_webhook_secret(tenant integer, endpoint uuid, new_secret text)
RETURNS timestamptz
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE carillon.webhook_endpoints w
    SET old_secret = w.secret, old_secret_until = now() + interval '1 day', secret = new_secret, updated_at = now()
    WHERE w.id = endpoint AND w.tenant_id = tenant
    RETURNING w.old_secret_until
$$;
