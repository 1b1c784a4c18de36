"""`carillon topology`."""

import asyncio
import sys
from collections.abc import Coroutine
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

import typer
from carillon_shared.broker.admin import BrokerUnreachableError
from carillon_shared.broker.declare import declare as declare_topology
from carillon_shared.broker.drift import check as find_drift
from carillon_shared.broker.errors import BrokerError
from carillon_shared.telemetry.logging import configure_logging
from carillon_shared.topology.carillon import carillon_topology

from carillon_cli.connection import this_checkout
from carillon_cli.failures import CommandError, NotReachableError
from carillon_cli.output import JsonFlag, print_json, print_line, print_rows
from carillon_cli.recorded import broker_url, management_url
from carillon_cli.settings import cli_settings

app = typer.Typer(help="The broker's exchanges and queues.", no_args_is_help=True)

Wait = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the broker.")]
T = TypeVar("T")


@app.command()
def show(as_json: JsonFlag = False) -> None:
    """Show what Carillon declares; needs no broker."""
    topology = carillon_topology()
    if as_json:
        print_json(asdict(topology))
        return
    print_rows(("exchange", "type"), [(exchange.name, exchange.type) for exchange in topology.exchanges])
    print_line("")
    bound = {
        queue.name: ", ".join(
            f"{binding.exchange} {binding.routing_key}".rstrip()
            for binding in topology.bindings
            if binding.queue == queue.name
        )
        for queue in topology.queues
    }
    print_rows(("queue", "takes from"), list(bound.items()))


@app.command()
def check(wait: Wait = 10.0, as_json: JsonFlag = False) -> None:
    """Compare the broker with what Carillon declares; exit code 1 when they differ."""
    settings, checkout = cli_settings(), this_checkout()
    drifts = _run(
        find_drift(
            broker_url(settings, checkout), management_url=management_url(settings, checkout), wait=wait
        )
    )
    if as_json:
        print_json([asdict(drift) for drift in drifts])
    else:
        for drift in drifts:
            print_line(str(drift))
    if drifts:
        raise CommandError(f"The broker differs in {len(drifts)} places.")
    if not as_json:
        print_line("The topology is as it should be.")


@app.command()
def declare(wait: Wait = 60.0, as_json: JsonFlag = False) -> None:
    """Create what is missing on the broker; may be repeated."""
    _run(declare_topology(broker_url(cli_settings(), this_checkout()), wait=wait))
    if as_json:
        print_json({"declared": True})
    else:
        print_line("The topology is declared.")


def _run(work: Coroutine[Any, Any, T]) -> T:
    configure_logging("topology", log_format="console", level="WARNING")
    try:
        return asyncio.run(work)
    except BrokerUnreachableError as error:
        raise NotReachableError(str(error)) from error
    except BrokerError as error:
        raise CommandError(f"{error}. `carillon topology check` lists what differs.") from error
    finally:
        sys.stderr.flush()
