"""The one checker: what was accepted x what the database says x what the providers received.

    report = await check(platform, flow.ledger)
    report.assert_clean()

Invariants: I0 a producer is never answered anything but 202, 429 or 503; I1 nothing lost; I2 nothing
unexpected; I3 no doubles beyond honest unknowns; I4 accounting; I5 retries as the policy says; I9 feeds
without gaps and counters that do not drift; I10 everything comes to rest; I11 no log has an address, a key or
a secret.
"""

from collections.abc import Callable, Iterable, Sequence

from support.faults.account_checks import accounts_add_up, retries_follow_policy
from support.faults.delivery_checks import no_dishonest_doubles, nothing_lost, nothing_unexpected
from support.faults.drained import left_over
from support.faults.evidence import Evidence, gather_evidence
from support.faults.feed_checks import feeds_have_no_gaps, listeners_saw_feeds
from support.faults.ledger import Ledger
from support.faults.listener import FeedListener
from support.faults.log_checks import logs_keep_secrets
from support.faults.report import Report, Violation
from support.platform import Platform

CHECKS: Sequence[Callable[[Evidence], Iterable[Violation]]] = (
    nothing_lost,
    nothing_unexpected,
    no_dishonest_doubles,
    accounts_add_up,
    retries_follow_policy,
    feeds_have_no_gaps,
)


async def check(
    platform: Platform, *ledgers: Ledger, seconds: float = 60.0, listeners: Sequence[FeedListener] = ()
) -> Report:
    """Wait until nothing is under way, for so long at most, then compare everything.

    Traffic must have ended and every service must run, or what is open would rightly stay open (I10).
    """
    pool = await platform.database.pool(max_size=2)
    try:
        still = await left_over(platform, pool, [ledger.tenant.id for ledger in ledgers], seconds=seconds)
        evidence = await gather_evidence(platform, pool, ledgers)
    finally:
        await pool.close()
    violations = [
        Violation("I0", ledger.tenant.slug, text) for ledger in ledgers for text in ledger.surprises
    ]
    violations += [Violation("I10", text, f"not at rest after {seconds:g} s") for text in still]
    violations += [found for judge in CHECKS for found in judge(evidence)]
    violations += logs_keep_secrets(platform, ledgers)
    violations += await listeners_saw_feeds(evidence, listeners)
    return Report(violations, _summary(evidence))


def _summary(evidence: Evidence) -> str:
    sizes = {name: len(evidence.tables[name]) for name in ("deliveries", "attempts", "feed_items")}
    repeated = sum(ledger.postponed for ledger in evidence.ledgers)
    return (
        f"{len(evidence.accepted())} events accepted ({repeated} posts repeated), "
        f"{', '.join(f'{size} {name}' for name, size in sizes.items())}, {len(evidence.received)} received"
    )
