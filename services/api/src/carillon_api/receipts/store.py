"""Receipts in the database."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from carillon_shared.db.pool import Pool, transaction
from carillon_shared.domain.suppressions import SUPPRESSED_SECONDS

from carillon_api.receipts.receipt import Receipt, Report

# Providers repeat what is not answered within some seconds.
_STATEMENT_SECONDS = 8.0
_RECORD = (
    "SELECT known, fresh, changed FROM carillon.record_receipts($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
)

_SUPPRESS = "SELECT carillon.suppress_recipients($1, $2, $3, $4, $5, $6)"


class Written(NamedTuple):
    """What became of a group of receipts."""

    known: int  # of deliveries that are known
    fresh: int  # of these, not reported before
    changed: int  # deliveries that changed


async def record_receipts(pool: Pool, reports: Sequence[Report]) -> Written:
    """Write down receipts of one channel and provider; the same again does no harm.

    Raises what asyncpg raises.
    """
    rows = [(report.tenant_id, receipt) for report in reports for receipt in report.receipts]
    failures = [receipt.failure for _, receipt in rows]
    suppressing = _suppressions(rows)
    async with transaction(pool) as connection:
        row = await connection.fetchrow(
            _RECORD,
            [tenant_id for tenant_id, _ in rows],
            [receipt.delivery for _, receipt in rows],
            [receipt.message_id for _, receipt in rows],
            [receipt.state for _, receipt in rows],
            [receipt.at for _, receipt in rows],
            [failure.reason if failure else None for failure in failures],
            [failure.code if failure else None for failure in failures],
            [failure.error if failure else None for failure in failures],
            [receipt.phone for _, receipt in rows],
            reports[0].channel,
            reports[0].provider,
            timeout=_STATEMENT_SECONDS,
        )
        if suppressing:
            await connection.execute(_SUPPRESS, *suppressing, timeout=_STATEMENT_SECONDS)
    assert row is not None  # noqa: S101 - the function answers with one row
    return Written(row["known"], row["fresh"], row["changed"])


def _suppressions(rows: Sequence[tuple[int | None, Receipt]]) -> tuple[Any, ...]:
    """Return the arguments of `_SUPPRESS`; nothing where no receipt asks for it."""
    found = [
        (tenant_id, receipt, failure, failure.suppress)
        for tenant_id, receipt in rows
        if (failure := receipt.failure) and failure.suppress and receipt.delivery
    ]
    if not found:
        return ()
    return (
        [tenant_id for tenant_id, _, _, _ in found],
        [receipt.delivery for _, receipt, _, _ in found],
        [failure.address or receipt.phone for _, receipt, failure, _ in found],
        [reason.value for _, _, _, reason in found],
        [failure.error for _, _, failure, _ in found],
        [SUPPRESSED_SECONDS[reason] for _, _, _, reason in found],
    )
