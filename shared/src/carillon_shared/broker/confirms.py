"""A channel in confirm mode that knows which message each confirm, refusal and return is about."""

from collections.abc import Callable

from aiormq.abc import AbstractConnection as WireConnection
from aiormq.abc import ChannelFrame
from aiormq.channel import Channel
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from carillon_shared.broker.errors import (
    PublishError,
    PublishRefusedError,
    PublishUnconfirmedError,
    UnroutableError,
)

_FRAME_BUFFER = 256


class Pending:
    """One publish whose end is awaited. `settle` is called once, with the error or None."""

    __slots__ = ("error", "frames", "message_id", "settle")

    def __init__(self, message_id: str, frames: bytes, settle: Callable[["Pending"], None]) -> None:
        self.message_id = message_id
        self.frames = frames
        self.settle = settle
        self.error: PublishError | None = None


class ConfirmChannel(Channel):
    """Publishes many messages with one write and books their confirms itself.

    aiormq's own `basic_publish` makes two futures, a task switch and four callbacks for each message, walks
    its whole window for each confirm, and stops reading when a return arrives for a publish that timed out.
    """

    def __init__(self, wire: WireConnection, number: int, *, on_room: Callable[[], None]) -> None:
        super().__init__(wire, number, publisher_confirms=True, frame_buffer=_FRAME_BUFFER)
        self._outstanding: dict[int, Pending] = {}  # by delivery tag, ascending
        self._on_room = on_room

    @property
    def outstanding(self) -> int:
        """How many publishes wait for their confirm."""
        return len(self._outstanding)

    async def send(self, batch: list[Pending]) -> None:
        """Write all of these at once. Waits while the connection's writer is behind."""
        payload = b"".join([pending.frames for pending in batch])
        await self.write_queue.put(ChannelFrame(payload=payload, should_close=False))
        # Tags count what has been written, so they are given out only now, without a pause in between.
        for pending in batch:
            self.delivery_tag += 1
            self._outstanding[self.delivery_tag] = pending

    def abandon(self, detail: str) -> None:
        """Settle everything that waits as unconfirmed: the channel is gone."""
        while self._outstanding:
            _, pending = self._outstanding.popitem()
            _settle(pending, pending.error or PublishUnconfirmedError(pending.message_id, detail))

    async def _on_confirm_frame(self, frame: Basic.Ack | Basic.Nack | Basic.Reject) -> None:
        refused = not isinstance(frame, Basic.Ack)
        tag = frame.delivery_tag or 0
        for confirmed in self._tags_up_to(tag) if getattr(frame, "multiple", False) else [tag]:
            pending = self._outstanding.pop(confirmed, None)
            if pending is not None:
                _settle(pending, _refusal(pending) if refused else pending.error)
        self._on_room()

    def _tags_up_to(self, tag: int) -> list[int]:
        tags = []
        for outstanding in self._outstanding:
            if outstanding > tag:
                break
            tags.append(outstanding)
        return tags

    async def _on_return_frame(self, frame: Basic.Return) -> None:
        """Note the error; the confirm that the broker sends after a return settles it."""
        message_id = await self._returned_message_id()
        for pending in self._outstanding.values():
            if pending.message_id == message_id and pending.error is None:
                detail = (
                    f"no queue for {frame.exchange!r} with key {frame.routing_key!r} ({frame.reply_text})"
                )
                pending.error = UnroutableError(message_id, detail)
                return

    async def _returned_message_id(self) -> str:
        header = await self._get_frame()
        if not isinstance(header, ContentHeader):
            raise TypeError(f"unexpected frame {header!r} in a returned message")
        left = header.body_size
        while left > 0:
            content = await self._get_frame()
            if not isinstance(content, ContentBody):
                raise TypeError(f"unexpected frame {content!r} in a returned message")
            left -= len(content.value)
        return header.properties.message_id or ""


def _refusal(pending: Pending) -> PublishError:
    return pending.error or PublishRefusedError(pending.message_id, "the broker refused it")


def _settle(pending: Pending, error: PublishError | None) -> None:
    pending.error = error
    pending.settle(pending)
