"""The control API: what goes wrong, what is open, what is released."""

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field

from carillon_mock_providers.attempts import Outcome
from carillon_mock_providers.faults import SIMULATORS, Channel, FaultRule
from carillon_mock_providers.json_reply import JsonReply
from carillon_mock_providers.providers import Providers
from carillon_mock_providers.whatsapp_templates import Template


class Release(BaseModel):
    """Which held calls are to go on."""

    model_config = ConfigDict(extra="forbid")

    channel: Channel | None = None
    match: str = "*"


class Webhook(BaseModel):
    """Where statuses are posted from now on; an empty URL posts none."""

    model_config = ConfigDict(extra="forbid")

    url: str = ""
    verify: bool = Field(default=True, description="Ask the URL for the challenge first, as Meta does.")


def control_router(providers: Providers) -> APIRouter:
    """The routes under ``/control``."""
    router = APIRouter(prefix="/control", tags=["control"])
    _add_faults(router, providers)
    _add_state(router, providers)
    _add_whatsapp(router, providers)
    return router


def _add_faults(router: APIRouter, providers: Providers) -> None:
    @router.get("/faults")
    async def read_faults() -> JsonReply:
        """The rules in force."""
        return JsonReply(_faults(providers))

    @router.put("/faults")
    async def put_faults(rules: list[FaultRule], seed: Annotated[int | None, Query()] = None) -> JsonReply:
        """Puts these rules in the place of all others; every count starts again."""
        providers.faults.replace(tuple(rules), seed=seed)
        return JsonReply(_faults(providers))

    @router.delete("/faults")
    async def delete_faults() -> JsonReply:
        """Takes all rules away; held calls stay held until released."""
        providers.faults.replace(())
        return JsonReply(_faults(providers))

    @router.get("/simulators")
    async def read_simulators() -> JsonReply:
        """The recipients that always behave the same way."""
        return JsonReply(
            [
                {"local_part": s.local_part, "phone_suffix": s.phone_suffix, "fault": s.fault}
                for s in SIMULATORS
            ]
        )


def _add_state(router: APIRouter, providers: Providers) -> None:
    @router.get("/state")
    async def read_state() -> JsonReply:
        """Open and held calls, and what became of all attempts."""
        return JsonReply(state(providers))

    @router.post("/release")
    async def release_calls(which: Release | None = None) -> JsonReply:
        """Lets held calls go on."""
        chosen = which or Release()
        return JsonReply({"released": providers.calls.release(channel=chosen.channel, match=chosen.match)})


def _add_whatsapp(router: APIRouter, providers: Providers) -> None:
    @router.put("/templates")
    async def put_templates(templates: list[Template]) -> JsonReply:
        """Registers the only templates that may be sent; an empty list lets any pass."""
        providers.templates.replace(tuple(templates))
        return JsonReply({"templates": len(templates)})

    @router.put("/webhook")
    async def put_webhook(webhook: Webhook) -> JsonReply:
        """Sets the callback URL for statuses."""
        if webhook.url and webhook.verify and not await providers.webhooks.verify(webhook.url):
            raise HTTPException(400, "The callback URL or verify token couldn't be validated.")
        providers.webhooks.url = webhook.url
        return JsonReply({"url": webhook.url})


def state(providers: Providers) -> dict[str, Any]:
    """What tests wait for."""
    accepted, refused, dropped = (
        providers.attempts.totals(outcome) for outcome in (Outcome.ACCEPTED, Outcome.REFUSED, Outcome.DROPPED)
    )
    return {
        "open_calls": providers.calls.counts(),
        "held_calls": providers.calls.held_counts(),
        "accepted": accepted,
        "refused": refused,
        "dropped": dropped,
        "bounced": len(providers.mailbox.bounces),
        "webhooks": {"pending": providers.webhooks.pending, **providers.webhooks.counts},
    }


def _faults(providers: Providers) -> dict[str, Any]:
    rules = [rule.model_dump(mode="json") for rule in providers.faults.rules]
    return {"rules": rules, "seed": providers.faults.seed}
