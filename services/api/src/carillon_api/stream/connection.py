"""One open stream: what it has sent, and what happens when its client reads too slowly."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from carillon_shared.telemetry import metrics

from carillon_api.stream.stepping import Message, Send, Unfinished, begin

SEND_SECONDS = 10.0
SIGNAL_SPACING = 0.1
MAX_PENDING_SIGNALS = 64

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Person:
    """Whose stream."""

    tenant_id: int
    tenant: str
    subscriber: str  # the tenant's own id
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRequest:
    """What a client asks for."""

    person: Person
    topics: frozenset[str]
    last_event_id: str | None
    expires_at: datetime  # the token's end is the stream's end


def chunk(data: bytes) -> Message:
    """Return the message that sends these bytes; may be shared by any number of streams."""
    return {"type": "http.response.body", "body": data, "more_body": True}


class LiveStream:
    """Keeps a client's place in the feed. Holds no frames: who falls behind is brought up by the database.

    `last` is the sequence number the client has, `newest` the highest that is known to exist. `busy` means
    that nothing of the feed may be written now: it is being read from the database, or the client does not
    take what it was sent last.
    """

    __slots__ = (
        "_main",
        "_on_behind",
        "_send",
        "_unsent",
        "asked",
        "catching_up",
        "ended",
        "last",
        "newest",
        "next_signal_at",
        "opened",
        "signals",
        "timer",
    )

    def __init__(
        self, asked: StreamRequest, *, send: Send, on_behind: Callable[["LiveStream"], None]
    ) -> None:
        self.asked = asked
        self.last = -1
        self.newest = -1
        self.opened = False  # `ready` has been sent
        self.catching_up = False
        self.ended = False
        self.signals: dict[Any, Message] | None = None
        self.next_signal_at = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self._send = send
        self._on_behind = on_behind
        self._unsent: asyncio.Task[None] | None = None
        self._main = asyncio.current_task()

    @property
    def busy(self) -> bool:
        """True while no change of the feed may be written."""
        return self.catching_up or self._unsent is not None or self.ended

    @property
    def blocked(self) -> bool:
        """True while the client does not take what it was sent last."""
        return self._unsent is not None

    def takes(self, seq: int) -> bool:
        """Tell whether this change can be written now; else it is noted, and read from the database later."""
        if seq <= self.last:
            return False
        if seq == self.last + 1 and not self.busy:
            return True
        self.newest = max(self.newest, seq)
        if not self.busy:
            self._on_behind(self)
        return False

    def write_change(self, seq: int, message: Message) -> None:
        """Write a change that `takes` has agreed to."""
        self.last = self.newest = seq
        self.write(message)

    def write(self, message: Message) -> None:
        """Write now. When the client is too slow, a task waits for it, for `SEND_SECONDS` at most."""
        if self._unsent is not None or self.ended:
            return
        try:
            rest = begin(self._send, message)
        except Exception:  # one stream's failure must not reach the others
            log.exception("stream failed")
            self.abandon()
            return
        if rest is not None:
            self._unsent = asyncio.create_task(self._finish(rest), name="slow-stream")

    def signal(self, key: Any, message: Message, *, now: float) -> bool:
        """Show a signal, or keep it until it may be shown; False when kept. The newest of a key wins."""
        if not self.busy and now >= self.next_signal_at and not self.signals:
            self.next_signal_at = now + SIGNAL_SPACING
            self.write(message)
            return True
        self.signals = self.signals or {}
        self.signals[key] = message
        if len(self.signals) > MAX_PENDING_SIGNALS:
            del self.signals[next(iter(self.signals))]
        return False

    def flush_signal(self, *, now: float) -> bool:
        """Show the kept signal that has waited longest, if it may be; True when none is left."""
        if self.ended or not self.signals:
            return True
        if not self.busy and now >= self.next_signal_at:
            self.next_signal_at = now + SIGNAL_SPACING
            self.write(self.signals.pop(next(iter(self.signals))))
        return not self.signals

    def end(self, final: bytes = b"") -> None:
        """End the response; a client that takes nothing is left at once."""
        if self.ended:
            return
        if self._unsent is not None:
            self.abandon()
            return
        self.write({"type": "http.response.body", "body": final, "more_body": False})
        self.ended = True

    def abandon(self) -> None:
        """Leave the client without another word."""
        self.ended = True
        if self._main is not None:
            self._main.cancel()

    def closed(self) -> None:
        """Let go of what belongs to the stream: its response is over."""
        self.ended = True
        if self.timer is not None:
            self.timer.cancel()
        if self._unsent is not None:
            self._unsent.cancel()
        self._main = None

    async def _finish(self, rest: Unfinished) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await rest
        except TimeoutError:
            log.info("slow stream closed", tenant=self.asked.person.tenant)
            metrics.FRAMES_SENT.labels("slow_close").inc()
            self.abandon()
        finally:
            self._unsent = None
        if self.newest > self.last and not self.busy:
            self._on_behind(self)
