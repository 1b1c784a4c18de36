-- The dry run needs every right that planning needs, now and later, so it runs as the schema's owner. It writes
-- nothing that lasts, and only for the tenant it is asked about.
REVOKE EXECUTE ON FUNCTION carillon.rehearse_planning(integer, uuid, text, integer) FROM PUBLIC;
DO $$
DECLARE
    signature regprocedure;
BEGIN
    SELECT p.oid::regprocedure INTO STRICT signature FROM pg_proc p
    WHERE p.pronamespace = 'carillon'::regnamespace AND p.proname = 'rehearse';
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', signature);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO carillon_api', signature);
END $$;

-- Everybody who may change a delivery writes down what is to be told about it; the dispatcher tells it.
ALTER TABLE carillon.outcomes ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_tenants ON carillon.outcomes
    TO carillon_dispatcher, carillon_email_worker, carillon_whatsapp_worker, carillon_inapp_worker, carillon_intake
    USING (true) WITH CHECK (true);
GRANT INSERT ON carillon.outcomes
    TO carillon_dispatcher, carillon_email_worker, carillon_whatsapp_worker, carillon_inapp_worker, carillon_intake;
GRANT SELECT, UPDATE, DELETE ON carillon.outcomes TO carillon_dispatcher;
REVOKE EXECUTE ON FUNCTION carillon.is_outcome(carillon.delivery_status), carillon.note_outcomes(),
    carillon.claim_outcomes(integer, double precision) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION carillon.claim_outcomes(integer, double precision) TO carillon_dispatcher;
GRANT EXECUTE ON FUNCTION carillon.is_outcome(carillon.delivery_status)
    TO carillon_dispatcher, carillon_email_worker, carillon_whatsapp_worker, carillon_inapp_worker, carillon_intake;

-- Webhooks: the API keeps a tenant's endpoints and never reads their secrets; the dispatcher posts.
ALTER TABLE carillon.webhook_endpoints ENABLE ROW LEVEL SECURITY;
ALTER TABLE carillon.webhook_messages ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON carillon.webhook_endpoints TO carillon_api
    USING (tenant_id = carillon.current_tenant()) WITH CHECK (tenant_id = carillon.current_tenant());
CREATE POLICY own_tenant ON carillon.webhook_messages TO carillon_api
    USING (tenant_id = carillon.current_tenant()) WITH CHECK (tenant_id = carillon.current_tenant());
CREATE POLICY all_tenants ON carillon.webhook_endpoints TO carillon_dispatcher USING (true) WITH CHECK (true);
CREATE POLICY all_tenants ON carillon.webhook_messages TO carillon_dispatcher USING (true) WITH CHECK (true);
GRANT SELECT (id, tenant_id, url, description, states, channels, old_secret_until, failing_since, disabled_at,
              disabled_reason, created_at, updated_at),
    INSERT, UPDATE, DELETE ON carillon.webhook_endpoints TO carillon_api;
GRANT SELECT, INSERT, UPDATE ON carillon.webhook_messages TO carillon_api;
GRANT SELECT, UPDATE ON carillon.webhook_endpoints TO carillon_dispatcher;
GRANT SELECT, INSERT, UPDATE, DELETE ON carillon.webhook_messages TO carillon_dispatcher;

DO $$
DECLARE
    signature regprocedure;
BEGIN
    FOR signature IN
        SELECT p.oid::regprocedure FROM pg_proc p
        WHERE p.pronamespace = 'carillon'::regnamespace
          AND p.proname IN ('finish_outcomes', 'write_webhook_messages', 'claim_webhooks', 'settle_webhook',
                            'give_up_webhooks')
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', signature);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO carillon_dispatcher', signature);
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION carillon.give_up_webhooks(uuid) TO carillon_api;
REVOKE EXECUTE ON FUNCTION carillon.rotate_webhook_secret(integer, uuid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION carillon.rotate_webhook_secret(integer, uuid, text) TO carillon_api;
