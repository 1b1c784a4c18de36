"""Keeps posting: some endpoints at once, a few messages of each, so that a slow one holds up nobody else."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Final, Protocol
from uuid import UUID

import structlog
from carillon_shared.db.transient import is_transient
from carillon_shared.lifecycle import Shutdown
from carillon_shared.telemetry import metrics

from carillon_dispatcher.webhooks.posting import Posted
from carillon_dispatcher.webhooks.retrying import delay_after
from carillon_dispatcher.webhooks.signing import signed_headers
from carillon_dispatcher.webhooks.store import DueWebhook, WebhookStore

log = structlog.get_logger(__name__)

ENDPOINTS: Final = 20
"""Posted to at once."""

EACH: Final = 10
"""Messages of one endpoint that are claimed together, and posted one after the other."""

_MARGIN_SECONDS: Final = 30.0


class Posting(Protocol):
    """Posts; see `carillon_dispatcher.webhooks.posting.WebhookClient`."""

    async def post(self, url: str, payload: bytes, headers: dict[str, str]) -> Posted:
        """Post once. Never raises but for cancellation."""
        ...


class WebhookSender:
    """Posts what is due. `seconds` is what one post may take."""

    def __init__(self, store: WebhookStore, client: Posting, *, seconds: float, interval: float) -> None:
        self._store = store
        self._client = client
        self._claim_seconds = EACH * seconds + _MARGIN_SECONDS
        self._interval = interval
        self._busy: dict[UUID, asyncio.Task[None]] = {}

    async def run(self, shutdown: Shutdown) -> None:
        """Post until the shutdown is requested; then finish the posts under way, each within its limit."""
        while not shutdown.requested:
            if not await self._begin():
                await self._rest(shutdown)
        await self.idle()

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        while self._busy:
            await asyncio.wait(self._busy.values())

    async def begin(self) -> int:
        """Begin with what is due now, as far as there is room; return how many messages that are."""
        room = ENDPOINTS - len(self._busy)
        if room <= 0:
            return 0
        due = await self._store.claim(
            busy=self._busy.keys(), endpoints=room, each=EACH, seconds=self._claim_seconds
        )
        by_endpoint: dict[UUID, list[DueWebhook]] = defaultdict(list)
        for webhook in due:
            by_endpoint[webhook.endpoint].append(webhook)
        for endpoint, webhooks in by_endpoint.items():
            task = asyncio.create_task(self._post_all(webhooks), name=f"webhooks-{endpoint}")
            self._busy[endpoint] = task
            task.add_done_callback(partial(self._forget, endpoint))
        return len(due)

    def _forget(self, endpoint: UUID, _task: "asyncio.Task[None]") -> None:
        self._busy.pop(endpoint, None)

    async def _begin(self) -> int:
        try:
            return await self.begin()
        except Exception as error:
            if not is_transient(error):
                log.exception("webhooks not claimed")
            return 0

    async def _rest(self, shutdown: Shutdown) -> None:
        try:
            async with asyncio.timeout(self._interval * random.uniform(0.8, 1.2)):  # noqa: S311 - no secret
                await shutdown.wait()
        except TimeoutError:
            return

    async def _post_all(self, webhooks: Sequence[DueWebhook]) -> None:
        """Post one after the other, until the endpoint is disabled."""
        try:
            for webhook in webhooks:
                if await self._post(webhook):
                    break
        except Exception as error:
            # The claim runs out, and they are posted again.
            if is_transient(error):
                log.warning("webhook not settled", reason=str(error) or type(error).__name__)
            else:
                log.exception("webhook not settled")

    async def _post(self, webhook: DueWebhook) -> bool:
        """Post one; return whether the endpoint was disabled by what it answered."""
        headers = signed_headers(
            message_id=str(webhook.id),
            timestamp=int(time.time()),
            payload=webhook.payload,
            secrets=webhook.secrets,
        )
        posted = await self._client.post(webhook.url, webhook.payload, headers)
        delay = delay_after(webhook.attempt, retry_after=posted.retry_after, uniform=random.uniform)
        disabled = await self._store.settle(webhook, posted, delay=None if posted.delivered else delay)
        metrics.WEBHOOKS.labels("delivered" if posted.delivered else "failed").inc()
        if disabled:
            log.warning("webhook endpoint disabled", endpoint=str(webhook.endpoint), code=posted.code)
        return disabled
