-- The API hands receipts in and shows them; the dispatcher acts on those that had to wait.
ALTER TABLE carillon.receipts ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON carillon.receipts TO carillon_api
    USING (tenant_id = carillon.current_tenant()) WITH CHECK (tenant_id = carillon.current_tenant());
CREATE POLICY all_tenants ON carillon.receipts TO carillon_dispatcher, carillon_intake
    USING (true) WITH CHECK (true);

GRANT SELECT ON carillon.receipts TO carillon_api;
GRANT SELECT, UPDATE, DELETE ON carillon.receipts TO carillon_dispatcher;
GRANT SELECT, INSERT ON carillon.receipts, carillon.attempts TO carillon_intake;
GRANT INSERT, UPDATE ON carillon.due TO carillon_intake;
GRANT SELECT, DELETE ON carillon.dead_letters TO carillon_intake;

DO $$
DECLARE
    signature regprocedure;
BEGIN
    FOR signature IN
        SELECT p.oid::regprocedure FROM pg_proc p
        WHERE p.pronamespace = 'carillon'::regnamespace
          AND p.proname IN ('receipt_raises', 'delivery_of_message', 'apply_failures', 'forget_due', 'record_receipts',
                            'apply_pending_receipts')
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', signature);
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION
    carillon.apply_failures(uuid[], text[], carillon.reason[], text), carillon.forget_due(uuid[])
    TO carillon_dispatcher, carillon_intake;
GRANT EXECUTE ON FUNCTION
    carillon.receipt_raises(carillon.delivery_status, carillon.receipt_state),
    carillon.delivery_of_message(integer, text, text, carillon.channel) TO carillon_intake;
GRANT EXECUTE ON FUNCTION carillon.apply_pending_receipts(integer) TO carillon_dispatcher;

GRANT CREATE ON SCHEMA carillon TO carillon_intake;
ALTER FUNCTION carillon.record_receipts(
    integer[], uuid[], text[], text[], timestamptz[], text[], text[], text[], text[], text, text) OWNER TO carillon_intake;
REVOKE CREATE ON SCHEMA carillon FROM carillon_intake;
GRANT EXECUTE ON FUNCTION carillon.record_receipts(
    integer[], uuid[], text[], text[], timestamptz[], text[], text[], text[], text[], text, text) TO carillon_api;
