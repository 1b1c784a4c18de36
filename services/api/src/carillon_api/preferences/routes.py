"""`/v1/me/preferences`: what the calling person wants over which channel."""

from typing import Annotated

from carillon_shared.db.pool import tenant_transaction
from fastapi import APIRouter, Depends

from carillon_api.authentication.callers import SubscriberToken
from carillon_api.dependencies import current_subscriber
from carillon_api.subscribers import storage
from carillon_api.subscribers.models import Preferences
from carillon_api.subscribers.people import Parts, existing_number

router = APIRouter(prefix="/v1/me", tags=["Recipient"])

Person = Annotated[SubscriberToken, Depends(current_subscriber)]


@router.get("/preferences")
async def get_preferences(person: Person, services: Parts) -> Preferences:
    """Return what you chose."""
    async with tenant_transaction(services.pool, person.tenant_id) as connection:
        number = await existing_number(connection, person.subscriber)
        return Preferences.model_validate(await storage.get_preferences(connection, number))


@router.put("/preferences")
async def put_preferences(body: Preferences, person: Person, services: Parts) -> Preferences:
    """Replace what you chose. Mandatory event types arrive all the same."""
    async with tenant_transaction(services.pool, person.tenant_id) as connection:
        number = await existing_number(connection, person.subscriber)
        await storage.put_preferences(
            connection,
            tenant_id=person.tenant_id,
            number=number,
            document=body.model_dump(mode="json", exclude_defaults=True),
        )
    return body
