"""Messages that may be what kills this process.

When a process dies, every message it had taken comes again and counts one more delivery: the guilty one and
its neighbours reach the queue's limit together. So messages that came back often are handled one at a time,
in random order: each round settles about half of the innocent ones before it meets the one that kills, and
long before the limit that one is alone.
"""

import asyncio
import random
from collections.abc import Iterator, Sequence

from carillon_shared.broker.incoming import Incoming
from carillon_shared.consumer.source import MessageSource

SUSPECT_AFTER = 5
"""Deliveries that did not end, of the 20 that a work queue allows. Restarts alone seldom make so many."""

_HEAD_START_SECONDS = 0.5


def is_suspect(incoming: Incoming) -> bool:
    """Tell whether this message came back so often that it may be the reason."""
    return incoming.delivery_count >= SUSPECT_AFTER


async def with_head_start(source: MessageSource, batch: list[Incoming], *, limit: int) -> list[Incoming]:
    """Give what else has arrived, in other queues too, some time before a suspect is touched.

    Returns the batch with whatever has come after it, so that the order is drawn among all of them: the
    guilty one may be the first in its queue.
    """
    if not any(map(is_suspect, batch)):
        return batch
    await asyncio.sleep(_HEAD_START_SECONDS)
    room = limit - len(batch)
    return batch + (await source.get_batch(room, wait=0) if room > 0 else [])


def in_safe_order(batch: Sequence[Incoming]) -> Iterator[list[Incoming]]:
    """Return what may be handled together: first everything above suspicion, then each suspect alone."""
    innocent = [incoming for incoming in batch if not is_suspect(incoming)]
    if innocent:
        yield innocent
    suspects = [incoming for incoming in batch if is_suspect(incoming)]
    random.shuffle(suspects)
    for suspect in suspects:
        yield [suspect]
