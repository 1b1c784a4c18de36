"""The channels a delivery can take."""

from enum import StrEnum


class Channel(StrEnum):
    """A way to reach a subscriber. An AMQP channel is a "broker channel", never this."""

    EMAIL = "email"
    WHATSAPP = "whatsapp"
    INAPP = "inapp"

    @property
    def number(self) -> int:
        """The four bits that stand for this channel in a delivery id. Never renumber."""
        return _NUMBERS[self]


_NUMBERS = {Channel.INAPP: 1, Channel.EMAIL: 2, Channel.WHATSAPP: 3}
_BY_NUMBER = {number: channel for channel, number in _NUMBERS.items()}


def channel_of_number(number: int) -> Channel:
    """Return the channel a delivery id's last four bits name. Raises ``KeyError`` for an unused number."""
    return _BY_NUMBER[number]
