-- What feeds suppressions, and what people write back to us.

-- Enough of an address to recognise it, too little to write to it.
CREATE FUNCTION carillon.masked_address(address text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE
        WHEN address LIKE '%@%.%' THEN regexp_replace(address, '^(.?).*@(.?).*\.([^.@]*)$', '\1***@\2***.\3')
        WHEN address ~ '^\+?\d{6,}$' THEN regexp_replace(address, '^(\+?..).*(..)$', '\1***\2')
        ELSE '***' END
$$;

-- Mail to the recipients of these deliveries came back, or they told the provider to stop. `addresses`: where the
-- provider says that it was sent; null: to the recipient's own. An address that is not theirs (any more) is left alone,
-- so that nobody can have another one's mail stopped. What holds longer, or for ever, stays as it is.
CREATE FUNCTION carillon.suppress_recipients(
    tenants integer[], ids uuid[], addresses text[], reasons text[], details text[], seconds double precision[])
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_mergejoin = off AS $$
DECLARE
    lowest uuid := (SELECT i FROM unnest(ids) AS i ORDER BY i LIMIT 1);
    highest uuid := (SELECT i FROM unnest(ids) AS i ORDER BY i DESC LIMIT 1);
BEGIN
    WITH told AS (
        SELECT d.tenant_id, d.channel, t.reason, t.detail, t.seconds, t.address AS given,
               CASE d.channel WHEN 'email' THEN coalesce(k.email, s.email)
                              WHEN 'whatsapp' THEN coalesce(k.phone, s.phone) END AS address
        FROM unnest(tenants, ids, addresses, reasons, details, seconds)
            AS t(tenant, id, address, reason, detail, seconds)
        CROSS JOIN LATERAL (
            SELECT v.* FROM carillon.deliveries v
            WHERE v.id = t.id AND v.id BETWEEN lowest AND highest OFFSET 0) AS d
        CROSS JOIN LATERAL (
            SELECT v.* FROM carillon.subscribers v
            WHERE v.tenant_id = d.tenant_id AND v.number = d.subscriber OFFSET 0) AS s
        LEFT JOIN LATERAL (
            SELECT v.* FROM carillon.corrections v WHERE v.delivery_id = d.id OFFSET 0) AS k ON true
        WHERE t.tenant IS NULL OR t.tenant = d.tenant_id
    )
    INSERT INTO carillon.suppressions AS o (tenant_id, target, channel, shown, reason, detail, expires_at)
    SELECT DISTINCT ON (t.tenant_id, x.target, t.channel)
           t.tenant_id, x.target, t.channel, carillon.masked_address(t.address), t.reason, t.detail,
           now() + make_interval(secs => t.seconds)
    FROM told t
    CROSS JOIN LATERAL (SELECT carillon.address_digest(t.address) AS target) AS x
    WHERE t.address IS NOT NULL AND (t.given IS NULL OR lower(t.given) = lower(t.address))
    ORDER BY t.tenant_id, x.target, t.channel, t.seconds DESC
    ON CONFLICT (tenant_id, target, channel) DO UPDATE
    SET reason = excluded.reason, detail = excluded.detail, expires_at = excluded.expires_at, created_at = now()
    WHERE o.expires_at < excluded.expires_at;
END $$;

-- When somebody last wrote to the number that sends: for a day after it they may be answered in free text. A phone is
-- named by its digest, as in suppressions.
CREATE TABLE carillon.conversations (
    tenant_id  integer NOT NULL REFERENCES carillon.tenants (id),
    target     bytea NOT NULL,
    wrote_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, target)
);
CREATE INDEX conversations_by_time ON carillon.conversations (wrote_at);

-- People wrote: `wishes` says `stop`, `start`, or nothing (null). A null tenant: of every tenant that has somebody with
-- this phone. A stop suppresses, a later start takes back what a stop had brought about, and nothing else.
CREATE FUNCTION carillon.note_whatsapp_replies(
    tenants integer[], phones text[], times timestamptz[], wishes text[], stop_seconds double precision)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_mergejoin = off AS $$
BEGIN
    WITH known AS MATERIALIZED (
        SELECT s.tenant_id, r.phone, least(r.at, now()) AS at, r.wish, r.place
        FROM unnest(tenants, phones, times, wishes) WITH ORDINALITY AS r(tenant, phone, at, wish, place)
        CROSS JOIN LATERAL (
            SELECT DISTINCT v.tenant_id FROM carillon.subscribers v
            WHERE v.phone = r.phone AND (r.tenant IS NULL OR v.tenant_id = r.tenant) AND v.registered) AS s
    ), last_wish AS MATERIALIZED (
        SELECT DISTINCT ON (k.tenant_id, k.phone) k.tenant_id, k.phone, k.wish
        FROM known k WHERE k.wish IS NOT NULL ORDER BY k.tenant_id, k.phone, k.at DESC, k.place DESC
    ), written AS (
        INSERT INTO carillon.conversations AS c (tenant_id, target, wrote_at)
        SELECT k.tenant_id, carillon.address_digest(k.phone), max(k.at)
        FROM known k GROUP BY 1, 2 ORDER BY 1, 2
        ON CONFLICT (tenant_id, target) DO UPDATE SET wrote_at = greatest(c.wrote_at, excluded.wrote_at)
    ), stopped AS (
        INSERT INTO carillon.suppressions AS o (tenant_id, target, channel, shown, reason, detail, expires_at)
        SELECT w.tenant_id, carillon.address_digest(w.phone), 'whatsapp', carillon.masked_address(w.phone), 'stopped',
               'asked to stop', now() + make_interval(secs => stop_seconds)
        FROM last_wish w WHERE w.wish = 'stop' ORDER BY 1, 2
        ON CONFLICT (tenant_id, target, channel) DO UPDATE
        SET reason = excluded.reason, detail = excluded.detail, expires_at = excluded.expires_at, created_at = now()
        WHERE o.expires_at < excluded.expires_at
    )
    DELETE FROM carillon.suppressions o
    USING last_wish w
    WHERE w.wish = 'start' AND o.tenant_id = w.tenant_id AND o.target = carillon.address_digest(w.phone)
      AND o.channel = 'whatsapp' AND o.reason = 'stopped';
END $$;
