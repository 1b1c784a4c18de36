"""Why nothing is sent to an address any more, whoever has it."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

_DAY: Final = 86_400.0


class SuppressionReason(StrEnum):
    """What brought a suppression about."""

    BOUNCED = "bounced"  # mail came back, or the number is none
    STOPPED = "stopped"  # the recipient told the provider, or wrote us, to stop
    MANUAL = "manual"  # an operator


SUPPRESSED_SECONDS: Final[Mapping[SuppressionReason, float]] = {
    SuppressionReason.BOUNCED: 90 * _DAY,  # mailboxes come back, and numbers get WhatsApp
    SuppressionReason.STOPPED: 365 * _DAY,
}
"""How long it holds when nobody says otherwise."""
