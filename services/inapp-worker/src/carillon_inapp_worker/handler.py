"""One batch of chunks: read who they are for, render, write, announce."""

from collections.abc import Sequence
from uuid import UUID, uuid4

import structlog
from carillon_shared.broker.errors import PublishError
from carillon_shared.broker.outgoing import live
from carillon_shared.consumer.handling import Received
from carillon_shared.consumer.settlement import Ack, DeadLetter, Settlement
from carillon_shared.content import ContentError, RenderedInapp, RenderPlan, render_inapp
from carillon_shared.contracts.messages import DeadDelivery, WorkChunk
from carillon_shared.delivery.aftermath import Buried, errands_of
from carillon_shared.delivery.catalogue import Catalogue
from carillon_shared.delivery.engine import Publishing
from carillon_shared.delivery.moved import MovedLetters
from carillon_shared.delivery.work import Chunk
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.delivery import LeasedDelivery
from carillon_shared.lifecycle import CrashPoint, crash_point
from carillon_shared.topology.carillon import work_queue

from carillon_inapp_worker.counting import count_buried, count_written
from carillon_inapp_worker.feed import Addressee, Draft, Failure, FeedStore, Written
from carillon_inapp_worker.live import live_chunks

log = structlog.get_logger(__name__)

WRITE_SIZE = 500
"""Items of one statement: it locks as many rows."""


class FeedHandler:
    """Handles work chunks of the in-app channel. Everything in it bears being done twice."""

    def __init__(
        self, *, feed: FeedStore, catalogue: Catalogue, publisher: Publishing, moved: MovedLetters
    ) -> None:
        self._feed = feed
        self._catalogue = catalogue
        self._publisher = publisher
        self._moved = moved

    async def __call__(self, batch: list[Received]) -> Sequence[Settlement]:
        """Deliver a batch. Raises infrastructure errors: the batch then waits and is handled again."""
        chunks = await self._chunks(batch)
        drafts, failures = await self._render([chunk for chunk in chunks if isinstance(chunk, Chunk)])
        for start in range(0, len(drafts), WRITE_SIZE):
            written = await self._feed.write(drafts[start : start + WRITE_SIZE])
            crash_point(CrashPoint.INAPP_MID_FEED_WRITE)
            await self._announce(written)
        await self._bury(failures)
        return [Ack() if isinstance(chunk, Chunk) else chunk for chunk in chunks]

    async def _chunks(self, batch: list[Received]) -> list[Chunk | Settlement]:
        works = [one.message for one in batch if isinstance(one.message, WorkChunk)]
        again = {work.event_id for work in works if work.attempt > 1}
        events = await self._catalogue.load({work.event_id for work in works}, again=again)
        await self._hand_over([one for one in batch if isinstance(one.message, DeadDelivery)])
        chunks: list[Chunk | Settlement] = []
        for one in batch:
            if isinstance(one.message, DeadDelivery):
                chunks.append(Ack())  # handed over
            elif not isinstance(one.message, WorkChunk):
                chunks.append(DeadLetter(f"{one.incoming.type} is no work for the feed"))
            elif one.message.event_id not in events:
                chunks.append(Ack())  # retention has dropped the event and all there was to decide
            else:
                chunks.append(Chunk(one.incoming, one.message, events[one.message.event_id]))
        return chunks

    async def _hand_over(self, moved: Sequence[Received]) -> None:
        """Somebody wants these dead letters sent again, and used the broker's own tools."""
        for one in moved:
            if isinstance(one.message, DeadDelivery):
                lane = one.message.lane
                await self._moved.note(work_queue(Channel.INAPP, lane), [one.message])

    async def _render(self, chunks: Sequence[Chunk]) -> tuple[list[Draft], list[Failure]]:
        ids = [delivery for chunk in chunks for delivery in chunk.message.delivery_ids]
        addressees = await self._feed.recipients(ids) if ids else {}
        drafts: list[Draft] = []
        failures: list[Failure] = []
        for chunk in chunks:
            render = RenderPlan(render_inapp)
            for delivery in chunk.message.delivery_ids:
                addressee = addressees.pop(delivery, None)  # named twice in a batch, it is rendered once
                if addressee is not None:
                    # What has data of its own shares nothing.
                    one = RenderPlan(render_inapp) if addressee.own_data else render
                    _render_one(one, _delivery(chunk, delivery, addressee), chunk, drafts, failures)
        return drafts, failures

    async def _announce(self, written: Sequence[Written]) -> None:
        """Tell open streams; they find what is lost here in the database within half a minute."""
        count_written(written)
        messages = [live(chunk, message_id=str(uuid4())) for chunk in live_chunks(written)]
        lost = [error for error in await self._publisher.publish_many(messages) if error is not None]
        if lost:
            log.warning("live_messages_lost", messages=len(lost), reason=str(lost[0]))

    async def _bury(self, failures: Sequence[Failure]) -> None:
        """Dead letters are published even for rows buried before: a crash may have come between the two."""
        if not failures:
            return
        buried = await self._feed.bury(failures)
        count_buried([failure for failure in failures if failure.id in buried])
        errands = errands_of([_buried(failure) for failure in failures])
        for result in await self._publisher.publish_many([errand.outgoing for errand in errands]):
            if isinstance(result, PublishError):
                raise result


def _delivery(chunk: Chunk, delivery: UUID, addressee: Addressee) -> LeasedDelivery:
    return LeasedDelivery(
        id=delivery,
        event=chunk.event.content.corrected(addressee.own_data),
        recipient=addressee.recipient,
        channel=chunk.message.channel,
        lane=chunk.message.lane,
        attempt=chunk.message.attempt,
        first_attempt_at=chunk.event.content.time,
        templates=chunk.event.templates,
    )


def _render_one(
    render: RenderPlan[RenderedInapp],
    delivery: LeasedDelivery,
    chunk: Chunk,
    drafts: list[Draft],
    failures: list[Failure],
) -> None:
    try:
        drafts.append(Draft(chunk, delivery.id, delivery.event, render(delivery)))
    except ContentError as error:
        failures.append(Failure(chunk, delivery.id, error))


def _buried(failure: Failure) -> Buried:
    return Buried(failure.chunk, failure.id, failure.chunk.message.attempt, failure.error.reason)
