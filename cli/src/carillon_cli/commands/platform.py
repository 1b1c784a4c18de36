"""`carillon up`, `down` and `status`."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer
from carillon_local import launcher
from carillon_local.launcher import Status

from carillon_cli.connection import cli_file_path, this_checkout
from carillon_cli.demo_tenant import remember_platform
from carillon_cli.failures import CommandError, NothingMatchedError
from carillon_cli.output import JsonFlag, print_json, print_line, tell

Backend = Literal["auto", "compose", "local"]
BackendOption = Annotated[Backend, typer.Option(help="Where the servers come from.")]
SHOWN = {"api": "API", "mock providers": "mailboxes and phones", "mock SMTP": "mock SMTP"}
_UP_SECONDS = 900.0
_POLL_SECONDS = 0.5


def up(
    backend: BackendOption = "auto",
    detach: Annotated[bool, typer.Option("--detach", help="Leave it running in the background.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Start the whole platform; without --detach it runs here, with all its logs, until Ctrl-C."""
    checkout = this_checkout()
    if detach or launcher.status(checkout).running:
        found = start_detached(backend, checkout)
        remember_platform(found, checkout)
        print_status(found, as_json=as_json)
        return
    threading.Thread(target=_remember_when_ready, args=(checkout,), daemon=True).start()
    found = launcher.up(backend, detach=False, checkout=checkout, say=tell)
    if found.running:  # Compose goes on in the background
        remember_platform(found, checkout)
        print_status(found, as_json=as_json)


def down(as_json: JsonFlag = False) -> None:
    """End the platform; services finish what they have begun. Data is kept."""
    ran = launcher.down(checkout=this_checkout(), say=tell)
    if as_json:
        print_json({"stopped": ran})
    if not ran:
        raise NothingMatchedError("Nothing runs.")


def status(as_json: JsonFlag = False) -> None:
    """Show what runs; exit code 4 when nothing does."""
    found = launcher.status(this_checkout())
    if not found.running:
        if as_json:
            print_json({"running": False})
        raise NothingMatchedError("Nothing runs. `carillon up` starts the platform.")
    print_status(found, as_json=as_json)


def start_detached(backend: Backend, checkout: Path, *, say: Callable[[str], None] = tell) -> Status:
    """Start the platform in the background unless it runs, and wait until it is ready.

    Raises:
        CommandError: when another start of this checkout is under way and does not end well.
    """
    found = launcher.up(backend, detach=True, checkout=checkout, say=say)
    deadline = time.monotonic() + _UP_SECONDS
    while not found.ready:  # somebody else is starting it
        if not found.running or time.monotonic() > deadline:
            raise CommandError("The platform did not come up; `carillon doctor` looks for the cause.")
        time.sleep(_POLL_SECONDS)
        found = launcher.status(checkout)
    return found


def print_status(found: Status, *, as_json: bool) -> None:
    """Print addresses and processes; addresses with passwords are left out."""
    urls = {name: found.urls[name] for name in SHOWN if name in found.urls}
    if as_json:
        known = {"running": found.running, "ready": found.ready, "backend": found.backend}
        print_json(known | {"urls": urls, "processes": found.processes})
        return
    print_line(f"The platform is {'ready' if found.ready else 'starting'} ({found.backend} backend).")
    for name, url in urls.items():
        print_line(f"  {SHOWN[name]:<22}{url}")
    for name, alive in found.processes.items():
        print_line(f"  {name:<22}{'runs' if alive else 'ended'}")


def _remember_when_ready(checkout: Path) -> None:
    """Write the key once the platform, which runs in the main thread, is up."""
    deadline = time.monotonic() + _UP_SECONDS
    while time.monotonic() < deadline:
        found = launcher.status(checkout)
        if found.ready:
            try:
                remember_platform(found, checkout)
            except CommandError as error:
                tell(f"The commands have no key: {error}")
            else:
                tell(f"The commands have a key, in {cli_file_path(checkout)}")
            return
        time.sleep(_POLL_SECONDS)
