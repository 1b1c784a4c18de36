"""A channel that receives."""

import asyncio
from collections.abc import Callable
from typing import Any

from aiormq.abc import AbstractConnection as WireConnection
from aiormq.abc import ChannelFrame
from aiormq.channel import Channel
from aiormq.exceptions import ChannelInvalidStateError
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from carillon_shared.broker.errors import ConnectionLostError
from carillon_shared.broker.incoming import Incoming, Settlements

_FRAME_BUFFER = 256
_RPC_SECONDS = 10.0


class DeliveryChannel(Channel):
    """Hands each message to a plain function; aiormq would start a task for each.

    Such a task would be cancelled with the connection, in the middle of the work.
    """

    def __init__(
        self, wire: WireConnection, number: int, *, generation: int, deliver: Callable[[Incoming], None]
    ) -> None:
        super().__init__(wire, number, publisher_confirms=False, frame_buffer=_FRAME_BUFFER)
        self.generation = generation
        self._deliver = deliver

    async def consume(self, queue: str, *, no_ack: bool = False) -> str:
        """Begin consuming and return the consumer tag."""
        reply = await self.basic_consume(queue, _unused, no_ack=no_ack, timeout=_RPC_SECONDS)
        return reply.consumer_tag or ""

    async def settle(self, settlements: Settlements) -> None:
        """Tell the broker. Raises `ConnectionLostError` when the channel is gone or goes meanwhile."""
        if self.is_closed:
            raise ConnectionLostError("the channel is closed")
        frame = ChannelFrame(payload=settlements.frames(self.number), should_close=False)
        try:
            self.write_queue.put_nowait(frame)
        except asyncio.QueueFull:
            await self._put_while_open(frame)

    async def _put_while_open(self, frame: ChannelFrame) -> None:
        """Wait for the connection's writer, but no longer than it lives."""
        putting = asyncio.create_task(self.write_queue.put(frame))
        try:
            await asyncio.wait([putting, self.closing], return_when=asyncio.FIRST_COMPLETED)
            if not putting.done():
                raise ConnectionLostError("the channel was closed")
        finally:
            putting.cancel()

    async def _on_deliver_frame(self, frame: Basic.Deliver) -> None:
        header = await self._get_frame()
        if not isinstance(header, ContentHeader):
            raise ChannelInvalidStateError(f"unexpected frame {header!r} in a message")
        body = await self._body(header.body_size)
        properties = header.properties
        self._deliver(
            Incoming(
                body=body,
                type=properties.message_type,
                message_id=properties.message_id,
                headers=properties.headers or {},
                exchange=frame.exchange or "",
                routing_key=frame.routing_key or "",
                redelivered=bool(frame.redelivered),
                published_at=properties.timestamp,
                delivery_tag=frame.delivery_tag or 0,
                generation=self.generation,
            )
        )

    async def _body(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size > 0:
            content = await self._get_frame()
            if not isinstance(content, ContentBody):
                raise ChannelInvalidStateError(f"unexpected frame {content!r} in a message")
            parts.append(content.value)
            size -= len(content.value)
        return parts[0] if len(parts) == 1 else b"".join(parts)


async def _unused(_message: Any) -> None:
    """Stand in for the callback that `_on_deliver_frame` replaces."""
