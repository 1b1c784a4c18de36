"""Receipts in the database."""

from collections.abc import Sequence
from typing import NamedTuple

from carillon_shared.db.pool import CONNECT_SECONDS, Pool

from carillon_api.receipts.receipt import Report

# Providers repeat what is not answered within some seconds.
_STATEMENT_SECONDS = 8.0
_RECORD = (
    "SELECT known, fresh, changed FROM carillon.record_receipts($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
)


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
    async with pool.acquire(timeout=CONNECT_SECONDS) as connection:
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
    assert row is not None  # noqa: S101 - the function answers with one row
    return Written(row["known"], row["fresh"], row["changed"])
