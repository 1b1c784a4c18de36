"""The broker's interface as an AsyncAPI 3.0 document, made of the topology and the message models.

Source: https://www.asyncapi.com/docs/reference/specification/v3.0.0, and its AMQP bindings 0.3.0.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from carillon_shared.contracts.codec import MAX_BODY_BYTES
from carillon_shared.contracts.messages import (
    MESSAGE_TYPES,
    DeadDelivery,
    EventAccepted,
    LiveChunk,
    LiveGone,
    LiveSignal,
    Message,
    OutcomeBatch,
    RangePlanned,
    WorkChunk,
)
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.domain.states import DeliveryStatus
from carillon_shared.topology import carillon
from carillon_shared.topology.model import Exchange, Queue, Topology

JSON = dict[str, Any]

_BINDING_VERSION: Final = "0.3.0"
_DESCRIPTION: Final = f"""\
Every body is JSON, of at most {MAX_BODY_BYTES:,} bytes, and is read by the AMQP `type` property. Readers
ignore fields they do not know; a change that old readers cannot take is a new type. `message_id` stays the
same when a message is published again, and every reader must expect a message twice. What waits in queues
carries ids, never addresses or content; live messages carry feed items and are not stored.

Product services may bind queues of their own to `carillon.events` and `carillon.outcomes`. All else is
internal. Besides the queues named here, each API replica reads `carillon.live` from one of its own."""
_PARAMETERS: Final[dict[str, JSON]] = {
    "lane": {"enum": [lane.value for lane in Lane], "description": "Priority class."},
    "channel": {"enum": [channel.value for channel in Channel], "description": "The way to the person."},
    "state": {"enum": [state.value for state in DeliveryStatus], "description": "The state reached."},
    "tenant": {"description": "The tenant's slug."},
    "event_type": {"description": "The registered event type; its dots are words of the key."},
}


@dataclass(frozen=True, slots=True)
class _Way:
    """What is published to an exchange: under which routing key, and which bodies."""

    exchange: Exchange
    key: str | None  # None: the exchange takes no key
    messages: tuple[type[Message], ...]
    summary: str


_WAYS: Final = (
    _Way(carillon.EVENTS, "{lane}.{tenant}.{event_type}", (EventAccepted,), "Events that were committed."),
    _Way(carillon.FANOUT, "{lane}", (RangePlanned,), "Ranges of large audiences."),
    _Way(carillon.WORK, "{channel}.{lane}", (WorkChunk,), "Deliveries to make."),
    _Way(carillon.DEAD, "{channel}.{lane}", (DeadDelivery,), "Deliveries that wait for an operator."),
    _Way(carillon.LIVE, None, (LiveChunk, LiveSignal, LiveGone), "What connected clients are shown."),
    _Way(
        carillon.OUTCOMES,
        "{tenant}.{channel}.{state}",
        (OutcomeBatch,),
        "Deliveries that reached a state, for product services.",
    ),
)
_OF_EXCHANGE: Final = {way.exchange.name: way.messages for way in _WAYS}


def asyncapi_document(topology: Topology) -> JSON:
    """Return the document: a channel for each exchange that is published to and for each queue."""
    ways = [*_WAYS, *_retries(topology)]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Carillon",
            "version": "1",
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": dict(
            [_exchange_channel(way) for way in ways]
            + [_queue_channel(queue, _carried(topology, queue)) for queue in topology.queues]
        ),
        "operations": dict(
            [_operation("send", way.exchange.name, way.messages) for way in ways]
            + [
                _operation("receive", queue.name, _carried(topology, queue))
                for queue in topology.queues
                if _is_consumed(queue)
            ]
        ),
        "components": {
            "messages": {name: _message(model) for name, model in MESSAGE_TYPES.items()},
            "schemas": _schemas(),
        },
    }


def _retries(topology: Topology) -> list[_Way]:
    return [
        _Way(exchange, "{channel}.{lane}", (WorkChunk,), "Deliveries that are tried again after this time.")
        for exchange in topology.exchanges
        if exchange.name.startswith("carillon.retry.")
    ]


def _carried(topology: Topology, queue: Queue) -> tuple[type[Message], ...]:
    """Return what a queue can hold: what its exchanges carry, and what queues dead-letter into it."""
    if queue.name == carillon.DISPATCH_DEAD_QUEUE:
        return (EventAccepted, RangePlanned)
    sources = {binding.exchange for binding in topology.bindings if binding.queue == queue.name}
    if carillon.DEAD.name in sources:
        return (DeadDelivery, WorkChunk)
    found = [message for source in sorted(sources) for message in _OF_EXCHANGE.get(source, (WorkChunk,))]
    return tuple(dict.fromkeys(found))


def _is_consumed(queue: Queue) -> bool:
    return queue.arguments.get("x-dead-letter-exchange") == carillon.DEAD.name


def _exchange_channel(way: _Way) -> tuple[str, JSON]:
    channel: JSON = {
        "address": way.key,
        "summary": way.summary,
        "messages": _references(way.messages),
        "bindings": _amqp(
            **{"is": "routingKey"},
            exchange={
                "name": way.exchange.name,
                "type": way.exchange.type,
                "durable": True,
                "autoDelete": False,
            },
        ),
    }
    names = re.findall(r"{(\w+)}", way.key or "")
    if names:
        channel["parameters"] = {name: _PARAMETERS[name] for name in names}
    return _identifier("to", way.exchange.name), channel


def _queue_channel(queue: Queue, messages: Iterable[type[Message]]) -> tuple[str, JSON]:
    return _identifier("queue", queue.name), {
        "address": queue.name,
        "messages": _references(messages),
        "bindings": _amqp(
            **{"is": "queue"},
            queue={"name": queue.name, "durable": True, "exclusive": False, "autoDelete": False},
        ),
        "x-queue-arguments": dict(queue.arguments),
    }


def _operation(action: str, place: str, messages: Iterable[type[Message]]) -> tuple[str, JSON]:
    channel = _identifier("to" if action == "send" else "queue", place)
    return _identifier(action, place), {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{message.TYPE}"} for message in messages],
    }


def _message(model: type[Message]) -> JSON:
    return {
        "name": model.TYPE,
        "title": model.__name__,
        "summary": (model.__doc__ or "").strip().partition("\n")[0],
        "headers": {
            "type": "object",
            "properties": {"traceparent": {"type": "string", "description": "W3C Trace Context."}},
        },
        "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
        "bindings": _amqp(messageType=model.TYPE),
    }


def _schemas() -> JSON:
    models = [(model, "serialization") for model in MESSAGE_TYPES.values()]
    _, document = models_json_schema(
        models,  # type: ignore[arg-type]  # the mode is a literal, which a list's type forgets
        ref_template="#/components/schemas/{model}",
    )
    schemas: JSON = document["$defs"]
    return schemas


def _references(messages: Iterable[type[Message]]) -> JSON:
    return {message.TYPE: {"$ref": f"#/components/messages/{message.TYPE}"} for message in messages}


def _amqp(**binding: Any) -> JSON:
    return {"amqp": {**binding, "bindingVersion": _BINDING_VERSION}}


def _identifier(prefix: str, name: str) -> str:
    """Return a name that the specification allows as a key: letters, digits, dots, dashes, underscores."""
    return f"{prefix}.{name.removeprefix('carillon.')}"
