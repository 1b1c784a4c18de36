"""Wires the commands together."""

import typer

from carillon_cli.commands import (
    channels,
    dead_letters,
    deliveries,
    demo,
    doctor,
    events,
    explaining,
    keys,
    migrations,
    operations,
    platform,
    registry,
    schedules,
    sending,
    statistics,
    subscribers,
    suppressions,
    tailing,
    topology,
    webhooks,
)

app = typer.Typer(
    help="Carillon: event-driven notifications over e-mail, WhatsApp and an in-app feed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command("up")(platform.up)
app.command("down")(platform.down)
app.command("status")(platform.status)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.command("send")(sending.send)
app.command("tail")(tailing.tail)
app.command("explain")(explaining.explain)
app.command("stats")(statistics.stats)

for _name, _group in {
    "events": events.app,
    "deliveries": deliveries.app,
    "dead-letters": dead_letters.app,
    "operations": operations.app,
    "channels": channels.app,
    "subscribers": subscribers.app,
    "suppressions": suppressions.app,
    "registry": registry.app,
    "schedules": schedules.app,
    "webhooks": webhooks.app,
    "keys": keys.app,
    "topology": topology.app,
    "db": migrations.app,
}.items():
    app.add_typer(_group, name=_name)
