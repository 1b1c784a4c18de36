"""Where stories happen: sending example events and waiting for what they should bring about."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from carillon_cli.api import Api
from carillon_cli.connection import ApiAccess
from carillon_cli.event_files import content_type
from carillon_cli.failures import CommandError
from carillon_cli.stories.checks import Check
from carillon_cli.stories.examples import Examples
from carillon_cli.stories.listening import Heard, Listener
from carillon_cli.stories.providers import MockProviders, Record, says, text_of_mail, text_of_message

_PAUSE_SECONDS = 0.05
_SLACK = timedelta(seconds=1)  # the providers' clock need not be ours to the millisecond
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sent:
    """An accepted event, and when it was sent."""

    id: str
    began: float  # time.monotonic
    since: str  # ISO 8601, a little earlier

    def milliseconds(self, at: float | None = None) -> float:
        """Return the time from sending until `at`, else until now."""
        return ((time.monotonic() if at is None else at) - self.began) * 1000


@dataclass(frozen=True, slots=True)
class Stage:
    """The running platform as a story sees it. Nothing here raises when something does not arrive."""

    api: Api
    providers: MockProviders
    examples: Examples
    patience: float  # seconds

    async def send(self, *events: dict[str, Any]) -> list[Sent]:
        """Post events in one request. Raises `CommandError` when it is refused or no news."""
        began = time.monotonic()
        since = (datetime.now(UTC) - _SLACK).isoformat()
        single = len(events) == 1
        kind = content_type(events, single=single)
        body: Any = events[0] if single else list(events)
        answer = await self.api.post("/v1/events", body, content_type=kind)
        rows = [answer] if single else answer["data"]
        if any(row["duplicate"] for row in rows):
            raise CommandError("This event was sent before, so nothing new happens.")
        return [Sent(row["id"], began, since) for row in rows]

    def listen(self, user: str) -> Listener:
        """Open a person's stream, for the time of a `with` block."""
        return Listener(self.api, user)

    async def mail(self, sent: Sent, to: str, *words: str) -> Check:
        """Check that a mail arrives that says all of the words."""

        async def arrived() -> Record | None:
            mails = await self.providers.mails(to, since=sent.since)
            return next((mail for mail in mails if says(text_of_mail(mail), words)), None)

        mail = await self.until(arrived)
        what = f"mail to {to}"
        if mail is None:
            return await self._missing(sent, what, "email")
        return Check(what, passed=True, detail=f"“{mail['subject']}”", milliseconds=sent.milliseconds())

    async def phone(self, sent: Sent, to: str, *words: str) -> Check:
        """Check that a WhatsApp message arrives that says all of the words."""

        async def arrived() -> Record | None:
            messages = await self.providers.messages(to, since=sent.since)
            return next((each for each in messages if says(text_of_message(each), words)), None)

        message = await self.until(arrived)
        what = f"WhatsApp to {to}"
        if message is None:
            return await self._missing(sent, what, "whatsapp")
        kind = "template" if message["type"] == "template" else "text"
        return Check(what, passed=True, detail=f"a {kind} message", milliseconds=sent.milliseconds())

    async def feed(self, sent: Sent, listener: Listener, *words: str) -> Check:
        """Check that the person's open stream shows the event, saying all of the words."""

        def shows(heard: Heard) -> bool:
            return heard.event == "notification" and heard.data["item"]["event_id"] == sent.id

        heard = await listener.wait_for(shows, seconds=self.patience)
        what = f"stream of {listener.user}"
        if heard is None:
            return await self._missing(sent, what, "inapp")
        item = heard.data["item"]
        passed = says(f"{item['title']}\n{item['body']}", words)
        return Check(what, passed, f"“{item['title']}”", sent.milliseconds(heard.at))

    async def delivery(
        self, sent: Sent, subscriber: str, channel: str, *, status: str, reason: str | None = None
    ) -> Check:
        """Check that a delivery comes to a state, for a reason."""

        async def reached() -> Record | None:
            found = await self.deliveries(sent, subscriber=subscriber, channel=channel)
            return next((each for each in found if _stands(each, status, reason)), None)

        delivery = await self.until(reached)
        what = f"{channel} delivery to {subscriber}"
        if delivery is None:
            return await self._missing(sent, what, channel, subscriber=subscriber)
        return Check(what, passed=True, detail=_state(delivery), milliseconds=sent.milliseconds())

    async def completed(self, sent: Sent) -> Check:
        """Check that every delivery of an event comes to rest."""

        async def done() -> Record | None:
            event: Record = await self.api.get(f"/v1/events/{sent.id}")
            return event if event["status"] == "completed" else None

        event = await self.until(done)
        if event is None:
            return await self._missing(sent, "the event completes", None)
        total = event["progress"]["total"]
        detail = "its one delivery" if total == 1 else f"all {total} deliveries"
        return Check("the event completes", passed=True, detail=detail, milliseconds=sent.milliseconds())

    async def deliveries(self, sent: Sent, **wanted: str | None) -> list[Record]:
        """Return deliveries of an event."""
        return await self.api.rows("/v1/deliveries", most=200, event=sent.id, **wanted)

    async def until(self, fact: Callable[[], Awaitable[T | None]]) -> T | None:
        """Ask again and again until there is an answer; None when our patience ends."""
        deadline = time.monotonic() + self.patience
        while (answer := await fact()) is None and time.monotonic() < deadline:  # noqa: ASYNC110 - asked over HTTP
            await asyncio.sleep(_PAUSE_SECONDS)
        return answer

    async def _missing(
        self, sent: Sent, what: str, channel: str | None, *, subscriber: str | None = None
    ) -> Check:
        """Say what became of the event instead."""
        deliveries = await self.deliveries(sent, channel=channel, subscriber=subscriber)
        states = "; ".join(f"{each['subscriber']} {_state(each)}" for each in deliveries[:5])
        event = await self.api.get(f"/v1/events/{sent.id}")
        seen = states or "no such delivery"
        detail = f"not within {self.patience:g} s; event {sent.id} is {event['status']}, {seen}"
        return Check(what, passed=False, detail=detail)


@asynccontextmanager
async def open_stage(
    *, api_url: str, key: str, mock_url: str, examples: Path, patience: float = 30.0
) -> AsyncIterator[Stage]:
    """Open the clients of a stage; `patience` is how many seconds each check waits."""
    async with Api(ApiAccess(api_url, key)) as api, MockProviders(mock_url) as providers:
        yield Stage(api, providers, Examples(examples), patience)


async def together(*checks: Awaitable[Check]) -> Sequence[Check]:
    """Wait for several facts at once."""
    return await asyncio.gather(*checks)


def _stands(delivery: Record, status: str, reason: str | None) -> bool:
    reasons = {delivery["reason"], delivery["hold_reason"]}
    return delivery["status"] == status and (reason is None or reason in reasons)


def _state(delivery: Record) -> str:
    reason = delivery["reason"] or delivery["hold_reason"]
    return f"{delivery['status']} ({reason})" if reason else str(delivery["status"])
