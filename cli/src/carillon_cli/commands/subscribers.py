"""`carillon subscribers`."""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from carillon_shared.domain.records import FileFormat, Record
from rich.console import Console
from rich.progress import Progress

from carillon_cli.api import Api
from carillon_cli.calling import with_api
from carillon_cli.failures import CommandError, NothingMatchedError, WrongUseError
from carillon_cli.output import JsonFlag, print_json, print_line, tell
from carillon_cli.subscriber_files import MEDIA_TYPES, STDIN, Batch, batches, format_of, name_of, open_source

app = typer.Typer(help="People, many at once.", no_args_is_help=True)

_IMPORT = "/v1/subscribers:bulk"
_EXPORT = "/v1/subscribers:export"
_STATES = ("created", "updated", "unchanged", "refused")
_MOST_TOLD = 10_000  # refused lines in JSON
_TELL_EVERY = 50_000  # lines
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # by which Excel knows UTF-8

FormatOption = Annotated[
    FileFormat | None, typer.Option("--format", help="CSV or JSON lines; else as the file's name says.")
]


@app.command("import")
def import_(
    source: Annotated[str, typer.Argument(metavar="FILE|-", help="CSV or JSON lines; - is stdin.")],
    form: FormatOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, store nothing.")] = False,
    from_line: Annotated[int, typer.Option(min=1, help="Leave out what stands before.")] = 1,
    rejects: Annotated[
        Path | None, typer.Option(help="Write refused lines to this file, to correct and import.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Register people, or change what a line says of them. Bad lines are named, good ones go in.

    A run that broke off can be repeated: what is there already stays unchanged. Fails when any was refused.
    """
    found = format_of(source, form)
    if rejects is not None and rejects.resolve() == Path(source).resolve():
        raise WrongUseError("--rejects needs a file of its own.")
    with open_source(source) as file, _kept(rejects) as kept:
        run = _Import(source, found, dry_run=dry_run, rejects=kept, quiet=as_json)
        with_api(lambda api: run.all(api, file, from_line=from_line))
    if as_json:
        print_json({state: run.counts[state] for state in _STATES} | {"errors": run.errors})
    else:
        tell("  ".join(f"{state} {run.counts[state]}" for state in _STATES))
    if not run.counts:
        raise NothingMatchedError(f"{name_of(source)} has nobody in it.")
    if run.counts["refused"]:
        raise CommandError(f"{run.counts['refused']} of {run.counts.total()} lines were refused.")


@app.command()
def export(
    form: FormatOption = None,
    out: Annotated[Path | None, typer.Option(help="Into this file instead of standard output.")] = None,
    excel: Annotated[bool, typer.Option("--excel", help="CSV that Excel opens as UTF-8.")] = False,
) -> None:
    """Export everybody with addresses, roles, topics and preferences, as `import` takes it. Audited."""
    chosen = form or (FileFormat.CSV if excel else None)
    chosen = chosen or (format_of(str(out), None) if out is not None else FileFormat.JSONL)
    if excel and chosen is not FileFormat.CSV:
        raise WrongUseError("--excel goes with CSV.")
    mark = _BYTE_ORDER_MARK if excel else b""
    if out is None:
        people = with_api(lambda api: _copy(api, chosen, sys.stdout.buffer, mark=mark))
    else:
        people = _export_to(out, chosen, mark=mark)
    if not people:
        raise NothingMatchedError("Nobody is registered.")


class _Import:
    """The import of one file."""

    def __init__(
        self, source: str, form: FileFormat, *, dry_run: bool, rejects: BinaryIO | None, quiet: bool
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.errors: list[dict[str, Any]] = []
        self._source = source
        self._form = form
        self._params = {"dry_run": "true"} if dry_run else {}
        self._rejects = rejects
        self._quiet = quiet

    async def all(self, api: Api, file: BinaryIO, *, from_line: int) -> None:
        """Send the whole file."""
        size = os.fstat(file.fileno()).st_size or None if self._source != STDIN else None
        with Progress(
            console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True
        ) as progress:
            bar = progress.add_task("Importing", total=size)
            for batch in batches(file, self._form, from_line=from_line):
                await self._send(api, batch)
                progress.update(bar, completed=batch.read)

    async def _send(self, api: Api, batch: Batch) -> None:
        headers = {"Content-Type": MEDIA_TYPES[self._form]}
        try:
            answer = await api.call("POST", _IMPORT, content=batch.body, headers=headers, params=self._params)
        except CommandError:
            if self.counts:
                tell(f"Stopped; go on with --from-line {batch.records[0].line}, or run the same again.")
            raise
        for record, row in zip(batch.records, answer["data"], strict=True):
            if row["status"] == "refused":
                self._refused(record, row, header=batch.header)
        before = self.counts.total() // _TELL_EVERY
        self.counts.update({state: answer[state] for state in _STATES if answer[state]})
        if self.counts.total() // _TELL_EVERY > before and not sys.stderr.isatty():
            tell(f"{self.counts.total()} lines")

    def _refused(self, record: Record, row: Mapping[str, Any], *, header: Record | None) -> None:
        faults = list(_faults(row["problem"]))
        if self._quiet and len(self.errors) < _MOST_TOLD:
            self.errors.append({"line": record.line, "id": row["id"], "faults": faults})
        if not self._quiet:
            for fault in faults:
                column = f"{fault['column']}: " if fault["column"] else ""
                print_line(f"{name_of(self._source)}:{record.line}: {column}{fault['detail']}")
        if self._rejects is not None:
            if header is not None and self._rejects.tell() == 0:
                self._rejects.write(header.content + b"\n")
            self._rejects.write(record.content + b"\n")


def _faults(problem: Mapping[str, Any]) -> Iterator[dict[str, str | None]]:
    """Yield what is wrong with a line, each with its column."""
    for fault in problem.get("errors") or ():
        column = str(fault.get("pointer") or "").removeprefix("/")
        yield {"column": column or None, "detail": fault["detail"]}
    if not problem.get("errors"):
        yield {"column": None, "detail": problem.get("detail") or problem["title"]}


@contextmanager
def _kept(path: Path | None) -> Iterator[BinaryIO | None]:
    if path is None:
        yield None
        return
    with _private(path) as file:
        yield file


def _private(path: Path) -> BinaryIO:
    """Open a file for writing that nobody else reads: people's addresses stand in it."""
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
    except OSError as error:
        raise WrongUseError(f"{path} cannot be written: {error.strerror or error}") from error


def _export_to(out: Path, form: FileFormat, *, mark: bytes) -> int:
    """Write the file under another name first: one that broke off is never taken for the whole."""
    part = out.with_name(f"{out.name}.part")
    with _private(part) as file:
        people = with_api(lambda api: _copy(api, form, file, mark=mark))
    part.replace(out)
    tell(f"{people} people written to {out}")
    return people


async def _copy(api: Api, form: FileFormat, file: BinaryIO, *, mark: bytes) -> int:
    """Write the export to a file as it comes; returns how many people are in it."""
    file.write(mark)
    lines = 0  # no cell has a line end in it
    async for piece in api.download(_EXPORT, format=form.value):
        file.write(piece)
        lines += piece.count(b"\n")
    file.flush()
    return lines - (1 if form is FileFormat.CSV else 0)
