"""Suppressions as operators write and read them."""

from datetime import datetime
from typing import Self
from uuid import UUID

from carillon_shared.domain.channels import Channel
from carillon_shared.domain.suppressions import SuppressionReason
from pydantic import BaseModel, Field, model_validator

from carillon_api.intake.timestamps import Timestamp
from carillon_api.operators.channel_models import Why
from carillon_api.subscribers.addresses import check_email, check_phone
from carillon_api.written import Written

_CHECKS = {Channel.EMAIL: check_email, Channel.WHATSAPP: check_phone}


class SuppressionBody(Written):
    """Send nothing over one channel, to an address whoever has it, or to a person whatever the address."""

    channel: Channel
    address: str | None = Field(default=None, max_length=254, description="E-mail address or phone number.")
    subscriber: str | None = Field(default=None, min_length=1, max_length=200)
    reason: Why = Field(description="Why, in your words; it is kept with it and in the audit.")
    expires_at: Timestamp | None = Field(default=None, description="Null: until it is removed.")

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if self.channel is Channel.INAPP:
            raise ValueError("channel: the feed has no address; mute or opt out instead")
        if (self.address is None) == (self.subscriber is None):
            raise ValueError("name either an address or a subscriber")
        if self.address is not None:
            self.address = normal_address(self.channel, self.address)
        return self


class Suppression(BaseModel):
    """A suppression as it is kept. An address is kept as a digest, so it can only be shown masked."""

    id: UUID
    channel: Channel
    address: str | None = Field(description="Masked. Null: it is about a person.")
    subscriber: str | None = Field(description="Null: it is about an address.")
    reason: SuppressionReason
    detail: str | None = Field(description="In the words of the provider or the operator.")
    created_at: datetime
    expires_at: datetime | None = Field(description="Null: until it is removed.")


def normal_address(channel: Channel, address: str) -> str:
    """Return an address as subscribers have it. Raises `ValueError`."""
    try:
        return _CHECKS[channel](address)
    except ValueError as error:
        raise ValueError(f"address: {error}") from error
