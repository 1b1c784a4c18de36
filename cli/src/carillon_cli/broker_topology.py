"""Work on the broker. Loads the AMQP libraries, so only the commands that need it import it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from carillon_shared.broker.admin import BrokerUnreachableError
from carillon_shared.broker.declare import declare
from carillon_shared.broker.drift import Drift, check
from carillon_shared.broker.errors import BrokerError
from carillon_shared.telemetry.logging import configure_logging

from carillon_cli.failures import CommandError, NotReachableError

T = TypeVar("T")


def find_drifts(url: str, *, management_url: str | None, wait: float) -> list[Drift]:
    """Return how the broker differs from the topology, once it answers within `wait` seconds.

    Raises:
        NotReachableError: when it does not.
        CommandError: when the broker refuses.
    """
    return _run(check(url, management_url=management_url, wait=wait))


def declare_topology(url: str, *, wait: float) -> None:
    """Create what is missing on the broker. Raises as `find_drifts`."""
    _run(declare(url, wait=wait))


def _run(work: Coroutine[Any, Any, T]) -> T:
    configure_logging("topology", log_format="console", level="WARNING")
    try:
        return asyncio.run(work)
    except BrokerUnreachableError as error:
        raise NotReachableError(str(error)) from error
    except BrokerError as error:
        raise CommandError(f"{error}. `carillon topology check` lists what differs.") from error
