-- The API keeps the tree; whoever finds an audience or asks for mutes reads it.
ALTER TABLE carillon.topic_parents ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON carillon.topic_parents TO carillon_api
    USING (tenant_id = carillon.current_tenant()) WITH CHECK (tenant_id = carillon.current_tenant());
CREATE POLICY all_tenants ON carillon.topic_parents
    TO carillon_dispatcher, carillon_email_worker, carillon_whatsapp_worker, carillon_inapp_worker, carillon_intake
    USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON carillon.topic_parents TO carillon_api;
GRANT SELECT ON carillon.topic_parents
    TO carillon_dispatcher, carillon_email_worker, carillon_whatsapp_worker, carillon_inapp_worker, carillon_intake;
GRANT EXECUTE ON FUNCTION carillon.topics_about(integer, jsonb)
    TO carillon_api, carillon_email_worker, carillon_whatsapp_worker, carillon_inapp_worker, carillon_intake;
GRANT EXECUTE ON FUNCTION carillon.texts_of(jsonb)
    TO carillon_api, carillon_email_worker, carillon_whatsapp_worker, carillon_inapp_worker;
REVOKE EXECUTE ON FUNCTION carillon.choice_origin(jsonb, jsonb, text, text, carillon.channel) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION carillon.choice_origin(jsonb, jsonb, text, text, carillon.channel) TO carillon_api;
