"""What one attempt to hand a delivery to a provider can end in.

Providers classify, `carillon_shared.retry` decides, the worker engine carries out.
"""

from dataclasses import dataclass

from carillon_shared.domain.states import HoldReason, Reason
from carillon_shared.domain.suppressions import SuppressionReason


@dataclass(frozen=True, slots=True)
class Sent:
    """The provider accepted the message. `provider_id` is its own reference, when it gave one."""

    provider_id: str | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """A passing failure: nothing was sent. `after` is the provider's own wish in seconds (`Retry-After`).

    `provider_wide`: it would have met any other delivery too (server away, throttled, wrong password).
    """

    code: str
    error: str
    after: float | None = None
    provider_wide: bool = False


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """This recipient cannot be reached; trying again is pointless (-> failed).

    `suppress`: nor will any other message reach this address, so none is tried for a while.
    """

    code: str
    error: str
    reason: Reason = Reason.INVALID_ADDRESS
    suppress: SuppressionReason | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """The provider, or our own template, refuses the message for good; a person must look (-> dead)."""

    code: str
    error: str
    reason: Reason = Reason.PROVIDER_REJECTED
    stack: str | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """The call ended without an answer after the message may have been accepted.

    `provider_wide`: the provider did not answer, which others would have met too.
    """

    code: str
    error: str
    provider_wide: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """Not now; no attempt is counted. `seconds` from now, by the database clock."""

    seconds: float
    reason: HoldReason


Outcome = Sent | Retry | Undeliverable | Rejected | Unknown | Hold
