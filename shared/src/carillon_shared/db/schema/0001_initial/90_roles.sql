-- Who may do what. Logins are made beforehand, by whoever runs the database server; here they get their rights.
-- Services span tenants by an explicit policy; the API sees one tenant at a time.

GRANT USAGE ON SCHEMA carillon
    TO carillon_api, carillon_dispatcher, carillon_email_worker, carillon_whatsapp_worker, carillon_inapp_worker,
       carillon_intake;

DO $$
DECLARE
    name text;
    tenant_column text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'tenants', 'api_keys', 'event_types', 'templates', 'subscribers', 'memberships', 'preferences', 'suppressions', 'limit_slots',
        'event_keys', 'events', 'deliveries', 'attempts', 'dead_letters', 'corrections', 'feeds', 'feed_items', 'stream_tickets',
        'audit_log']
    LOOP
        tenant_column := CASE name WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END;
        EXECUTE format('ALTER TABLE carillon.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY own_tenant ON carillon.%I TO carillon_api
             USING (%I = carillon.current_tenant()) WITH CHECK (%I = carillon.current_tenant())',
            name, tenant_column, tenant_column);
        EXECUTE format(
            'CREATE POLICY all_tenants ON carillon.%I TO carillon_dispatcher, carillon_email_worker,
             carillon_whatsapp_worker, carillon_inapp_worker, carillon_intake USING (true) WITH CHECK (true)', name);
    END LOOP;
END $$;

-- The intake functions.
GRANT SELECT ON carillon.tenants, carillon.api_keys, carillon.subscribers TO carillon_intake;
GRANT SELECT, INSERT, DELETE ON carillon.event_keys TO carillon_intake;
GRANT SELECT, INSERT, UPDATE ON carillon.events, carillon.limit_slots, carillon.stream_tickets TO carillon_intake;
GRANT SELECT, UPDATE ON carillon.deliveries TO carillon_intake;
GRANT SELECT, DELETE ON carillon.due TO carillon_intake;
GRANT SELECT ON carillon.fanout_ranges, carillon.memberships TO carillon_intake;
GRANT SELECT, INSERT, UPDATE, DELETE ON carillon.cancellations TO carillon_intake;
GRANT SELECT, UPDATE ON carillon.cancellations TO carillon_dispatcher;

-- The API: one tenant at a time, and nothing that decides a delivery.
GRANT SELECT ON carillon.tenants, carillon.events, carillon.deliveries, carillon.attempts, carillon.dead_letters,
    carillon.corrections, carillon.audit_log TO carillon_api;
GRANT UPDATE (preferences, origins, default_locale, default_time_zone, sender_name, sender_address, reply_to,
              disabled_channels) ON carillon.tenants TO carillon_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON carillon.event_types, carillon.templates, carillon.subscribers,
    carillon.memberships, carillon.preferences, carillon.suppressions, carillon.stream_tickets TO carillon_api;
GRANT SELECT, INSERT, UPDATE ON carillon.feeds, carillon.feed_items TO carillon_api;
GRANT INSERT ON carillon.audit_log TO carillon_api;
GRANT SELECT ON carillon.queue_watermarks TO carillon_api;

-- The dispatcher: plans, relays, rescues.
GRANT SELECT ON carillon.tenants, carillon.event_types, carillon.templates, carillon.memberships,
    carillon.preferences, carillon.suppressions, carillon.queue_watermarks, carillon.attempts TO carillon_dispatcher;
GRANT SELECT, INSERT, UPDATE ON carillon.subscribers, carillon.events, carillon.deliveries, carillon.attempts
    TO carillon_dispatcher;
GRANT SELECT, INSERT, UPDATE, DELETE ON carillon.fanout_ranges, carillon.due, carillon.leases, carillon.dead_letters,
    carillon.corrections, carillon.poison_messages, carillon.event_keys, carillon.stream_tickets, carillon.queue_watermarks,
    carillon.limit_slots TO carillon_dispatcher;

-- Workers: lease, settle, and read what a message needs.
DO $$
DECLARE
    worker text;
BEGIN
    FOREACH worker IN ARRAY ARRAY['carillon_email_worker', 'carillon_whatsapp_worker', 'carillon_inapp_worker'] LOOP
        EXECUTE format('GRANT SELECT ON carillon.tenants, carillon.event_types, carillon.templates, carillon.events,
            carillon.subscribers, carillon.preferences, carillon.suppressions, carillon.corrections TO %I', worker);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON carillon.deliveries, carillon.attempts,
            carillon.queue_watermarks TO %I', worker);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON carillon.due, carillon.leases, carillon.dead_letters,
            carillon.poison_messages TO %I', worker);
    END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE ON carillon.feeds, carillon.feed_items TO carillon_inapp_worker;
REVOKE INSERT ON carillon.deliveries FROM carillon_email_worker, carillon_whatsapp_worker, carillon_inapp_worker;

-- Functions are closed by default; each is opened to those who need it.
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA carillon FROM PUBLIC;
DO $$
DECLARE
    service text;
BEGIN
    FOREACH service IN ARRAY ARRAY['carillon_api', 'carillon_dispatcher', 'carillon_email_worker',
                                   'carillon_whatsapp_worker', 'carillon_inapp_worker', 'carillon_intake'] LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION carillon.current_tenant(), carillon.uuid_floor(timestamptz),
            carillon.new_event_id(timestamptz), carillon.channel_digit(carillon.channel),
            carillon.delivery_prefix(uuid), carillon.delivery_id(text, bigint, carillon.channel),
            carillon.feed_item_id(uuid, uuid, bigint),
            carillon.wants(jsonb, jsonb, text, text, carillon.channel),
            carillon.channel_name(carillon.channel), carillon.has_address(carillon.channel, text, text),
            carillon.skip_reason(boolean, boolean, boolean, boolean, boolean, boolean, boolean, boolean, boolean),
            carillon.mutes(jsonb, text[]), carillon.mutes_event(jsonb, integer, jsonb),
            carillon.switched_off(), carillon.address_digest(text), carillon.suppressions_of(integer, bigint, text, text),
            carillon.partition_exists_for(timestamptz) TO %I', service);
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION carillon.ensure_partitions(date, integer) TO carillon_dispatcher;
DO $$
DECLARE
    signature regprocedure;
BEGIN
    FOR signature IN
        SELECT p.oid::regprocedure FROM pg_proc p
        WHERE p.pronamespace = 'carillon'::regnamespace
          AND p.proname IN ('texts_of', 'topics_about', 'audience_numbers', 'audience_bound',
                            'audience_is_listed', 'ensure_subscribers',
                            'update_inline_subscribers', 'decide', 'plan_targets', 'week_minute', 'slot_wait', 'slots_within', 'take_slot', 'lock_slots',
                            'insert_plain', 'insert_limited', 'insert_limited_range', 'insert_deliveries', 'plan_verdict', 'plan_events',
                            'cut_ranges', 'plan_range', 'planned_rows', 'event_bound', 'next_owed', 'claim_owed',
                            'claim_stalled_ranges', 'expire_leases', 'claim_due', 'apply_due', 'hold_targets', 'release_holds',
                            'lost_deliveries', 'silent_deliveries', 'touch_queued', 'first_open')
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO carillon_dispatcher', signature);
    END LOOP;
END $$;

DO $$
DECLARE
    worker text;
BEGIN
    FOREACH worker IN ARRAY ARRAY['carillon_email_worker', 'carillon_whatsapp_worker', 'carillon_inapp_worker'] LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION
            carillon.work_verdict(carillon.delivery_status, smallint, smallint, timestamptz, timestamptz, timestamptz,
                carillon.reason, timestamptz),
            carillon.event_bound(uuid, text), carillon.for_all(anyarray, integer),
            carillon.settle(uuid[], bigint[], text[], text[], text[], double precision[], text[], text[], text[], text[],
                text[], double precision[], double precision[], text[], text[], smallint[], uuid, uuid, bigint[]),
            carillon.lease(uuid[], smallint[], uuid, uuid, bigint, text, double precision),
            carillon.recipients(uuid[], uuid, uuid),
            carillon.write_feed(uuid[], smallint[], text[], text[], text[], uuid, uuid, boolean),
            carillon.bury(uuid[], smallint[], text[], text[], text[], text[], text, uuid, uuid) TO %I', worker);
    END LOOP;
END $$;

-- The owner may not keep the privileges that the intake functions run with, so they change hands.
GRANT CREATE ON SCHEMA carillon TO carillon_intake;
DO $$
DECLARE
    signature regprocedure;
BEGIN
    FOR signature IN
        SELECT p.oid::regprocedure FROM pg_proc p
        WHERE p.pronamespace = 'carillon'::regnamespace
          AND p.proname IN ('take_intake_slots', 'accept_events', 'refuse_events', 'mark_published', 'find_api_key', 'find_tenant',
                            'origin_is_listed', 'redeem_stream_ticket', 'cancel_event', 'count_unplanned',
                            'cancel_deliveries')
    LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO carillon_intake', signature);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', signature);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO carillon_api', signature);
    END LOOP;
END $$;
REVOKE CREATE ON SCHEMA carillon FROM carillon_intake;
GRANT EXECUTE ON FUNCTION carillon.texts_of(jsonb), carillon.audience_numbers(integer, jsonb, bigint, bigint)
    TO carillon_intake;
GRANT EXECUTE ON FUNCTION carillon.cancel_deliveries(integer, uuid, uuid, integer) TO carillon_dispatcher;
