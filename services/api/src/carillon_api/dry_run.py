"""`?dry_run=true`: everything is checked and answered as if it were stored, and nothing is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated

from carillon_shared.db.pool import Connection, Pool, tenant_transaction
from fastapi import Depends, Query

_Asked = Annotated[bool, Query(description="Check it and answer as if it were stored, but store nothing.")]


def _asked(dry_run: _Asked = False) -> bool:  # noqa: FBT002 - FastAPI reads the default here
    return dry_run


DryRun = Annotated[bool, Depends(_asked)]


class _NotKept(Exception):  # noqa: N818 - no error: it takes the transaction back
    pass


@asynccontextmanager
async def writing(pool: Pool, tenant_id: int, *, dry_run: bool) -> AsyncIterator[Connection]:
    """One unit of work of a tenant, taken back at its end when it is a dry run."""
    with suppress(_NotKept):
        async with tenant_transaction(pool, tenant_id) as connection:
            yield connection
            if dry_run:
                raise _NotKept
