"""Gets one batch handled: retries what passes, isolates what does not."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from carillon_shared.broker.backoff import Backoff
from carillon_shared.broker.cancellation import library_cancellation
from carillon_shared.broker.errors import BrokerError
from carillon_shared.broker.incoming import Incoming
from carillon_shared.consumer.settlement import Ack, DeadLetter, Requeue, Settlement
from carillon_shared.consumer.source import MessageSource
from carillon_shared.consumer.suspects import in_safe_order
from carillon_shared.contracts.codec import UndecodableMessageError, decode
from carillon_shared.contracts.messages import Message
from carillon_shared.telemetry import metrics

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Received:
    """A message that could be read."""

    message: Message
    incoming: Incoming


Handler = Callable[[list[Received]], Awaitable[Sequence[Settlement]]]
Action = Callable[[], Awaitable[Sequence[Settlement]]]
PoisonHandler = Callable[[Incoming, UndecodableMessageError], Awaitable[None]]


class BatchHandling:
    """Handles batches of one source.

    `is_transient` tells errors of the infrastructure, which pass by themselves, from bugs.
    """

    def __init__(
        self,
        source: MessageSource,
        *,
        handler: Handler,
        on_poison: PoisonHandler,
        is_transient: Callable[[BaseException], bool],
        stopping: asyncio.Event,
    ) -> None:
        self._source = source
        self._handler = handler
        self._on_poison = on_poison
        self._is_transient = is_transient
        self._stopping = stopping

    async def handle(self, batch: list[Incoming]) -> None:
        """Bring every message of the batch to its end, or give up when the channel or the process does."""
        for group in in_safe_order(batch):
            await self._handle_group(group)

    async def _handle_group(self, batch: list[Incoming]) -> None:
        readable: list[Received] = []
        for incoming in batch:
            try:
                readable.append(Received(decode(incoming.type, incoming.body), incoming))
            except UndecodableMessageError as error:
                await self._poison(incoming, error)
        if readable:
            await self._handle_together(readable)

    async def _handle_together(self, batch: list[Received]) -> None:
        incomings = [received.incoming for received in batch]
        try:
            await self._until_settled(incomings, lambda: self._call(batch))
        except Exception as error:  # noqa: BLE001 - any bug in a handler; each message is tried alone
            self._note_bug(incomings, error)
            for received in batch:
                await self._or_dead_letter(received.incoming, partial(self._call, [received]))

    async def _poison(self, incoming: Incoming, error: UndecodableMessageError) -> None:
        async def store() -> Sequence[Settlement]:
            await self._on_poison(incoming, error)
            return [Ack()]

        await self._or_dead_letter(incoming, store)

    async def _or_dead_letter(self, incoming: Incoming, act: Action) -> None:
        try:
            await self._until_settled([incoming], act)
        except Exception as error:  # noqa: BLE001 - any bug in a handler; this message is its cause
            self._note_bug([incoming], error)
            await self._settle([incoming], [DeadLetter(f"{type(error).__name__}: {error}")])

    async def _until_settled(self, batch: list[Incoming], act: Action) -> None:
        """Act until it works, waiting between transient failures; other failures are raised.

        Nothing is requeued meanwhile, so that an outage does not count towards the delivery limit.
        """
        backoff = Backoff()
        while self._source.is_current(batch[0]):
            try:
                with library_cancellation():
                    settlements = await act()
            except Exception as error:
                if not (isinstance(error, BrokerError) or self._is_transient(error)):
                    raise
                self._note_transient(batch, error)
            else:
                await self._settle(batch, settlements)
                return
            if await self._stopped_within(backoff.next()):
                await self._settle(batch, [Requeue()] * len(batch))
                return

    async def _call(self, batch: list[Received]) -> Sequence[Settlement]:
        queue = self._source.queue
        metrics.CONSUMER_BATCH_SIZE.labels(queue).observe(len(batch))
        with metrics.CONSUMER_HANDLER_SECONDS.labels(queue).time():
            settlements = await self._handler(batch)
        if len(settlements) != len(batch):
            raise ValueError(f"the handler settled {len(settlements)} of {len(batch)} messages")
        return settlements

    async def _settle(self, batch: list[Incoming], settlements: Sequence[Settlement]) -> None:
        settled = list(zip(batch, settlements, strict=True))
        for incoming, settlement in settled:
            if isinstance(settlement, DeadLetter):
                self._note_dead_letter(incoming, settlement)
        await self._source.settle_many(settled)

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    def _note_transient(self, batch: list[Incoming], error: Exception) -> None:
        metrics.CONSUMER_FAILURES.labels(self._source.queue, "transient").inc()
        log.warning(
            "batch waits and is tried again",
            queue=self._source.queue,
            messages=len(batch),
            reason=str(error) or type(error).__name__,
        )

    def _note_bug(self, batch: list[Incoming], error: Exception) -> None:
        metrics.CONSUMER_FAILURES.labels(self._source.queue, "bug").inc()
        log.error(
            "handler failed",
            queue=self._source.queue,
            message_ids=[incoming.message_id for incoming in batch[:20]],
            exc_info=error,
        )

    def _note_dead_letter(self, incoming: Incoming, settlement: DeadLetter) -> None:
        log.error(
            "message dead-lettered",
            queue=self._source.queue,
            message_id=incoming.message_id,
            reason=settlement.reason,
        )
