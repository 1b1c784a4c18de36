"""What commands print: JSON, plain text, or something nicer on a terminal."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def screen() -> Console:
    """Return standard output for people. Off a terminal nothing is wrapped or coloured."""
    return Console(soft_wrap=True, highlight=False)


def print_json(value: Any) -> None:
    """Print one JSON document."""
    indent = 2 if sys.stdout.isatty() else None
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=indent) + "\n")
    sys.stdout.flush()


def print_line(text: str) -> None:
    """Print a line as it is, whatever characters it has, and at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def tell(sentence: str) -> None:
    """Tell the person something that is no result."""
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table: drawn on a terminal, aligned text elsewhere."""
    texts = [[_cell(value) for value in row] for row in rows]
    if not sys.stdout.isatty():
        _print_aligned(columns, texts)
        return
    table = Table(*columns, header_style="bold", box=None, pad_edge=False)
    for row in texts:
        table.add_row(*row)
    Console(highlight=False).print(table, markup=False)


def print_fields(fields: Mapping[str, Any]) -> None:
    """Print names and values below each other; what is empty is left out."""
    shown = {name: _cell(value) for name, value in fields.items() if value not in (None, "", [], {})}
    width = max(map(len, shown), default=0)
    for name, text in shown.items():
        print_line(f"{name:<{width}}  {text}")


def _print_aligned(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    lines = [list(columns), *map(list, rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    for line in lines:
        print_line("  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping | list):
        return json.dumps(value, ensure_ascii=False)
    return " ".join(str(value).split())
