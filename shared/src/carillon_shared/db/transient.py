"""Which errors pass by themselves."""

import asyncpg

DATABASE_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""Whatever the driver raises, passing or not."""

_TRANSIENT = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InsufficientResourcesError,  # connections, memory, disk
    asyncpg.PostgresIOError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby, during a failover
    asyncpg.InvalidCatalogNameError,  # the server is still being restored
    asyncpg.InvalidCachedStatementError,  # a migration changed a table under a prepared statement
    asyncpg.TargetServerAttributeNotMatched,  # every host is a standby at the moment
    OSError,  # so are a broken connection and a time limit
)


def is_transient(error: BaseException) -> bool:
    """Tell whether doing the same again later can succeed: the database is away, busy or changing over."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_transient(one) for one in error.exceptions)
    if isinstance(error, asyncpg.InterfaceError):
        # The driver's own word for a connection or pool that was closed under the caller.
        return "clos" in str(error) or "released" in str(error)
    if isinstance(error, _TRANSIENT):
        return True
    # The server ended the connection at the moment when a statement was handed to it.
    return isinstance(error, asyncpg.InternalClientError) and "cannot switch to state" in str(error)
