"""S1: how fast a full queue is worked off."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aio_pika
from bench.contender import Measured, Program, measure, running
from bench.results import Run, check_count, check_empty
from bench.servers import Servers
from bench.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """What is started, how its queue is filled, and where its results can be counted.

    `window` answers with the number of rows, how many came after the first commit, and the seconds between
    the first commit and the last.
    """

    program: Program
    queue: str
    items: int
    fill: Callable[[int], Awaitable[None]]
    count: str
    window: str


async def drain(contender: Contender, workload: Workload, servers: Servers, *, number: int) -> Run:
    """Fill the queue, start the contender, and measure until all is done and acknowledged."""
    await contender.fill(contender.items)

    async def count() -> int:
        return int(await workload.pool.fetchval(contender.count))

    async with running(contender.program, servers.logs) as started:
        measured = await measure(started, servers.trees, expected=contender.items, count=count)
    row = await workload.pool.fetchrow(contender.window)
    assert row is not None
    name = contender.program.name
    counts = {key: row[key] for key in ("rows", "attempts") if key in row}
    check_count(name, expected=contender.items, found=counts)
    check_empty(name, contender.queue, await _messages(servers.rabbitmq.amqp_url, contender.queue))
    return _run(contender, measured, number=number, later=row["later"], took=float(row["took"]))


def _run(contender: Contender, measured: Measured, *, number: int, later: int, took: float) -> Run:
    """Rate and CPU are of windows that begin a batch apart: bring the CPU to the rate's items."""
    share = later / (contender.items - measured.before)
    return Run(
        contender=contender.program.name,
        round=number,
        items=later,
        seconds=took,
        cpu={part: seconds * share for part, seconds in measured.cpu.items()},
        resident=measured.resident,
    )


async def _messages(url: str, queue: str) -> int:
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        return (await channel.get_queue(queue)).declaration_result.message_count or 0
