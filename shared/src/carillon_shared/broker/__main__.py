"""`python -m carillon_shared.broker declare|check`, for the broker in `CARILLON_BROKER_URL`."""

import argparse
import asyncio
import os
import sys

from carillon_shared.broker.admin import BrokerUnreachableError
from carillon_shared.broker.declare import declare
from carillon_shared.broker.drift import check
from carillon_shared.broker.errors import BrokerError
from carillon_shared.telemetry.logging import configure_logging

_DONE, _FAILED, _WRONG_USE, _NOT_REACHABLE = 0, 1, 2, 3


def main(arguments: list[str] | None = None) -> int:
    """Declare or check; return 0 when done, 1 on failure, 2 on wrong use, 3 without a broker."""
    parser = argparse.ArgumentParser(prog="carillon_shared.broker", description=__doc__)
    parser.add_argument("action", choices=("declare", "check"))
    parser.add_argument("--wait", type=float, default=60.0, help="seconds to wait for the broker")
    parser.add_argument("--management-url", default=os.environ.get("CARILLON_BROKER_MANAGEMENT_URL"))
    options = parser.parse_args(arguments)
    url = os.environ.get("CARILLON_BROKER_URL")
    if not url:
        print("CARILLON_BROKER_URL is not set: it says where the broker is, as amqp://...", file=sys.stderr)
        return _WRONG_USE
    configure_logging("topology", log_format="console")
    return asyncio.run(_act(options, url))


async def _act(options: argparse.Namespace, url: str) -> int:
    try:
        if options.action == "declare":
            await declare(url, wait=options.wait)
            print("The topology is declared.")
            return _DONE
        return await _check(options, url)
    except BrokerUnreachableError as error:
        print(error, file=sys.stderr)
        return _NOT_REACHABLE
    except BrokerError as error:
        print(f"{error}. `check` lists what differs and how to mend it.", file=sys.stderr)
        return _FAILED


async def _check(options: argparse.Namespace, url: str) -> int:
    drifts = await check(url, management_url=options.management_url, wait=options.wait)
    for drift in drifts:
        print(drift)
    if not drifts:
        print("The topology is as it should be.")
    return _FAILED if drifts else _DONE


if __name__ == "__main__":
    sys.exit(main())
