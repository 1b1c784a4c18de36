"""Every state of an event and of a delivery, and why one is held. The database holds the same lists."""

from enum import StrEnum


class EventStatus(StrEnum):
    """Where an event is on its way. Final: completed, cancelled, rejected, expired."""

    PENDING_APPROVAL = "pending_approval"  # waits for an operator
    SCHEDULED = "scheduled"  # waits for its `deliver_at`
    ACCEPTED = "accepted"  # committed; the broker may not have it yet
    DISPATCHING = "dispatching"  # its audience is being planned
    DISPATCHED = "dispatched"  # every delivery of its audience has a row
    COMPLETED = "completed"  # every delivery is final or dead
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"


class DeliveryStatus(StrEnum):
    """Where one delivery is. `dead` waits for a person and counts as settled."""

    HELD = "held"  # due later, see HoldReason
    QUEUED = "queued"  # published to its lane, or about to be
    SENDING = "sending"  # leased by a worker
    RETRYING = "retrying"  # failed, tried again at `next_attempt_at`
    UNKNOWN = "unknown"  # the provider call ended without a known outcome
    SENT = "sent"  # the provider accepted it
    DELIVERED = "delivered"  # by receipt, or by the feed
    READ = "read"  # by receipt
    SKIPPED = "skipped"  # decided not to send
    FAILED = "failed"  # this recipient cannot be reached
    DEAD = "dead"  # exhausted or rejected; waits for an operator
    DISCARDED = "discarded"  # given up by an operator or by retention
    CANCELLED = "cancelled"
    EXPIRED = "expired"


FINAL_STATUSES = frozenset(
    {
        DeliveryStatus.SENT,
        DeliveryStatus.DELIVERED,
        DeliveryStatus.READ,
        DeliveryStatus.SKIPPED,
        DeliveryStatus.FAILED,
        DeliveryStatus.DISCARDED,
        DeliveryStatus.CANCELLED,
        DeliveryStatus.EXPIRED,
    }
)
"""States that end a delivery's life, unless a receipt raises `sent`."""

RESTING_STATUSES = FINAL_STATUSES | {DeliveryStatus.DEAD}
"""States in which nothing more happens by itself (promise P2)."""


class ReceiptState(StrEnum):
    """What a provider says later about a message. Each beats those before it, in whatever order they come."""

    SENT = "sent"
    FAILED = "failed"  # after it was accepted
    DELIVERED = "delivered"
    READ = "read"


class HoldReason(StrEnum):
    """Why a delivery waits. Waiting is not failing: a hold is no attempt."""

    QUIET_HOURS = "quiet_hours"
    DIGEST = "digest"
    THROTTLED = "throttled"
    SCHEDULED = "scheduled"
    CONDITION = "condition"


class Reason(StrEnum):
    """Why nothing was sent, or why sending ended. A closed set, documented in docs/glossary.md."""

    ACTOR = "actor"  # the subscriber did it themselves
    EXCLUDED = "excluded"
    OPTED_OUT = "opted_out"
    CHANNEL_DISABLED = "channel_disabled"
    NO_ADDRESS = "no_address"
    SUPPRESSED = "suppressed"
    MUTED = "muted"
    DUPLICATE = "duplicate"
    QUIET_HOURS = "quiet_hours"  # its type is not sent in quiet hours, not even later
    THROTTLED = "throttled"
    FREQUENCY_CAP = "frequency_cap"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    ALREADY_READ = "already_read"
    EMPTY_DIGEST = "empty_digest"  # none of its members is to be sent any more
    CONDITION_NOT_MET = "condition_not_met"
    UNKNOWN_SUBSCRIBER = "unknown_subscriber"
    INVALID_ADDRESS = "invalid_address"
    PROVIDER_REJECTED = "provider_rejected"
    TEMPLATE_MISSING = "template_missing"
    TEMPLATE_ERROR = "template_error"
    RETRIES_EXHAUSTED = "retries_exhausted"
    OUTCOME_UNKNOWN = "outcome_unknown"
    POISON = "poison"
    DISCARDED = "discarded"
    RETENTION = "retention"
