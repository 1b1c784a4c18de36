"""A provider that sends nothing: it logs, counts, and plays the simulator numbers' outcomes."""

from collections import Counter
from typing import Final

import structlog
from carillon_shared.domain.outcomes import Outcome, Retry, Sent, Undeliverable, Unknown
from carillon_shared.domain.simulators import Simulated, simulated_phone

from carillon_whatsapp_worker.message import OutgoingWhatsapp

_FAILURES_BEFORE_SUCCESS: Final = 2

_OUTCOMES: dict[Simulated, Outcome] = {
    Simulated.REJECT: Undeliverable("whatsapp_131026", "undeliverable (simulated)"),
    Simulated.RETRY: Retry("whatsapp_131016", "service unavailable (simulated)"),
    Simulated.RATE_LIMITED: Retry("whatsapp_130429", "rate limit hit (simulated)"),
    Simulated.SERVER_ERROR: Retry("whatsapp_131000", "something went wrong (simulated)"),
    Simulated.TIMEOUT: Unknown("timeout", "no answer (simulated)"),
    Simulated.HANG: Unknown("timeout", "no answer (simulated)"),
    Simulated.RESET: Unknown("disconnected", "connection lost (simulated)"),
    Simulated.LOST_REPLY: Unknown("disconnected", "connection lost (simulated)"),
}


class SandboxWhatsappProvider:
    """A `carillon_shared.delivery.provider.Provider` that keeps messages inside."""

    name: Final = "sandbox"

    def __init__(self) -> None:
        self.sent = 0
        self._log = structlog.get_logger("carillon.whatsapp.sandbox")
        self._refusals: Counter[str] = Counter()

    async def send(self, message: OutgoingWhatsapp) -> Outcome:
        """Send nothing."""
        outcome = self._outcome(message.recipient)
        if isinstance(outcome, Sent):
            self.sent += 1
        self._log.info("sandbox_whatsapp", delivery=message.reference, outcome=type(outcome).__name__.lower())
        return outcome

    async def aclose(self) -> None:
        """Hold nothing, give back nothing."""

    def _outcome(self, recipient: str) -> Outcome:
        simulated = simulated_phone(recipient)
        outcome = _OUTCOMES.get(simulated) if simulated else None
        if simulated is Simulated.RETRY:
            self._refusals[recipient] = (self._refusals[recipient] + 1) % (_FAILURES_BEFORE_SUCCESS + 1)
            if self._refusals[recipient] == 0:
                outcome = None
        return outcome or Sent(f"sandbox-{self.sent + 1}")
