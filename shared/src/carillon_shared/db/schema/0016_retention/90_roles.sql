-- The dispatcher carries retention out, step by step; what needs an owner is done by the functions.
REVOKE EXECUTE ON FUNCTION carillon.uuid_moment(uuid), carillon.partitions(), carillon.kept_days(text, jsonb),
    carillon.outdated_partitions(jsonb), carillon.end_outdated_events(uuid, uuid, integer),
    carillon.end_outdated(uuid[], uuid, uuid), carillon.end_outdated_page(uuid, uuid, carillon.channel, integer),
    carillon.discard_outdated(integer, integer), carillon.empty_feeds(text, integer, integer, bigint, integer),
    carillon.drop_partition(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION carillon.uuid_moment(uuid), carillon.partitions(), carillon.kept_days(text, jsonb),
    carillon.outdated_partitions(jsonb), carillon.end_outdated_events(uuid, uuid, integer),
    carillon.end_outdated(uuid[], uuid, uuid), carillon.end_outdated_page(uuid, uuid, carillon.channel, integer),
    carillon.discard_outdated(integer, integer), carillon.empty_feeds(text, integer, integer, bigint, integer),
    carillon.drop_partition(text, integer) TO carillon_dispatcher;
