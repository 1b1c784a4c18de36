-- Providers report through the API, workers see refusals themselves; both write by these functions alone.
ALTER TABLE carillon.conversations ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_tenants ON carillon.conversations
    TO carillon_dispatcher, carillon_email_worker, carillon_whatsapp_worker, carillon_intake
    USING (true) WITH CHECK (true);

GRANT SELECT ON carillon.conversations TO carillon_email_worker, carillon_whatsapp_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON carillon.conversations, carillon.suppressions TO carillon_intake;
GRANT SELECT ON carillon.corrections TO carillon_intake;
GRANT SELECT, DELETE ON carillon.conversations TO carillon_dispatcher;
GRANT DELETE ON carillon.suppressions TO carillon_dispatcher;

REVOKE EXECUTE ON FUNCTION
    carillon.masked_address(text),
    carillon.suppress_recipients(integer[], uuid[], text[], text[], text[], double precision[]),
    carillon.note_whatsapp_replies(integer[], text[], timestamptz[], text[], double precision) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION carillon.masked_address(text) TO carillon_api, carillon_intake;
GRANT CREATE ON SCHEMA carillon TO carillon_intake;
ALTER FUNCTION carillon.suppress_recipients(integer[], uuid[], text[], text[], text[], double precision[])
    OWNER TO carillon_intake;
ALTER FUNCTION carillon.note_whatsapp_replies(integer[], text[], timestamptz[], text[], double precision)
    OWNER TO carillon_intake;
REVOKE CREATE ON SCHEMA carillon FROM carillon_intake;
GRANT EXECUTE ON FUNCTION
    carillon.suppress_recipients(integer[], uuid[], text[], text[], text[], double precision[])
    TO carillon_api, carillon_email_worker, carillon_whatsapp_worker;
GRANT EXECUTE ON FUNCTION
    carillon.note_whatsapp_replies(integer[], text[], timestamptz[], text[], double precision) TO carillon_api;
