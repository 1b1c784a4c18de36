"""Frames out of one live chunk: heads of their own over shared tails."""

from carillon_shared.contracts.messages import LiveChunk, LiveFrame

from carillon_api.stream import frames
from carillon_api.stream.connection import chunk
from carillon_api.stream.stepping import Message


class Tails:
    """The shared parts of one chunk's frames, each serialised when somebody here first needs it."""

    def __init__(self, changes: LiveChunk) -> None:
        self._changes = changes
        self._is_new = changes.event == "notification"
        self._made: dict[int, bytes | None] = {}
        self._last: tuple[LiveFrame, Message] | None = None

    def frame(self, head: LiveFrame) -> Message | None:
        """Return the message for this head; None when its content has to be read from the database.

        The streams of one person come one after the other, so the last message is kept for them.
        """
        if self._last is not None and self._last[0] is head:
            return self._last[1]
        shared = self._shared(head.tail)
        if shared is None or (self._is_new and head.item_id is None):
            return None
        message = chunk(frames.frame(self._changes.event, self._data(head, shared), seq=head.seq))
        self._last = (head, message)
        return message

    def _data(self, head: LiveFrame, shared: bytes) -> bytes:
        counts = frames.counts_json(unread=head.unread, unseen=head.unseen, seq=head.seq)
        if not self._is_new:
            return frames.update_data(shared, counts)
        assert head.item_id is not None  # noqa: S101 - looked at in `frame`
        return frames.notification_data(item_id=head.item_id, seq=head.seq, shared=shared, counts=counts)

    def _shared(self, place: int) -> bytes | None:
        if place not in self._made:
            self._made[place] = self._serialised(place)
        return self._made[place]

    def _serialised(self, place: int) -> bytes | None:
        tail = self._changes.tails[place] if place < len(self._changes.tails) else None
        if not tail:
            return None
        return frames.shared_item(tail) if self._is_new else frames.to_json(tail)
