"""Calls over HTTP: one message on its way to the reply, with the fault of its recipient."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from starlette.requests import Request

from carillon_mock_providers.attempts import Attempt, Outcome
from carillon_mock_providers.faults import Channel, Decision
from carillon_mock_providers.garbage import http_answer
from carillon_mock_providers.http_server import HttpConnections
from carillon_mock_providers.open_calls import Ending
from carillon_mock_providers.providers import Providers


@dataclass(frozen=True, slots=True)
class Refusal:
    """The call is to be refused, as its provider words that."""

    decision: Decision
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class HttpStage:
    """Plays faults of one provider's HTTP interface."""

    providers: Providers
    connections: HttpConnections
    channel: Channel

    async def play(
        self, request: Request, *, recipient: str, reference: str, accept: Callable[[Decision | None], None]
    ) -> Attempt | Refusal | None:
        """Return the attempt that is to be answered, or to be refused; None when the connection is gone.

        `accept` is called if and when the message counts as taken.
        """
        decision = self.providers.faults.decide(channel=self.channel, recipient=recipient)
        attempt = self.providers.attempts.open(
            channel=self.channel, recipient=recipient, reference=reference, decision=decision
        )
        call = _Call(self, attempt, decision, accept)
        if decision is None:
            call.accept()
            return attempt
        ending = await unless_gone(request, call.run(decision, recipient))
        if ending is Ending.ANSWER:
            return attempt
        if ending is Ending.REFUSE:
            self.providers.attempts.settle(attempt, Outcome.REFUSED)
            return Refusal(decision, attempt)
        if ending is Ending.CUT:
            self.connections.reset(request)
        if ending is Ending.GARBAGE:
            attempt.reply = f"200 {decision.garbage}"
            self.connections.answer_raw(request, http_answer(decision.garbage))
        return None


@dataclass(slots=True)
class _Call:
    stage: HttpStage
    attempt: Attempt
    decision: Decision | None
    take: Callable[[Decision | None], None]
    taken: bool = False

    async def run(self, decision: Decision, recipient: str) -> Ending:
        try:
            return await self.stage.providers.stage.play(
                decision, channel=self.stage.channel, recipient=recipient, accept=self.accept
            )
        finally:
            if not self.taken:
                self.stage.providers.attempts.settle(self.attempt, Outcome.DROPPED)

    def accept(self) -> None:
        self.taken = True
        self.take(self.decision)
        self.stage.providers.attempts.settle(self.attempt, Outcome.ACCEPTED)


async def unless_gone(request: Request, work: Coroutine[None, None, Ending]) -> Ending | None:
    """The work's result, or None when the client went first; the work is cancelled then."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        gone.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
