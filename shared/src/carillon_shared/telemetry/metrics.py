"""Every metric of every service, each defined here and nowhere else.

Label values come from small closed sets (channels, lanes, queue names of the topology, outcomes), never from
tenants, users or texts. Those closed here start at zero, so that a rate is right from the first scrape; sets
that belong to other packages are started by the service that owns them, with `start_at_zero`.
"""

from collections.abc import Iterable
from itertools import product

from prometheus_client import Counter, Gauge, Histogram

_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_CALL = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0)
_JOURNEY = (
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    1800.0,
    3600.0,
    86400.0,
)
_SIZE = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

# Intake
INTAKE_EVENTS = Counter("carillon_intake_events_total", "Events that reached intake.", ["result"])
INTAKE_FLUSH_SIZE = Histogram("carillon_intake_flush_size", "Events of one group commit.", buckets=_SIZE)
INTAKE_FLUSH_SECONDS = Histogram(
    "carillon_intake_flush_seconds", "Duration of one group commit.", buckets=_FAST
)
SCHEDULE_TICKS = Counter("carillon_schedule_ticks_total", "Ticks of schedules.", ["result"])

# The process
LOOP_LAG_SECONDS = Histogram(
    "carillon_loop_lag_seconds", "By how much a timer of the event loop was late.", buckets=_FAST
)
CLOCK_SKEW = Gauge(
    "carillon_clock_skew_seconds", "By how much this machine's clock is ahead of the database's."
)
DATABASE_CONNECTIONS = Gauge(
    "carillon_database_connections", "Connections of this process's pool to the database.", ["state"]
)
DATABASE_SECONDS = Histogram("carillon_database_seconds", "Duration of one statement.", buckets=_FAST)
DATABASE_FAILURES = Counter(
    "carillon_database_failures_total", "Statements that failed, by what ended them.", ["kind"]
)

# Requests; the route is its template, such as /v1/events/{event}
HTTP_REQUESTS = Counter("carillon_http_requests_total", "Requests answered.", ["route", "method", "status"])
HTTP_SECONDS = Histogram("carillon_http_seconds", "Duration of one request.", ["route"], buckets=_FAST)

# Receipts
RECEIPTS = Counter("carillon_receipts_total", "What providers reported later.", ["channel", "result"])

# Broker
BROKER_CONNECTED = Gauge("carillon_broker_connected", "1 while this connection is up.", ["purpose"])
BROKER_BLOCKED = Gauge(
    "carillon_broker_blocked", "1 while the broker refuses publishes for lack of memory or disk.", ["purpose"]
)
BROKER_CONNECTS = Counter("carillon_broker_connects_total", "Connections made.", ["purpose"])
PUBLISHED = Counter("carillon_publish_messages_total", "Publishes by how they ended.", ["result"])
PUBLISH_SECONDS = Histogram(
    "carillon_publish_seconds", "From handing over a slice of messages to its last confirm.", buckets=_FAST
)

# Consumers
CONSUMER_MESSAGES = Counter("carillon_consumer_messages_total", "Messages received.", ["queue"])
CONSUMER_REDELIVERED = Counter(
    "carillon_consumer_redelivered_total", "Messages received again after a consumer was lost.", ["queue"]
)
CONSUMER_SETTLED = Counter(
    "carillon_consumer_settled_total", "Messages given back to the broker.", ["queue", "settlement"]
)
CONSUMER_LATE_SETTLES = Counter(
    "carillon_consumer_late_settles_total",
    "Settlements for a channel that was gone.",
    ["queue"],
)
CONSUMER_BATCH_SIZE = Histogram(
    "carillon_consumer_batch_size", "Messages handled together.", ["queue"], buckets=_SIZE
)
CONSUMER_HANDLER_SECONDS = Histogram(
    "carillon_consumer_handler_seconds", "Duration of one handler call.", ["queue"], buckets=_FAST
)
CONSUMER_FAILURES = Counter(
    "carillon_consumer_failures_total", "Handler calls that raised.", ["queue", "kind"]
)

# Relay and rescue, as a dispatcher measures them
RELAY_LAG = Gauge(
    "carillon_relay_lag_seconds",
    "Time for which the event that is owed to the broker longest has been owed; 0 when none is.",
    ["lane"],
)
DUE_LAG = Gauge(
    "carillon_due_lag_seconds",
    "Time for which the hold, retry or unknown outcome that is due longest has been due; 0 when none is.",
)
FANOUT_RANGES_OPEN = Gauge(
    "carillon_fanout_ranges_open", "Ranges of large audiences that are not published yet.", ["lane"]
)
FANOUT_STILL = Gauge(
    "carillon_fanout_still_seconds",
    "Time for which the fan-out that moved least recently has not moved; 0 when none is open.",
    ["lane"],
)
RELAYED = Counter("carillon_relay_events_total", "Owed events published by the relay.")
RESCUED = Counter("carillon_rescues_total", "What was lost on its way and started again.", ["what"])
SWEEP_FAILURES = Counter("carillon_sweep_failures_total", "Rounds of a sweep that failed.", ["sweep"])

# Retention
PARTITIONS_DROPPED = Counter(
    "carillon_retention_partitions_dropped_total", "Partitions that have had their time.", ["what"]
)
RETENTION_ENDED = Counter(
    "carillon_retention_ended_total", "What was still open when its time was over, and was ended.", ["what"]
)
RETENTION_WAITING = Gauge(
    "carillon_retention_partitions_waiting", "Partitions that have had their time and are still here."
)

# Dead letters, as a dispatcher counts them
DEAD_LETTERS_WAITING = Gauge(
    "carillon_dead_letters_waiting", "Dead letters that wait for a person.", ["channel"]
)
DEAD_LETTERS_OLDEST = Gauge(
    "carillon_dead_letters_oldest_seconds",
    "Time for which the oldest dead letter has waited; 0 when there is none.",
    ["channel"],
)

# Operators
OPERATED = Counter(
    "carillon_operated_dead_letters_total", "Dead letters that operations looked at.", ["kind", "result"]
)
DEAD_COPIES_REMOVED = Counter(
    "carillon_dead_copies_removed_total", "Messages that the dead queues no longer need.", ["channel"]
)

# Planning
PLANNED_DELIVERIES = Counter(
    "carillon_planned_deliveries_total", "Delivery rows written by planning.", ["channel", "status"]
)
PLANNED_SURPLUS = Counter(
    "carillon_planned_surplus_total",
    "Deliveries that go by a lower lane, because their tenant has its share in its own.",
    ["channel", "lane"],
)

# Delivery
ATTEMPTS = Counter("carillon_attempts_total", "Attempts by what they ended in.", ["channel", "outcome"])
PROVIDER_SECONDS = Histogram(
    "carillon_provider_seconds", "Duration of one call to a provider.", ["channel", "provider"], buckets=_CALL
)
PROVIDER_BREAKER = Gauge(
    "carillon_provider_breaker", "1 for the state that the breaker is in.", ["channel", "provider", "state"]
)
PROVIDER_FAILURES = Counter(
    "carillon_provider_failures_total",
    "Failures that are the provider's, for everybody: what its breaker counts.",
    ["channel", "provider"],
)
PROVIDER_THROTTLED = Counter(
    "carillon_provider_throttled_total",
    "Answers by which a provider asked for fewer calls.",
    ["channel", "provider"],
)
CHANNEL_PAUSED = Gauge("carillon_channel_paused", "1 while operators have paused the channel.", ["channel"])
CONSUMPTION_STOPPED = Gauge(
    "carillon_consumption_stopped", "1 while a worker takes no new messages of its channel.", ["channel"]
)
RETRIES = Counter("carillon_retries_total", "Retries put on a tier of the ladder.", ["channel", "tier"])
DEAD_LETTERS = Counter(
    "carillon_dead_letters_total", "Deliveries that wait for a person.", ["channel", "reason"]
)
UNKNOWN_OUTCOMES = Counter(
    "carillon_unknown_outcomes_total", "Provider calls that ended without an answer.", ["channel"]
)
OUTCOMES = Counter(
    "carillon_outcomes_total", "Deliveries whose state was told to product services.", ["channel", "state"]
)
WEBHOOKS = Counter("carillon_webhook_posts_total", "Posts to endpoints of tenants.", ["result"])
LEASES_EXPIRED = Counter("carillon_leases_expired_total", "Deliveries whose worker vanished.", ["channel"])
EVENT_TO_SETTLE_SECONDS = Histogram(
    "carillon_event_to_settle_seconds",
    "From the event's acceptance to the state its delivery came to rest in.",
    ["channel", "lane"],
    buckets=_JOURNEY,
)

EVENT_TO_INBOX_SECONDS = Histogram(
    "carillon_event_to_inbox_seconds",
    "From the event's acceptance to its item in a feed; events with a `deliver_at` are left out.",
    ["lane"],
    buckets=_JOURNEY,
)
EVENT_TO_STREAM_SECONDS = Histogram(
    "carillon_event_to_stream_seconds",
    "From the event's acceptance to its frame on the open streams of here, once for each live message.",
    buckets=_JOURNEY,
)

# Queues, as a dispatcher measures them
QUEUE_MESSAGES = Gauge("carillon_queue_messages", "Messages that wait in the queue.", ["queue"])
QUEUE_CONSUMERS = Gauge("carillon_queue_consumers", "Consumers of the queue.", ["queue"])
QUEUE_OLDEST_SECONDS = Gauge(
    "carillon_queue_oldest_seconds",
    "Most that the oldest message can have waited; 0 when none does.",
    ["queue"],
)

# Feed and streams
FEED_WRITES = Counter("carillon_feed_items_total", "Items written to feeds.")
STREAMS_OPEN = Gauge("carillon_streams_open", "Open SSE streams.")
FRAMES_SENT = Counter("carillon_stream_frames_total", "Frames written to SSE streams.", ["event"])

INTAKE_RESULTS = ("accepted", "duplicate", "rejected")
PUBLISH_RESULTS = ("confirmed", "returned", "refused", "unconfirmed", "not_connected")
RECEIPT_RESULTS = ("raised", "kept", "repeated", "unmatched")
PURPOSES = ("publish", "consume")
FRAME_EVENTS = ("notification", "update", "signal", "slow_close")
OPERATIONS = ("replay", "discard", "reconcile")
OPERATED_RESULTS = ("done", "skipped")
ATTEMPT_OUTCOMES = ("sent", "retry", "undeliverable", "rejected", "unknown", "hold")
DEAD_REASONS = (
    "provider_rejected",
    "template_missing",
    "template_error",
    "retries_exhausted",
    "outcome_unknown",
    "poison",
)
SETTLEMENTS = ("ack", "requeue", "dead_letter")
CONSUMER_FAILURE_KINDS = ("transient", "bug")
CONNECTION_STATES = ("busy", "idle")
DATABASE_FAILURE_KINDS = ("timeout", "refused", "link")
PLANNED_STATUSES = ("queued", "held", "skipped")
TOLD_STATES = (
    "sent",
    "delivered",
    "read",
    "failed",
    "dead",
    "expired",
    "cancelled",
    "discarded",
    "skipped",
    "unknown",
)
TICK_RESULTS = ("fired", "refused", "missed")
WEBHOOK_RESULTS = ("delivered", "failed")
RESCUES = ("event", "range", "queued", "retrying", "unknown", "hold")


def start_at_zero(metric: Counter | Gauge | Histogram, **values: Iterable[str]) -> None:
    """Create every combination of these label values, so that each is exported before it first happens.

    Example: `start_at_zero(UNKNOWN_OUTCOMES, channel=Channel)`.
    """
    names = list(values)
    for combination in product(*values.values()):
        metric.labels(**dict(zip(names, map(str, combination), strict=True)))


start_at_zero(INTAKE_EVENTS, result=INTAKE_RESULTS)
start_at_zero(RECEIPTS, channel=("whatsapp",), result=RECEIPT_RESULTS)
start_at_zero(BROKER_CONNECTED, purpose=PURPOSES)
start_at_zero(BROKER_BLOCKED, purpose=PURPOSES)
start_at_zero(BROKER_CONNECTS, purpose=PURPOSES)
start_at_zero(PUBLISHED, result=PUBLISH_RESULTS)
start_at_zero(DATABASE_CONNECTIONS, state=CONNECTION_STATES)
start_at_zero(DATABASE_FAILURES, kind=DATABASE_FAILURE_KINDS)
start_at_zero(FRAMES_SENT, event=FRAME_EVENTS)
start_at_zero(RESCUED, what=RESCUES)
start_at_zero(SCHEDULE_TICKS, result=TICK_RESULTS)
start_at_zero(WEBHOOKS, result=WEBHOOK_RESULTS)
