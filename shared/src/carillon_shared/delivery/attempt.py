"""One attempt: compose, hand to a provider within the time limit, classify."""

import traceback
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from carillon_shared.content.errors import ContentError
from carillon_shared.delivery.failover import Providers
from carillon_shared.delivery.guard import Guard, Permit
from carillon_shared.delivery.provider import Composer
from carillon_shared.delivery.time_limit import TimeLimit
from carillon_shared.domain.addresses import InvalidAddressError
from carillon_shared.domain.delivery import LeasedDelivery
from carillon_shared.domain.outcomes import Outcome, Rejected, Retry, Sent, Undeliverable, Unknown
from carillon_shared.domain.states import Reason

log = structlog.get_logger(__name__)

MessageT = TypeVar("MessageT")


@dataclass(slots=True)
class Attempted:
    """How an attempt ended, and with which provider.

    `spared`: the provider was down for everybody, so this one does not count towards the limit of attempts.
    `refused_first`: what the provider before it had said, when it stood in.
    """

    outcome: Outcome
    provider: str
    spared: bool = False
    refused_first: str | None = None


class Attempts(Generic[MessageT]):
    """Makes attempts on one channel; `limit` is the time in seconds that one call may take."""

    def __init__(self, *, compose: Composer[MessageT], providers: Providers[MessageT], limit: float) -> None:
        self._compose = compose
        self._providers = providers
        self._limit = TimeLimit(limit)

    async def attempt(self, delivery: LeasedDelivery, permit: Permit[MessageT]) -> Attempted:
        """Try once; with the next provider too, if one takes nothing. Never raises but for cancellation."""
        try:
            message = self._compose(delivery)
        except Exception as error:  # noqa: BLE001 - a bug in composing must end in a dead letter, not in a loop
            self._providers.give_back([permit])
            return Attempted(_not_composed(error), permit.guard.name)
        outcome = await self._call(message, permit)
        if type(outcome) is Retry and outcome.provider_wide:
            return await self._instead(message, permit, outcome)
        return Attempted(outcome, permit.guard.name, spared=_is_spared(outcome, permit))

    async def _instead(self, message: MessageT, permit: Permit[MessageT], refusal: Retry) -> Attempted:
        """Hand the message to the next provider: this one has refused it before it could be accepted."""
        other = self._providers.instead_of(permit.guard)
        if other is None:
            return Attempted(refusal, permit.guard.name, spared=_is_spared(refusal, permit))
        said = f"{permit.guard.name}: {refusal.code}: {refusal.error}"
        log.info("provider_stands_in", provider=other.guard.name, refused=said)
        outcome = await self._call(message, other)
        if type(outcome) is Retry and outcome.provider_wide:
            said = f"{said}; {other.guard.name}: {outcome.code}: {outcome.error}"
            outcome = Retry(outcome.code, said, outcome.after, provider_wide=True)
        return Attempted(outcome, other.guard.name, spared=_is_spared(outcome, other), refused_first=said)

    async def _call(self, message: MessageT, permit: Permit[MessageT]) -> Outcome:
        guard = permit.guard
        try:
            outcome = await self._send(message, guard)
        except Exception as error:
            log.exception("provider_adapter_raised", provider=guard.name)
            guard.give_back(permit)  # our own fault says nothing about the provider
            return Unknown("internal_error", f"{type(error).__name__}: {error}")
        guard.note(permit, outcome)
        return outcome

    async def _send(self, message: MessageT, guard: Guard[MessageT]) -> Outcome:
        try:
            with self._limit.call(), guard.timed():
                return await guard.provider.send(message)
        except TimeoutError:
            return Unknown("timeout", f"no answer within {self._limit.seconds:g} s", provider_wide=True)


def _is_spared(outcome: Outcome, permit: Permit[MessageT]) -> bool:
    """Tell whether this failure, by what is known after it, is an outage and not the delivery's."""
    return type(outcome) is not Sent and _is_wide(outcome) and not permit.guard.lets_through


def _is_wide(outcome: Outcome) -> bool:
    return isinstance(outcome, Retry | Unknown) and outcome.provider_wide


def _not_composed(error: Exception) -> Outcome:
    match error:
        case ContentError():
            return Rejected(error.reason.value, str(error), error.reason)
        case InvalidAddressError():
            return Undeliverable("invalid_address", str(error))
    log.error("composing_failed", exc_info=error)
    stack = "".join(traceback.format_exception(error))
    return Rejected("internal_error", f"{type(error).__name__}: {error}", Reason.TEMPLATE_ERROR, stack)
