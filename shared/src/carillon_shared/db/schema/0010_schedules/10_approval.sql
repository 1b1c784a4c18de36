-- Events that wait for an operator.
ALTER TABLE carillon.event_types ADD COLUMN approval boolean NOT NULL DEFAULT false;
CREATE INDEX events_pending ON carillon.events (id) WHERE status = 'pending_approval';

-- Approve or reject an event that waits for it. Answers with its status before and now; no row: there is no such event.
CREATE FUNCTION carillon.decide_approval(tenant integer, event uuid, approved boolean)
RETURNS TABLE (before carillon.event_status, after carillon.event_status)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found carillon.events;
    decided carillon.event_status;
BEGIN
    SELECT e.* INTO found FROM carillon.events e WHERE e.id = event AND e.tenant_id = tenant FOR UPDATE;
    IF found.id IS NULL THEN
        RETURN;
    END IF;
    decided := CASE
        WHEN found.status <> 'pending_approval' THEN found.status
        WHEN found.expires_at <= clock_timestamp() THEN 'expired'
        WHEN NOT approved THEN 'rejected'
        WHEN found.deliver_at > clock_timestamp() THEN 'scheduled'
        ELSE 'accepted' END;
    IF decided <> found.status THEN
        UPDATE carillon.events e
        SET status = decided,
            owed_at = CASE WHEN decided IN ('accepted', 'scheduled') THEN greatest(e.deliver_at, clock_timestamp()) END
        WHERE e.id = event;
    END IF;
    RETURN QUERY SELECT found.status, decided;
END $$;
