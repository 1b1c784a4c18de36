"""One change of a feed: written in one transaction, answered with the new counts, then announced."""

from dataclasses import dataclass
from uuid import UUID

from carillon_shared.db.pool import tenant_transaction

from carillon_api.authentication.callers import SubscriberToken
from carillon_api.inbox.changing import Change, change_items, mark_all
from carillon_api.inbox.models import Counts, InboxItem
from carillon_api.inbox.person import number_of
from carillon_api.inbox.reading import read_counts, read_items
from carillon_api.services import Services
from carillon_api.stream.announcing import MAX_ITEMS
from carillon_api.stream.frames import item_state


@dataclass(frozen=True, slots=True)
class Done:
    """What a change came to."""

    items: list[InboxItem]  # those asked for, as they are now; enough of them when all were
    counts: Counts
    changed: frozenset[UUID]  # those that are different from before


async def change(
    services: Services, caller: SubscriberToken, what: Change, *, ids: list[UUID] | None
) -> Done:
    """Change these items, or with None all that are read. Raises `Problem` 404 for an unknown person."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        number = await number_of(connection, caller.subscriber)
        changed = await change_items(connection, number, what, ids=ids)
        items = await read_items(connection, number, changed[: MAX_ITEMS + 1] if ids is None else ids)
        counts = await read_counts(connection, number)
    done = Done(items, counts, frozenset(changed))
    if changed:
        await _announce(services, caller, done, deleted=what.deleted)
    return done


async def mark(services: Services, caller: SubscriberToken, *, read: bool) -> Counts:
    """Mark everything read, or only seen. Raises `Problem` 404 for an unknown person."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        number = await number_of(connection, caller.subscriber)
        marked = await mark_all(connection, number, read=read)
        counts = marked or await read_counts(connection, number)
    if marked:
        await services.announcer.announce(
            tenant=caller.tenant,
            subscriber=caller.subscriber,
            counts=counts,
            change={"all": {"read" if read else "seen": True}},
        )
    return counts


async def _announce(services: Services, caller: SubscriberToken, done: Done, *, deleted: bool) -> None:
    if deleted:
        states = [{"id": str(item), "deleted": True} for item in done.changed]
    else:
        states = [item_state(item.model_dump(mode="json")) for item in done.items if item.id in done.changed]
    await services.announcer.announce(
        tenant=caller.tenant, subscriber=caller.subscriber, counts=done.counts, change={"items": states}
    )
