"""Looks, for as long as a process runs, whether the part of the topology that it needs is there and used."""

import asyncio

import structlog

from carillon_shared.broker.admin import Admin
from carillon_shared.broker.consumer_watch import ConsumerWatch
from carillon_shared.broker.drift import Drift, look
from carillon_shared.broker.errors import BrokerError
from carillon_shared.broker.link import Link
from carillon_shared.topology.model import Topology

_SECONDS = 15.0
_SECONDS_WHILE_WRONG = 2.0

log = structlog.get_logger(__name__)


class TopologyError(BrokerError):
    """An exchange or a queue is missing, or not as it should be; says which, why, and how to mend it."""


class TopologyWatch:
    """Compares what there is with what should be, over and over, and changes nothing.

    A process never declares what it misses: one that runs an older version would bring back what a newer one
    has replaced, and its user need not be allowed to. It consumes and publishes what it can meanwhile.
    """

    def __init__(self, link: Link, topology: Topology, consumers: ConsumerWatch) -> None:
        self._link = link
        self._wanted = topology
        self._consumers = consumers
        self._wrong: str | None = "the topology has not been looked at yet"
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin looking, in the background."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep_looking(), name="topology-watch")

    async def close(self) -> None:
        """Stop looking."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def probe(self) -> None:
        """Probe of a readiness check. Raises `TopologyError` with what was wrong at the last look."""
        if self._wrong is not None:
            raise TopologyError(self._wrong)

    async def _keep_looking(self) -> None:
        while True:
            admin = Admin(await self._link.wire())
            try:
                drifts = await look(admin, self._wanted)
                self._note(drifts)
                self._consumers.look({drift.queue for drift in drifts if drift.queue is not None})
            except BrokerError as error:
                # The connection is a matter of its own; what was seen before is still the best that is known.
                log.info("topology not looked at", reason=str(error))
            finally:
                await admin.close()
            await asyncio.sleep(_SECONDS if self._wrong is None else _SECONDS_WHILE_WRONG)

    def _note(self, drifts: list[Drift]) -> None:
        found = [str(drift) for drift in drifts if drift.kind != "unknown"]
        wrong = " ".join(found) or None
        if wrong is not None and wrong != self._wrong:
            log.error("topology is not as it should be", drifts=found)
        if wrong is None and self._wrong is not None:
            log.info("topology is as it should be")
        self._wrong = wrong
