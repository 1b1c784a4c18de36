"""`carillon topology`."""

# ruff: noqa: PLC0415 - the broker's libraries take longer to load than most commands to run

from dataclasses import asdict
from typing import Annotated

import typer
from carillon_shared.topology.carillon import carillon_topology

from carillon_cli.connection import this_checkout
from carillon_cli.failures import CommandError
from carillon_cli.output import JsonFlag, print_json, print_line, print_rows
from carillon_cli.recorded import broker_url, management_url
from carillon_cli.settings import cli_settings

app = typer.Typer(help="The broker's exchanges and queues.", no_args_is_help=True)

Wait = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the broker.")]


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
    from carillon_cli.broker_topology import find_drifts

    settings, checkout = cli_settings(), this_checkout()
    drifts = find_drifts(
        broker_url(settings, checkout), management_url=management_url(settings, checkout), wait=wait
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
    from carillon_cli.broker_topology import declare_topology

    declare_topology(broker_url(cli_settings(), this_checkout()), wait=wait)
    if as_json:
        print_json({"declared": True})
    else:
        print_line("The topology is declared.")
