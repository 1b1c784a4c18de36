-- The dispatcher wakes what was snoozed.
GRANT UPDATE (seq, unread, unseen) ON carillon.feeds TO carillon_dispatcher;
GRANT UPDATE (seq, attention_seq, snoozed_until, archived_at, read_at, seen_at) ON carillon.feed_items
    TO carillon_dispatcher;
REVOKE EXECUTE ON FUNCTION carillon.wake_snoozed(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION carillon.wake_snoozed(integer) TO carillon_dispatcher;
