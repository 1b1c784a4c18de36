"""`carillon db sizes` and `carillon db retention`: what is stored, and how long."""

# ruff: noqa: PLC0415 - the database's libraries take longer to load than most commands to run

from typing import Annotated, Any

import typer
from carillon_shared.settings import RetentionSettings, load_settings

from carillon_cli.connection import this_checkout
from carillon_cli.output import JsonFlag, print_json, print_line, print_rows
from carillon_cli.recorded import owner_database_url
from carillon_cli.settings import cli_settings

_UNITS = ("B", "kB", "MB", "GB", "TB")
_STEP = 1024

EachPartition = Annotated[bool, typer.Option("--partitions", help="Each partition, and when it goes.")]


def sizes(partitions: EachPartition = False, as_json: JsonFlag = False) -> None:
    """Show how large the tables are; rows as PostgreSQL last counted them."""
    from carillon_cli.schema import partition_sizes, table_sizes

    url = owner_database_url(cli_settings(), this_checkout())
    days = load_settings(RetentionSettings).kept_days
    rows = partition_sizes(url, days) if partitions else table_sizes(url)
    if as_json:
        print_json({"data": [_plain(row) for row in rows]})
    elif partitions:
        columns = ("table", "partition", "rows", "size", "goes")
        print_rows(columns, [(*_named(row), f"{row['goes_at']:%Y-%m-%d}") for row in rows])
    else:
        print_rows(
            ("table", "partitions", "rows", "size"),
            [(row["table"], row["partitions"], row["rows"], _size(row["bytes"])) for row in rows],
        )


def retention(as_json: JsonFlag = False) -> None:
    """Show what retention lets go of now, and next, by the settings here. Changes nothing."""
    from carillon_cli.schema import retention_plan

    settings = load_settings(RetentionSettings)
    url = owner_database_url(cli_settings(), this_checkout())
    plan = retention_plan(url, settings.kept_days, dead_letter_days=settings.retention_dead_letter_days)
    if as_json:
        print_json({**plan, "next": _plain(plan["next"]) if plan["next"] else None})
        return
    if plan["now"]:
        print_rows(
            ("table", "partition", "rows", "size", "open"),
            [(*_named(row), row["open"]) for row in plan["now"]],
        )
    else:
        print_line("Nothing is older than it is kept.")
    print_line(f"Dead letters that have waited long enough: {plan['dead_letters']}.")
    if plan["next"]:
        print_line(f"Next: {plan['next']['partition']}, {plan['next']['goes_at']:%Y-%m-%d %H:%M} UTC.")


def _named(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["table"], row["partition"], row["rows"], _size(row["bytes"])


def _size(count: int) -> str:
    """Return bytes as people read them."""
    value, unit = float(count), 0
    while value >= _STEP and unit < len(_UNITS) - 1:
        value, unit = value / _STEP, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    times: dict[str, Any] = {
        name: row[name].isoformat().replace("+00:00", "Z") for name in ("ends_at", "goes_at") if name in row
    }
    return {**row, **times}
