"""The hub: what comes over the broker goes to the streams of this process that are concerned."""

import asyncio
import random
import time
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import structlog
from carillon_shared.broker import Incoming
from carillon_shared.clock import Clock
from carillon_shared.contracts.codec import UndecodableMessageError, decode
from carillon_shared.contracts.messages import LiveChunk, LiveFrame, LiveGone, LiveSignal
from carillon_shared.db.pool import Pool
from carillon_shared.db.transient import DATABASE_ERRORS
from carillon_shared.ids import accepted_seconds
from carillon_shared.telemetry import metrics

from carillon_api.stream import frames
from carillon_api.stream.catch_up import CatchUp
from carillon_api.stream.connection import LiveStream, StreamRequest, chunk
from carillon_api.stream.last_signals import Key, LastSignals
from carillon_api.stream.people import People
from carillon_api.stream.registry import Streams
from carillon_api.stream.stepping import Message, Send
from carillon_api.stream.tails import Tails

_TAKE = 200
_WRITES_IN_A_ROW = 500  # then others have a turn
_FLUSH_SECONDS = 0.05

log = structlog.get_logger(__name__)


class Subscription(Protocol):
    """The part of `carillon_shared.broker.LiveSubscription` that the hub uses."""

    async def take(self, limit: int) -> list[Incoming]:
        """Return up to `limit` messages, waiting for the first of them only."""
        ...

    async def wait_consuming(self) -> None:
        """Return when messages are being sent here."""
        ...


class TooManyStreamsError(Exception):
    """No further stream may be opened. `everywhere` when the process is full, not the person's share."""

    def __init__(self, *, everywhere: bool) -> None:
        super().__init__("too many streams")
        self.everywhere = everywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """How many streams, and how long. Seconds."""

    per_person: int = 10
    in_all: int = 15_000
    life_seconds: float = 1_800.0
    life_jitter: float = 0.2  # share of the life by which it may be longer or shorter
    compare_seconds: float = 30.0


class Hub:
    """Every open stream of this process."""

    def __init__(self, pool: Pool, limits: StreamLimits, *, clock: Clock) -> None:
        self._clock = clock
        self.streams = Streams()
        self.people = People(pool)
        self._limits = limits
        self._catch_up = CatchUp(pool)
        self._last_signals = LastSignals(time.monotonic)
        self._waiting: set[LiveStream] = set()
        self._flush: asyncio.TimerHandle | None = None
        self._gap = asyncio.Event()
        self._ended = False

    def open(self, asked: StreamRequest, send: Send) -> LiveStream:
        """Open a stream for the current task; its first frames follow. Raises `TooManyStreamsError`."""
        self.check_room(asked)
        stream = LiveStream(asked, send=send, on_behind=self._catch_up.add)
        stream.timer = asyncio.get_running_loop().call_later(self._life(asked), self._expire, stream)
        # Found by live changes from here on, before its backlog is read: nothing falls in between.
        self.streams.add(stream)
        metrics.STREAMS_OPEN.set(len(self.streams))
        self._catch_up.add(stream)
        self._show_last_signals(stream)
        return stream

    def check_room(self, asked: StreamRequest) -> None:
        """Raise `TooManyStreamsError` when this stream may not be opened."""
        if self._ended or len(self.streams) >= self._limits.in_all:
            raise TooManyStreamsError(everywhere=True)
        person = asked.person
        if len(self.streams.of_person(person.tenant, person.subscriber)) >= self._limits.per_person:
            raise TooManyStreamsError(everywhere=False)

    def close(self, stream: LiveStream) -> None:
        """Forget a stream whose response is over."""
        self.streams.remove(stream)
        self._waiting.discard(stream)
        stream.closed()
        metrics.STREAMS_OPEN.set(len(self.streams))

    def end_all(self) -> None:
        """End every stream, each client being told to come back after a time of its own. For the shutdown."""
        self._ended = True
        for stream in self.streams:
            stream.end(frames.retry(random.randint(1_000, 5_000)))  # noqa: S311 - spreads the return, no secret

    def note_gap(self) -> None:
        """Live messages may have been missed: compare every stream with its feed soon."""
        self._gap.set()

    async def run(self, subscription: Subscription) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._catch_up.run(), name="stream-catch-up")
            group.create_task(self._listen(subscription), name="stream-live")
            group.create_task(self._compare(), name="stream-compare")
            group.create_task(self._ping(), name="stream-ping")

    async def show(self, message: LiveChunk | LiveSignal | LiveGone) -> None:
        """Write a live message to all streams here that are concerned."""
        match message:
            case LiveChunk():
                await self._show_changes(message)
            case LiveSignal():
                await self._show_signal(message)
            case LiveGone():
                for subscriber in message.subscribers:
                    for stream in self.streams.of_person(message.tenant, subscriber):
                        self._expire(stream)

    async def _listen(self, subscription: Subscription) -> None:
        await subscription.wait_consuming()
        self.note_gap()  # streams may have been opened before the queue was bound
        while True:
            for incoming in await subscription.take(_TAKE):
                message = _read(incoming)
                if message is not None:
                    await self.show(message)

    async def _show_changes(self, changes: LiveChunk) -> None:
        tails = Tails(changes)
        written = 0
        for head in changes.frames:
            for stream in self.streams.of_person(changes.tenant, head.subscriber):
                written += self._show_change(stream, head, tails)
                if written >= _WRITES_IN_A_ROW:
                    metrics.FRAMES_SENT.labels(changes.event).inc(written)
                    written = 0
                    await asyncio.sleep(0)
        if written:
            metrics.FRAMES_SENT.labels(changes.event).inc(written)
            self._measure_journey(changes)

    def _measure_journey(self, changes: LiveChunk) -> None:
        """A live message is of one event. What was to wait, for a hold or a `deliver_at`, counts as well."""
        event = (changes.tails[0] or {}).get("event_id") if changes.tails else None
        if changes.event == "notification" and event is not None:
            seconds = self._clock.now().timestamp() - accepted_seconds(UUID(event))
            metrics.EVENT_TO_STREAM_SECONDS.observe(max(seconds, 0.0))

    def _show_change(self, stream: LiveStream, head: LiveFrame, tails: Tails) -> bool:
        if not stream.takes(head.seq):
            return False
        message = tails.frame(head)
        if message is None:
            stream.newest = max(stream.newest, head.seq)
            self._catch_up.add(stream)
            return False
        stream.write_change(head.seq, message)
        return True

    def _show_last_signals(self, stream: LiveStream) -> None:
        """Put what late joiners missed behind the backlog, which the stream is waiting for."""
        person = stream.asked.person
        now = time.monotonic()
        for key, message in self._last_signals.of(person.tenant, person.subscriber, stream.asked.topics):
            stream.signal(key, message, now=now)
        if stream.signals:
            self._wait(stream)

    async def _show_signal(self, signal: LiveSignal) -> None:
        written = 0
        for subscriber in signal.users:
            message = chunk(frames.signal(signal.name, signal.data, topic=None))
            key = (0, subscriber, signal.name)
            self._last_signals.keep(signal.tenant, key, message)
            streams = self.streams.of_person(signal.tenant, subscriber)
            written = await self._write_signal(key, message, streams, written)
        for topic in signal.topics:
            message = chunk(frames.signal(signal.name, signal.data, topic=topic))
            key = (1, topic, signal.name)
            self._last_signals.keep(signal.tenant, key, message)
            streams = self.streams.of_topic(signal.tenant, topic)
            written = await self._write_signal(key, message, streams, written)
        if written:
            metrics.FRAMES_SENT.labels("signal").inc(written)

    async def _write_signal(
        self, key: Key, message: Message, streams: tuple[LiveStream, ...], written: int
    ) -> int:
        now = time.monotonic()
        for stream in streams:
            if stream.signal(key, message, now=now):
                written += 1
                if written % _WRITES_IN_A_ROW == 0:
                    await asyncio.sleep(0)
                    now = time.monotonic()
            elif not stream.ended:
                self._wait(stream)
        return written

    def _wait(self, stream: LiveStream) -> None:
        self._waiting.add(stream)
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self._flush_signals)

    def _flush_signals(self) -> None:
        now = time.monotonic()
        self._waiting = {stream for stream in self._waiting if not stream.flush_signal(now=now)}
        self._flush = None
        if self._waiting:
            self._flush = asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self._flush_signals)

    async def _compare(self) -> None:
        """Live messages can be lost; the database cannot. Look at least every `compare_seconds`."""
        while True:
            try:
                async with asyncio.timeout(self._limits.compare_seconds):
                    await self._gap.wait()
            except TimeoutError:
                pass
            self._gap.clear()
            try:
                for stream in await self._catch_up.compare(self.streams):
                    self._expire(stream)
            except DATABASE_ERRORS as error:
                log.warning("streams not compared with feeds", error=type(error).__name__)
                await asyncio.sleep(1.0)
                self._gap.set()

    async def _ping(self) -> None:
        message, tick = chunk(frames.PING), 0
        while True:
            await asyncio.sleep(1.0)
            tick += 1
            for stream in self.streams.slot(tick):
                if stream.opened:
                    stream.write(message)

    def _life(self, asked: StreamRequest) -> float:
        jitter = random.uniform(1 - self._limits.life_jitter, 1 + self._limits.life_jitter)  # noqa: S311 - no secret
        left = (asked.expires_at - self._clock.now()).total_seconds()
        return max(0.0, min(self._limits.life_seconds * jitter, left))

    def _expire(self, stream: LiveStream) -> None:
        stream.end(frames.retry(random.randint(100, 2_000)))  # noqa: S311 - spreads the return, no secret


def _read(incoming: Incoming) -> LiveChunk | LiveSignal | LiveGone | None:
    try:
        message = decode(incoming.type, incoming.body)
    except UndecodableMessageError as error:
        log.warning("live message ignored", error=str(error))
        return None
    return message if isinstance(message, LiveChunk | LiveSignal | LiveGone) else None
