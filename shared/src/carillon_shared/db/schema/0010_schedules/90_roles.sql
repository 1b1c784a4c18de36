-- A tenant keeps its schedules; ticks of all tenants are claimed by functions that run as carillon_intake.
ALTER TABLE carillon.schedules ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON carillon.schedules TO carillon_api
    USING (tenant_id = carillon.current_tenant()) WITH CHECK (tenant_id = carillon.current_tenant());
CREATE POLICY all_tenants ON carillon.schedules TO carillon_intake USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON carillon.schedules TO carillon_api;
GRANT SELECT, UPDATE ON carillon.schedules TO carillon_intake;

GRANT CREATE ON SCHEMA carillon TO carillon_intake;
DO $$
DECLARE
    signature regprocedure;
BEGIN
    FOR signature IN
        SELECT p.oid::regprocedure FROM pg_proc p
        WHERE p.pronamespace = 'carillon'::regnamespace
          AND p.proname IN ('decide_approval', 'claim_schedules', 'advance_schedule')
    LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO carillon_intake', signature);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', signature);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO carillon_api', signature);
    END LOOP;
END $$;
REVOKE CREATE ON SCHEMA carillon FROM carillon_intake;
