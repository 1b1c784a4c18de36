"""Makes the broker's topology what the data says."""

from typing import cast

from aiormq.channel import Channel
from pamqp.commands import Exchange as ExchangeMethods
from pamqp.commands import Queue as QueueMethods
from pamqp.common import FieldTable

from carillon_shared.broker.admin import Admin, administer
from carillon_shared.topology.carillon import carillon_topology
from carillon_shared.topology.model import Binding, Exchange, Queue, Topology


async def declare(url: str, *, topology: Topology | None = None, wait: float = 60.0) -> None:
    """Create what is missing; what exists as it should is left alone, so this may run any number of times.

    Waits up to `wait` seconds for the broker. Raises `BrokerUnreachableError`, or `DifferentError` when an
    exchange or queue of that name exists with another type or other arguments.
    """
    wanted = topology or carillon_topology()
    async with administer(url, wait=wait) as admin:
        for exchange in wanted.exchanges:
            await declare_exchange(admin, exchange)
        for queue in wanted.queues:
            await declare_queue(admin, queue)
        for binding in wanted.bindings:
            await bind(admin, binding)


async def declare_exchange(admin: Admin, exchange: Exchange, *, passive: bool = False) -> None:
    """Create the exchange; `passive` only asks whether there is one of that name."""

    async def call(channel: Channel) -> ExchangeMethods.DeclareOk:
        return await channel.exchange_declare(
            exchange.name, exchange_type=exchange.type, durable=True, passive=passive
        )

    await admin.call(call)


async def declare_queue(admin: Admin, queue: Queue, *, passive: bool = False) -> QueueMethods.DeclareOk:
    """Create the queue; `passive` only asks whether there is one of that name. Returns what is in it."""

    async def call(channel: Channel) -> QueueMethods.DeclareOk:
        arguments = cast("FieldTable", dict(queue.arguments))
        return await channel.queue_declare(queue.name, durable=True, passive=passive, arguments=arguments)

    return await admin.call(call)


async def bind(admin: Admin, binding: Binding) -> None:
    """Bind the queue; a binding that exists stays as it is."""

    async def call(channel: Channel) -> QueueMethods.BindOk:
        return await channel.queue_bind(binding.queue, binding.exchange, binding.routing_key)

    await admin.call(call)
