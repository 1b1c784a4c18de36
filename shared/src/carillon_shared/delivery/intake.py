"""From broker messages to chunks in work."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol
from uuid import UUID

import structlog

from carillon_shared.broker.backoff import Backoff
from carillon_shared.broker.incoming import Incoming
from carillon_shared.consumer.settlement import Ack, DeadLetter
from carillon_shared.consumer.source import MessageSource
from carillon_shared.consumer.suspects import in_safe_order, is_suspect, with_head_start
from carillon_shared.contracts.codec import UndecodableMessageError, decode
from carillon_shared.contracts.messages import DeadDelivery, WorkChunk
from carillon_shared.db.transient import is_transient
from carillon_shared.db.uuids import quick
from carillon_shared.delivery.moved import MovedLetters
from carillon_shared.delivery.poison import PoisonStore
from carillon_shared.delivery.work import Chunk, EventWork

_BATCH = 256
_LOOK_SECONDS = 0.02

log = structlog.get_logger(__name__)


class LoadEvents(Protocol):
    """Reads events; see `carillon_shared.delivery.catalogue.Catalogue.load`."""

    def __call__(
        self, event_ids: Collection[UUID], /, *, again: Collection[UUID]
    ) -> Awaitable[dict[UUID, EventWork]]:
        """Return those of them that exist."""


class ChunkIntake:
    """Reads one queue: decodes, reads the events of a whole batch at once, hands chunks on."""

    def __init__(
        self,
        source: MessageSource,
        *,
        load_events: LoadEvents,
        poison: PoisonStore,
        moved: MovedLetters,
        admit: Callable[[Chunk], None],
    ) -> None:
        self._source = source
        self._load_events = load_events
        self._poison = poison
        self._moved = moved
        self._admit = admit

    async def run(self) -> None:
        """Take messages until the source drains."""
        while batch := await self._source.get_batch(_BATCH):
            for group in in_safe_order(await with_head_start(self._source, batch, limit=_BATCH)):
                begun = await self._take(group)
                if is_suspect(group[0]):
                    await self._until_over(begun)

    async def _take(self, batch: Sequence[Incoming]) -> list[Chunk]:
        readable = [
            (incoming, message)
            for incoming in batch
            if (message := await self._decoded(incoming)) is not None
        ]
        events = await self._events([message for _, message in readable])
        begun = [
            await self._begin(incoming, message, events.get(message.event_id))
            for incoming, message in readable
        ]
        return [chunk for chunk in begun if chunk is not None]

    async def _until_over(self, chunks: Sequence[Chunk]) -> None:
        """Wait until nothing of these is open here, the channel is lost, or no more is begun."""
        while any(chunk.open and self._source.is_current(chunk.incoming) for chunk in chunks):
            if self._source.draining:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def _decoded(self, incoming: Incoming) -> WorkChunk | None:
        try:
            message = decode(incoming.type, incoming.body)
            if isinstance(message, DeadDelivery):
                await self._hand_over(incoming, message)
                return None
            if not isinstance(message, WorkChunk):
                raise UndecodableMessageError(f"{incoming.type} is no work for a channel")  # noqa: TRY301 - one end for all
        except UndecodableMessageError as error:
            reason = str(error)
            await self._repeat(lambda: self._poison.keep(self._source.queue, incoming, reason))
            await self._source.settle(incoming, DeadLetter(reason))
            return None
        return message

    async def _hand_over(self, incoming: Incoming, message: DeadDelivery) -> None:
        """Somebody wants this dead letter sent again, and used the broker's own tools."""
        await self._repeat(lambda: self._moved.note(self._source.queue, [message]))
        await self._source.settle(incoming, Ack())

    async def _begin(self, incoming: Incoming, message: WorkChunk, event: EventWork | None) -> Chunk | None:
        if event is None:
            # Retention has dropped the event, and with it everything there was to decide.
            log.warning("work_for_a_dropped_event", event_id=str(message.event_id), queue=self._source.queue)
            await self._source.settle(incoming, Ack())
            return None
        chunk = Chunk(incoming, message, event, self._source, set(quick(message.delivery_ids)))
        self._admit(chunk)
        return chunk

    async def _events(self, messages: Sequence[WorkChunk]) -> dict[UUID, EventWork]:
        ids = {message.event_id for message in messages}
        again = {message.event_id for message in messages if message.attempt > 1}
        found: dict[UUID, EventWork] = {}

        async def load() -> None:
            found.update(await self._load_events(ids, again=again))

        await self._repeat(load)
        return found

    async def _repeat(self, action: Callable[[], Awaitable[None]]) -> None:
        """Do it until the database is there; messages wait unacked meanwhile, and nothing is requeued."""
        backoff = Backoff()
        while True:
            try:
                return await action()
            except Exception as error:
                if not is_transient(error):
                    raise
                log.warning("intake_waits_for_the_database", reason=str(error) or type(error).__name__)
                await asyncio.sleep(backoff.next())
