-- A channel that operators have paused has a row here, for the whole platform: providers are shared by all tenants.
CREATE TABLE carillon.channel_pauses (
    channel    carillon.channel PRIMARY KEY,
    paused_at  timestamptz NOT NULL DEFAULT now(),
    paused_by  text NOT NULL,
    reason     text NOT NULL
);

-- What the queues held when a dispatcher last looked. `empty_at`: when one last saw the queue empty.
CREATE TABLE carillon.queue_measurements (
    queue        text PRIMARY KEY,
    ready        integer NOT NULL CHECK (ready >= 0),
    consumers    integer NOT NULL CHECK (consumers >= 0),
    empty_at     timestamptz NOT NULL,
    measured_at  timestamptz NOT NULL
);

-- The seconds that the oldest message of a queue can have waited at most: it came after the newest that a consumer has
-- received, and after the queue was last seen empty.
CREATE FUNCTION carillon.oldest_seconds(measured carillon.queue_measurements) RETURNS double precision
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN measured.ready > 0 THEN greatest(0, extract(epoch FROM now() - greatest(measured.empty_at, (
        SELECT max(w.newest_published_at) FROM carillon.queue_watermarks w WHERE w.queue = measured.queue))))
        ELSE 0 END::double precision
$$;

-- Write down what a dispatcher has measured. Answers with the age of the oldest message of each queue.
CREATE FUNCTION carillon.measure_queues(queues text[], readies integer[], consumer_counts integer[])
RETURNS TABLE (queue text, oldest_seconds double precision)
LANGUAGE sql AS $$
    INSERT INTO carillon.queue_measurements AS m (queue, ready, consumers, empty_at, measured_at)
    SELECT q.name, q.ready, q.consumers, now(), now()
    FROM unnest(queues, readies, consumer_counts) AS q(name, ready, consumers)
    ORDER BY q.name
    ON CONFLICT (queue) DO UPDATE
    SET ready = excluded.ready, consumers = excluded.consumers, measured_at = excluded.measured_at,
        empty_at = CASE WHEN excluded.ready = 0 THEN excluded.measured_at ELSE m.empty_at END
    RETURNING m.queue, carillon.oldest_seconds(m)
$$;
