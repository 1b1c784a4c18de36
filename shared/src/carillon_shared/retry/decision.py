"""What an outcome means for a delivery."""

from dataclasses import dataclass

from carillon_shared.domain.outcomes import Hold, Outcome, Rejected, Retry, Sent, Undeliverable, Unknown
from carillon_shared.domain.states import DeliveryStatus, HoldReason, Reason
from carillon_shared.retry.policy import RetryPolicy, Uniform


@dataclass(frozen=True, slots=True)
class Decision:
    """The delivery's next state. `delay` in seconds belongs to `retrying` and `held`."""

    status: DeliveryStatus
    reason: Reason | None = None
    delay: float | None = None
    hold_reason: HoldReason | None = None


SENT = Decision(DeliveryStatus.SENT)
"""What follows a `Sent`."""

SPARED_SECONDS = 86_400.0
"""How long after its first attempt an outage of the provider is not held against a delivery."""


def decide(
    outcome: Outcome,
    *,
    policy: RetryPolicy,
    attempts: int,
    elapsed: float,
    uniform: Uniform,
    spared: bool = False,
) -> Decision:
    """Return what follows. `attempts` made since the last replay, `elapsed` seconds since the first.

    `spared`: the attempt met an outage of the provider and does not count towards the limit of attempts.
    """
    match outcome:
        case Sent():
            return SENT
        case Undeliverable(reason=reason):
            return Decision(DeliveryStatus.FAILED, reason)
        case Rejected(reason=reason):
            return Decision(DeliveryStatus.DEAD, reason)
        case Unknown():
            return Decision(DeliveryStatus.UNKNOWN)
        case Hold(seconds=seconds, reason=hold_reason):
            return Decision(DeliveryStatus.HELD, delay=seconds, hold_reason=hold_reason)
        case Retry(after=after):
            delay = policy.delay_after(attempts, uniform=uniform)
            if spared and elapsed < SPARED_SECONDS:
                delay = policy.delay(attempts, uniform=uniform)
            return _retry(delay, after, policy=policy, elapsed=elapsed)


def _retry(delay: float | None, after: float | None, *, policy: RetryPolicy, elapsed: float) -> Decision:
    if delay is None:
        return Decision(DeliveryStatus.DEAD, Reason.RETRIES_EXHAUSTED)
    # The provider's own wish is a lower bound: asking earlier would only be refused again.
    delay = max(delay, after or 0.0)
    if policy.max_elapsed is not None and elapsed + delay > policy.max_elapsed:
        return Decision(DeliveryStatus.DEAD, Reason.RETRIES_EXHAUSTED)
    return Decision(DeliveryStatus.RETRYING, delay=delay)
