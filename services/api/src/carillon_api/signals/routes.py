"""`POST /v1/signals`: shown to whoever is connected now, kept nowhere."""

from typing import Annotated, Any, Self
from uuid import uuid4

import orjson
from carillon_shared.broker import live
from carillon_shared.contracts.messages import LiveSignal
from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field, model_validator

from carillon_api.authentication.callers import ApiKey
from carillon_api.dependencies import get_services, require_scope
from carillon_api.errors import unavailable
from carillon_api.problem_responses import problems
from carillon_api.services import Services
from carillon_api.written import Written

MAX_DATA_BYTES = 16_000

router = APIRouter(prefix="/v1/signals", tags=["Producer"])

Target = Annotated[str, Field(min_length=1, max_length=200)]


class SignalBody(Written):
    """A signal to users or topics: progress of long work, somebody typing."""

    users: Annotated[list[Target], Field(max_length=100)] = Field(default_factory=list)
    topics: Annotated[list[Target], Field(max_length=100)] = Field(default_factory=list)
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$", examples=["job.progress"])]
    data: Any = Field(default=None, examples=[{"current": 40, "total": 100, "message": "Importing"}])

    @model_validator(mode="after")
    def _reaches_somebody(self) -> Self:
        if not self.users and not self.topics:
            raise ValueError("name users or topics")
        if _size(self.data) > MAX_DATA_BYTES:
            raise ValueError(f"data: is larger than {MAX_DATA_BYTES} bytes of JSON")
        return self


class SignalAccepted(BaseModel):
    """The broker has it; who is connected sees it now."""

    status: str = "accepted"


@router.post("", status_code=202, responses=problems())
async def send_signal(
    body: SignalBody,
    caller: Annotated[ApiKey, Depends(require_scope("events:write"))],
    services: Annotated[Services, Depends(get_services)],
) -> SignalAccepted:
    """Show something to connected clients. Per user or topic and name, the newest wins."""
    signal = LiveSignal(
        tenant=caller.tenant, users=body.users, topics=body.topics, name=body.name, data=body.data
    )
    if not services.publisher.connected:
        raise _away()
    results = await services.publisher.publish_many([live(signal, message_id=str(uuid4()))])
    if results[0] is not None:
        raise _away()
    return SignalAccepted()


def _size(data: Any) -> int:
    """Return the bytes of the data as clients get it. Raises ``ValueError`` when JSON cannot carry it."""
    try:
        return len(orjson.dumps(data))
    except orjson.JSONEncodeError as error:
        raise ValueError(f"data: {error}") from error


def _away() -> Exception:
    return unavailable("The broker cannot be reached; the signal was not sent.")
