-- The dry run: an event is accepted and planned like any other, by the same functions, and all of it is taken back
-- before anybody can see it. So there is no second form of any rule, and what the dry run says is what would happen.
-- It costs what the real thing costs, for at most `most` people; of a larger audience the first ones are planned.
-- What stays behind are numbers of the subscribers' sequence, one for each id that nobody had named before.

-- The arrays are those of `accept_events`, with one event in them. `person`: plan for this one only; null: for all.
-- Answers with the event as it would be stored, how many people it is for, and the deliveries it would have.
CREATE FUNCTION carillon.rehearse(
    tenant integer, person text, most integer,
    tenant_ids integer[], sources text[], external_ids text[], body_hashes bytea[], types text[], categories text[],
    lanes text[], channel_lists text[], subjects text[], times timestamptz[], datas text[], audiences text[],
    inline_lists text[], actors text[], deliver_ats timestamptz[], expires_ats timestamptz[], traceparents text[],
    throttles text[], approvals boolean[], collapse_keys text[], on_conflicts text[])
RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    answer record;
    found jsonb;
BEGIN
    IF tenant_ids <> ARRAY[tenant] THEN
        RAISE EXCEPTION 'one event of one tenant, please' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    BEGIN
        SELECT a.* INTO answer FROM carillon.accept_events(
            tenant_ids, sources, external_ids, body_hashes, types, categories, lanes, channel_lists, subjects, times,
            datas, audiences, inline_lists, actors, deliver_ats, expires_ats, traceparents, throttles, approvals,
            collapse_keys, on_conflicts) AS a;
        found := jsonb_build_object('result', answer.result, 'event_id', answer.event_id);
        IF answer.result = 'accepted' THEN
            found := found || carillon.rehearse_planning(tenant, answer.event_id, person, most);
        END IF;
        RAISE EXCEPTION USING ERRCODE = 'CR001';
    EXCEPTION WHEN SQLSTATE 'CR001' THEN
        RETURN found;
    END;
END $$;

-- Plan an event that was accepted in this transaction, whatever it waits for, and answer with what came of it. Only for
-- `rehearse`, which takes it back.
CREATE FUNCTION carillon.rehearse_planning(tenant integer, event uuid, person text, most integer) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    e carillon.events;
    people bigint;
    first_number bigint := 0;
    last_number bigint;
    verdict text;
BEGIN
    SELECT v.* INTO e FROM carillon.events v WHERE v.id = event AND v.tenant_id = tenant;
    UPDATE carillon.events v SET status = 'dispatching', deliver_at = NULL, ranges = 1, owed_at = NULL WHERE v.id = event;
    PERFORM carillon.ensure_subscribers(ARRAY[event]);
    SELECT count(*), max(a.number) FILTER (WHERE a.place <= most) INTO people, last_number
    FROM (SELECT n.number, row_number() OVER (ORDER BY n.number) AS place
          FROM carillon.audience_numbers(tenant, e.audience, 0, 4294967295) AS n) AS a;
    IF person IS NOT NULL THEN
        SELECT s.number INTO last_number FROM carillon.subscribers s WHERE s.tenant_id = tenant AND s.id = person;
        first_number := last_number - 1;
    END IF;
    IF last_number IS NOT NULL THEN
        INSERT INTO carillon.fanout_ranges (event_id, n, lo, hi) VALUES (event, 0, first_number, last_number);
        verdict := carillon.plan_range(event, 0);
    END IF;
    RETURN jsonb_build_object(
        'status', e.status, 'people', people, 'expired', coalesce(verdict = 'expired', false),
        'rows', coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'subscriber', s.id, 'channel', d.channel, 'status', d.status, 'reason', d.reason,
                'hold_reason', d.hold_reason, 'due_at', d.next_attempt_at) ORDER BY d.id)
            FROM carillon.deliveries d
            JOIN carillon.subscribers s ON s.tenant_id = d.tenant_id AND s.number = d.subscriber
            WHERE d.event_id = event
              AND d.id BETWEEN carillon.delivery_id(carillon.delivery_prefix(event), 0, 'inapp')
                           AND carillon.delivery_id(carillon.delivery_prefix(event), 4294967295, 'whatsapp')), '[]'));
END $$;
