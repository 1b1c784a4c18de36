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
