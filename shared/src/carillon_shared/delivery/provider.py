"""The seam between the engine and the outside world. A new channel implements these two protocols."""

from typing import Protocol, TypeVar

from carillon_shared.domain.delivery import LeasedDelivery
from carillon_shared.domain.outcomes import Outcome

MessageT_co = TypeVar("MessageT_co", covariant=True)
MessageT_contra = TypeVar("MessageT_contra", contravariant=True)


class Composer(Protocol[MessageT_co]):
    """Makes the provider's message of a delivery: pure, no input or output."""

    def __call__(self, delivery: LeasedDelivery) -> MessageT_co:
        """Return what the provider will be handed.

        Raises `carillon_shared.content.ContentError` when a template is missing, broken or lacks a variable
        (-> dead), and `carillon_shared.domain.addresses.InvalidAddressError` for an address that is none
        (-> failed).
        """
        ...


class Provider(Protocol[MessageT_contra]):
    """The outside system that carries a channel. Adapters classify every answer into an `Outcome`."""

    @property
    def name(self) -> str:
        """The provider's name in attempts, metrics and settings."""
        ...

    async def send(self, message: MessageT_contra) -> Outcome:
        """Try once. Never raises for anything the provider or the network does.

        A failure before the message could have been accepted is `Retry`; one after is `Unknown`.
        """
        ...

    async def aclose(self) -> None:
        """Give back what is held (connections)."""
        ...
