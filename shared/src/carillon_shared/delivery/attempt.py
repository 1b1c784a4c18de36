"""One attempt: compose, hand to the provider within the time limit, classify."""

import traceback
from typing import Generic, TypeVar

import structlog

from carillon_shared.content.errors import ContentError
from carillon_shared.delivery.provider import Composer, Provider
from carillon_shared.delivery.time_limit import TimeLimit
from carillon_shared.domain.addresses import InvalidAddressError
from carillon_shared.domain.delivery import LeasedDelivery
from carillon_shared.domain.outcomes import Outcome, Rejected, Undeliverable, Unknown
from carillon_shared.domain.states import Reason

log = structlog.get_logger(__name__)

MessageT = TypeVar("MessageT")


class Attempts(Generic[MessageT]):
    """Makes attempts on one channel."""

    def __init__(self, *, compose: Composer[MessageT], provider: Provider[MessageT], limit: float) -> None:
        self._compose = compose
        self._provider = provider
        self._limit = TimeLimit(limit)

    async def attempt(self, delivery: LeasedDelivery) -> Outcome:
        """Try once, within the time limit in seconds. Never raises but for cancellation."""
        try:
            message = self._compose(delivery)
        except ContentError as error:
            return Rejected(error.reason.value, str(error), error.reason)
        except InvalidAddressError as error:
            return Undeliverable("invalid_address", str(error))
        except Exception as error:  # noqa: BLE001 - a bug in composing must end in a dead letter, not in a loop
            return _our_fault(error)
        return await self._send(message)

    async def _send(self, message: MessageT) -> Outcome:
        try:
            with self._limit.call():
                return await self._provider.send(message)
        except TimeoutError:
            return Unknown("timeout", f"no answer within {self._limit.seconds:g} s")
        except Exception as error:
            log.exception("provider_adapter_raised", provider=self._provider.name)
            return Unknown("internal_error", f"{type(error).__name__}: {error}")


def _our_fault(error: Exception) -> Rejected:
    log.error("composing_failed", exc_info=error)
    stack = "".join(traceback.format_exception(error))
    return Rejected("internal_error", f"{type(error).__name__}: {error}", Reason.TEMPLATE_ERROR, stack)
