"""Every place where a fault test may kill a process."""

from enum import StrEnum


class CrashPoint(StrEnum):
    """A named moment between two effects, where a crash must lose and double nothing."""

    API_AFTER_COMMIT = "api.after_commit"
    API_AFTER_PUBLISH = "api.after_publish"
    RELAY_AFTER_CLAIM = "relay.after_claim"
    RELAY_AFTER_PUBLISH = "relay.after_publish"
    DISPATCHER_AFTER_PLAN = "dispatcher.after_plan"
    DISPATCHER_AFTER_PUBLISH = "dispatcher.after_publish"
    DISPATCHER_MID_RANGE = "dispatcher.mid_range"
    RESCUE_AFTER_COMMIT = "rescue.after_commit"
    OPERATION_AFTER_COMMIT = "operation.after_commit"
    OUTCOMES_AFTER_PUBLISH = "outcomes.after_publish"
    WORKER_AFTER_LEASE = "worker.after_lease"
    WORKER_AFTER_PROVIDER_REPLY = "worker.after_provider_reply"
    WORKER_AFTER_SETTLE = "worker.after_settle"
    WORKER_AFTER_RETRY_PUBLISH = "worker.after_retry_publish"
    INAPP_MID_FEED_WRITE = "inapp.mid_feed_write"
    RETENTION_AFTER_EMPTY = "retention.after_empty"
    RETENTION_BEFORE_DROP = "retention.before_drop"
