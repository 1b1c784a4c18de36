"""An explanation as it is shown."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from carillon_shared.domain.channels import Channel
from carillon_shared.domain.rules import Decision, Rule, Verdict
from carillon_shared.domain.states import DeliveryStatus, EventStatus, HoldReason, Reason
from pydantic import BaseModel, Field

from carillon_api.problem_responses import ProblemDocument


class ExplainedStep(BaseModel):
    """One rule and what it said."""

    rule: Rule
    verdict: Verdict
    detail: str = Field(description="The same for people.")


class Happening(BaseModel):
    """Something that came about after the rules."""

    at: datetime
    what: str = Field(description="`planned`, `attempt 1`, `receipt delivered`, or the state that ended it.")
    detail: str | None


class Explained(BaseModel):
    """What the rules came to for one person over one channel."""

    subscriber: str
    channel: Channel
    decision: Decision
    reason: Reason | None = Field(description="Why it was skipped or ended unsent, or what gathers it.")
    hold_reason: HoldReason | None
    until: datetime | None = Field(description="When what is held, or tried again, is due.")
    status: DeliveryStatus
    summary: str = Field(description="One sentence for people.")
    steps: list[ExplainedStep] = Field(description="Every rule, in the order in which they are asked.")


class ExplainedDelivery(Explained):
    """What the rules came to, and what happened then."""

    delivery_id: UUID
    history: list[Happening]


class EventStep(BaseModel):
    """What an event went through before anybody was decided about."""

    what: str = Field(description="`accepted`, `scheduled`, `planned`, `cancelled`, `expired`, ...")
    at: datetime | None
    detail: str


class EventExplanation(BaseModel):
    """Why an event that was sent reached whom it reached."""

    event_id: UUID
    type: str
    status: EventStatus
    steps: list[EventStep]
    data: list[ExplainedDelivery]
    next_cursor: str | None
    note: str | None = Field(description="Why there is nothing in `data`.")


class DryRun(BaseModel):
    """What would come of an event. Nothing of it is stored."""

    result: Literal["accepted", "refused", "duplicate"] = Field(
        description="Whether intake would take it. `duplicate`: it was sent before, as `event_id`."
    )
    problem: ProblemDocument | None = Field(description="What a refused event would be answered with.")
    event_id: UUID | None = Field(description="The event that was sent before, when it is a duplicate.")
    status: EventStatus | None = Field(description="How it would be stored; `data` is as if it were due now.")
    steps: list[EventStep]
    people: int = Field(description="How many people its audience has.")
    data: list[Explained]
    truncated: bool = Field(description="True when `data` has the first people only; name one to see others.")
