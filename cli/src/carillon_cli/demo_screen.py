"""What the demo shows: a bar on a terminal, a line for each step elsewhere."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from carillon_cli.next_steps import NextStep
from carillon_cli.stories.checks import Check, StoryResult

Bar = AbstractContextManager[Progress]


class DemoScreen:
    """Prints the demo. With `quiet` it prints nothing: the caller wants JSON."""

    def __init__(self, *, steps: int, quiet: bool) -> None:
        self.console = Console(soft_wrap=True, highlight=False, quiet=quiet)
        self.live = sys.stdout.isatty() and not quiet
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self.progress = Progress(
            *columns, console=self.console, disable=not self.live, transient=True, redirect_stderr=False
        )
        self._bar = self.progress.add_task("", total=steps)

    def say(self, sentence: str) -> None:
        """Print a line about what happens now."""
        self.progress.update(self._bar, description=sentence)
        self.console.print(f"  {escape(sentence)}", style="dim")

    def begin(self, what: str) -> None:
        """Name the step that begins; on a terminal the bar shows it."""
        self.progress.update(self._bar, description=what)

    def done(self) -> None:
        """Count one step as done."""
        self.progress.advance(self._bar)

    def story(self, result: StoryResult, *, shows: str) -> None:
        """Print a story's checks."""
        self.console.print(f"\n[bold]{escape(result.title)}[/bold]: {escape(shows)}")
        for check in result.checks:
            self._check(check)

    def end(
        self, results: Sequence[StoryResult], *, commands: Sequence[NextStep], addresses: Sequence[NextStep]
    ) -> None:
        """Print what came of it, and what to try next."""
        failed = [result.title for result in results if not result.passed]
        if failed:
            self.console.print(f"\n[bold red]Not all arrived: {escape(', '.join(failed))}[/bold red]")
        else:
            self.console.print(f"\n[bold green]All {len(results)} stories arrived.[/bold green]")
        self.console.print("\n[bold]Look at[/bold]")
        for address in addresses:
            self.console.print(f"  {escape(address.text)}  [dim]{escape(address.shows)}[/dim]")
        self.console.print("\n[bold]Paste[/bold]")
        for command in commands:
            self.console.print(f"  [dim]# {escape(command.shows)}[/dim]\n  {escape(command.text)}")
        self.console.print("\nThe platform goes on in the background; `make down` ends it.")

    def _check(self, check: Check) -> None:
        mark, colour = ("✓", "green") if check.passed else ("✗", "red")
        took = "" if check.milliseconds is None else f"[dim]{check.milliseconds:.0f} ms[/dim]"
        what, detail = escape(check.what), escape(check.detail)
        self.console.print(f"  [{colour}]{mark}[/{colour}] {what}: {detail}  {took}".rstrip())
