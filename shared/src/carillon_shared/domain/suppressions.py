"""Why nothing is sent to an address any more, whoever has it."""

from enum import StrEnum


class SuppressionReason(StrEnum):
    """What brought a suppression about."""

    BOUNCED = "bounced"  # mail came back, or the number is none
    COMPLAINED = "complained"  # the recipient called it spam
    STOPPED = "stopped"  # the recipient told the provider, or wrote us, to stop
    MANUAL = "manual"  # an operator
