"""Carillon in memory, for the tests of a product.

    from carillon_client.testing import FakeCarillon

    fake = FakeCarillon()
    fake.register("ticket.solved", channels=["inapp", "email"])
    carillon = fake.client()  # or fake.async_client()

It is the service and not the client that is replaced: the product's code runs through the real client. One
suite of tests runs against the fake and against the platform.
"""

from carillon_client.testing.service import FakeCarillon
from carillon_client.testing.state import FakeDelivery, FakeEvent

__all__ = ["FakeCarillon", "FakeDelivery", "FakeEvent"]
