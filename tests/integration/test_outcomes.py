"""What product services are told: a row with every change, a message for every row, at least once."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from carillon_dispatcher.sweepers.outcomes import IDS_PER_MESSAGE, OutcomeRelay
from carillon_shared.broker import BrokerSession, declare
from carillon_shared.contracts.codec import decode
from carillon_shared.contracts.messages import OutcomeBatch
from carillon_shared.db.pool import Pool
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.states import RESTING_STATUSES, DeliveryStatus
from carillon_shared.topology.carillon import OUTCOMES
from carillon_shared.topology.model import Topology
from support.broker_queues import plain_channel
from support.migrated import MigratedDatabase
from support.planning import Planning, RecordingPublisher, planning_in

_TOLD = RESTING_STATUSES | {DeliveryStatus.UNKNOWN}
_SET = """
    UPDATE carillon.deliveries
    SET status = $2::text::carillon.delivery_status, attempt = 1, lease_token = 1, next_attempt_at = now(),
        reason = 'expired',
        hold_reason = CASE $2 WHEN 'held' THEN 'throttled'::carillon.hold_reason END
    WHERE id = ANY ($1)
"""
_SETTLE = """
    SELECT * FROM carillon.settle(
        $1, ARRAY[1::bigint], $2, ARRAY[$3::text], ARRAY[NULL::text], ARRAY[1.0::float8], ARRAY[NULL::text],
        ARRAY['sent'], ARRAY[NULL::text], ARRAY[NULL::text], ARRAY[NULL::text], ARRAY[0.1::float8],
        ARRAY[0.1::float8], ARRAY['message'], ARRAY['smtp'], ARRAY[0::smallint], $4, $5, ARRAY[1::bigint])
"""


@pytest.fixture
async def planning(migrated: MigratedDatabase) -> AsyncIterator[Planning]:
    async with planning_in(migrated, people=6) as made:
        yield made


@pytest.fixture
async def worker(migrated: MigratedDatabase) -> AsyncIterator[Pool]:
    pool = await migrated.pool("carillon_email_worker")
    yield pool
    await pool.close()


@pytest.fixture
def publisher() -> RecordingPublisher:
    return RecordingPublisher()


@pytest.fixture
def relay(planning: Planning, publisher: RecordingPublisher) -> OutcomeRelay:
    return OutcomeRelay(planning.dispatcher, publisher, batch=100)


async def _deliveries(planning: Planning, channel: Channel = Channel.EMAIL) -> list[UUID]:
    event = await planning.world.add_event(channels=[channel])
    return await planning.world.add_deliveries(event, planning.world.people, channel)


async def _become(planning: Planning, ids: list[UUID], status: str) -> None:
    await planning.owner.execute(_SET, ids, status)


async def _settle(worker: Pool, ids: list[UUID], *statuses: str, reason: str | None = None) -> None:
    await worker.fetch(_SETTLE, ids, list(statuses), reason, min(ids), max(ids))


async def _rows(planning: Planning) -> int:
    count: int = await planning.owner.fetchval("SELECT count(*) FROM carillon.outcomes")
    return count


def _batches(publisher: RecordingPublisher) -> list[OutcomeBatch]:
    return [one.message for one in publisher.published if isinstance(one.message, OutcomeBatch)]


@pytest.mark.parametrize("status", list(DeliveryStatus))
async def test_states_at_rest_are_told_and_those_on_the_way_are_not(
    planning: Planning, relay: OutcomeRelay, publisher: RecordingPublisher, status: DeliveryStatus
) -> None:
    ids = await _deliveries(planning)
    await _become(planning, ids, status)
    assert await relay.relay() == (1 if status in _TOLD else 0)
    told = [(one.tenant, one.channel, one.state, sorted(one.delivery_ids)) for one in _batches(publisher)]
    assert told == ([("acme", "email", status, sorted(ids))] if status in _TOLD else [])


async def test_what_a_worker_settles_is_told_by_state_in_one_message_each(
    planning: Planning, relay: OutcomeRelay, publisher: RecordingPublisher, worker: Pool
) -> None:
    ids = sorted(await _deliveries(planning))
    await _become(planning, ids, "sending")
    await _settle(worker, ids[:3], "sent", "dead", "retrying", reason="retries_exhausted")
    await _settle(worker, ids[3:], "sent")
    assert await relay.relay() == 3
    told = {one.state: sorted(one.delivery_ids) for one in _batches(publisher)}
    assert told == {"sent": [ids[0], *ids[3:]], "dead": [ids[1]]}
    keys = {one.routing_key for one in publisher.published}
    assert keys == {"acme.email.sent", "acme.email.dead"}
    assert not any(one.mandatory for one in publisher.published)
    assert await _rows(planning) == 0
    assert await relay.relay() == 0


async def test_a_change_that_is_taken_back_is_not_told(planning: Planning, worker: Pool) -> None:
    ids = await _deliveries(planning)
    await _become(planning, ids, "sending")
    async with worker.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.fetch(_SETTLE, ids, ["sent"], None, min(ids), max(ids))
        await transaction.rollback()
    assert await _rows(planning) == 0


async def test_while_the_broker_is_away_outcomes_wait(
    planning: Planning, relay: OutcomeRelay, publisher: RecordingPublisher
) -> None:
    await _become(planning, await _deliveries(planning), "sent")
    publisher.away = True
    assert await relay.relay() == 0
    assert await _rows(planning) == 1
    publisher.away = False
    assert await relay.relay() == 1
    assert len(_batches(publisher)) == 1


async def test_what_the_broker_did_not_confirm_is_told_again(planning: Planning) -> None:
    class Failing(RecordingPublisher):
        connected = True  # a link that breaks while publishing

    await _become(planning, await _deliveries(planning), "sent")
    failing = Failing(away=True)
    assert await OutcomeRelay(planning.dispatcher, failing, batch=10).relay() == 1
    assert await _rows(planning) == 1
    await planning.owner.execute("UPDATE carillon.outcomes SET owed_at = now()")  # the claim runs out
    publisher = RecordingPublisher()
    assert await OutcomeRelay(planning.dispatcher, publisher, batch=10).relay() == 1
    assert len(_batches(publisher)) == 1
    assert await _rows(planning) == 0


async def test_two_dispatchers_tell_each_outcome_once(
    planning: Planning, publisher: RecordingPublisher
) -> None:
    for _ in range(20):
        await _become(planning, await _deliveries(planning), "sent")
    relays = [OutcomeRelay(planning.dispatcher, publisher, batch=4) for _ in range(2)]

    async def work(relay: OutcomeRelay) -> int:
        total = 0
        while found := await relay.relay():
            total += found
        return total

    assert sum(await asyncio.gather(*map(work, relays))) == 20
    ids = [delivery for one in _batches(publisher) for delivery in one.delivery_ids]
    assert len(ids) == len(set(ids)) == 20 * 6


async def test_a_large_change_is_cut_into_messages_that_fit(
    planning: Planning, relay: OutcomeRelay, publisher: RecordingPublisher
) -> None:
    await planning.world.add_people(2 * IDS_PER_MESSAGE, start=100)
    ids = await _deliveries(planning)
    await _become(planning, ids, "cancelled")
    await relay.relay()
    batches = _batches(publisher)
    assert [len(one.delivery_ids) for one in batches] == [IDS_PER_MESSAGE, IDS_PER_MESSAGE, 6]
    assert {delivery for one in batches for delivery in one.delivery_ids} == set(ids)
    assert len({one.message_id for one in publisher.published}) == 3


async def test_a_product_service_hears_of_the_states_it_binds_to(planning: Planning, broker_url: str) -> None:
    await declare(broker_url, topology=Topology((OUTCOMES,), (), ()))
    sent, other = await _deliveries(planning), await _deliveries(planning, Channel.WHATSAPP)
    async with (
        plain_channel(broker_url) as channel,
        BrokerSession(broker_url, name="test") as session,
    ):
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(OUTCOMES.name, "acme.email.sent")
        await session.publisher.wait_connected()
        await _become(planning, sent, "sent")
        await _become(planning, other, "sent")
        assert await OutcomeRelay(planning.dispatcher, session.publisher, batch=10).relay() == 2
        arrived = await queue.get(no_ack=True)
        assert arrived is not None
        message = decode(arrived.type, arrived.body)
        assert isinstance(message, OutcomeBatch)
        assert sorted(message.delivery_ids) == sorted(sent)
        assert await queue.get(no_ack=True, fail=False) is None  # WhatsApp is not what it bound to
