"""Which sweeps there are, and how often each runs."""

from collections.abc import Mapping, Sequence

from carillon_shared.broker.window import Room
from carillon_shared.clock import SystemClock
from carillon_shared.db.pool import Pool
from carillon_shared.domain.lanes import Lane

from carillon_dispatcher.planning.store import PlanStore
from carillon_dispatcher.settings import DispatcherSettings
from carillon_dispatcher.sweepers.cancellations import Cancellations
from carillon_dispatcher.sweepers.completion import Completion
from carillon_dispatcher.sweepers.dead_queues import DeadQueue, DeadQueues
from carillon_dispatcher.sweepers.due import DueDeliveries, after_overdue, after_unknown
from carillon_dispatcher.sweepers.expiry import Expiry
from carillon_dispatcher.sweepers.holds import DueHolds
from carillon_dispatcher.sweepers.housekeeping import Housekeeping
from carillon_dispatcher.sweepers.leases import ExpiredLeases
from carillon_dispatcher.sweepers.loop import Sweep
from carillon_dispatcher.sweepers.lost import LostChunks
from carillon_dispatcher.sweepers.moved import BATCH as MOVED_BATCH
from carillon_dispatcher.sweepers.moved import MovedDeadLetters
from carillon_dispatcher.sweepers.open_events import OpenEvents
from carillon_dispatcher.sweepers.operations import Operations
from carillon_dispatcher.sweepers.outcomes import OutcomeRelay
from carillon_dispatcher.sweepers.ranges import StalledRanges
from carillon_dispatcher.sweepers.receipts import PendingReceipts
from carillon_dispatcher.sweepers.reconciling import Reconciliations
from carillon_dispatcher.sweepers.relay import Relay, RelayPublisher
from carillon_dispatcher.sweepers.retention import Retention
from carillon_dispatcher.sweepers.snoozes import Snoozes

_BATCH = 1000
_EVENT_PAGE = 1000
_LOST_PAGE = 200
_LEASES = 100  # each of up to a few hundred deliveries
_KEYS = 5000
_OUTCOMES = 500  # rows; each is of one statement, so of up to some hundred deliveries


def sweeps(
    settings: DispatcherSettings,
    pool: Pool,
    publisher: RelayPublisher,
    store: PlanStore,
    *,
    queues: Sequence[DeadQueue],
    windows: Mapping[Lane, Room],
) -> list[Sweep]:
    """Return every sweep of a dispatcher."""
    relay = Relay(pool, publisher, windows=windows, batch=settings.dispatcher_relay_batch)
    outcomes = OutcomeRelay(pool, publisher, batch=_OUTCOMES)
    holds = DueHolds(pool, publisher, batch=_BATCH)
    snoozes = Snoozes(pool, publisher, batch=_BATCH)
    dead_queues = DeadQueues(queues, interval=settings.dispatcher_dead_queue_interval, clock=SystemClock())
    reconciliations = Reconciliations(queues, pool, publisher)
    moved = MovedDeadLetters(pool, publisher)
    operations = Operations(pool, publisher, on_end=dead_queues.ask)
    completion = Completion(pool, store, OpenEvents(page=_EVENT_PAGE))
    return [
        Sweep("relay", settings.dispatcher_relay_interval, relay.relay, settings.dispatcher_relay_batch),
        Sweep("outcomes", settings.dispatcher_outcome_interval, outcomes.relay, _OUTCOMES),
        Sweep("holds", settings.dispatcher_hold_interval, holds.release, _BATCH),
        Sweep("snoozes", settings.dispatcher_hold_interval, snoozes.wake, _BATCH),
        Sweep("completion", settings.dispatcher_completion_interval, completion.sweep, _EVENT_PAGE),
        Sweep("cancellations", settings.dispatcher_operation_interval, Cancellations(pool).sweep, 1),
        Sweep("operations", settings.dispatcher_operation_interval, operations.work, 1),
        Sweep("reconciliations", settings.dispatcher_operation_interval, reconciliations.sweep, 1),
        Sweep("moved-dead-letters", settings.dispatcher_operation_interval, moved.sweep, MOVED_BATCH),
        Sweep("dead-queues", settings.dispatcher_operation_interval, dead_queues.sweep, 1),
        *_rescues(settings, pool, publisher),
        *_housekeeping(settings, pool, publisher),
    ]


def _rescues(settings: DispatcherSettings, pool: Pool, publisher: RelayPublisher) -> list[Sweep]:
    interval = settings.dispatcher_rescue_interval
    ranges = StalledRanges(pool, publisher, seconds=settings.dispatcher_stalled_seconds, batch=_BATCH)
    leases = ExpiredLeases(pool, batch=_LEASES)
    lost = LostChunks(
        pool,
        publisher,
        OpenEvents(page=_LOST_PAGE),
        margin=settings.dispatcher_lost_margin,
        batch=_BATCH,
        clock=SystemClock(),
    )
    grace = settings.dispatcher_unknown_grace
    expiry = Expiry(pool, batch=_BATCH)
    unknown = DueDeliveries(
        pool, publisher, kind="unknown", what="unknown", rule=after_unknown, batch=_BATCH, grace=grace
    )
    retries = DueDeliveries(pool, publisher, kind="retry", what="retrying", rule=after_overdue, batch=_BATCH)
    return [
        Sweep("stalled-ranges", interval, ranges.rescue, _BATCH),
        Sweep("expired-leases", interval, leases.expire, _LEASES),
        Sweep("lost-chunks", interval, lost.rescue, _BATCH),
        Sweep("pending-receipts", interval, PendingReceipts(pool, batch=_BATCH).apply, _BATCH),
        Sweep("unknown", interval, unknown.bring_on, _BATCH),
        Sweep("overdue-retries", interval, retries.bring_on, _BATCH),
        Sweep("expired-events", interval, expiry.sweep, _BATCH),
        Sweep("expired-approvals", interval, expiry.sweep_pending, _BATCH),
    ]


def _housekeeping(settings: DispatcherSettings, pool: Pool, publisher: RelayPublisher) -> list[Sweep]:
    house = Housekeeping(
        pool,
        duplicate_days=settings.dispatcher_duplicate_days,
        webhook_days=settings.dispatcher_webhook_keep_days,
        digest_days=settings.retention_delivery_days,
        poison_days=settings.retention_dead_letter_days,
        batch=_KEYS,
    )
    retention = Retention(
        pool, publisher, days=settings.kept_days, dead_letter_days=settings.retention_dead_letter_days
    )
    interval = settings.dispatcher_housekeeping_interval
    return [
        Sweep("partitions", interval, house.make_partitions, 1),
        Sweep("retention", interval, retention.sweep, 1),
        Sweep("outdated", interval, house.clear_away, _KEYS),
        Sweep("outdated-webhooks", interval, house.clear_webhooks, _KEYS),
        Sweep("outdated-slots", interval, house.clear_slots, _KEYS),
        Sweep("outdated-collapse-keys", interval, house.clear_collapsed, _KEYS),
    ]
