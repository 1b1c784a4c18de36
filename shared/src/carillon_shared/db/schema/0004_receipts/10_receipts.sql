-- What providers say later about what they accepted, as they say it.
--
-- The order of the states is their rank. It is that of the truth: `failed` after `sent` is news, and whatever was
-- delivered did not fail. So the highest receipt of a message counts, in whatever order they come.
CREATE TYPE carillon.receipt_state AS ENUM ('sent', 'failed', 'delivered', 'read');

CREATE TABLE carillon.receipts (
    delivery_id  uuid NOT NULL,
    message_id   text NOT NULL,                           -- the provider's own reference; a retry has another
    state        carillon.receipt_state NOT NULL,
    tenant_id    integer NOT NULL,
    channel      carillon.channel NOT NULL,
    provider     text NOT NULL,
    at           timestamptz,                             -- by the provider's clock
    received_at  timestamptz NOT NULL DEFAULT now(),
    reason       carillon.reason,                         -- of a failure for good; null: of one that passes
    code         text,
    error        text,
    -- A failure that came while its delivery was being sent; it is acted on when that has an end.
    pending      boolean NOT NULL DEFAULT false,
    PRIMARY KEY (delivery_id, message_id, state),
    CHECK (state = 'failed' OR (reason IS NULL AND code IS NULL AND NOT pending))
) PARTITION BY RANGE (delivery_id);
CREATE INDEX receipts_pending ON carillon.receipts (delivery_id) WHERE pending;

-- A receipt that does not carry our own reference is found by the phone it is about.
CREATE INDEX subscribers_by_phone ON carillon.subscribers (phone) WHERE phone IS NOT NULL;

-- Partitions for all deliveries there are.
SELECT carillon.ensure_partitions(oldest.day, (now() AT TIME ZONE 'UTC')::date - oldest.day + 10)
FROM (SELECT min(to_date(right(c.relname, 8), 'YYYYMMDD')) AS day
      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
      WHERE i.inhparent = 'carillon.deliveries'::regclass) AS oldest;
