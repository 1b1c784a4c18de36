"""Collapse keys: of events that say the same, only one is on its way."""

from carillon_api.errors import FieldError, Problem, conflict, unavailable
from carillon_api.intake.models import EventBody
from carillon_api.intake.rows import IntakeRow

_WITHOUT_KEY = "means nothing without a collapse_key"


def collapse_faults(body: EventBody) -> list[FieldError]:
    """Return what is wrong about the fields that need a collapse key."""
    if body.collapse_key is not None:
        return []
    given = [name for name in ("on_conflict", "force") if name in body.model_fields_set]
    return [{"pointer": f"/{name}", "detail": _WITHOUT_KEY} for name in given]


def on_conflict(body: EventBody) -> str | None:
    """Return what happens when an earlier event with the same key is not completed; None without a key."""
    if body.collapse_key is None:
        return None
    return "allow" if body.force and body.on_conflict == "reject" else body.on_conflict


def collapsed(row: IntakeRow, earlier: str | None) -> Problem:
    """Return the 409 problem of an event that an earlier one keeps out."""
    detail = (
        f"The event {earlier} of the same type has the collapse key {row.collapse_key!r}, and is not "
        "completed. Send this one with on_conflict replace or allow, or with force, if it must come in."
    )
    problem = conflict(detail, slug="collapsed")
    problem.members["event_id"] = earlier
    return problem


def being_planned() -> Problem:
    """Return the 503 problem of an event whose predecessor could not be cancelled in time."""
    detail = "The event that this one replaces is being planned. Send the same again, with the same id."
    return unavailable(detail, retry_after=1)
