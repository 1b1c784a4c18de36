"""Brings streams up to date from the database, many with one statement."""

import asyncio
import time

import structlog
from carillon_shared.db.pool import Pool, tenant_transaction
from carillon_shared.db.transient import DATABASE_ERRORS, is_transient

from carillon_api.stream import frames
from carillon_api.stream.backlog import Backlog, Wanted, read_backlogs, read_sequences
from carillon_api.stream.connection import LiveStream, chunk
from carillon_api.stream.registry import Streams

_AT_ONCE = 64
_PAUSE_SECONDS = 1.0  # before the database is asked again after it failed
_SEQUENCES_AT_ONCE = 5_000

log = structlog.get_logger(__name__)


class CatchUp:
    """The line of streams that are behind, and the one task that serves it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._line: dict[LiveStream, None] = {}
        self._arrived = asyncio.Event()

    def add(self, stream: LiveStream) -> None:
        """Read what this stream lacks; until that is written, `catching_up` keeps changes from it."""
        if stream.ended or stream.catching_up:
            return
        stream.catching_up = True
        self._line[stream] = None
        self._arrived.set()

    async def run(self) -> None:
        """Serve the line until cancelled. While the database is away, streams wait and stay open."""
        while True:
            await self._arrived.wait()
            batch = self._take()
            if not batch:
                self._arrived.clear()
                continue
            try:
                await self._serve(batch)
            except DATABASE_ERRORS as error:
                log.warning("catch-up failed", transient=is_transient(error), error=type(error).__name__)
                self._line = {stream: None for stream in batch if not stream.ended} | self._line
                await asyncio.sleep(_PAUSE_SECONDS)

    async def compare(self, streams: Streams) -> list[LiveStream]:
        """Find the streams whose feed has gone on without them: one statement a tenant.

        Returns the streams of people who are registered no more.
        """
        left: list[LiveStream] = []
        by_tenant: dict[int, list[LiveStream]] = {}
        for stream in streams:
            if stream.opened and not stream.busy:
                by_tenant.setdefault(stream.asked.person.tenant_id, []).append(stream)
        for tenant_id, members in by_tenant.items():
            for start in range(0, len(members), _SEQUENCES_AT_ONCE):
                left += await self._compare(tenant_id, members[start : start + _SEQUENCES_AT_ONCE])
        return left

    async def _compare(self, tenant_id: int, members: list[LiveStream]) -> list[LiveStream]:
        numbers = list({stream.asked.person.number for stream in members})
        async with tenant_transaction(self._pool, tenant_id) as connection:
            sequences = await read_sequences(connection, numbers)
        for stream in members:
            seq = sequences.get(stream.asked.person.number)
            if seq is not None and seq != stream.last and not stream.busy:
                self.add(stream)
        return [stream for stream in members if stream.asked.person.number not in sequences]

    def _take(self) -> list[LiveStream]:
        """Return the first streams of the line that belong to the first one's tenant."""
        self._line = {stream: None for stream in self._line if not stream.ended}
        first = next(iter(self._line), None)
        if first is None:
            return []
        tenant_id = first.asked.person.tenant_id
        batch = [stream for stream in self._line if stream.asked.person.tenant_id == tenant_id][:_AT_ONCE]
        for stream in batch:
            del self._line[stream]
        return batch

    async def _serve(self, batch: list[LiveStream]) -> None:
        wanted = [Wanted(stream.asked.person.number, _cursor(stream)) for stream in batch]
        async with tenant_transaction(self._pool, batch[0].asked.person.tenant_id) as connection:
            backlogs = await read_backlogs(connection, wanted)
        for stream, want, backlog in zip(batch, wanted, backlogs, strict=True):
            self._bring(stream, want.cursor, backlog)

    def _bring(self, stream: LiveStream, cursor: int | None, backlog: Backlog) -> None:
        if stream.blocked:
            # A ping was written meanwhile and cannot leave. Once it has, the same is read again.
            stream.newest = max(stream.newest, backlog.feed_seq)
            stream.catching_up = False
            return
        data = (b"" if stream.opened else _ready(cursor, backlog)) + _news(cursor, backlog)
        reset = cursor is not None and _reason(cursor, backlog) is not None
        # After a reset the feed's own number counts; else a live change may be ahead of what was read.
        stream.newest = backlog.feed_seq if reset else max(stream.newest, backlog.feed_seq)
        stream.last = backlog.up_to
        stream.catching_up = False
        stream.opened = True
        if data:
            stream.write(chunk(data))
        if stream.newest > stream.last and not stream.busy:
            self.add(stream)
        stream.flush_signal(now=time.monotonic())


def _cursor(stream: LiveStream) -> int | None:
    if stream.opened:
        return stream.last
    text = stream.asked.last_event_id
    if text is None:
        return None
    # Signed 64 bits are what the database compares with; what is no number comes before every feed.
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1


def _ready(cursor: int | None, backlog: Backlog) -> bytes:
    goes_on = cursor is not None and _reason(cursor, backlog) is None
    seq = cursor if cursor is not None and goes_on else backlog.feed_seq
    return frames.ready(backlog.counts, seq=seq)


def _news(cursor: int | None, backlog: Backlog) -> bytes:
    reason = None if cursor is None else _reason(cursor, backlog)
    if reason is not None:
        return frames.reset(reason, backlog.counts, seq=backlog.feed_seq)
    return b"".join(backlog.frames)


def _reason(cursor: int, backlog: Backlog) -> str | None:
    """Return why a client with this cursor must read the feed anew; None when it need not."""
    if cursor < 0:
        return "cursor_unknown"
    if cursor < backlog.floor_seq:
        return "cursor_too_old"
    return "cursor_ahead" if cursor > backlog.feed_seq else None
