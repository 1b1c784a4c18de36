"""Starts and ends the platform: ``python -m carillon_local up|down|status``."""

import argparse
import sys
from pathlib import Path

from carillon_local.errors import LocalError
from carillon_local.launcher import Status, down, status, up
from carillon_local.log_view import say
from carillon_local.places import find_places
from carillon_local.serving import serve


def main() -> int:
    """Run the command; returns the exit code: 0 done, 1 failed, 4 nothing runs."""
    arguments = _parser().parse_args()
    try:
        return _run(arguments)
    except LocalError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 1


def _run(arguments: argparse.Namespace) -> int:
    checkout: Path | None = arguments.checkout
    if arguments.command == "up":
        _print(up(arguments.backend, detach=arguments.detach, checkout=checkout))
        return 0
    if arguments.command == "serve":
        serve(find_places(checkout or Path.cwd()), show_logs=False, say=say)
        return 0
    if arguments.command == "down":
        return 0 if down(checkout=checkout) else 4
    found = status(checkout)
    _print(found)
    return 0 if found.running else 4


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m carillon_local", description=__doc__)
    parser.add_argument("command", choices=["up", "down", "status", "serve"])
    parser.add_argument("--backend", choices=["auto", "compose", "local"], default="auto")
    parser.add_argument("--detach", action="store_true", help="leave it running in the background")
    parser.add_argument("--checkout", type=Path, help="the checkout; default: the one around this folder")
    return parser


def _print(found: Status) -> None:
    if not found.running:
        print("Nothing runs")
        return
    print(f"The platform is {'ready' if found.ready else 'starting'} ({found.backend} backend)")
    for name in ("api", "mock providers", "mock SMTP"):
        if name in found.urls:
            print(f"  {name:<15} {found.urls[name]}")
    for name, alive in found.processes.items():
        print(f"  {name:<15} {'runs' if alive else 'ended'}")


if __name__ == "__main__":
    sys.exit(main())
