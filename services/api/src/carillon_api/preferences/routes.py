"""`/v1/me/preferences`, `/v1/me/quiet-hours`, `/v1/me/muted`: what the caller wants, where, and when not."""

from typing import Annotated

from carillon_shared.db.pool import tenant_transaction
from fastapi import APIRouter, Depends

from carillon_api.authentication.callers import SubscriberToken
from carillon_api.dependencies import current_subscriber
from carillon_api.preferences import documents
from carillon_api.preferences.effective import EffectivePreferences, read_effective
from carillon_api.preferences.options import PreferenceOptions, read_options
from carillon_api.preferences.quiet_hours import OwnPreferences, QuietHours
from carillon_api.subscribers.people import Parts, TopicName, existing_number

router = APIRouter(prefix="/v1/me", tags=["Recipient"])

Person = Annotated[SubscriberToken, Depends(current_subscriber)]


@router.get("/preferences", response_model_exclude_none=True)
async def get_preferences(person: Person, services: Parts) -> OwnPreferences:
    """Return what you chose."""
    async with tenant_transaction(services.pool, person.tenant_id) as connection:
        return await documents.read(connection, await existing_number(connection, person.subscriber))


@router.put("/preferences", response_model_exclude_none=True)
async def put_preferences(body: OwnPreferences, person: Person, services: Parts) -> OwnPreferences:
    """Replace what you chose. Mandatory event types arrive all the same.

    Quiet hours and mutes that are left out stay as they are; null removes them.
    """
    async with tenant_transaction(services.pool, person.tenant_id) as connection:
        number = await existing_number(connection, person.subscriber)
        return await documents.replace(connection, body, tenant_id=person.tenant_id, number=number)


@router.get("/preferences/options")
async def get_preference_options(person: Person, services: Parts) -> PreferenceOptions:
    """Return what you can choose about: channels that reach you, and categories with their event types."""
    async with tenant_transaction(services.pool, person.tenant_id) as connection:
        return await read_options(connection, await existing_number(connection, person.subscriber))


@router.get("/preferences/effective")
async def get_effective_preferences(person: Person, services: Parts) -> EffectivePreferences:
    """Return what holds for you in the end, for every event type and channel, and whose choice it is."""
    async with tenant_transaction(services.pool, person.tenant_id) as connection:
        return await read_effective(connection, await existing_number(connection, person.subscriber))


@router.get("/muted")
async def list_muted(person: Person, services: Parts) -> list[str]:
    """Return the topics you have muted."""
    async with tenant_transaction(services.pool, person.tenant_id) as connection:
        number = await existing_number(connection, person.subscriber)
        return (await documents.read(connection, number)).muted or []


@router.put("/muted/{topic}", status_code=204)
async def mute_topic(topic: TopicName, person: Person, services: Parts) -> None:
    """Hear nothing more about a topic, nor about what lies in it, but what is mandatory. No harm twice."""
    async with tenant_transaction(services.pool, person.tenant_id) as connection:
        number = await existing_number(connection, person.subscriber)
        await documents.mute(connection, topic, tenant_id=person.tenant_id, number=number)


@router.delete("/muted/{topic}", status_code=204)
async def unmute_topic(topic: TopicName, person: Person, services: Parts) -> None:
    """Hear about a topic again."""
    async with tenant_transaction(services.pool, person.tenant_id) as connection:
        number = await existing_number(connection, person.subscriber)
        await documents.unmute(connection, topic, tenant_id=person.tenant_id, number=number)


@router.get("/quiet-hours")
async def get_quiet_hours(person: Person, services: Parts) -> QuietHours | None:
    """Return when you are not to be disturbed; null: there is no such time."""
    async with tenant_transaction(services.pool, person.tenant_id) as connection:
        number = await existing_number(connection, person.subscriber)
        return (await documents.read(connection, number)).quiet_hours


@router.put("/quiet-hours")
async def put_quiet_hours(body: QuietHours, person: Person, services: Parts) -> QuietHours:
    """Say when you are not to be disturbed. What is urgent arrives all the same."""
    async with tenant_transaction(services.pool, person.tenant_id) as connection:
        number = await existing_number(connection, person.subscriber)
        await documents.replace_quiet_hours(connection, body, tenant_id=person.tenant_id, number=number)
    return body


@router.delete("/quiet-hours", status_code=204)
async def delete_quiet_hours(person: Person, services: Parts) -> None:
    """Be told of everything at once again; no harm when it is so already."""
    async with tenant_transaction(services.pool, person.tenant_id) as connection:
        number = await existing_number(connection, person.subscriber)
        await documents.replace_quiet_hours(connection, None, tenant_id=person.tenant_id, number=number)
