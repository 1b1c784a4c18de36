-- Whoever writes preferences computes their compiled form; whoever decides, asks for it.
GRANT EXECUTE ON FUNCTION carillon.quiet_minutes(jsonb), carillon.quiet_rule(text, carillon.lane),
    carillon.quiet_until(int4multirange, text, timestamptz), carillon.ruling_type(text, jsonb, boolean)
    TO carillon_api, carillon_dispatcher, carillon_email_worker, carillon_whatsapp_worker, carillon_inapp_worker,
       carillon_intake;

ALTER TABLE carillon.digests ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON carillon.digests TO carillon_api USING (tenant_id = carillon.current_tenant());
CREATE POLICY all_tenants ON carillon.digests TO carillon_dispatcher USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON carillon.digests, carillon.digest_members TO carillon_dispatcher;
GRANT UPDATE (frequency_caps) ON carillon.tenants TO carillon_api;

-- Whoever ends the delivery of a digest, ends its members.
GRANT SELECT ON carillon.digest_members TO carillon_email_worker, carillon_whatsapp_worker, carillon_intake;

-- Who sends a digest asks again which of its members are to be sent: read in the feed is all they may know of it.
GRANT SELECT (id, tenant_id, subscriber, read_at, deleted_at, attention_seq) ON carillon.feed_items
    TO carillon_email_worker, carillon_whatsapp_worker;
GRANT SELECT (tenant_id, subscriber, read_all_seq) ON carillon.feeds TO carillon_email_worker, carillon_whatsapp_worker;

REVOKE EXECUTE ON FUNCTION carillon.cap_of(jsonb, text), carillon.has_channel(jsonb, carillon.channel),
    carillon.open_digests(carillon.joining[]), carillon.join_digests(carillon.joining[]), carillon.digest_targets(uuid[]),
    carillon.sift_members(uuid[]), carillon.waiting_members(uuid[]), carillon.release_digests(integer, double precision),
    carillon.types_of(uuid[]), carillon.digest_content(uuid), carillon.settle_members() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION carillon.is_read_in_feed(integer, bigint, uuid), carillon.cap_of(jsonb, text),
    carillon.has_channel(jsonb, carillon.channel), carillon.open_digests(carillon.joining[]),
    carillon.join_digests(carillon.joining[]), carillon.digest_targets(uuid[]), carillon.sift_members(uuid[]),
    carillon.waiting_members(uuid[]), carillon.release_digests(integer, double precision), carillon.types_of(uuid[])
    TO carillon_dispatcher;
DO $$
DECLARE
    worker text;
BEGIN
    FOREACH worker IN ARRAY ARRAY['carillon_email_worker', 'carillon_whatsapp_worker', 'carillon_inapp_worker'] LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION carillon.digest_content(uuid) TO %I', worker);
    END LOOP;
    FOREACH worker IN ARRAY ARRAY['carillon_email_worker', 'carillon_whatsapp_worker'] LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION carillon.is_read_in_feed(integer, bigint, uuid),
            carillon.hold_targets(uuid[], uuid, uuid), carillon.cap_of(jsonb, text),
            carillon.has_channel(jsonb, carillon.channel), carillon.sift_members(uuid[]),
            carillon.waiting_members(uuid[]) TO %I', worker);
    END LOOP;
END $$;
