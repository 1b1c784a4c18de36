-- Only the intake looks at collapse keys, and the dispatcher clears them away.
ALTER TABLE carillon.collapse_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_tenants ON carillon.collapse_keys TO carillon_intake, carillon_dispatcher
    USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON carillon.collapse_keys TO carillon_intake;
GRANT SELECT, INSERT, DELETE ON carillon.collapse_events TO carillon_intake;
GRANT SELECT, DELETE ON carillon.collapse_keys, carillon.collapse_events TO carillon_dispatcher;
GRANT DELETE ON carillon.events TO carillon_intake;       -- of one that was stored and refused in one statement

REVOKE EXECUTE ON FUNCTION carillon.lock_collapse_keys(integer[], text[], text[]), carillon.open_collapsed(bigint),
    carillon.collapse_verdict(bigint, text), carillon.enter_collapsed(integer, bigint, uuid, text),
    carillon.clear_collapsed(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION carillon.lock_collapse_keys(integer[], text[], text[]), carillon.open_collapsed(bigint),
    carillon.collapse_verdict(bigint, text), carillon.enter_collapsed(integer, bigint, uuid, text) TO carillon_intake;
GRANT EXECUTE ON FUNCTION carillon.clear_collapsed(integer), carillon.count_unplanned(integer, uuid) TO carillon_dispatcher;

-- Who sends a digest asks whether a person has read its items: an item may speak of a later event by now.
GRANT SELECT (event_id) ON carillon.feed_items TO carillon_email_worker, carillon_whatsapp_worker;
