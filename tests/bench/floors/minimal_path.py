"""From a POST to open streams with the least that has Carillon's hops and commits (`BENCH_ROLE`).

`web` commits the event, publishes it and answers; `plan` commits whom it is for and publishes work; `feed`
commits item, counts and status and tells `web`, which writes to the person's stream. Publishing is confirmed,
queues are quorum queues, messages are acknowledged when what follows from them is safe. There is no
validation, no preference, no lease, no retry, no resume.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import aio_pika
import asyncpg
import orjson
import uvicorn
import uvloop
from aio_pika.abc import AbstractIncomingMessage, AbstractRobustChannel

EVENTS, WORK, LIVE = "bench.path.events", "bench.path.work", "bench.path.live"
TABLES = """
    CREATE TABLE IF NOT EXISTS bench.path_events (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body jsonb NOT NULL,
        at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE IF NOT EXISTS bench.path_deliveries (
        event_id bigint, person text, status text NOT NULL, PRIMARY KEY (event_id, person));
    CREATE TABLE IF NOT EXISTS bench.path_feeds (person text PRIMARY KEY, seq bigint NOT NULL);
    CREATE TABLE IF NOT EXISTS bench.path_items (
        person text, seq bigint, event_id bigint NOT NULL, item jsonb NOT NULL, PRIMARY KEY (person, seq));
"""
_CONNECTIONS = 10
_KEEP_ALIVE_SECONDS = 300  # between two rounds
_PREFETCH = 200
_TAKE = "INSERT INTO bench.path_events (body) VALUES ($1) RETURNING id"
_PLAN = "INSERT INTO bench.path_deliveries VALUES ($1, $2, 'queued') ON CONFLICT DO NOTHING"
_WRITE = """
    WITH done AS (
        UPDATE bench.path_deliveries SET status = 'delivered' WHERE event_id = $1 AND person = $2),
    feed AS (
        INSERT INTO bench.path_feeds AS f VALUES ($2, 1)
        ON CONFLICT (person) DO UPDATE SET seq = f.seq + 1 RETURNING seq)
    INSERT INTO bench.path_items SELECT $2, feed.seq, $1, $3 FROM feed RETURNING seq
"""

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Broker:
    """One channel; publishing waits for the confirmation."""

    def __init__(self, channel: AbstractRobustChannel) -> None:
        self.channel = channel

    async def publish(self, body: dict[str, Any], *, queue: str = "", exchange: str = "") -> None:
        mode = aio_pika.DeliveryMode.PERSISTENT if queue else aio_pika.DeliveryMode.NOT_PERSISTENT
        message = aio_pika.Message(orjson.dumps(body), delivery_mode=mode)
        if exchange:
            to = await self.channel.get_exchange(exchange, ensure=False)
        else:
            to = self.channel.default_exchange
        await to.publish(message, routing_key=queue)


class Web:
    """The server: takes events, keeps streams."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", broker: Broker) -> None:
        self._pool = pool
        self._broker = broker
        self._streams: dict[str, Send] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._take(receive, send) if scope["method"] == "POST" else self._stream(scope, receive, send))

    async def _take(self, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            part = await receive()
            body, more = body + part.get("body", b""), part.get("more_body", False)
        event = await self._pool.fetchval(_TAKE, body.decode())
        await self._broker.publish({"event": event, "body": orjson.loads(body)}, queue=EVENTS)
        await send({"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        person = scope["path"].rpartition("/")[2]
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b": open\n\n", "more_body": True})
        self._streams[person] = send
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            self._streams.pop(person, None)

    async def show(self, message: AbstractIncomingMessage) -> None:
        live = orjson.loads(message.body)
        send = self._streams.get(live["person"])
        if send is not None:
            head = b"id: %d\nevent: notification\ndata: " % live["seq"]
            frame = head + orjson.dumps(live["item"]) + b"\n\n"
            await send({"type": "http.response.body", "body": frame, "more_body": True})


async def _web(pool: "asyncpg.Pool[asyncpg.Record]", broker: Broker) -> None:
    web = Web(pool, broker)
    queue = await broker.channel.declare_queue(exclusive=True)
    await queue.bind(LIVE)
    await queue.consume(web.show, no_ack=True)
    port = int(os.environ["BENCH_PORT"])
    config = uvicorn.Config(
        web,
        host="127.0.0.1",
        port=port,
        http="httptools",
        lifespan="off",
        log_level="warning",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        access_log=False,
    )
    await uvicorn.Server(config).serve()


async def _plan(pool: "asyncpg.Pool[asyncpg.Record]", broker: Broker) -> None:
    async def plan(message: AbstractIncomingMessage) -> None:
        event = orjson.loads(message.body)
        person = event["body"]["audience"]["users"][0]
        await pool.execute(_PLAN, event["event"], person)
        await broker.publish(
            {"event": event["event"], "person": person, "item": event["body"]["data"]}, queue=WORK
        )
        await message.ack()

    await _consume(broker, EVENTS, plan)


async def _feed(pool: "asyncpg.Pool[asyncpg.Record]", broker: Broker) -> None:
    async def write(message: AbstractIncomingMessage) -> None:
        work = orjson.loads(message.body)
        item = orjson.dumps(work["item"]).decode()
        seq = await pool.fetchval(_WRITE, work["event"], work["person"], item)
        live = {"person": work["person"], "seq": seq, "item": work["item"]}
        await broker.publish(live, exchange=LIVE)
        await message.ack()

    await _consume(broker, WORK, write)


async def _consume(
    broker: Broker, name: str, handle: Callable[[AbstractIncomingMessage], Awaitable[None]]
) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    queue = await broker.channel.get_queue(name, ensure=False)
    await queue.consume(handle)
    await stop.wait()


async def main() -> None:
    """Do one part."""
    role = {"web": _web, "plan": _plan, "feed": _feed}[os.environ["BENCH_ROLE"]]
    async with (
        asyncpg.create_pool(
            os.environ["BENCH_DATABASE_URL"], min_size=_CONNECTIONS, max_size=_CONNECTIONS
        ) as pool,
        await aio_pika.connect_robust(os.environ["BENCH_BROKER_URL"]) as connection,
    ):
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=_PREFETCH)
        await channel.declare_exchange(LIVE, aio_pika.ExchangeType.FANOUT)
        for name in (EVENTS, WORK):
            await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum"})
        assert isinstance(channel, AbstractRobustChannel)
        await role(pool, Broker(channel))


if __name__ == "__main__":
    uvloop.run(main())
