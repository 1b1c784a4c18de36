"""Messages that may be what kills this process.

When a process dies, every message it had taken comes again and counts one more delivery: the guilty one and
its neighbours reach the queue's limit together. So messages that came back often are handled one at a time,
in random order: each round settles about half of the innocent ones before it meets the one that kills, and
long before the limit that one is alone.
"""

import random
from collections.abc import Iterator, Sequence

from carillon_shared.broker.incoming import Incoming

SUSPECT_AFTER = 5
"""Deliveries that did not end, of the 20 that a work queue allows. Restarts alone seldom make so many."""

HEAD_START_SECONDS = 0.5
"""What else has arrived, in other queues too, is given so long before the first suspect is touched."""


def is_suspect(incoming: Incoming) -> bool:
    """Tell whether this message came back so often that it may be the reason."""
    return incoming.delivery_count >= SUSPECT_AFTER


def in_safe_order(batch: Sequence[Incoming]) -> Iterator[list[Incoming]]:
    """Return what may be handled together: first everything above suspicion, then each suspect alone."""
    innocent = [incoming for incoming in batch if not is_suspect(incoming)]
    if innocent:
        yield innocent
    suspects = [incoming for incoming in batch if is_suspect(incoming)]
    random.shuffle(suspects)
    for suspect in suspects:
        yield [suspect]
