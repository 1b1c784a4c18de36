"""The heart of every channel worker with a provider.

Chunks come in; in waves, one statement settles the attempts that have ended and leases as many deliveries as
there are free send slots. So a worker that dies leaves no more deliveries in doubt than it had calls open.
Two waves may be under way: while the database works on one, the deliveries of the other are sent.
"""

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol
from uuid import UUID

import structlog

from carillon_shared.broker.backoff import Backoff
from carillon_shared.broker.outgoing import Outgoing
from carillon_shared.broker.publisher import PublishResult
from carillon_shared.clock import Clock
from carillon_shared.consumer.settlement import Ack
from carillon_shared.consumer.source import MessageSource
from carillon_shared.db.transient import is_transient
from carillon_shared.delivery.aftermath import Aftermath, errands_of
from carillon_shared.delivery.attempt import Attempted
from carillon_shared.delivery.counting import count_attempts
from carillon_shared.delivery.guard import Permit
from carillon_shared.delivery.slots import Slots
from carillon_shared.delivery.store import Answer, LeaseRequest, WorkStore
from carillon_shared.delivery.verdicts import after_refused_lease, after_settle, leased_delivery
from carillon_shared.delivery.work import Chunk, Ended, Item, Lease
from carillon_shared.domain.delivery import LeasedDelivery
from carillon_shared.domain.outcomes import Sent
from carillon_shared.lifecycle.crash import crash_point
from carillon_shared.lifecycle.crash_points import CrashPoint
from carillon_shared.retry.decision import SENT, Decision, decide

log = structlog.get_logger(__name__)

LEASE_MARGIN_SECONDS = 15.0
_BUSY_SECONDS = 0.2
_MAX_REFUSALS = 300
_SHORTEST_WAIT = 0.001
_WAVES = 2
_SMALLEST_SHARE = 64  # deliveries of a wave that need not be shared between two


class Attempting(Protocol):
    """Makes attempts; see `carillon_shared.delivery.attempt.Attempts`."""

    async def attempt(self, delivery: LeasedDelivery, permit: Permit[Any]) -> Attempted:
        """Try once. Never raises but for cancellation."""
        ...


class Permitting(Protocol):
    """Says how much may begin; see `carillon_shared.delivery.failover.Providers`."""

    @property
    def could_begin(self) -> bool:
        """True when `reserve` would return something."""
        ...

    def reserve(self, wanted: int) -> list[Permit[Any]]:
        """Take as many permits of `wanted` as there are now."""
        ...

    def give_back(self, permits: Sequence[Permit[Any]]) -> None:
        """Take back permits that were not used."""
        ...

    def ready_in(self) -> float | None:
        """Return after how many seconds it is worth asking again; None when somebody will wake the engine."""
        ...


class Publishing(Protocol):
    """Publishes with confirms; see `carillon_shared.broker.publisher.Publisher`."""

    async def publish_many(self, outgoings: Sequence[Outgoing]) -> list[PublishResult]:
        """Publish all and return one result for each: None when confirmed."""
        ...


class DeliveryEngine:
    """Delivers chunks over one channel. `admit` gives it work, `run` does it.

    Args:
        store: the statements.
        attempts: composes and sends.
        providers: say how many attempts may begin.
        publisher: carries retries and dead letters.
        concurrency: send slots.
        attempt_limit: seconds after which an attempt is given up as unknown.
        clock: measures attempts, and tells the database's time.
    """

    def __init__(
        self,
        *,
        store: WorkStore,
        attempts: Attempting,
        providers: Permitting,
        publisher: Publishing,
        concurrency: int,
        attempt_limit: float,
        clock: Clock,
    ) -> None:
        self._store = store
        self._attempts = attempts
        self._providers = providers
        self._publisher = publisher
        self._lease_seconds = attempt_limit + LEASE_MARGIN_SECONDS
        self._clock = clock
        self._slots = Slots(concurrency)
        # Half of what bulk work may hold, so that it fills both waves as well.
        self._largest_wave = max(concurrency // (2 * _WAVES), _SMALLEST_SHARE)
        self._ended: list[Ended] = []
        self._finished: list[int] = []  # tokens of leases that ended in more than one wave
        self._waves = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._publishing = 0
        self._work = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._draining = False

    def admit(self, chunk: Chunk) -> None:
        """Take a chunk into work."""
        self._slots.add_all(chunk, sorted(chunk.open))
        self._work.set()

    async def run(self) -> None:
        """Work until drained."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_WAVES):
                group.create_task(self._work_off())

    async def _work_off(self) -> None:
        while not self._is_drained:
            await self._work.wait()
            self._work.clear()
            while self._ended or self._finished or self._could_begin:
                await self._wave()
            self._wait_for_providers()
        self._work.set()  # the others are to see it as well

    @property
    def waiting(self) -> int:
        """How many deliveries are here and have not begun."""
        return self._slots.waiting

    def wake(self) -> None:
        """Look again whether something may begin."""
        self._work.set()

    @property
    def _could_begin(self) -> bool:
        # Messages may still be handed in by an intake that had begun to read them; they go back unacked.
        return not self._draining and self._slots.could_take and self._providers.could_begin

    def _wait_for_providers(self) -> None:
        """Look again when a provider is ready for what has a slot and may not begin yet."""
        if self._slots.could_take and (seconds := self._providers.ready_in()) is not None:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = asyncio.get_running_loop().call_later(max(seconds, _SHORTEST_WAIT), self.wake)

    def drain(self) -> None:
        """Start nothing new; `run` returns when the attempts under way are settled and published."""
        self._draining = True
        self._slots.clear()
        self._work.set()

    async def settled(self) -> None:
        """Return when the acks of everything that is done have been handed to the broker's connection."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    @property
    def _is_drained(self) -> bool:
        under_way = self._slots.busy or self._waves or self._publishing
        return self._draining and not (under_way or self._ended or self._finished)

    async def _wave(self) -> None:
        ended, self._ended = self._ended, []
        finished, self._finished = self._finished, []
        items, permits = ([], []) if self._draining else self._take_distinct()
        request = LeaseRequest(secrets.randbits(62), items, self._lease_seconds) if items else None
        self._waves += 1
        try:
            answer = await self._store_wave(ended, request, [*finished, *_ending_with(ended)])
        finally:
            self._waves -= 1
        crash_point(CrashPoint.WORKER_AFTER_SETTLE) if ended else None
        following = self._take_settled(ended, answer)
        if request is not None:
            following += self._start(request, answer, permits)
        self._providers.give_back(permits)
        self._publish(following)

    def _take_distinct(self) -> tuple[list[Item], list[Permit[Any]]]:
        """Take what starts now, with as many permits at least.

        A second message for a delivery waits for the next wave, which refuses it.
        """
        distinct: dict[UUID, Item] = {}
        permits = self._providers.reserve(self._slots.takeable(self._largest_wave))
        for item in self._slots.take(len(permits)):
            if distinct.setdefault(item.id, item) is not item:
                self._slots.free(item.chunk.message.lane)
                self._slots.add(item)
        return list(distinct.values()), permits

    async def _store_wave(
        self, ended: Sequence[Ended], request: LeaseRequest | None, finished: Sequence[int]
    ) -> Answer:
        """Repeat the same wave until the database takes it: every part of it bears being done twice."""
        backoff = Backoff()
        while True:
            try:
                return await self._store.wave(ended, request, now=self._clock.monotonic(), finished=finished)
            except Exception as error:
                if not is_transient(error):
                    raise
                log.warning("wave_waits_for_the_database", reason=str(error) or type(error).__name__)
                await asyncio.sleep(backoff.next())

    def _take_settled(self, ended: Sequence[Ended], answer: Answer) -> list[Aftermath]:
        self._finished += _write_off(ended)
        count_attempts(ended)
        following, done = [], []
        for attempt in ended:
            after = after_settle(attempt, answer.settled)
            if after is None:
                done.append(attempt.item)
            else:
                following.append(after)
        self._close(done)
        return following

    def _start(self, request: LeaseRequest, answer: Answer, permits: list[Permit[Any]]) -> list[Aftermath]:
        lease = Lease(request.token)
        following, done = [], []
        for item in request.items:
            row = answer.judged.get(item.id)
            if row is not None and row["verdict"] == "leased":
                lease.open += 1
                self._spawn(self._send(item, lease, row, permits.pop()))
                continue
            self._slots.free(item.chunk.message.lane)
            if row is None:
                self._wait_for_row(item)
            elif (after := after_refused_lease(item, row)) is not None:
                following.append(after)
            else:
                done.append(item)
        if lease.open:
            crash_point(CrashPoint.WORKER_AFTER_LEASE)
        self._close(done)
        return following

    def _wait_for_row(self, item: Item) -> None:
        """Another session holds the row (or it is gone): look again shortly, for a minute at most."""
        if item.refusals >= _MAX_REFUSALS:
            log.warning("delivery_stays_locked", delivery_id=str(item.id))
            self._close([item])
            return
        again = replace(item, refusals=item.refusals + 1)
        asyncio.get_running_loop().call_later(_BUSY_SECONDS, self._requeue, again)

    def _requeue(self, item: Item) -> None:
        if not self._draining:
            self._slots.add(item)
            self._work.set()

    async def _send(self, item: Item, lease: Lease, row: Any, permit: Permit[Any]) -> None:
        delivery = leased_delivery(item, row)
        started = self._clock.monotonic()
        attempted = await self._attempts.attempt(delivery, permit)
        crash_point(CrashPoint.WORKER_AFTER_PROVIDER_REPLY)
        ended = self._clock.monotonic()
        sent = type(attempted.outcome) is Sent
        decision = SENT if sent else self._decide(item, delivery, row, attempted)
        self._ended.append(Ended(item, lease, delivery, attempted, decision, started, ended))
        self._slots.free(item.chunk.message.lane)
        self._work.set()

    def _decide(self, item: Item, delivery: LeasedDelivery, row: Any, attempted: Attempted) -> Decision:
        return decide(
            attempted.outcome,
            policy=item.chunk.event.policy,
            attempts=delivery.attempt - row["budget_start"],
            elapsed=(self._clock.now() - delivery.first_attempt_at).total_seconds(),
            uniform=random.uniform,
            spared=attempted.spared,
        )

    def _publish(self, following: Sequence[Aftermath]) -> None:
        if following:
            self._publishing += 1
            self._spawn(self._publish_until_confirmed(following))

    async def _publish_until_confirmed(self, following: Sequence[Aftermath]) -> None:
        """Publish before anything is acked. A process that stops first leaves an unacked message."""
        errands = errands_of(following)
        backoff = Backoff()
        while errands:
            results = await self._publisher.publish_many([errand.outgoing for errand in errands])
            crash_point(CrashPoint.WORKER_AFTER_RETRY_PUBLISH)
            paired = list(zip(errands, results, strict=True))
            self._close(
                Item(errand.chunk, delivery)
                for errand, result in paired
                if result is None
                for delivery in errand.ids
            )
            errands = [errand for errand, result in paired if result is not None]
            if errands:
                if self._draining:
                    break
                log.warning("retries_wait_for_the_broker", messages=len(errands))
                await asyncio.sleep(backoff.next())
        self._publishing -= 1
        self._work.set()

    def _close(self, items: Iterable[Item]) -> None:
        """These deliveries need nothing more here; ack the chunks that have no other open."""
        finished: dict[MessageSource, list[Chunk]] = {}
        for item in items:
            item.chunk.open.discard(item.id)
            if not item.chunk.open and item.chunk.source is not None:
                finished.setdefault(item.chunk.source, []).append(item.chunk)
        for source, chunks in finished.items():
            self._spawn(source.settle_many([(chunk.incoming, Ack()) for chunk in chunks]))

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A bug: the lease expires, the message comes again, the sweeper decides. Never silently.
            log.error("engine_task_failed", exc_info=error)


def _ending_with(ended: Sequence[Ended]) -> list[int]:
    """Return the tokens of leases that end with these: none of their attempts is open or in another wave."""
    leases = [lease for lease, many in _by_lease(ended).items() if many == lease.open]
    for lease in leases:
        lease.ending = True
    return [lease.token for lease in leases]


def _write_off(ended: Sequence[Ended]) -> list[int]:
    """Note that these are written down. Return the tokens of leases that ended in two waves at once."""
    tokens = []
    for lease, many in _by_lease(ended).items():
        lease.open -= many
        if lease.open == 0 and not lease.ending:
            tokens.append(lease.token)
    return tokens


def _by_lease(ended: Sequence[Ended]) -> Counter[Lease]:
    return Counter(attempt.lease for attempt in ended)
