-- The API pauses and resumes, workers obey, dispatchers measure.
GRANT SELECT, INSERT, DELETE ON carillon.channel_pauses TO carillon_api;
GRANT SELECT ON carillon.queue_measurements TO carillon_api;
GRANT SELECT ON carillon.channel_pauses
    TO carillon_dispatcher, carillon_email_worker, carillon_whatsapp_worker, carillon_inapp_worker;
GRANT SELECT, INSERT, UPDATE ON carillon.queue_measurements TO carillon_dispatcher;

REVOKE EXECUTE ON FUNCTION
    carillon.oldest_seconds(carillon.queue_measurements),
    carillon.measure_queues(text[], integer[], integer[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION carillon.oldest_seconds(carillon.queue_measurements) TO carillon_api, carillon_dispatcher;
GRANT EXECUTE ON FUNCTION carillon.measure_queues(text[], integer[], integer[]) TO carillon_dispatcher;
