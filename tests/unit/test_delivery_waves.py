"""The engine's bookkeeping: which send slots a wave takes, and when the row of a lease may go."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock
from uuid import UUID

from carillon_shared.broker.incoming import Incoming
from carillon_shared.contracts.messages import WorkChunk
from carillon_shared.delivery.attempt import Attempted
from carillon_shared.delivery.engine import DeliveryEngine, _ending_with, _write_off
from carillon_shared.delivery.slots import Slots
from carillon_shared.delivery.store import Answer, LeaseRequest
from carillon_shared.delivery.work import Chunk, Ended, EventWork, Item, Lease
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.delivery import EventContent, LeasedDelivery, Recipient, TenantProfile
from carillon_shared.domain.lanes import Lane
from carillon_shared.domain.outcomes import Sent
from carillon_shared.domain.states import DeliveryStatus
from carillon_shared.retry.decision import Decision
from carillon_shared.retry.policy import policy_for

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EVENT = EventContent(UUID(int=1), TenantProfile("acme", "Acme"), "message", "general", "/", None, NOW, {})


def item(number: int, lane: Lane = Lane.NORMAL, *, tenant: str = "acme") -> Item:
    message = WorkChunk(
        event_id=EVENT.id,
        tenant=tenant,
        channel=Channel.EMAIL,
        lane=lane,
        attempt=1,
        delivery_ids=[UUID(int=number)],
    )
    incoming = Incoming(b"", None, None, {}, "", "", False, None, 1, 1)  # noqa: FBT003 - as it comes off the wire
    work = EventWork(EVENT, {}, policy_for({}, Channel.EMAIL))
    return Item(Chunk(incoming, message, work, None, {UUID(int=number)}), UUID(int=number))


def ended(one: Item, lease: Lease) -> Ended:
    person = Recipient("u", 1, None, None, None, None)
    delivery = LeasedDelivery(one.id, EVENT, person, Channel.EMAIL, Lane.NORMAL, 1, NOW, {})
    return Ended(one, lease, delivery, Attempted(Sent(), "smtp"), Decision(DeliveryStatus.SENT), 0.0, 1.0)


def filled(slots: Slots, lane: Lane, many: int, *, start: int = 1) -> None:
    for number in range(start, start + many):
        slots.add(item(number, lane))


def test_a_wave_takes_no_more_than_its_share_and_no_more_than_is_free() -> None:
    slots = Slots(16)
    filled(slots, Lane.NORMAL, 40)
    assert len(slots.take(10)) == 10
    assert len(slots.take(10)) == 4  # an eighth stays free for critical work
    assert not slots.could_take
    slots.free(Lane.NORMAL)
    assert slots.could_take
    assert (len(slots.take(10)), slots.busy) == (1, 14)


def test_the_most_urgent_lane_comes_first_and_bulk_gets_half() -> None:
    slots = Slots(16)
    filled(slots, Lane.BULK, 20)
    filled(slots, Lane.CRITICAL, 3, start=100)
    lanes = [one.chunk.message.lane for one in slots.take(100)]
    assert lanes == [Lane.CRITICAL] * 3 + [Lane.BULK] * 8


def test_a_lease_ends_with_the_wave_that_has_the_last_of_it() -> None:
    lease = Lease(7, open=2)
    first, second = ended(item(1), lease), ended(item(2), lease)
    assert _ending_with([first]) == []
    assert _write_off([first]) == []
    assert _ending_with([second]) == [7]
    assert _write_off([second]) == []


def test_a_lease_that_ends_in_two_waves_at_once_goes_after_both_are_written_down() -> None:
    lease = Lease(7, open=2)
    first, second = ended(item(1), lease), ended(item(2), lease)
    assert _ending_with([first]) == []
    assert _ending_with([second]) == []
    assert _write_off([second]) == []
    assert _write_off([first]) == [7]


def test_several_leases_in_one_wave_are_told_apart() -> None:
    whole, half = Lease(1, open=1), Lease(2, open=2)
    wave = [ended(item(1), whole), ended(item(2), half)]
    assert _ending_with(wave) == [1]
    assert _write_off(wave) == []
    assert (whole.open, half.open) == (0, 1)


class SlowStore:
    """A database whose answer to a lease takes its time, and then refuses everything."""

    def __init__(self) -> None:
        self.waves = 0
        self.asked = asyncio.Event()
        self.answering = asyncio.Event()

    async def wave(self, _: Sequence[Ended], request: LeaseRequest | None, **__: Any) -> Answer:
        self.waves += 1
        assert self.waves < 10, "waves of nothing"
        if request is None:
            return Answer({}, {})
        self.asked.set()
        await self.answering.wait()
        return Answer({}, {one.id: {"verdict": "stale"} for one in request.items})  # type: ignore[misc]  # as a row


async def test_what_is_handed_in_while_draining_is_left_and_the_engine_ends() -> None:
    store, providers = SlowStore(), Mock(could_begin=True, reserve=lambda wanted: [None] * wanted)
    providers.ready_in.return_value = None
    engine = DeliveryEngine(
        store=store,  # type: ignore[arg-type]  # plays the database
        attempts=Mock(),
        providers=providers,
        publisher=Mock(),
        concurrency=4,
        attempt_limit=1,
        clock=Mock(),
    )
    late = item(2).chunk
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(engine.run())
        engine.admit(item(1).chunk)
        await store.asked.wait()
        engine.drain()
        engine.admit(late)
        await asyncio.sleep(0.01)  # each of the waves has had its turn
        store.answering.set()
    assert (store.waves, late.open) == (1, {UUID(int=2)})


def test_tenants_take_turns_so_that_one_item_does_not_wait_for_ten_thousand() -> None:
    slots = Slots(64)
    for number in range(10_000):
        slots.add(item(number + 1))
    slots.add(item(20_000, tenant="small"))
    assert UUID(int=20_000) in [one.id for one in slots.take(2)]
    assert slots.waiting == 9_999
