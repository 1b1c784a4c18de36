-- Whoever writes preferences computes their compiled form; whoever decides, asks for it.
GRANT EXECUTE ON FUNCTION carillon.quiet_minutes(jsonb), carillon.quiet_rule(text, carillon.lane),
    carillon.quiet_until(int4multirange, text, timestamptz)
    TO carillon_api, carillon_dispatcher, carillon_email_worker, carillon_whatsapp_worker, carillon_inapp_worker,
       carillon_intake;


-- The release of holds asks whether a person has read the event in the feed.
GRANT EXECUTE ON FUNCTION carillon.is_read_in_feed(integer, bigint, uuid) TO carillon_dispatcher;
