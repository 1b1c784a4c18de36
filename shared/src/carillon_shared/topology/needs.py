"""Which part of the topology a process needs to do its work."""

from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.topology.carillon import (
    EVENTS,
    FANOUT,
    carillon_topology,
    dead_queue,
    retry_exchange,
    work_queue,
)
from carillon_shared.topology.ladder import LADDER
from carillon_shared.topology.model import Topology


def needs_of_dispatcher() -> Topology:
    """Return everything: it publishes work for every channel and looks after every dead queue."""
    return carillon_topology()


def needs_of_worker(channel: Channel) -> Topology:
    """Return the queues of this channel and the retry ladder; another channel's trouble is not its own."""
    whole = carillon_topology()
    names = {work_queue(channel, lane) for lane in Lane} | {dead_queue(channel)}
    names |= {retry_exchange(tier) for tier in LADDER}
    return Topology(
        tuple(exchange for exchange in whole.exchanges if exchange not in {EVENTS, FANOUT}),
        tuple(queue for queue in whole.queues if queue.name in names),
        tuple(binding for binding in whole.bindings if binding.queue in names),
    )
