"""Addresses that cannot be used."""


class InvalidAddressError(ValueError):
    """The subscriber's address for this channel is none. The text never contains the address."""
