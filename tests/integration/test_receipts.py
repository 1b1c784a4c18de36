"""What receipts do to deliveries, on a real PostgreSQL."""

import asyncio
import random
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from carillon_api.receipts.receipt import Failure, Receipt
from carillon_dispatcher.sweepers.due import DueDeliveries, after_overdue, after_unknown
from carillon_dispatcher.sweepers.leases import ExpiredLeases
from carillon_dispatcher.sweepers.receipts import PendingReceipts
from carillon_shared.db.pool import Pool
from carillon_shared.domain.states import Reason
from support.migrated import MigratedDatabase
from support.planning import RecordingPublisher
from support.receipts import PASSING, Reporting, receipt
from support.world import make_world

_RANKS = {"sent": 0, "failed": 1, "delivered": 2, "read": 3}
_PEOPLE = 40
_OPEN = ["held", "queued", "sending", "retrying", "unknown", "dead"]


@pytest.fixture
async def reporting(migrated: MigratedDatabase) -> AsyncIterator[Reporting]:
    owner, api = await migrated.pool(), await migrated.pool("carillon_api")
    yield Reporting(await make_world(owner, people=1), api)
    await api.close()
    await owner.close()


@pytest.fixture
async def dispatcher(migrated: MigratedDatabase) -> AsyncIterator[Pool]:
    pool = await migrated.pool("carillon_dispatcher")
    yield pool
    await pool.close()


def _shuffled(deliveries: list[UUID], *, draw: random.Random) -> list[Receipt]:
    """Return some of each delivery's receipts, some of them twice, in no order."""
    told: list[Receipt] = []
    for delivery in deliveries:
        states = draw.sample(sorted(_RANKS), draw.randint(1, 4))
        states += draw.choices(states, k=draw.randint(0, 3))
        told += [receipt(delivery, state) for state in states]
    draw.shuffle(told)
    return told


def _cut(told: list[Receipt], *, draw: random.Random) -> list[list[Receipt]]:
    batches = []
    while told:
        size = draw.randint(1, 12)
        batches.append(told[:size])
        told = told[size:]
    return batches


@pytest.mark.parametrize("seed", range(4))
async def test_the_highest_receipt_wins_in_any_order_and_however_often(
    reporting: Reporting, seed: int
) -> None:
    draw = random.Random(seed)  # noqa: S311 - to be the same each time
    deliveries = await reporting.deliveries("sent", _PEOPLE) + await reporting.deliveries("unknown", _PEOPLE)
    told = _shuffled(deliveries, draw=draw)
    highest = {
        delivery: max((one.state for one in told if one.delivery == delivery), key=lambda s: _RANKS[s])
        for delivery in deliveries
    }
    batches = _cut(told, draw=draw)
    for at_once in range(0, len(batches), 4):  # some of them at the same moment
        await asyncio.gather(*(reporting.report(*batch) for batch in batches[at_once : at_once + 4]))
    assert await reporting.statuses() == highest
    assert await reporting.count("receipts") == len({(one.delivery, one.state) for one in told})
    assert await reporting.count("due") == 0


@pytest.mark.parametrize("state", ["sent", "delivered", "read"])
@pytest.mark.parametrize("status", _OPEN)
async def test_what_the_provider_has_is_not_sent_again(reporting: Reporting, status: str, state: str) -> None:
    (delivery,) = await reporting.deliveries(status)
    assert await reporting.report(receipt(delivery, state)) == (1, 1, 1)
    row = await reporting.row(delivery)
    assert (row["status"], row["reason"], row["hold_reason"], row["next_attempt_at"]) == (
        state,
        None,
        None,
        None,
    )
    assert (row["provider"], row["provider_id"]) == ("cloud_api", "wamid.1")
    assert (await reporting.count("due"), await reporting.count("dead_letters")) == (0, 0)


async def test_a_delivery_that_never_began_is_not_believed_to_have_arrived(reporting: Reporting) -> None:
    (delivery,) = await reporting.deliveries("queued", attempt=0)
    assert await reporting.report(receipt(delivery, "read")) == (1, 1, 0)
    assert (await reporting.row(delivery))["status"] == "queued"


async def test_a_cancelled_one_that_had_left_says_so(reporting: Reporting) -> None:
    (delivery,) = await reporting.deliveries("cancelled")
    await reporting.report(receipt(delivery, "delivered"))
    assert (await reporting.row(delivery))["status"] == "delivered"


async def test_duplicates_are_written_once(reporting: Reporting) -> None:
    (delivery,) = await reporting.deliveries("sent")
    told = [receipt(delivery, "delivered")] * 3
    assert await reporting.report(*told) == (3, 1, 1)
    assert await reporting.report(*told) == (3, 0, 0)
    assert await reporting.count("receipts") == 1


async def test_a_receipt_reaches_only_its_own_tenant_and_channel(reporting: Reporting) -> None:
    other = await make_world(reporting.world.pool, slug="other")
    (delivery,) = await reporting.deliveries("sent")
    told = receipt(delivery, "read")
    assert await reporting.report(told, tenant_id=other.tenant_id) == (0, 0, 0)
    assert await reporting.report(receipt(uuid4(), "read")) == (0, 0, 0)
    await reporting.world.pool.execute("UPDATE carillon.deliveries SET channel = 'email'")
    assert await reporting.report(told) == (0, 0, 0)
    assert (await reporting.row(delivery))["status"] == "sent"
    assert await reporting.count("receipts") == 0


async def test_without_our_reference_the_message_is_found_by_its_own(reporting: Reporting) -> None:
    (delivery,) = await reporting.deliveries("sent")
    phone = await reporting.world.pool.fetchval("SELECT phone FROM carillon.subscribers")
    assert await reporting.report(receipt(None, "read", "wamid.2", phone=phone)) == (0, 0, 0)
    assert await reporting.report(receipt(None, "read", phone="+12025550199")) == (0, 0, 0)
    assert await reporting.report(receipt(None, "read", phone=phone)) == (1, 1, 1)
    assert (await reporting.row(delivery))["status"] == "read"


async def test_a_failure_after_sent_ends_the_delivery_with_its_reason(reporting: Reporting) -> None:
    bad_address, passing = await reporting.deliveries("sent", 2)
    await reporting.report(receipt(bad_address, "failed"), receipt(passing, "failed", failure=PASSING))
    for delivery, reason in ((bad_address, "invalid_address"), (passing, "provider_rejected")):
        row = await reporting.row(delivery)
        assert (row["status"], row["reason"]) == ("failed", reason)


async def test_the_failure_of_an_earlier_message_says_nothing_of_the_last(reporting: Reporting) -> None:
    (delivery,) = await reporting.deliveries("sent", attempt=2)
    await reporting.report(receipt(delivery, "failed", "wamid.0"))
    assert (await reporting.row(delivery))["status"] == "sent"
    await reporting.report(receipt(delivery, "failed", "wamid.1"))
    assert (await reporting.row(delivery))["status"] == "failed"


@pytest.mark.parametrize("status", ["read", "delivered", "failed"])
async def test_another_message_of_the_same_delivery_lowers_nothing(reporting: Reporting, status: str) -> None:
    (delivery,) = await reporting.deliveries(status, attempt=2)
    lower = {"read": "delivered", "delivered": "sent", "failed": "sent"}[status]
    assert await reporting.report(receipt(delivery, lower, "wamid.2")) == (1, 1, 0)
    assert (await reporting.row(delivery))["status"] == status
    await reporting.report(receipt(delivery, "read", "wamid.3"))
    assert (await reporting.row(delivery))["status"] == "read"


async def test_an_unknown_outcome_that_failed_for_good_is_not_tried_again(
    reporting: Reporting, dispatcher: Pool
) -> None:
    (delivery,) = await reporting.deliveries("unknown")
    await reporting.report(receipt(delivery, "failed"))
    assert (await reporting.row(delivery))["status"] == "failed"
    publisher = RecordingPublisher()
    await _sweep(dispatcher, publisher, "unknown")
    assert publisher.published == []


async def test_an_unknown_outcome_that_failed_in_passing_is_tried_again_after_a_pause(
    reporting: Reporting, dispatcher: Pool
) -> None:
    (delivery,) = await reporting.deliveries("unknown")
    await _at_most_once(reporting)  # it is known now that it did not arrive
    await reporting.report(receipt(delivery, "failed", failure=PASSING))
    row = await reporting.row(delivery)
    assert (row["status"], row["attempt"]) == ("retrying", 1)
    publisher = RecordingPublisher()
    await _sweep(dispatcher, publisher, "unknown", "retry")
    assert publisher.published == []  # its pause is not over
    await reporting.world.pool.execute("UPDATE carillon.due SET due_at = now()")
    await _sweep(dispatcher, publisher, "retry")
    (chunk,) = publisher.chunks()
    assert (chunk.delivery_ids, chunk.attempt) == ([delivery], 2)
    await reporting.report(receipt(delivery, "sent"))  # of the same message, late: it failed all the same
    assert (await reporting.row(delivery))["status"] == "retrying"


async def test_a_passing_failure_of_the_last_attempt_leaves_a_dead_letter(
    reporting: Reporting, dispatcher: Pool
) -> None:
    (delivery,) = await reporting.deliveries("unknown", attempt=50)
    await reporting.report(receipt(delivery, "failed", failure=PASSING))
    await reporting.world.pool.execute("UPDATE carillon.due SET due_at = now()")
    await _sweep(dispatcher, RecordingPublisher(), "retry")
    row = await reporting.row(delivery)
    assert (row["status"], row["reason"]) == ("dead", "retries_exhausted")


async def test_a_receipt_after_the_retry_began_leaves_nothing_to_retry(
    reporting: Reporting, dispatcher: Pool
) -> None:
    (delivery,) = await reporting.deliveries("unknown")
    publisher = RecordingPublisher()
    await _sweep(dispatcher, publisher, "unknown")
    assert (await reporting.row(delivery))["status"] == "retrying"
    assert len(publisher.chunks()) == 1
    await reporting.report(receipt(delivery, "delivered"))
    verdict = await reporting.world.pool.fetchval(
        "SELECT verdict FROM carillon.lease($1, '{2}', $2, $2, 8, 'test', 30)", [delivery], delivery
    )
    assert verdict == "stale"
    assert (await reporting.row(delivery))["status"] == "delivered"


async def test_a_killed_worker_s_delivery_ends_as_the_receipt_says(
    reporting: Reporting, dispatcher: Pool
) -> None:
    (delivery,) = await reporting.deliveries("sending")
    await reporting.report(receipt(delivery, "sent"))
    await ExpiredLeases(dispatcher, batch=10).expire()
    assert (await reporting.row(delivery))["status"] == "sent"
    assert (await reporting.count("leases"), await reporting.count("due")) == (0, 0)
    attempt = await reporting.world.pool.fetchrow("SELECT number, outcome, provider FROM carillon.attempts")
    assert attempt is not None
    assert tuple(attempt) == (1, "sent", "cloud_api")


@pytest.mark.parametrize(
    ("failure", "status"), [(Failure(Reason.OPTED_OUT, "c", "e"), "failed"), (PASSING, "retrying")]
)
async def test_a_failure_that_comes_while_sending_waits_for_the_end_of_it(
    reporting: Reporting, dispatcher: Pool, failure: Failure, status: str
) -> None:
    (delivery,) = await reporting.deliveries("sending")
    pending = PendingReceipts(dispatcher, batch=10)
    await reporting.report(receipt(delivery, "failed", failure=failure))
    assert await pending.apply() == 0
    assert (await reporting.row(delivery))["status"] == "sending"
    await ExpiredLeases(dispatcher, batch=10).expire()
    assert await pending.apply() == 1
    assert (await reporting.row(delivery))["status"] == status
    assert await pending.apply() == 0


async def test_a_failure_that_waited_is_nothing_against_a_delivery(
    reporting: Reporting, dispatcher: Pool
) -> None:
    (delivery,) = await reporting.deliveries("sending")
    await reporting.report(receipt(delivery, "failed"))
    await reporting.report(receipt(delivery, "delivered"))
    assert await PendingReceipts(dispatcher, batch=10).apply() == 1
    assert (await reporting.row(delivery))["status"] == "delivered"


async def _at_most_once(reporting: Reporting) -> None:
    await reporting.world.pool.execute(
        """INSERT INTO carillon.event_types (tenant_id, name, channels, on_unknown)
        VALUES ($1, 'message', '{whatsapp}', 'at_most_once')""",
        reporting.world.tenant_id,
    )


async def _sweep(dispatcher: Pool, publisher: RecordingPublisher, *kinds: str) -> None:
    """Bring on what is due, as the dispatcher does every few seconds."""
    rules = {"unknown": after_unknown, "retry": after_overdue}
    for kind in kinds:
        await DueDeliveries(
            dispatcher, publisher, kind=kind, what=kind, rule=rules[kind], batch=10
        ).bring_on()
