"""Finds what on the broker is not as the topology says."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import structlog
from aiormq.channel import Channel
from pamqp.commands import Basic

from carillon_shared.broker.admin import (
    Admin,
    DifferentError,
    NotAllowedError,
    NotFoundError,
    administer,
)
from carillon_shared.broker.declare import bind, declare_exchange, declare_queue
from carillon_shared.broker.errors import BrokerError
from carillon_shared.broker.management import management_url_of, read_bindings, vhost_of
from carillon_shared.topology.carillon import carillon_topology
from carillon_shared.topology.model import Binding, Queue, Topology

_DECLARE = "run `carillon topology declare`"
_RENEW = "delete it and declare again; the sweepers send anew what it held"
_SILENT_SECONDS = 5.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference, and how to mend it."""

    kind: Literal["missing", "different", "unexpected", "silent", "unknown"]
    what: str
    detail: str
    mend: str
    queue: str | None = None  # its name, when it is about one

    def __str__(self) -> str:
        return f"{self.what} {self.detail}; to mend it, {self.mend}."


async def check(
    url: str, *, topology: Topology | None = None, management_url: str | None = None, wait: float = 60.0
) -> list[Drift]:
    """Return every difference between the broker and the topology; empty when all is well.

    Exchanges and queues are looked at over AMQP. Bindings AMQP can make but not show: they are read from the
    management API (given, or at its usual port). Where that does not answer they are bound again, which
    changes nothing when they exist and mends them silently when not; a log line says so.

    Raises `BrokerUnreachableError` when the broker is away for `wait` seconds.
    """
    wanted = topology or carillon_topology()
    async with administer(url, wait=wait) as admin:
        drifts = await look(admin, wanted)
        drifts += await find_silent(admin, wanted, besides=drifts)
        actual = await read_bindings(management_url or management_url_of(url), vhost_of(url))
        if actual is not None:
            return drifts + _binding_drifts(wanted, actual)
        await _bind_again(admin, wanted, drifts)
        return drifts


async def look(admin: Admin, wanted: Topology) -> list[Drift]:
    """Return the differences that show over AMQP without touching anything. Raises `BrokerError`."""
    return await _exchange_drifts(admin, wanted) + await _queue_drifts(admin, wanted)


async def _exchange_drifts(admin: Admin, wanted: Topology) -> list[Drift]:
    drifts: list[Drift] = []
    for exchange in wanted.exchanges:
        drift = await _look(
            f"exchange {exchange.name!r}",
            exists=partial(declare_exchange, admin, exchange, passive=True),
            compare=partial(declare_exchange, admin, exchange),
            mend="delete it when nothing publishes to it, then declare again: its type cannot be changed",
        )
        drifts += [drift] if drift else []
    return drifts


async def _queue_drifts(admin: Admin, wanted: Topology) -> list[Drift]:
    drifts: list[Drift] = []
    for queue in wanted.queues:
        drift = await _look(
            f"queue {queue.name!r}",
            queue=queue.name,
            exists=partial(declare_queue, admin, queue, passive=True),
            compare=partial(declare_queue, admin, queue),
            mend="drain it, delete it and declare again: the arguments of a queue cannot be changed",
        )
        drifts += [drift] if drift else []
    return drifts


async def _look(
    what: str,
    *,
    exists: Callable[[], Awaitable[object]],
    compare: Callable[[], Awaitable[object]],
    mend: str,
    queue: str | None = None,
) -> Drift | None:
    """Ask first whether it exists, so that comparing, which is declaring, never creates it."""
    try:
        await exists()
        await compare()
    except NotFoundError:
        return Drift("missing", what, "does not exist", _DECLARE, queue)
    except DifferentError as error:
        return Drift("different", what, f"is not as declared ({_reason(error)})", mend, queue)
    except NotAllowedError as error:
        return Drift("unknown", what, f"cannot be compared ({error})", "look as a user who may configure it")
    return None


def _reason(error: DifferentError) -> str:
    """Return the broker's words without their code: `inequivalent arg 'x-delivery-limit' for queue ...`."""
    return str(error).removeprefix("PRECONDITION_FAILED - ")


async def find_silent(admin: Admin, wanted: Topology, *, besides: list[Drift]) -> list[Drift]:
    """Return the queues that exist and answer nothing, among those with no other difference.

    A quorum queue without a leader looks empty and can be declared, but takes and gives nothing: RabbitMQ
    3.10 leaves one behind when it is killed within about three seconds of the declaration (tried). Only a
    queue that looks empty is asked for a message; if one has come in that moment, it goes back.
    """
    known = {drift.what for drift in besides}
    queues = [queue for queue in wanted.queues if f"queue {queue.name!r}" not in known]
    return [
        Drift("silent", f"queue {queue.name!r}", "exists and does not answer: it has no leader", _RENEW)
        for queue in queues
        if not await _answers(admin, queue)
    ]


async def _answers(admin: Admin, queue: Queue) -> bool:
    async def ask(channel: Channel) -> None:
        async with asyncio.timeout(_SILENT_SECONDS):
            reply = await channel.basic_get(queue.name)
            if isinstance(reply.delivery, Basic.GetOk):
                await channel.basic_reject(reply.delivery.delivery_tag or 0, requeue=True)

    seen = await declare_queue(admin, queue, passive=True)
    if seen.message_count or seen.consumer_count:
        return True
    try:
        await admin.call(ask)
    except (NotFoundError, NotAllowedError):
        return True
    except BrokerError:
        return False
    return True


def _binding_drifts(wanted: Topology, actual: frozenset[Binding]) -> list[Drift]:
    queues = {queue.name for queue in wanted.queues}
    expected = set(wanted.bindings)
    missing = [
        Drift("missing", _binding_name(binding), "does not exist", _DECLARE)
        for binding in wanted.bindings
        if binding not in actual
    ]
    unexpected = [
        Drift("unexpected", _binding_name(binding), "is not ours and brings in other messages", "unbind it")
        for binding in sorted(actual - expected, key=_binding_name)
        if binding.queue in queues
    ]
    return missing + unexpected


def _binding_name(binding: Binding) -> str:
    return f"binding {binding.exchange!r} -> {binding.queue!r} (key {binding.routing_key!r})"


async def _bind_again(admin: Admin, wanted: Topology, drifts: list[Drift]) -> None:
    log.info("bindings cannot be read without the management API and are bound again")
    missing = {drift.what for drift in drifts if drift.kind == "missing"}
    for binding in wanted.bindings:
        ends = {f"exchange {binding.exchange!r}", f"queue {binding.queue!r}"}
        if not ends & missing:
            await bind(admin, binding)
