"""Calls that a client has made and that were not answered yet, and those held on purpose."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from carillon_mock_providers.faults import REFUSALS, Channel, Decision, Fault


class Ending(StrEnum):
    """How the server ends a call."""

    ANSWER = "answer"
    REFUSE = "refuse"
    CUT = "cut"
    GARBAGE = "garbage"


@dataclass(frozen=True, slots=True, eq=False)
class HeldCall:
    """One call kept open until it is released or its client goes."""

    channel: Channel
    recipient: str
    released: asyncio.Event


class OpenCalls:
    """Counts open calls by channel and keeps the held ones."""

    def __init__(self) -> None:
        self._open: Counter[Channel] = Counter()
        self._held: set[HeldCall] = set()

    def counts(self) -> dict[str, int]:
        """Open calls by channel: read completely, not answered, client still there."""
        return {channel.value: self._open[channel] for channel in Channel}

    def held_counts(self) -> dict[str, int]:
        """Those among the open calls that wait for a release."""
        held = Counter(call.channel for call in self._held)
        return {channel.value: held[channel] for channel in Channel}

    @contextmanager
    def call(self, channel: Channel) -> Iterator[None]:
        """Counts one call as open for as long as the block runs."""
        self._open[channel] += 1
        try:
            yield
        finally:
            self._open[channel] -= 1

    async def hold(self, channel: Channel, recipient: str) -> None:
        """Returns when the call is released."""
        held = HeldCall(channel, recipient.lower(), asyncio.Event())
        self._held.add(held)
        try:
            await held.released.wait()
        finally:
            self._held.discard(held)

    def release(self, *, channel: Channel | None = None, match: str = "*") -> int:
        """Lets the matching held calls go on; returns how many there were."""
        chosen = [
            call
            for call in self._held
            if channel in (None, call.channel) and fnmatchcase(call.recipient, match.lower())
        ]
        for call in chosen:
            call.released.set()
        return len(chosen)


@dataclass(frozen=True, slots=True)
class FaultStage:
    """Plays a decided fault up to the point where the server answers, refuses or cuts."""

    calls: OpenCalls
    slow_seconds: float

    async def play(
        self, decision: Decision, *, channel: Channel, recipient: str, accept: Callable[[], None]
    ) -> Ending:
        """Calls `accept` if and when the message counts as taken; may never return.

        A call that is never answered ends when its client goes: the caller cancels it then.
        """
        match decision.fault:
            case fault if fault in REFUSALS:
                return Ending.REFUSE
            case Fault.RESET:
                return Ending.CUT
            case Fault.LOST_REPLY:
                accept()
                return Ending.CUT
            case Fault.GARBAGE:
                if decision.keep:
                    accept()
                return Ending.GARBAGE
            case Fault.HANG:
                await _forever()
            case Fault.TIMEOUT:
                accept()
                await _forever()
            case Fault.HOLD:
                await self._hold(decision, channel=channel, recipient=recipient, accept=accept)
            case Fault.SLOW:
                accept()
                late = self.slow_seconds if decision.delay_seconds is None else decision.delay_seconds
                await asyncio.sleep(late)
            case _:
                accept()
        return Ending.ANSWER

    async def _hold(
        self, decision: Decision, *, channel: Channel, recipient: str, accept: Callable[[], None]
    ) -> None:
        if decision.keep:
            accept()
        await self.calls.hold(channel, recipient)
        if not decision.keep:
            accept()


async def _forever() -> None:
    await asyncio.get_running_loop().create_future()
