-- Who plans or releases asks for conditions; who sends a digest asks for those of its items. Seen in the feed is all they
-- may know of it.
REVOKE EXECUTE ON FUNCTION carillon.is_seen_in_feed(integer, bigint, uuid),
    carillon.channels_before(carillon.channel[], carillon.channel, boolean),
    carillon.condition_now(
        jsonb, boolean, integer, uuid, carillon.channel[], bigint, carillon.channel, timestamptz),
    carillon.insert_conditional(uuid[], uuid, uuid, bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION carillon.is_seen_in_feed(integer, bigint, uuid),
    carillon.channels_before(carillon.channel[], carillon.channel, boolean),
    carillon.condition_now(
        jsonb, boolean, integer, uuid, carillon.channel[], bigint, carillon.channel, timestamptz)
    TO carillon_dispatcher, carillon_email_worker, carillon_whatsapp_worker;
GRANT EXECUTE ON FUNCTION carillon.insert_conditional(uuid[], uuid, uuid, bigint, bigint) TO carillon_dispatcher;
GRANT SELECT (seen_at) ON carillon.feed_items TO carillon_email_worker, carillon_whatsapp_worker;
GRANT SELECT (seen_all_seq) ON carillon.feeds TO carillon_email_worker, carillon_whatsapp_worker;
