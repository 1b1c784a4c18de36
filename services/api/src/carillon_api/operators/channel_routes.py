"""`/v1/admin/queues` and `/v1/admin/channels`: what waits, and whether it is taken."""

from typing import Annotated

from carillon_shared.db.pool import tenant_transaction
from carillon_shared.domain.channels import Channel
from fastapi import APIRouter, Depends

from carillon_api.authentication.callers import ApiKey
from carillon_api.dependencies import get_services, require_scope
from carillon_api.operators import audit, channel_storage
from carillon_api.operators.channel_models import ChannelControl, PauseCommand, Queues
from carillon_api.operators.operation_routes import actor_of
from carillon_api.problem_responses import problems
from carillon_api.services import Services

router = APIRouter(prefix="/v1/admin", tags=["Operators"])

Operator = Annotated[ApiKey, Depends(require_scope("operator"))]
# A channel is every tenant's, so stopping it takes the scope that no tenant can give itself.
Admin = Annotated[ApiKey, Depends(require_scope("admin"))]
Parts = Annotated[Services, Depends(get_services)]


@router.get("/queues", operation_id="listQueues", responses=problems())
async def list_queues(caller: Operator, services: Parts) -> Queues:
    """List queues with depth, consumers and age, and which channels are paused, by whom and why."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        known = await channel_storage.controls(connection)
        return Queues(queues=await channel_storage.queues(connection, known), channels=list(known.values()))


@router.post("/channels/{channel}:pause", operation_id="pauseChannel", responses=problems())
async def pause_channel(
    channel: Channel, command: PauseCommand, caller: Admin, services: Parts
) -> ChannelControl:
    """Stop delivering over a channel, for all tenants and through restarts. Asking twice changes nothing."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        done = await channel_storage.pause(connection, channel, actor=actor_of(caller), reason=command.reason)
        if done:
            await audit.note(
                connection,
                tenant_id=caller.tenant_id,
                actor=actor_of(caller),
                action="channel.paused",
                target=channel.value,
                reason=command.reason,
                details={},
            )
        return (await channel_storage.controls(connection))[channel]


@router.post("/channels/{channel}:resume", operation_id="resumeChannel", responses=problems())
async def resume_channel(
    channel: Channel, command: PauseCommand, caller: Admin, services: Parts
) -> ChannelControl:
    """Deliver over a channel again, beginning with what has waited. Asking twice changes nothing."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        before = (await channel_storage.controls(connection))[channel]
        if await channel_storage.resume(connection, channel):
            await audit.note(
                connection,
                tenant_id=caller.tenant_id,
                actor=actor_of(caller),
                action="channel.resumed",
                target=channel.value,
                reason=command.reason,
                details={"paused_by": before.paused_by},
            )
        return (await channel_storage.controls(connection))[channel]
