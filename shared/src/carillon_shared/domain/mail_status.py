"""Enhanced mail system status codes (RFC 3463), in answers of servers and in bounces."""

from typing import Final

_LASTING: Final = frozenset(
    {
        "5.1.1",  # no such mailbox
        "5.1.2",  # no such domain
        "5.1.3",  # not an address
        "5.1.6",  # moved away
        "5.1.10",  # the domain takes no mail (RFC 7505)
        "5.2.1",  # switched off
    }
)


def is_lasting(status: str) -> bool:
    """Tell whether a code says that no mail will reach the address, whatever is in it."""
    return status in _LASTING
