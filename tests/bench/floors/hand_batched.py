"""The least that does the job well: aio-pika, asyncpg, batches of 200, one statement, one `ack(multiple)`.

Every message is a delivery; it becomes one row, once, and is acknowledged after the commit. There is no
lease, no content, no retry, no metric: what Carillon costs above this is the price of being Carillon.
"""

import asyncio
import os
import signal

import aio_pika
import asyncpg
import orjson
import uvloop
from aio_pika.abc import AbstractIncomingMessage

BATCH = 200
WINDOW_SECONDS = 0.005
PREFETCH = 4 * BATCH

_INSERT = """
    INSERT INTO bench.status (id, event_id, tenant, channel, attempt)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::smallint[])
    ON CONFLICT (id) DO NOTHING
"""


class Drain:
    """Collects messages and writes them down together."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection
        self._waiting: list[AbstractIncomingMessage] = []
        self._arrived = asyncio.Event()

    async def receive(self, message: AbstractIncomingMessage) -> None:
        self._waiting.append(message)
        self._arrived.set()

    async def run(self) -> None:
        while True:
            await self._arrived.wait()
            if len(self._waiting) < BATCH:
                await asyncio.sleep(WINDOW_SECONDS)
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            if not self._waiting:
                self._arrived.clear()
            await self._write(batch)
            await batch[-1].ack(multiple=True)

    async def _write(self, batch: list[AbstractIncomingMessage]) -> None:
        bodies = [orjson.loads(message.body) for message in batch]
        await self._connection.execute(
            _INSERT,
            [body["delivery_ids"][0] for body in bodies],
            [body["event_id"] for body in bodies],
            [body["tenant"] for body in bodies],
            [body["channel"] for body in bodies],
            [body["attempt"] for body in bodies],
        )


async def main() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    database = await asyncpg.connect(os.environ["BENCH_DATABASE_URL"])
    broker = await aio_pika.connect(os.environ["BENCH_BROKER_URL"])
    channel = await broker.channel()
    await channel.set_qos(prefetch_count=PREFETCH)
    queue = await channel.get_queue(os.environ["BENCH_QUEUE"])
    drain = Drain(database)
    await queue.consume(drain.receive)
    running = asyncio.create_task(drain.run())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
    running.cancel()
    await broker.close()
    await database.close()


if __name__ == "__main__":
    uvloop.run(main())
