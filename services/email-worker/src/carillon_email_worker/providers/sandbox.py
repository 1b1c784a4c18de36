"""A provider that sends nothing: it logs, counts, and plays the simulator recipients' outcomes."""

import logging
from collections import Counter
from typing import Final

import structlog
from carillon_shared.domain.outcomes import Outcome, Retry, Sent, Undeliverable, Unknown
from carillon_shared.domain.simulators import Simulated, simulated_email

from carillon_email_worker.message import OutgoingMail

_FAILURES_BEFORE_SUCCESS: Final = 2

_OUTCOMES: dict[Simulated, Outcome] = {
    Simulated.REJECT: Undeliverable("smtp_550", "550 5.1.1 no such mailbox (simulated)"),
    Simulated.RETRY: Retry("smtp_451", "451 4.3.0 try again later (simulated)"),
    Simulated.RATE_LIMITED: Retry("smtp_450", "450 4.2.1 too many (simulated)"),
    Simulated.SERVER_ERROR: Retry("smtp_451", "451 4.3.0 local error (simulated)"),
    Simulated.TIMEOUT: Unknown("timeout", "no reply to the message (simulated)"),
    Simulated.HANG: Unknown("timeout", "no reply to the message (simulated)"),
    Simulated.RESET: Unknown("disconnected", "connection lost after the message (simulated)"),
    Simulated.LOST_REPLY: Unknown("disconnected", "connection lost after the message (simulated)"),
}


class SandboxMailProvider:
    """A `carillon_shared.delivery.provider.Provider` that keeps mail inside."""

    name: Final = "sandbox"

    def __init__(self) -> None:
        self.sent = 0
        self._log = structlog.get_logger("carillon.email.sandbox")
        self._level = logging.getLogger("carillon.email.sandbox")
        self._refusals: Counter[str] = Counter()

    async def send(self, message: OutgoingMail) -> Outcome:
        """Send nothing."""
        outcome = self._outcome(message.recipient)
        if isinstance(outcome, Sent):
            self.sent += 1
        if self._level.isEnabledFor(logging.INFO):  # a tenth of a worker's time, where nobody reads it
            self._log.info(
                "sandbox_mail",
                delivery=message.reference,
                bytes=len(message.content),
                outcome=type(outcome).__name__.lower(),
            )
        return outcome

    async def aclose(self) -> None:
        """Hold nothing, give back nothing."""

    def _outcome(self, recipient: str) -> Outcome:
        simulated = simulated_email(recipient)
        outcome = _OUTCOMES.get(simulated) if simulated else None
        if simulated is Simulated.RETRY:
            self._refusals[recipient] = (self._refusals[recipient] + 1) % (_FAILURES_BEFORE_SUCCESS + 1)
            if self._refusals[recipient] == 0:
                outcome = None
        return outcome or Sent(f"sandbox-{self.sent + 1}")
