"""`python -m bench`: what Carillon costs beside the least that could do the job, and beside Celery."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import uvloop
from bench.broadcast import Broadcasts
from bench.goals import CARILLON_BROADCAST, USUAL_PRODUCT
from bench.ground import prepared
from bench.idle import rest
from bench.intake import Intakes, can_run
from bench.large import Large, tell_everybody
from bench.line_up import Drains
from bench.nchan import ensure_nchan
from bench.report import Surroundings, as_json, large_table, markdown, replace_figures, surroundings
from bench.results import Resting, Run
from bench.servers import Servers, private_servers
from bench.stream_figures import streams_json, streams_table
from bench.streams import Outcome, Sizes, can_compare, measure_streams
from carillon_local.errors import LocalError
from carillon_local.places import find_checkout
from carillon_shared.telemetry.logging import configure_logging

_SCENARIOS = ("s1", "s3", "s4", "idle", "large", "streams")
_IDLE_SECONDS = 20.0
_PEOPLE = 50_000
_MANY_PEOPLE = 1_000_000
_STREAMS = 10_000


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--only", choices=_SCENARIOS, help="one scenario (all but large and streams)")
    parser.add_argument("--rounds", type=int, default=4, help="measured rounds after one warm-up (4)")
    parser.add_argument("--items", type=int, default=8_000, help="deliveries of one drain (8000)")
    parser.add_argument("--concurrency", type=int, default=1000, help="send slots of the worker (1000)")
    parser.add_argument("--people", type=int, help="people of one broadcast (50000; large: 1000000)")
    parser.add_argument(
        "--streams", type=int, default=_STREAMS, help="open streams of each contender (10000)"
    )
    parser.add_argument("--seconds", type=int, default=4, help="length of one load on the API (4)")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/benchmarks.md")
    return parser.parse_args()


def main() -> None:
    """Run the scenarios, print the tables and write them where they are wanted."""
    options = _arguments()
    configure_logging("bench", level="WARNING", log_format="console")
    # Who is told to end ends as after Ctrl-C: with all that was started, and its folders.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    if options.only in {None, "s4"} and not can_run():
        sys.exit("S4 needs wrk, a load generator: `apt-get install wrk`, or choose another with --only.")
    checkout = find_checkout(Path(__file__))
    where = surroundings(checkout, os.getloadavg()[0])
    if options.only == "streams":
        _main_of_streams(options, where, checkout)
        return
    if options.only == "large":
        with private_servers() as servers:
            large = uvloop.run(_measure_large(options, servers))
        _show({"large broadcast": large_table(where, large)}, checkout, write=options.write)
        if not large.is_bounded:
            sys.exit(f"The dispatcher grew by {large.growth['dispatcher']:,} bytes.")
        return
    with private_servers() as servers:
        runs, resting = uvloop.run(_measure(options, servers))
    if options.json:
        options.json.write_text(json.dumps(as_json(where, runs, resting), indent=2) + "\n", encoding="utf-8")
    broadcast = [run for run in runs if run.contender in {CARILLON_BROADCAST, USUAL_PRODUCT}]
    others = [run for run in runs if run not in broadcast]
    tables = {"figures": markdown(where, others, resting)} if others or resting else {}
    tables |= {"broadcast": markdown(where, broadcast)} if broadcast else {}
    _show(tables, checkout, write=options.write)


def _main_of_streams(options: argparse.Namespace, where: Surroundings, checkout: Path) -> None:
    if not can_compare():
        sys.exit(
            "sse-starlette is missing, which is in the dependency group `bench`: `make bench ONLY=streams`."
        )
    try:
        nginx = ensure_nchan(lambda text: sys.stderr.write(f"{text}\n"))
    except LocalError as error:
        sys.exit(str(error))
    sizes = Sizes(streams=options.streams, rounds=options.rounds, seconds=options.seconds)
    with private_servers() as servers:
        outcome = uvloop.run(_measure_streams(sizes, servers, nginx))
    if options.json:
        text = json.dumps(streams_json(where, sizes.described(), outcome.samples), indent=2)
        options.json.write_text(f"{text}\n", encoding="utf-8")
    table = streams_table(where, sizes.described(), outcome.samples)
    _show({"streams": table}, checkout, write=options.write and not outcome.error)
    if outcome.error:
        sys.exit(f"Not everything was measured, and nothing written: {outcome.error}")


async def _measure_streams(sizes: Sizes, servers: Servers, nginx: str) -> Outcome:
    async with prepared(servers, people=sizes.streams) as workload:
        return await measure_streams(servers, workload, nginx=nginx, sizes=sizes)


def _show(tables: Mapping[str, str], checkout: Path, *, write: bool) -> None:
    """Print tables, and put each between its marks on the page if that is wanted."""
    page = checkout / "docs" / "benchmarks.md"
    text = page.read_text(encoding="utf-8")
    for name, table in tables.items():
        sys.stdout.write(f"{table}\n\n")
        text = replace_figures(text, table, name=name)
    if write:
        page.write_text(text, encoding="utf-8")


async def _measure_large(options: argparse.Namespace, servers: Servers) -> Large:
    async with prepared(servers, people=1) as workload:
        return await tell_everybody(servers, workload, people=options.people or _MANY_PEOPLE)


async def _measure(options: argparse.Namespace, servers: Servers) -> tuple[list[Run], list[Resting]]:
    """The first round warms caches up and does not count; Celery does a fifth of the work."""
    runs: list[Run] = []
    async with prepared(servers, people=2 * options.items) as workload:
        celery_items = max(options.items // 5, 1)
        drains = Drains(
            servers,
            workload,
            items=options.items,
            celery_items=celery_items,
            concurrency=options.concurrency,
        )
        intakes = Intakes(servers, workload, seconds=options.seconds)
        broadcasts = Broadcasts(
            servers,
            workload.pool,
            tenant_id=workload.tenant_id,
            people=options.people or _PEOPLE,
            usual_people=max((options.people or _PEOPLE) // 10, 1),
        )
        resting = await rest(servers, seconds=_IDLE_SECONDS) if options.only in {None, "idle"} else []
        for number in _rounds(-1 if options.only in {"idle", "s3"} else options.rounds):
            measured = await drains.round(number) if options.only in {None, "s1"} else []
            measured += await intakes.round(number) if options.only in {None, "s4"} else []
            runs += measured if number else []
        # After the others, whose people it replaces.
        for number in _rounds(options.rounds if options.only in {None, "s3"} else -1):
            measured = await broadcasts.round(number)
            runs += measured if number else []
    return runs, resting


def _rounds(rounds: int) -> Iterator[int]:
    for number in range(rounds + 1):
        name = f"round {number} of {rounds}" if number else "warm-up"
        sys.stderr.write(f"{name}\n")
        yield number


if __name__ == "__main__":
    main()
