"""Which errors of the database pass by themselves: those are waited out, others are somebody's fault."""

import asyncpg
import pytest
from carillon_shared.db.transient import is_transient

PASSING = [
    asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
    asyncpg.CannotConnectNowError("the database system is starting up"),
    asyncpg.AdminShutdownError("terminating connection due to administrator command"),
    asyncpg.TooManyConnectionsError("sorry, too many clients already"),
    asyncpg.DiskFullError("could not extend file: No space left on device"),
    asyncpg.PostgresIOError("could not write block"),
    asyncpg.OutOfMemoryError("out of memory"),
    asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction"),
    asyncpg.SerializationError("could not serialize access"),
    asyncpg.DeadlockDetectedError("deadlock detected"),
    asyncpg.LockNotAvailableError("canceling statement due to lock timeout"),
    asyncpg.QueryCanceledError("canceling statement due to statement timeout"),
    asyncpg.IdleInTransactionSessionTimeoutError("terminating connection"),
    asyncpg.IdleSessionTimeoutError("terminating connection"),
    asyncpg.InvalidCachedStatementError("cached plan must not change result type"),
    asyncpg.TargetServerAttributeNotMatched("None of the hosts match"),
    asyncpg.InterfaceError("connection is closed"),
    asyncpg.InterfaceError("cannot call Connection.fetch(): connection has been released back to the pool"),
    asyncpg.InternalClientError("cannot switch to state 11; another operation (2) is in progress"),
    ConnectionRefusedError(),
    TimeoutError(),
    ExceptionGroup("", [TimeoutError(), ExceptionGroup("", [ConnectionResetError()])]),
]
LASTING = [
    asyncpg.UndefinedTableError("relation does not exist"),
    asyncpg.InsufficientPrivilegeError("permission denied"),
    asyncpg.UniqueViolationError("duplicate key"),
    asyncpg.DataError("invalid input"),
    asyncpg.InterfaceError("the server expects 2 arguments for this query, 1 was passed"),
    asyncpg.InternalClientError("got result for unknown protocol state 3"),
    ExceptionGroup("", [TimeoutError(), ValueError()]),
    ValueError(),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_passes_by_itself(error: BaseException) -> None:
    assert is_transient(error)


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_what_does_not(error: BaseException) -> None:
    assert not is_transient(error)
