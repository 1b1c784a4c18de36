"""Which errors pass by themselves."""

import asyncpg

_TRANSIENT = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby, during a failover
    asyncpg.InvalidCatalogNameError,  # the server is still being restored
    asyncpg.OutOfMemoryError,
    asyncpg.DiskFullError,
    ConnectionError,
    TimeoutError,
    OSError,
)


def is_transient(error: BaseException) -> bool:
    """Tell whether doing the same again later can succeed: the database is away, busy or changing over."""
    if isinstance(error, asyncpg.InterfaceError):
        # The driver's own word for a connection or pool that was closed under the caller.
        return "clos" in str(error) or "released" in str(error)
    if isinstance(error, asyncpg.InternalClientError):
        # The server ended the connection at the moment when a statement was handed to it.
        return "cannot switch to state" in str(error)
    return isinstance(error, _TRANSIENT)
