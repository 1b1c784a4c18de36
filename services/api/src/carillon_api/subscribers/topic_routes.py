"""`/v1/topics/{topic}/parents`: what is said to a topic's followers, those of its parents hear as well."""

from typing import Annotated

from carillon_shared.db.pool import tenant_transaction
from fastapi import APIRouter, Path
from pydantic import BaseModel

from carillon_api.subscribers import topics
from carillon_api.subscribers.people import TOPIC_PATTERN, Parts, Registrar, TopicName

router = APIRouter(prefix="/v1/topics", tags=["Subscribers"])

ParentName = Annotated[
    str, Path(alias="parent", min_length=1, max_length=200, pattern=TOPIC_PATTERN, examples=["project:7"])
]


class TopicParents(BaseModel):
    """The topics that one lies in directly."""

    data: list[str]


@router.get("/{topic}/parents")
async def list_parents(topic: TopicName, caller: Registrar, services: Parts) -> TopicParents:
    """List the topics that this one lies in directly."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        return TopicParents(data=await topics.list_parents(connection, topic))


@router.put("/{topic}/parents/{parent}", status_code=204)
async def add_parent(topic: TopicName, parent: ParentName, caller: Registrar, services: Parts) -> None:
    """Let a topic lie in another: whoever follows `project:7` hears what is said to `ticket:42`.

    Muting the outer one mutes what lies in it. A circle is refused with 409.
    """
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        await topics.add_parent(connection, tenant_id=caller.tenant_id, topic=topic, parent=parent)


@router.delete("/{topic}/parents/{parent}", status_code=204)
async def remove_parent(topic: TopicName, parent: ParentName, caller: Registrar, services: Parts) -> None:
    """Take a topic out of another."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        await topics.remove_parent(connection, topic=topic, parent=parent)
