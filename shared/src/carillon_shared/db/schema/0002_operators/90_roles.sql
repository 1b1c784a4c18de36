-- The API asks for operations, the dispatcher carries them out.
ALTER TABLE carillon.operations ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON carillon.operations TO carillon_api
    USING (tenant_id = carillon.current_tenant()) WITH CHECK (tenant_id = carillon.current_tenant());
CREATE POLICY all_tenants ON carillon.operations TO carillon_dispatcher USING (true) WITH CHECK (true);

GRANT SELECT, INSERT ON carillon.operations TO carillon_api;
GRANT UPDATE (status, ended_at, updated_at) ON carillon.operations TO carillon_api;
GRANT SELECT, UPDATE ON carillon.operations TO carillon_dispatcher;
GRANT SELECT ON carillon.feeds, carillon.feed_items TO carillon_dispatcher;
GRANT INSERT ON carillon.audit_log TO carillon_dispatcher;

DO $$
DECLARE
    signature regprocedure;
BEGIN
    FOR signature IN
        SELECT p.oid::regprocedure FROM pg_proc p
        WHERE p.pronamespace = 'carillon'::regnamespace
          AND p.proname IN ('matching_dead_letters', 'replay_skips', 'overridden', 'replay_dead', 'discard_dead',
                            'cancel_delivery')
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', signature);
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION
    carillon.matching_dead_letters(integer, jsonb, timestamptz, timestamptz, uuid, integer),
    carillon.replay_skips(uuid[], uuid, uuid, jsonb) TO carillon_api, carillon_dispatcher;
GRANT EXECUTE ON FUNCTION
    carillon.replay_dead(uuid[], uuid, uuid, text, text, uuid, double precision, carillon.lane, jsonb),
    carillon.overridden(uuid, uuid, bigint, jsonb),
    carillon.discard_dead(uuid[], uuid, uuid, text, text, uuid),
    carillon.event_bound(uuid, text),
    carillon.bury(uuid[], smallint[], text[], text[], text[], text[], text, uuid, uuid) TO carillon_dispatcher;

GRANT CREATE ON SCHEMA carillon TO carillon_intake;
ALTER FUNCTION carillon.cancel_delivery(integer, uuid) OWNER TO carillon_intake;
REVOKE CREATE ON SCHEMA carillon FROM carillon_intake;
GRANT EXECUTE ON FUNCTION carillon.cancel_delivery(integer, uuid) TO carillon_api;
