"""The one place that names Carillon's exchanges and queues.

Safety is in queue arguments (they cannot be changed by mistake), tunables are in policies. Nothing here
needs more than RabbitMQ 3.10.
"""

from itertools import product

from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.topology.ladder import LADDER, Tier
from carillon_shared.topology.model import Binding, Exchange, Queue, Topology

EVENTS = Exchange("carillon.events", "topic")
FANOUT = Exchange("carillon.fanout", "direct")
WORK = Exchange("carillon.work", "topic")
DEAD = Exchange("carillon.dead", "topic")
LIVE = Exchange("carillon.live", "fanout")
OUTCOMES = Exchange("carillon.outcomes", "topic")

# Work queues drop a message to the dead letters after 20 crashes of its consumer. -1 would mean "no limit" on
# 4.x and "at the first redelivery" on 3.10, so it is never used.
WORK_DELIVERY_LIMIT = 20
# Dead queues are read and requeued by the janitor again and again; 4.x would otherwise drop after 20.
DEAD_DELIVERY_LIMIT = 1_000_000_000

DISPATCH_WINDOW = 200
"""Events that may wait in a dispatch lane, a fraction of a second of planning: a lane keeps its order, so
what goes beyond that waits where tenants can take turns, in the API and in the outbox."""

_QUORUM: dict[str, str | int] = {"x-queue-type": "quorum"}
# At-least-once dead-lettering needs reject-publish; with the defaults a graceful
# restart lost every waiting retry.
_SAFE_DEAD_LETTERING: dict[str, str | int] = {
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}


def dispatch_queue(lane: Lane) -> str:
    """Return the queue of accepted events of this lane."""
    return f"carillon.dispatch.{lane}"


def fanout_queue(lane: Lane) -> str:
    """Return the queue of audience ranges of this lane."""
    return f"carillon.fanout.{lane}"


def work_queue(channel: Channel, lane: Lane) -> str:
    """Return the queue of work chunks of this channel and lane."""
    return f"carillon.{channel}.{lane}"


def dead_queue(channel: Channel) -> str:
    """Return the dead-letter queue of this channel."""
    return f"carillon.{channel}.dead"


DISPATCH_DEAD_QUEUE = "carillon.dispatch.dead"


def event_routing_key(*, lane: Lane, tenant: str, event_type: str) -> str:
    """Return the key events are published with, for other services to bind to."""
    return f"{lane}.{tenant}.{event_type}"


def tenant_of_key(routing_key: str) -> str:
    """Return whose an event is, by the key it was published with; the key itself when it is another."""
    parts = routing_key.split(".", 2)
    return parts[1] if len(parts) == 3 else routing_key


def work_routing_key(channel: Channel, lane: Lane) -> str:
    """Return the key of work chunks; kept through the retry ladder and into the dead queues."""
    return f"{channel}.{lane}"


def dispatch_dead_key(lane: Lane) -> str:
    """Return the key under which dispatch and fan-out messages are dead-lettered.

    Their own keys match no dead queue, and at-least-once dead-lettering would then keep them stuck.
    """
    return f"dispatch.{lane}"


def retry_exchange(tier: Tier) -> str:
    """Return the exchange (and queue) name of a retry tier."""
    return f"carillon.retry.{tier.label}"


def _working_queue(name: str, *, dead_key: str) -> Queue:
    """A dead letter gets the key of its queue, not the one it was published with: a message that somebody put
    straight into the queue has a key that no dead queue is bound to, and would be stuck.
    """
    arguments = (
        _QUORUM
        | _SAFE_DEAD_LETTERING
        | {
            "x-delivery-limit": WORK_DELIVERY_LIMIT,
            "x-dead-letter-exchange": DEAD.name,
            "x-dead-letter-routing-key": dead_key,
        }
    )
    return Queue(name, arguments)


def _retry_queue(tier: Tier) -> Queue:
    return Queue(
        retry_exchange(tier),
        _QUORUM
        | _SAFE_DEAD_LETTERING
        | {"x-message-ttl": tier.milliseconds, "x-dead-letter-exchange": WORK.name},
    )


def _dead_letter_queue(name: str) -> Queue:
    return Queue(name, _QUORUM | {"x-delivery-limit": DEAD_DELIVERY_LIMIT})


def carillon_topology() -> Topology:
    """Return everything that must exist. Live queues are not here: each API replica makes its own."""
    lanes, channels = tuple(Lane), tuple(Channel)
    queues = (
        *(_working_queue(dispatch_queue(lane), dead_key=dispatch_dead_key(lane)) for lane in lanes),
        *(_working_queue(fanout_queue(lane), dead_key=dispatch_dead_key(lane)) for lane in lanes),
        *(
            _working_queue(work_queue(channel, lane), dead_key=work_routing_key(channel, lane))
            for channel, lane in product(channels, lanes)
        ),
        *(_retry_queue(tier) for tier in LADDER),
        *(_dead_letter_queue(dead_queue(channel)) for channel in channels),
        _dead_letter_queue(DISPATCH_DEAD_QUEUE),
    )
    bindings = (
        *(Binding(EVENTS.name, dispatch_queue(lane), f"{lane}.#") for lane in lanes),
        *(Binding(FANOUT.name, fanout_queue(lane), lane.value) for lane in lanes),
        *(
            Binding(WORK.name, work_queue(channel, lane), work_routing_key(channel, lane))
            for channel, lane in product(channels, lanes)
        ),
        *(Binding(retry_exchange(tier), retry_exchange(tier), "") for tier in LADDER),
        *(Binding(DEAD.name, dead_queue(channel), f"{channel}.*") for channel in channels),
        Binding(DEAD.name, DISPATCH_DEAD_QUEUE, "dispatch.*"),
    )
    retry_exchanges = tuple(Exchange(retry_exchange(tier), "fanout") for tier in LADDER)
    return Topology((EVENTS, FANOUT, WORK, DEAD, LIVE, OUTCOMES, *retry_exchanges), queues, bindings)
