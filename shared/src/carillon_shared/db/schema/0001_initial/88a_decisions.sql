-- What the rules say: of everybody an event is for, over every channel.

-- What the rules say about everyone with lo < number <= hi whom an audience names, on each of the channels.
CREATE FUNCTION carillon.decide(
    tenant integer, event_type text, category text, channels carillon.channel[], audience jsonb, actor bigint,
    excluded bigint[], mandatory boolean, about text[], defaults jsonb, disabled carillon.channel[], quiet_rule text,
    zone text, lo bigint, hi bigint)
RETURNS TABLE (subscriber bigint, channel carillon.channel, reason carillon.reason, quiet_until timestamptz)
LANGUAGE sql STABLE AS $$
    WITH people AS MATERIALIZED (
        SELECT s.number, s.registered, s.email, s.phone, p.document, x.suppressed,
               CASE WHEN quiet_rule <> 'pass' THEN p.quiet END AS quiet, coalesce(p.quiet_zone, s.time_zone, zone) AS zone
        FROM carillon.audience_numbers(tenant, audience, lo, hi) AS a
        JOIN carillon.subscribers s
          ON s.tenant_id = tenant AND s.number = a.number AND s.number > lo AND s.number <= hi
        LEFT JOIN carillon.preferences p
          ON p.tenant_id = tenant AND p.subscriber = a.number AND p.subscriber > lo AND p.subscriber <= hi
        CROSS JOIN LATERAL carillon.suppressions_of(tenant, s.number, s.email, s.phone) AS x
    ), clocks AS MATERIALIZED (
        -- What the clock on the wall says, once for each zone: that alone tells who is left in peace now.
        SELECT jsonb_object_agg(z.zone, carillon.week_minute(z.zone, now())) AS minutes
        FROM (SELECT DISTINCT n.zone FROM people n WHERE n.quiet IS NOT NULL) AS z
    )
    SELECT s.number, c.channel,
           coalesce(
               carillon.skip_reason(
                   s.number = actor, s.number = ANY (excluded), s.registered, c.channel = ANY (disabled),
                   carillon.has_address(c.channel, s.email, s.phone),
                   coalesce(c.channel = ANY (s.suppressed), false), mandatory, carillon.mutes(s.document, about),
                   carillon.wants(s.document, defaults, event_type, category, c.channel)),
               CASE WHEN q.until IS NOT NULL AND quiet_rule = 'skip' AND c.channel <> 'inapp'
                    THEN 'quiet_hours'::carillon.reason END),
           CASE WHEN c.channel <> 'inapp' THEN q.until END
    FROM people s
    CROSS JOIN clocks k
    -- Until when, once for each person.
    CROSS JOIN LATERAL (
        SELECT CASE WHEN s.quiet @> (k.minutes->>s.zone)::integer
                    THEN carillon.quiet_until(s.quiet, s.zone, now()) END AS until
        OFFSET 0) AS q
    CROSS JOIN unnest(channels) AS c(channel)
$$;

-- Events with all that planning needs to know about them, looked up once each. `gathered` are the channels on which the
-- type's digest gathers, `cap` is the frequency cap that counts them: neither for what is urgent, no cap for what is mandatory.
CREATE FUNCTION carillon.plan_targets(event_ids uuid[], lowest uuid, highest uuid)
RETURNS TABLE (
    event_id uuid, tenant_id integer, prefix text, type text, category text, lane carillon.lane,
    channels carillon.channel[], audience jsonb, actor bigint, excluded bigint[], mandatory boolean, about text[],
    defaults jsonb, disabled carillon.channel[], quiet_rule text, zone text, throttle jsonb, throttled carillon.channel[],
    expires_at timestamptz, cap jsonb, cap_scope text, gathered carillon.channel[], digest_key text, window_seconds integer,
    max_seconds integer, first_at_once boolean, conditions jsonb, stops boolean)
LANGUAGE sql STABLE AS $$
    SELECT e.id, e.tenant_id, carillon.delivery_prefix(e.id), e.type, e.category, e.lane, e.channels, e.audience,
           (SELECT s.number FROM carillon.subscribers s WHERE s.tenant_id = e.tenant_id AND s.id = e.actor),
           ARRAY(SELECT s.number FROM carillon.texts_of(e.audience->'exclude') AS x(id)
                 JOIN carillon.subscribers s ON s.tenant_id = e.tenant_id AND s.id = x.id),
           coalesce(y.mandatory, false), ARRAY(SELECT carillon.topics_about(e.tenant_id, e.audience)), t.preferences,
           t.disabled_channels || carillon.switched_off(),
           carillon.quiet_rule(y.quiet_hours, e.lane),
           t.default_time_zone, throttle.rule,
           ARRAY(SELECT c::carillon.channel FROM carillon.texts_of(throttle.rule->'channels') AS c),
           e.expires_at,
           CASE WHEN e.lane <> 'critical' AND NOT coalesce(y.mandatory, false) AND coalesce(y.frequency_cap, true)
                THEN cap.rule END, cap.scope,
           ARRAY(SELECT c::carillon.channel FROM carillon.texts_of(digest.rule->'channels') AS c),
           'type:' || e.type || ':'
               || CASE WHEN digest.rule->'key' <> '[]'
                       THEN coalesce(left(e.data #>> ARRAY(SELECT carillon.texts_of(digest.rule->'key')), 200), '')
                       ELSE '' END,
           (digest.rule->>'seconds')::integer,
           CASE digest.rule->>'window' WHEN 'sliding' THEN (digest.rule->>'max_seconds')::integer END,
           coalesce((digest.rule->>'first_at_once')::boolean, false),
           nullif(y.conditions, 'null'::jsonb), coalesce(y.stop_on_first_success, false)
    FROM carillon.events e
    JOIN carillon.tenants t ON t.id = e.tenant_id
    LEFT JOIN carillon.event_types y ON y.tenant_id = e.tenant_id AND y.name = e.type
    -- Slots that intake took are not taken again.
    CROSS JOIN LATERAL (SELECT CASE WHEN NOT e.slots_taken THEN nullif(y.throttle, 'null'::jsonb) END) AS throttle(rule)
    CROSS JOIN LATERAL (SELECT CASE WHEN e.lane <> 'critical' THEN nullif(y.digest, 'null'::jsonb) END) AS digest(rule)
    CROSS JOIN LATERAL carillon.cap_of(t.frequency_caps, e.category) AS cap
    WHERE e.id = ANY (event_ids) AND e.id BETWEEN lowest AND highest
$$;
