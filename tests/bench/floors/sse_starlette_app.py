"""What most people build: sse-starlette on uvicorn, a queue a stream, and a route that fills them all."""

import asyncio
import os
from collections.abc import AsyncIterator

import uvicorn
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_PING_SECONDS = 15
_KEEP_ALIVE_SECONDS = 300  # between two messages of the benchmark

_queues: dict[str, set[asyncio.Queue[str]]] = {}


async def stream(request: Request) -> Response:
    topic = request.path_params["topic"]
    queue: asyncio.Queue[str] = asyncio.Queue()
    _queues.setdefault(topic, set()).add(queue)

    async def frames() -> AsyncIterator[dict[str, str]]:
        try:
            while True:
                yield {"event": "signal", "data": await queue.get()}
        finally:
            _queues[topic].discard(queue)

    response: Response = EventSourceResponse(frames(), ping=_PING_SECONDS, sep="\n")
    return response


async def publish(request: Request) -> Response:
    text = (await request.body()).decode()
    for queue in _queues.get(request.path_params["topic"], ()):
        queue.put_nowait(text)
    return Response(status_code=202)


def main() -> None:
    routes = [Route("/stream/{topic}", stream), Route("/publish/{topic}", publish, methods=["POST"])]
    port = int(os.environ["BENCH_PORT"])
    uvicorn.run(
        Starlette(routes=routes),
        host="127.0.0.1",
        port=port,
        http="httptools",
        log_level="warning",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        access_log=False,
    )


if __name__ == "__main__":
    main()
