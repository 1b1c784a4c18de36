-- The API erases, for one tenant at a time; the owner's functions do what it has no rights for.
REVOKE EXECUTE ON FUNCTION carillon.erased_name(bigint), carillon.traces_of(integer, bigint), carillon.in_json(text),
    carillon.pattern_of(text), carillon.trace_pattern(text[], text[], boolean), carillon.without_person(text, text, text),
    carillon.only_own(integer), carillon.begin_erasure(integer, text), carillon.end_deliveries_of(integer, bigint, integer),
    carillon.erase_from_events(integer, bigint, uuid, integer, boolean),
    carillon.erase_from_items(integer, bigint, uuid, uuid, uuid, integer),
    carillon.end_erasure(integer, bigint, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION carillon.begin_erasure(integer, text), carillon.end_deliveries_of(integer, bigint, integer),
    carillon.erase_from_events(integer, bigint, uuid, integer, boolean),
    carillon.erase_from_items(integer, bigint, uuid, uuid, uuid, integer),
    carillon.end_erasure(integer, bigint, text, text) TO carillon_api;
