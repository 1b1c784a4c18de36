-- Workers note, the dispatcher acts; operators of the whole platform see poison.
GRANT SELECT, INSERT, DELETE, UPDATE ON carillon.moved_dead_letters TO carillon_dispatcher;
GRANT SELECT, DELETE ON carillon.poison_messages TO carillon_api;

REVOKE EXECUTE ON FUNCTION carillon.note_moved(uuid[], smallint[], text), carillon.take_moved(integer),
    carillon.owe_again(uuid[], uuid, uuid, smallint, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION carillon.note_moved(uuid[], smallint[], text), carillon.take_moved(integer),
    carillon.owe_again(uuid[], uuid, uuid, smallint, text) TO carillon_dispatcher;
DO $$
DECLARE
    worker text;
BEGIN
    FOREACH worker IN ARRAY ARRAY['carillon_email_worker', 'carillon_whatsapp_worker', 'carillon_inapp_worker'] LOOP
        EXECUTE format('GRANT SELECT, INSERT ON carillon.moved_dead_letters TO %I', worker);
        EXECUTE format('GRANT EXECUTE ON FUNCTION carillon.note_moved(uuid[], smallint[], text) TO %I', worker);
    END LOOP;
END $$;
