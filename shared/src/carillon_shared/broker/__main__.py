"""`python -m carillon_shared.broker declare|check`, for the broker in `CARILLON_BROKER_URL`."""

import argparse
import asyncio
import sys

from pydantic import Field, SecretStr

from carillon_shared.broker.admin import BrokerUnreachableError
from carillon_shared.broker.declare import declare
from carillon_shared.broker.drift import check
from carillon_shared.broker.errors import BrokerError
from carillon_shared.settings import CarillonSettings, load_settings
from carillon_shared.telemetry.logging import configure_logging

_DONE, _FAILED, _NOT_REACHABLE = 0, 1, 3


class TopologySettings(CarillonSettings):
    """Where the broker is."""

    broker_url: SecretStr = Field(description="RabbitMQ: amqp:// or amqps://.")
    broker_management_url: SecretStr | None = Field(
        default=None, description="Its management API; its usual port when not set."
    )


def main(arguments: list[str] | None = None) -> int:
    """Declare or check; return 0 when done, 1 on failure, 2 on wrong use, 3 without a broker."""
    parser = argparse.ArgumentParser(prog="carillon_shared.broker", description=__doc__)
    parser.add_argument("action", choices=("declare", "check"))
    parser.add_argument("--wait", type=float, default=60.0, help="seconds to wait for the broker")
    parser.add_argument("--management-url", help="default: CARILLON_BROKER_MANAGEMENT_URL, or the usual port")
    options = parser.parse_args(arguments)
    settings = load_settings(TopologySettings)
    if options.management_url is None and settings.broker_management_url is not None:
        options.management_url = settings.broker_management_url.get_secret_value()
    configure_logging("topology", log_format="console")
    return asyncio.run(_act(options, settings.broker_url.get_secret_value()))


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
