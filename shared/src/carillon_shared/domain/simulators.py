"""Recipients that behave the same way everywhere: `bounce@any.domain`, and phones with a reserved ending.

The mock providers play them on the wire, the log-only providers by their outcome; one suite tests both.
"""

from enum import StrEnum


class Simulated(StrEnum):
    """What a simulator recipient does to a message."""

    BOUNCE = "bounce"  # accepted, returned later
    SLOW = "slow"
    REJECT = "reject"  # no such mailbox, not on WhatsApp
    TIMEOUT = "timeout"  # accepted, never answered
    RETRY = "retry"  # refused twice, then accepted
    RATE_LIMITED = "429"
    RESET = "reset"  # connection cut, not accepted
    DUPLICATE = "duplicate"
    HANG = "hang"  # not accepted, never answered
    SERVER_ERROR = "500"
    LOST_REPLY = "lostreply"  # accepted, connection cut


_EMAIL_NAMES = {simulated.value: simulated for simulated in Simulated}
_PHONE_ENDINGS = {f"99900{place:02d}": simulated for place, simulated in enumerate(Simulated, start=1)}


def simulated_email(address: str) -> Simulated | None:
    """Return what an address does; what follows a plus sign does not matter: `bounce+17@example.org`."""
    name = address.partition("@")[0].partition("+")[0]
    return _EMAIL_NAMES.get(name.lower())


def simulated_phone(number: str) -> Simulated | None:
    """Return what a phone number does, by its last seven digits."""
    return _PHONE_ENDINGS.get(number[-7:])
